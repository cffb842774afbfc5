"""Talks with providers, carried out: kept to the provider's own addresses, and bounded in time and size."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TypeVar
from urllib.parse import unquote, urlsplit

from godploy import __version__
from godploy.core import remote
from godploy.core.remote import Remote
from godploy.deploy.services import Services
from godploy.drivers import http
from godploy.providers.protocol import Credential, Host, ProviderError, Request, Response, Talk, Trouble

T = TypeVar("T")

logger = logging.getLogger(__name__)

_TIMEOUT = 15.0  # seconds for one answer
_TALK_TIMEOUT = 60.0  # for a whole talk: a listing has many pages
_MISREAD = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
_AGENT = f"Godploy/{__version__}"


async def converse(services: Services, host: Host, base: str, talk: Talk[T], credential: Credential | None = None) -> T:
    """Carries a talk out. Raises ProviderError."""
    targets = _targets(services, host, base)
    headers = {"User-Agent": _AGENT, **(host.authorization(credential) if credential else {})}
    try:
        async with asyncio.timeout(_TALK_TIMEOUT):
            request = next(talk)
            while True:
                request = talk.send(await _answer(request, host, targets, headers))
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    except _MISREAD as error:  # a provider's answer is foreign: whoever asked must not end by what it holds
        logger.exception("an answer of %s at %s", host.title, base)
        raise ProviderError(Trouble.DOWN, f"{host.title} answered something that cannot be read") from error
    except TimeoutError as error:
        raise ProviderError(Trouble.DOWN, f"{host.title} took more than {_TALK_TIMEOUT:g} s to answer") from error
    finally:
        talk.close()


async def _answer(request: Request, host: Host, targets: dict[str, Remote], headers: dict[str, str]) -> Response:
    target = next((found for prefix, found in targets.items() if request.url.startswith(prefix)), None)
    if target is None or not {".", ".."}.isdisjoint(unquote(urlsplit(request.url).path).split("/")):
        raise ProviderError(Trouble.DOWN, f"{host.title} named an address that is not its own; is the base right?")
    own = {name: value for name, value in headers.items() if not (request.anonymous and name != "User-Agent")}
    try:
        return await http.ask(replace(request, headers={**own, **request.headers}), target, _TIMEOUT)
    except http.Unreachable as error:
        raise ProviderError(Trouble.DOWN, f"{host.title} at {target.host} cannot be reached: {error}") from error


def _targets(services: Services, host: Host, base: str) -> dict[str, Remote]:
    """Prefix of an address that the talk may name → where that leads. Raises Invalid."""
    private = services.settings.private_bases
    return {f"{each}/": remote.parse(f"{each}/x", private) for each in dict.fromkeys((host.api(base), base))}
