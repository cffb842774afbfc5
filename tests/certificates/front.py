"""What stands in front of Pebble, which has no limits: new orders for some hosts are refused as Let's Encrypt refuses
them (RFC 8555 §6.6 and §6.7, https://letsencrypt.org/docs/rate-limits/), all else is passed on."""

from __future__ import annotations

import base64
import json
import ssl
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.certificates.pebble import Pebble

_PASSED_ON = ("Content-Type", "Location", "Link", "Replay-Nonce", "Retry-After")


class Front(ThreadingHTTPServer):
    """`limited` maps a host to when it may be asked for again, in seconds since 1970; `refused` are those that were."""

    daemon_threads = True

    def __init__(self, pebble: Pebble) -> None:
        """With Pebble's own certificate."""
        super().__init__(("127.0.0.1", 0), _Request)
        self.behind = f"https://127.0.0.1:{pebble.port}"
        self.url = f"https://127.0.0.1:{self.server_port}/dir"
        self.trusted = ssl.create_default_context(cafile=str(pebble.authority))
        self.limited: dict[str, float] = {}
        self.refused: list[str] = []
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pebble.authority, pebble.key)
        self.socket = context.wrap_socket(self.socket, server_side=True)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def stop(self) -> None:
        self.shutdown()
        self.server_close()


class _Request(BaseHTTPRequestHandler):
    server: Front

    def do_HEAD(self) -> None:
        self._pass_on(None)

    def do_GET(self) -> None:
        self._pass_on(None)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        hosts = [host for host in _ordered(body) if host in self.server.limited]
        if hosts:
            self.server.refused += hosts
            self._refuse(self.server.limited[hosts[0]])
        else:
            self._pass_on(body)

    def _refuse(self, until: float) -> None:
        again = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(until))
        problem = {
            "type": "urn:ietf:params:acme:error:rateLimited",
            "detail": "too many certificates (5) already issued for this exact set of identifiers in the last "
            f"168h0m0s, retry after {again}: see https://letsencrypt.org/docs/rate-limits/",
            "status": 429,
        }
        pause = str(int(until - time.time()))
        self._answer(
            429, [("Content-Type", "application/problem+json"), ("Retry-After", pause)], json.dumps(problem).encode()
        )

    def _pass_on(self, body: bytes | None) -> None:
        """With its Host, from which Pebble makes the addresses that it tells."""
        kept = {name: self.headers[name] for name in ("Host", "Content-Type", "User-Agent") if name in self.headers}
        asked = urllib.request.Request(self.server.behind + self.path, body, kept, method=self.command)
        try:
            answer = urllib.request.urlopen(asked, context=self.server.trusted, timeout=30)
        except urllib.error.HTTPError as refused:
            answer = refused
        with answer:
            headers = [(name, value) for name, value in answer.headers.items() if name in _PASSED_ON]
            self._answer(answer.status, headers, answer.read())

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response(status)
        for name, value in (*headers, ("Content-Length", str(len(body)))):
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


def _ordered(body: bytes) -> list[str]:
    """The hosts of a new order, RFC 8555 §7.4; none where the signed body is something else."""
    payload = json.loads(body)["payload"]
    content = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)) or b"{}")
    return [each["value"] for each in content.get("identifiers", ())]
