"""A git server of somebody else's: a bare repository, served by git's own daemon."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from godploy.core import signing
from tests.e2e.installation import Answer, clean_environment, until
from tests.e2e.person import App


@dataclass(slots=True)
class Elsewhere:
    """`base` is what the server's setting lists as private, since it is on loopback."""

    root: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def base(self) -> str:
        return f"git://127.0.0.1:{self.port}"

    def start(self) -> None:
        where = (f"--port={self.port}", "--listen=127.0.0.1", f"--base-path={self.root}", "--export-all", "--reuseaddr")
        words = ("git", "daemon", *where, str(self.root))
        self.process = subprocess.Popen(words, env=clean_environment(self.root), start_new_session=True)
        asked = ("git", "ls-remote", f"{self.base}/nothing.git")
        until(lambda: b"not exported" in subprocess.run(asked, capture_output=True, check=False).stderr)

    def stop(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGTERM)  # `git` itself is only the parent of the daemon
            self.process.wait(10)
            self.process = None

    def repository(self, name: str) -> Path:
        path = self.root / f"{name}.git"
        subprocess.run(("git", "init", "-q", "--bare", "--initial-branch=main", path), check=True)
        return path


@dataclass(slots=True)
class Hook:
    """What a git server does after a push: it calls the hook of the repository, signed."""

    app: App
    url: str
    secret: str
    calls: int = 0

    def signed(self, commit: str | None = None, *, secret: str = "", late: int = 0) -> tuple[bytes, dict[str, str]]:
        """Body and headers of the next call."""
        self.calls += 1
        body = json.dumps({"event": "push", "ref": "refs/heads/main", "commit": commit}).encode()
        at = int(time.time()) - late
        return body, {
            "Content-Type": "application/json",
            signing.DELIVERY: f"call-{self.calls}",
            signing.TIMESTAMP: str(at),
            signing.SIGNATURE: signing.sign(secret or self.secret, at, body),
            "Host": urlsplit(self.url).netloc,
        }

    def call(self, commit: str | None = None, *, secret: str = "", late: int = 0) -> Answer:
        body, headers = self.signed(commit, secret=secret, late=late)
        # Plain http on the entry point for everybody: hooks are signed, and are answered there, too.
        with closing(http.client.HTTPConnection("127.0.0.1", self.app.server.http, timeout=10)) as connection:
            connection.request("POST", urlsplit(self.url).path, body, headers)
            answer = connection.getresponse()
            return Answer(answer.status, None, answer.read().decode())

    def announced(self, answer: Answer) -> dict[str, Any]:
        """The delivery, once it has been decided."""
        assert answer.status == 202, answer
        wanted = json.loads(answer.text)["delivery"]

        def decided() -> Mapping[str, Any] | None:
            path = f"projects/{self.app.project}/deliveries?limit=100"
            found = [each for each in self.app.server.api("GET", path)["deliveries"] if each["id"] == wanted]
            return found[0] if found and found[0]["state"] == "decided" else None

        return dict(until(decided) or {})
