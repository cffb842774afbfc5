"""Just enough of PostgreSQL's protocol for one text query at a time, so that the image needs no package.

https://www.postgresql.org/docs/15/protocol-message-formats.html, and RFC 5802 for SCRAM.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import socket
from collections.abc import Iterator
from urllib.parse import unquote, urlsplit

Row = tuple[str | None, ...]


class Postgres:
    """A connection to `postgresql://USER:PASSWORD@HOST:PORT/DATABASE`."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._password = unquote(parts.password or "")
        self._socket = socket.create_connection((parts.hostname, parts.port), timeout=10)
        words = ("user", parts.username or "", "database", parts.path.lstrip("/"), "")
        self._send(b"", (196608).to_bytes(4, "big") + b"\0".join(word.encode() for word in words) + b"\0")
        self._until_ready()

    def query(self, text: str) -> list[Row]:
        """The rows of a query; raises RuntimeError with the server's words."""
        self._send(b"Q", text.encode() + b"\0")
        return self._until_ready()

    def _until_ready(self) -> list[Row]:
        rows, wrong = [], b""
        for kind, body in self._messages():
            if kind == b"R":
                self._authenticate(body)
            elif kind == b"D":
                rows.append(_row(body))
            elif kind == b"E":
                wrong = body
                if not rows and b"FATAL" in body:
                    break
            elif kind == b"Z":
                break
        if wrong:
            raise RuntimeError(wrong.replace(b"\0", b" ").decode())
        return rows

    def _authenticate(self, body: bytes) -> None:
        what = int.from_bytes(body[:4], "big")
        if what == 10:
            self._nonce = base64.b64encode(os.urandom(18)).decode()
            first = f"n,,n=,r={self._nonce}".encode()
            self._send(b"p", b"SCRAM-SHA-256\0" + len(first).to_bytes(4, "big") + first)
        elif what == 11:
            self._send(b"p", self._proof(body[4:].decode()))

    def _proof(self, challenge: str) -> bytes:
        given = dict(part.split("=", 1) for part in challenge.split(","))
        salted = hashlib.pbkdf2_hmac("sha256", self._password.encode(), base64.b64decode(given["s"]), int(given["i"]))
        final = f"c=biws,r={given['r']}"
        signed = f"n=,r={self._nonce},{challenge},{final}".encode()
        key = hmac.digest(salted, b"Client Key", "sha256")
        signature = hmac.digest(hashlib.sha256(key).digest(), signed, "sha256")
        proof = bytes(a ^ b for a, b in zip(key, signature, strict=True))
        return f"{final},p={base64.b64encode(proof).decode()}".encode()

    def _send(self, kind: bytes, body: bytes) -> None:
        self._socket.sendall(kind + (len(body) + 4).to_bytes(4, "big") + body)

    def _messages(self) -> Iterator[tuple[bytes, bytes]]:
        while True:
            head = self._exactly(5)
            yield head[:1], self._exactly(int.from_bytes(head[1:], "big") - 4)

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = self._socket.recv(count - len(data))
            if not part:
                raise ConnectionError("the server closed the connection")
            data += part
        return data


def _row(body: bytes) -> Row:
    values, at = [], 2
    for _ in range(int.from_bytes(body[:2], "big")):
        size = int.from_bytes(body[at : at + 4], "big", signed=True)
        at += 4
        values.append(None if size < 0 else body[at : at + size].decode())
        at += max(size, 0)
    return tuple(values)
