"""An app with a database: `web` keeps notes, `worker` notes that it works, `migrate` makes the table."""

from __future__ import annotations

import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from postgres import Postgres

VERSION = (Path(__file__).parent / "version").read_text().strip()
URL = os.environ["DATABASE_URL"]


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        rows = Postgres(URL).query("SELECT text FROM note ORDER BY text")
        self.answer("".join(f"{row[0]}\n" for row in rows))

    def do_POST(self) -> None:
        text = self.rfile.read(int(self.headers["Content-Length"])).decode()
        Postgres(URL).query(f"INSERT INTO note (text) VALUES ('{text}')")
        self.answer("noted\n")

    def answer(self, text: str) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())


def web() -> None:
    ThreadingHTTPServer(("0.0.0.0", 8000), Handler).serve_forever()


def worker() -> None:
    Postgres(URL).query(f"INSERT INTO note (text) VALUES ('worker {VERSION}')")
    while True:
        time.sleep(3600)


def migrate() -> None:
    """May run twice, as every release command may."""
    Postgres(URL).query("CREATE TABLE IF NOT EXISTS note (text text NOT NULL)")
    Postgres(URL).query(f"INSERT INTO note (text) VALUES ('migrated to {VERSION}')")
    print(f"migrated to {VERSION}")


if __name__ == "__main__":
    {"web": web, "worker": worker, "migrate": migrate}[sys.argv[1]]()
