"""The signed calls of the documentation, run as they stand there."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from godploy.api import contract
from godploy.core import signing
from tests.docs.generated import DOCS

SECRET = "the secret of this hook"
PAGE = (DOCS / "webhooks.md").read_text()


class Hook(HTTPServer):
    """Takes one call, and keeps whether it was authentic."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Receiver)
        self.authentic: list[bool] = []
        self.bodies: list[object] = []


class Receiver(BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.authentic.append(signing.verify(self.headers, body, [SECRET], time.time()))
        self.server.bodies.append(json.loads(body))
        self.send_response(202)
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def hook() -> Iterator[Hook]:
    with Hook() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("language", "program"), [("bash", ["bash", "-euc"]), ("python", [sys.executable, "-c"])])
def test_the_examples_sign_as_they_should(language: str, program: list[str], hook: Hook) -> None:
    found = re.search(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOOK": f"http://127.0.0.1:{hook.server_port}/hooks/generic/id",
        "SECRET": SECRET,
        "no_proxy": "127.0.0.1",
    }
    done = subprocess.run([*program, found[1]], env=environment, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert hook.authentic == [True]
    assert contract.complaints(contract.schema("#/components/schemas/HookBody"), hook.bodies[0]) == []
