"""A constant load of mixed requests, and a record of every one that was not answered as it should be.

Requests begin at fixed times, whatever became of those before, so a slow answer makes no other request wait. The client
is its own small one, since the libraries' quietly repeat a request whose reused connection was closed: that is
precisely a failure here.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import os
import re
import ssl
import threading
import time
from collections import Counter, deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from types import TracebackType

RELEASE_HEADER = "x-godploy-release"
KEEP_ALIVE, SLOW_POST, STREAM = "keep-alive", "slow post", "stream"
MIX = (KEEP_ALIVE,) * 5 + (SLOW_POST,) + (KEEP_ALIVE,) * 5 + (STREAM,)

_WITHIN = 30.0  # seconds for one whole request
_CONNECTIONS = 8  # kept alive at least, each used in turn
_BODY_PARTS, _BODY_SECONDS = 8, 0.8  # how a slow POST brings its body
_VERSION = re.compile(r"version \S+\n")


class Wrong(Exception):
    """The answer came, and is not what it should be."""


@dataclass(frozen=True, slots=True)
class Failure:
    at: float  # seconds since the load began
    kind: str
    what: str
    release: str | None  # the release that answered, where one did


@dataclass(slots=True)
class Tally:
    sent: Counter[str] = field(default_factory=Counter)
    good: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)
    releases: list[str] = field(default_factory=list)  # in the order in which they were first seen
    slowest: float = 0.0  # seconds, of the keep-alive requests
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        return self.sent.total() / self.seconds if self.seconds else 0.0


@dataclass(slots=True)
class _Answer:
    status: int
    headers: dict[str, str]
    body: bytes


class _Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def read(self) -> _Answer:
        """One whole answer. Raises IncompleteReadError where the connection ends before it does."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        if headers.get("transfer-encoding") == "chunked":
            body = b"".join([part async for part in self._chunks()])
        else:
            body = await self.reader.readexactly(int(headers["content-length"]))
        return _Answer(int(head[0].split()[1]), headers, body)

    async def _chunks(self) -> AsyncIterator[bytes]:
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            yield (await self.reader.readexactly(size + 2))[:-2]
        await self.reader.readexactly(2)

    def close(self) -> None:
        self.writer.close()


class Load:
    """`with Load(port, host) as load:` keeps requests coming from a thread of its own until the block ends; over HTTPS
    where it is told what to trust.

    `tally` is written while it runs; `failures_since` and `rate` may be read at any time.
    """

    def __init__(
        self,
        port: int,
        host: str,
        rate: float = 60.0,
        mix: tuple[str, ...] = MIX,
        trusted: ssl.SSLContext | None = None,
    ) -> None:
        self.tally = Tally()
        self._port, self._host, self._rate, self._mix = port, host, rate, mix
        self._encryption = {"ssl": trusted, "server_hostname": host} if trusted else {}
        self._idle: deque[_Connection] = deque()
        self._begun = 0.0
        self._ready, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="load", daemon=True)

    def __enter__(self) -> Load:
        self._thread.start()
        assert self._ready.wait(10), "the load did not begin"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(_WITHIN + 5)

    async def _run(self) -> None:
        for _ in range(_CONNECTIONS):
            self._idle.append(await self._connect())
        self._begun = time.monotonic()
        self._ready.set()
        under_way: set[asyncio.Task[None]] = set()
        for number, kind in enumerate(itertools.cycle(self._mix)):
            await asyncio.sleep(max(0.0, self._begun + number / self._rate - time.monotonic()))
            if self._stop.is_set():
                break
            task = asyncio.create_task(self._one(kind))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
            self.tally.seconds = time.monotonic() - self._begun
        await asyncio.gather(*under_way)
        for connection in self._idle:
            connection.close()

    async def _one(self, kind: str) -> None:
        self.tally.sent[kind] += 1
        begun, answer = time.monotonic(), None
        try:
            async with asyncio.timeout(_WITHIN):
                answer = await {KEEP_ALIVE: self._keep_alive, SLOW_POST: self._slow_post, STREAM: self._stream}[kind]()
        except (OSError, EOFError, TimeoutError, ValueError, KeyError, Wrong) as error:
            release = error.args[1] if isinstance(error, Wrong) else None
            what = str(error.args[0]) if isinstance(error, Wrong) else f"{type(error).__name__}: {error}"
            self.tally.failures.append(Failure(round(begun - self._begun, 2), kind, what, release))
            return
        self.tally.good[kind] += 1
        if kind == KEEP_ALIVE:
            self.tally.slowest = max(self.tally.slowest, time.monotonic() - begun)
        release = answer.headers.get(RELEASE_HEADER, "none")
        if release not in self.tally.releases:
            self.tally.releases.append(release)

    async def _connect(self) -> _Connection:
        return _Connection(*await asyncio.open_connection("127.0.0.1", self._port, **self._encryption))

    def _head(self, method: str, path: str, *headers: str) -> bytes:
        return "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {self._host}", *headers, "", ""]).encode()

    async def _keep_alive(self) -> _Answer:
        connection = self._idle.popleft() if self._idle else await self._connect()
        connection.writer.write(self._head("GET", "/"))
        answer = await connection.read()
        self._idle.append(connection)
        if not _VERSION.fullmatch(answer.body.decode(errors="replace")):
            raise _wrong(answer)
        return _checked(answer)

    async def _slow_post(self) -> _Answer:
        body = os.urandom(16 * 1024)
        connection = await self._connect()
        try:
            connection.writer.write(self._head("POST", "/", f"Content-Length: {len(body)}", "Connection: close"))
            size = len(body) // _BODY_PARTS
            for at in range(0, len(body), size):
                connection.writer.write(body[at : at + size])
                await connection.writer.drain()
                await asyncio.sleep(_BODY_SECONDS / _BODY_PARTS)
            answer = _checked(await connection.read())
        finally:
            connection.close()
        if answer.body.decode() != hashlib.sha256(body).hexdigest():
            raise _wrong(answer)
        return answer

    async def _stream(self) -> _Answer:
        connection = await self._connect()
        try:
            connection.writer.write(self._head("GET", "/stream", "Connection: close"))
            answer = _checked(await connection.read())
        finally:
            connection.close()
        lines = answer.body.decode().splitlines()
        if len(lines) < 2 or [line.split()[0] for line in lines] != [str(n + 1) for n in range(len(lines))]:
            raise _wrong(answer)
        if lines[-1].split()[0] != lines[-1].split()[2] or len({line.split()[-1] for line in lines}) != 1:
            raise _wrong(answer)
        return answer


def _checked(answer: _Answer) -> _Answer:
    if answer.status != 200:
        raise _wrong(answer)
    return answer


def _wrong(answer: _Answer) -> Wrong:
    return Wrong(f"{answer.status} {answer.body[:80]!r}", answer.headers.get(RELEASE_HEADER))
