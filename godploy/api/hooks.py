"""Hooks: a signed word that a repository has moved, committed before it is acknowledged.

Everything is refused alike: an unknown hook, a wrong signature, a stale timestamp get the same 401 after the same work.
Refusals are counted by address; one that has used them up is turned away before its body is read where its headers
alone refuse it. An authentic delivery is never turned away, whatever its neighbours behind the same address do, nor
does it wait for what can only be refused: that is read without being kept.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar
from weakref import WeakValueDictionary

from aiohttp import web

from godploy.api import answers
from godploy.api.call import Call
from godploy.api.limits import Buckets
from godploy.core import signing
from godploy.core.model import Delivery, Repository
from godploy.deploy import intake
from godploy.deploy.job import hook_context
from godploy.errors import TooLarge, Unauthorized, Unavailable
from godploy.providers import SENDERS, told
from godploy.providers.protocol import Sender
from godploy.store import Connection, hosted_hooks, repositories

T = TypeVar("T")

BODY_LIMIT = (
    25 * 1024 * 1024
)  # git hosts send up to so much: https://docs.github.com/en/webhooks/webhook-events-and-payloads
_BODY_TIMEOUT = 60.0
_SMALL_BODY = 64 * 1024
_BODIES_AT_ONCE = 4  # large ones, so that memory stays bounded
_SHOWN = re.compile(
    r"content-(type|length)|user-agent|x-(github|gitlab|gitea|forgejo|gogs|godploy)-[a-z-]+|x-(event-key|hook-uuid)"
    r"|x-(request-uuid|attempt-number)|idempotency-key|webhook-(id|timestamp)"
)

REFUSALS = web.AppKey("refusals", Buckets)
BODIES = web.AppKey("bodies", asyncio.Semaphore)
LARGE = web.AppKey("large", WeakValueDictionary[str, asyncio.Lock])


def prepare(app: web.Application) -> None:
    app[REFUSALS] = Buckets(capacity=20, rate=0.5)
    app[BODIES] = asyncio.Semaphore(_BODIES_AT_ONCE)
    app[LARGE] = WeakValueDictionary()


async def receive_hook(call: Call) -> web.Response:
    request, app = call.request, call.request.app
    address, provider = answers.client(request), call.given["provider"]
    found = await call.read(lambda conn: _hook(conn, provider, call.given["hook"]))
    sender = SENDERS[found.repository.provider] if found else None
    hopeless = found is None or sender is None or not sender.well_formed(request.headers, found.scheme, time.time())
    if hopeless and app[REFUSALS].empty(address):
        raise answers.TooManyRequestsError("too many refused deliveries from this address")
    if found is None or sender is None or hopeless:
        app[REFUSALS].take(address)
        await _taken(request, signing.nobodys().update)
        raise _refused()
    async with _room(app, request, found.repository.id):
        body = await _body(request)
        secrets = [call.services.keyring.unseal(each, hook_context(found.repository.id)) for each in found.secrets]
        if not await _soon(body, lambda: sender.verify(request.headers, body, secrets, found.scheme, time.time())):
            app[REFUSALS].take(address)
            raise _refused()
        events = await _soon(body, lambda: sender.events(request.headers, body))
    key, bodies = sender.key(request.headers, body), [told.to_json(event) for event in events]
    received, new = await intake.receive_hook(call.services, found.repository, key, bodies, _kept(request, sender))
    return web.json_response(_received(received), status=202 if new else 200)


@asynccontextmanager
async def _room(app: web.Application, request: web.Request, hook: str) -> AsyncIterator[None]:
    """Memory is bounded by few large bodies at once, of which no hook has more than one: none keeps the others out. A
    small one need not wait."""
    if 0 <= (request.content_length if request.content_length is not None else -1) <= _SMALL_BODY:
        yield
        return
    mine = app[LARGE].setdefault(hook, asyncio.Lock())
    async with mine, app[BODIES]:
        yield


def _refused() -> Unauthorized:
    return Unauthorized(
        "this delivery is not authentic",
        next_step="check the hook's address, its secret, and that the sender's clock is right",
    )


def _received(delivery: Delivery) -> dict[str, str | None]:
    return {"delivery": delivery.id, "state": delivery.state, "verdict": delivery.verdict}


@dataclass(frozen=True, slots=True)
class _Hook:
    repository: Repository
    secrets: list[bytes]  # sealed
    scheme: str


def _hook(conn: Connection, provider: str, hook: str) -> _Hook | None:
    """The hook as it is kept, in one look: a sender waits for each."""
    found = repositories.by_hook(conn, hook)
    if found is None or found.provider != provider:
        return None
    scheme = hosted_hooks.scheme(conn, found.id) if found.connection else ""
    return _Hook(found, repositories.hook_secrets(conn, found.id), scheme)


def _kept(request: web.Request, sender: Sender) -> dict[str, str]:
    """The headers that the delivery log shows: those that providers send and that prove nothing to anybody else."""
    secret = {name.lower() for name in sender.signature_headers}
    shown = [(name, value) for name, value in request.headers.items() if _SHOWN.fullmatch(name.lower())]
    return {name: value[:200].encode(errors="replace").decode() for name, value in shown if name.lower() not in secret}


async def _soon(body: bytes, work: Callable[[], T]) -> T:
    """In a thread where the body is large, so that nobody else waits; a small one takes less than the way there."""
    return await asyncio.to_thread(work) if len(body) > _SMALL_BODY else work()


async def _body(request: web.Request) -> bytes:
    """The raw bytes. The application's own limit is that of the API, so they are read here."""
    chunks: list[bytes] = []
    await _taken(request, chunks.append)
    return b"".join(chunks)


async def _taken(request: web.Request, take: Callable[[bytes], object]) -> None:
    """Passes the body on as it comes, bounded in size and time."""
    too_large = TooLarge(f"a delivery may have {BODY_LIMIT >> 20} MiB")
    if (request.content_length or 0) > BODY_LIMIT:
        raise too_large
    size = 0
    try:
        async with asyncio.timeout(_BODY_TIMEOUT):
            async for chunk in request.content.iter_any():
                size += len(chunk)
                if size > BODY_LIMIT:
                    raise too_large
                take(chunk)
    except TimeoutError as error:
        raise Unavailable("the body did not arrive in time") from error
