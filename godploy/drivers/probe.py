"""Asks whether something answers at an address, from outside; errors are values, since not answering is an answer.

It speaks HTTP/1.1 by itself: a probe runs ten times a second for each container that starts, wants the status and the
headers of one response and nothing else, and must follow no redirect, keep no cookie and obey no proxy setting.
https://www.rfc-editor.org/rfc/rfc9112#section-4 has the status line.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

_HEAD_LIMIT = 64 * 1024
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-9][0-9]{2})(?: [^\r\n]*)?\r?\n")
_TARGET = re.compile(r"/[\x21-\x7e]*")
_HOST = re.compile(r"[A-Za-z0-9._:\[\]-]+")


class Miss(StrEnum):
    """Why there was no answer."""

    REFUSED = "refused"  # nothing listens there
    TIMEOUT = "timeout"
    RESET = "reset"  # closed before it had answered
    UNREACHABLE = "unreachable"  # no such host, or no way to it
    NOT_HTTP = "not_http"  # something answered, but not HTTP/1


@dataclass(frozen=True, slots=True)
class Answer:
    """Truthy where there was one. `status` is 0 for a TCP probe and where nothing answered; the names of `headers`
    are in lower case."""

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    miss: Miss | None = None

    def __bool__(self) -> bool:
        return self.miss is None


async def tcp(address: str, port: int, timeout: float) -> Answer:
    """Whether the port accepts a connection within `timeout` seconds."""
    return await _attempt(_connect_only(address, port), timeout)


async def http(
    address: str, port: int, path: str, host: str | None, timeout: float, *, encrypted: bool = False
) -> Answer:
    """The status of GET `path` within `timeout` seconds; `host` is the Host header, else the address and port.

    `encrypted` asks over TLS, for whatever certificate the host has: who answers is in question, not whom to trust.

    Raises ValueError for a path or host that cannot stand in a request.
    """
    host = host if host is not None else f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    if not _TARGET.fullmatch(path) or not _HOST.fullmatch(host):
        raise ValueError(f"cannot be asked for: host {host!r}, path {path!r}")
    request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: godploy\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    return await _attempt(_exchange(address, port, request.encode("ascii"), host if encrypted else None), timeout)


async def _attempt(question: Coroutine[Any, Any, Answer], timeout: float) -> Answer:
    try:
        async with asyncio.timeout(timeout):
            return await question
    except TimeoutError:
        return Answer(miss=Miss.TIMEOUT)
    except ConnectionRefusedError:
        return Answer(miss=Miss.REFUSED)
    except (ConnectionError, asyncio.IncompleteReadError):
        return Answer(miss=Miss.RESET)
    except (asyncio.LimitOverrunError, _NotHttp):
        return Answer(miss=Miss.NOT_HTTP)
    except OSError:
        return Answer(miss=Miss.UNREACHABLE)


async def _connect_only(address: str, port: int) -> Answer:
    _, writer = await asyncio.open_connection(address, port)
    writer.close()
    return Answer()


async def _exchange(address: str, port: int, request: bytes, name: str | None) -> Answer:
    tls = _any_certificate() if name else None
    reader, writer = await asyncio.open_connection(address, port, limit=_HEAD_LIMIT, ssl=tls, server_hostname=name)
    try:
        writer.write(request)
        await writer.drain()
        while True:
            answer = await _head(reader)
            if answer.status >= 200:  # 1xx are announcements; the answer is still to come
                return answer
    finally:
        with suppress(OSError):
            writer.transport.abort()  # the body is not wanted


def _any_certificate() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def _head(reader: asyncio.StreamReader) -> Answer:
    line = await reader.readuntil(b"\n")
    status = _STATUS_LINE.fullmatch(line)
    if status is None:
        raise _NotHttp
    headers: dict[str, str] = {}
    size = 0
    while (line := await reader.readuntil(b"\n")).strip():
        size += len(line)
        if size > _HEAD_LIMIT:
            raise _NotHttp
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.strip().lower()] = value.strip()
    return Answer(int(status[1]), headers)


class _NotHttp(Exception):
    """What came back is no HTTP/1 response."""
