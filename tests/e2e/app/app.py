"""The app that the end-to-end tests push. What it does wrong is chosen by `behaviour.json` beside it, so that a bad
push is an ordinary commit.

`app.py` serves, `app.py worker` waits for its end, `app.py release` is the release command.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HERE = Path(__file__).parent
VERSION = (HERE / "version").read_text().strip()
BEHAVIOUR = json.loads((HERE / "behaviour.json").read_text())
CHUNKS = 20
BEGUN = time.monotonic()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one packet for head and body; a write of its own for each waits for the other side's ACK

    def do_GET(self) -> None:
        if self.path == "/healthz":
            self.answer(500 if self.ill() else 200, "healthy?\n")
        elif self.path == "/stream":
            self.stream()
        elif self.path == "/env":
            self.answer(200, json.dumps(dict(os.environ)))
        elif self.path == "/host":
            self.answer(200, os.uname().nodename)
        else:
            self.answer(200, f"version {VERSION}\n")

    def do_POST(self) -> None:
        """Takes the body as slowly as it can, and gives its SHA-256 back."""
        left, digest = int(self.headers["Content-Length"]), hashlib.sha256()
        while left:
            part = self.rfile.read(min(left, 2048))
            if not part:
                return
            left -= len(part)
            digest.update(part)
            time.sleep(0.01)
        self.answer(200, digest.hexdigest())

    def ill(self) -> bool:
        if "ill_after" in BEHAVIOUR:
            return time.monotonic() - BEGUN > BEHAVIOUR["ill_after"]
        return "ill" in BEHAVIOUR or ("ill_behind_a_proxy" in BEHAVIOUR and "X-Forwarded-For" in self.headers)

    def stream(self) -> None:
        """Lines in chunks over two seconds."""
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for number in range(1, CHUNKS + 1):
            line = f"{number} of {CHUNKS} by {VERSION}\n".encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
            self.wfile.flush()
            time.sleep(0.1)
        self.wfile.write(b"0\r\n\r\n")

    def answer(self, status: int, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """A log of thousands of requests helps nobody."""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def serve() -> None:
    if "allocate" in BEHAVIOUR:
        print("reading everything into memory", flush=True)
        held = [b"x" * (1 << 20) for _ in range(BEHAVIOUR["allocate"])]
        print(f"{len(held)} MiB read", flush=True)
    if "exit" in BEHAVIOUR:
        print(f"cannot start: {os.environ.get(BEHAVIOUR.get('tell', ''), 'no configuration')}", flush=True)
        sys.exit(BEHAVIOUR["exit"])
    if "exit_after" in BEHAVIOUR:
        threading.Timer(BEHAVIOUR["exit_after"], os._exit, [4]).start()
    address = BEHAVIOUR.get("listen", "0.0.0.0"), BEHAVIOUR.get("port", 8000)
    print(f"version {VERSION} listens on {address}", flush=True)
    Server(address, Handler).serve_forever()


def work() -> None:
    if "worker_exit" in BEHAVIOUR:
        print("cannot work: no queue", flush=True)
        sys.exit(BEHAVIOUR["worker_exit"])
    print(f"version {VERSION} works", flush=True)
    while True:
        time.sleep(3600)


def release() -> None:
    print(f"release command of version {VERSION}", flush=True)
    sys.exit(BEHAVIOUR.get("release", 0))


if __name__ == "__main__":
    {"serve": serve, "worker": work, "release": release}[sys.argv[1] if len(sys.argv) > 1 else "serve"]()
