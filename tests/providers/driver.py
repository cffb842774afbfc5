"""Carries our own talks out over real HTTP, as the deployer does."""

from __future__ import annotations

from typing import TypeVar

import aiohttp
from yarl import URL

from godploy.providers.protocol import Credential, Host, Request, Response, Talk

T = TypeVar("T")


async def talk(
    session: aiohttp.ClientSession, host: Host, base: str, credential: Credential | None, talk: Talk[T]
) -> T:
    """What the talk learns. Raises ProviderError; AssertionError where it names an address that is not the provider's:
    that must be refused before it is asked for."""
    headers = {"User-Agent": "Godploy/test", **(host.authorization(credential) if credential else {})}
    try:
        request = next(talk)
        while True:
            own = (f"{host.api(base)}/", f"{base}/")
            assert request.url.startswith(own), f"{request.url} is not below {own}"
            request = talk.send(await _answer(session, request, headers))
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    finally:
        talk.close()


async def _answer(session: aiohttp.ClientSession, request: Request, headers: dict[str, str]) -> Response:
    own = {"User-Agent": headers["User-Agent"]} if request.anonymous else headers
    async with session.request(
        request.method,
        URL(request.url, encoded=True),
        data=request.body or None,
        headers={**own, **request.headers},
        allow_redirects=False,
    ) as answer:
        found = {name.lower(): value for name, value in answer.headers.items()}
        return Response(answer.status, found, await answer.read())
