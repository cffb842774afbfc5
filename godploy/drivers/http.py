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

from godploy.core.remote import Remote, is_public


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
    resolver: Any = None if target.private else _PublicOnly()
    connector = aiohttp.TCPConnector(resolver=resolver, force_close=True)
    limits = aiohttp.ClientTimeout(total=timeout)
    try:
        async with (
            aiohttp.ClientSession(connector=connector, timeout=limits, cookie_jar=aiohttp.DummyCookieJar()) as session,
            session.post(target.url, data=body, headers=dict(headers), allow_redirects=False) as response,
        ):
            return response.status
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise Unreachable(str(error) or f"no answer within {timeout:g} s") from error
