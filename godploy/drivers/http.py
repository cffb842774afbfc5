"""Requests to addresses that people gave us: no redirects, no proxies, no cookies, and no way to an inner address.

The name is resolved once, every address is checked, and the connection goes to one that passed, so that a name cannot
lead elsewhere a moment later.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from godploy.core.remote import Remote, is_public
from godploy.providers.protocol import Request, Response

_ANSWER_LIMIT = 8 * 1024 * 1024


class Unreachable(Exception):
    """There was no answer; the message says why."""


class _PublicOnly(AbstractResolver):
    """Resolves names, and refuses one that leads to an address that is not public."""

    def __init__(self) -> None:
        self._resolver = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        inner = [entry["host"] for entry in found if not is_public(entry["host"])]
        if inner:
            raise OSError(None, f"{host} leads to {inner[0]}, which is not a public address")
        return found

    async def close(self) -> None:
        await self._resolver.close()


async def post(target: Remote, body: bytes, headers: Mapping[str, str], timeout: float) -> int:
    """The status that a POST got. Raises Unreachable."""
    return (await ask(Request("POST", target.url, body, headers), target, timeout)).status


async def ask(request: Request, target: Remote, timeout: float) -> Response:
    """The answer to a request, as it is; its address must lead to `target`, which says whether that may be an inner
    one. `timeout` in seconds for all of it. Raises Unreachable, also for an answer that is too large."""
    resolver: Any = None if target.private else _PublicOnly()
    connector = aiohttp.TCPConnector(resolver=resolver, force_close=True)
    limits = aiohttp.ClientTimeout(total=timeout)
    url = URL(request.url, encoded=True)  # "%2F" is to stay what it is
    if url.host != target.host or url.port != target.port or url.scheme != target.scheme:
        raise ValueError(f"not at {target.url}: {request.url}")
    try:
        async with (
            aiohttp.ClientSession(connector=connector, timeout=limits, cookie_jar=aiohttp.DummyCookieJar()) as session,
            session.request(
                request.method, url, data=request.body or None, headers=dict(request.headers), allow_redirects=False
            ) as response,
        ):
            body = bytearray()
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > _ANSWER_LIMIT:
                    raise Unreachable(f"the answer has more than {_ANSWER_LIMIT >> 20} MiB")
            headers = {name.lower(): value for name, value in response.headers.items()}
            return Response(response.status, headers, bytes(body))
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        raise Unreachable(str(error) or f"no answer within {timeout:g} s") from error
