from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from godploy.drivers import probe
from godploy.drivers.probe import Miss


@asynccontextmanager
async def answering(response: bytes | None, seen: list[bytes] | None = None) -> AsyncIterator[int]:
    """A server that sends `response` to each request (None: nothing, ever) and hangs up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            if seen is not None:
                seen.append(head)
            if response is None:
                await reader.read()
            else:
                writer.write(response)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.mark.parametrize(
    ("response", "status"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200),
        (b"HTTP/1.0 404 Not Found\r\n\r\n", 404),
        (b"HTTP/1.1 503\r\n\r\n", 503),
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n", 302),
        (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", 200),
        (b"HTTP/1.1 204 No Content\n\n", 204),
    ],
)
async def test_status(response: bytes, status: int) -> None:
    async with answering(response) as port:
        answer = await probe.http("127.0.0.1", port, "/", None, timeout=2)
    assert answer
    assert answer.status == status


@pytest.mark.parametrize(
    ("response", "miss"),
    [
        (b"", Miss.RESET),
        (b"HTTP/1.1 200 OK\r\nContent-", Miss.RESET),
        (b"SSH-2.0-OpenSSH_9.2\r\n", Miss.NOT_HTTP),
        (b"HTTP/1.1 2000 OK\r\n\r\n", Miss.NOT_HTTP),
        (b"x" * 200_000 + b"\n", Miss.NOT_HTTP),
        (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 20_000, Miss.NOT_HTTP),
        (None, Miss.TIMEOUT),
    ],
)
async def test_miss(response: bytes | None, miss: Miss) -> None:
    async with answering(response) as port:
        answer = await probe.http("127.0.0.1", port, "/", None, timeout=0.3)
    assert not answer
    assert answer.miss == miss


async def test_the_request_names_path_and_host() -> None:
    seen: list[bytes] = []
    async with answering(b"HTTP/1.1 200 OK\r\nX-Godploy-Release: r1\r\n\r\n", seen) as port:
        answer = await probe.http("127.0.0.1", port, "/healthz?full=1", "shop.example.com", timeout=2)
        await probe.http("127.0.0.1", port, "/", None, timeout=2)
    assert answer.headers["x-godploy-release"] == "r1"
    assert seen[0].startswith(b"GET /healthz?full=1 HTTP/1.1\r\nHost: shop.example.com\r\n")
    assert f"Host: 127.0.0.1:{port}\r\n".encode() in seen[1]


@pytest.mark.parametrize("path", ["", "health", "/a b", "/a\r\nX: y", "/ä"])
async def test_a_path_cannot_carry_a_header(path: str) -> None:
    with pytest.raises(ValueError, match="cannot be asked"):
        await probe.http("127.0.0.1", 1, path, None, timeout=1)


@pytest.mark.parametrize("host", ["", "a b", "a\r\nX: y", "ä"])
async def test_nor_can_a_host(host: str) -> None:
    with pytest.raises(ValueError, match="cannot be asked"):
        await probe.http("127.0.0.1", 1, "/", host, timeout=1)


async def test_tcp(closed_port: int) -> None:
    async with answering(None) as port:
        assert await probe.tcp("127.0.0.1", port, timeout=2)
    assert (await probe.tcp("127.0.0.1", closed_port, timeout=2)).miss == Miss.REFUSED
    assert (await probe.http("127.0.0.1", closed_port, "/", None, timeout=2)).miss == Miss.REFUSED


async def test_a_full_backlog_is_a_timeout() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        answer = await probe.tcp(*listener.getsockname(), timeout=0.2)
        for filler in fillers:
            filler.close()
    assert answer.miss == Miss.TIMEOUT


async def test_a_probe_leaves_no_socket_open(process_sockets: Callable[[], int]) -> None:
    async with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1_000_000) as port:
        before = process_sockets()
        for _ in range(20):
            assert await probe.http("127.0.0.1", port, "/", None, timeout=2)
        async with asyncio.timeout(5):
            while process_sockets() > before:
                await asyncio.sleep(0.01)


@pytest.fixture
def process_sockets() -> Callable[[], int]:
    def count() -> int:
        found = 0
        for name in os.listdir("/proc/self/fd"):
            with suppress(FileNotFoundError):
                found += os.readlink(f"/proc/self/fd/{name}").startswith("socket:")
        return found

    return count
