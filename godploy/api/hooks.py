"""The generic hook: a signed word that a repository has moved, committed before it is acknowledged.

Everything is refused alike: an unknown hook, a wrong signature, a stale timestamp get the same 401 after the same work.
Refusals are counted by address; one that has used them up is turned away before its body is read where its headers
alone refuse it. An authentic delivery is never turned away, whatever its neighbours behind the same address do, nor
does it wait for what can only be refused: that is read without being kept.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

from aiohttp import web

from godploy.api import answers, contract
from godploy.api.call import Call
from godploy.api.limits import Buckets
from godploy.core import signing
from godploy.core.model import Delivery, Repository
from godploy.deploy import intake
from godploy.deploy.job import hook_context
from godploy.errors import Invalid, TooLarge, Unauthorized, Unavailable
from godploy.store import Connection, repositories

T = TypeVar("T")

BODY_LIMIT = (
    25 * 1024 * 1024
)  # git hosts send up to so much: https://docs.github.com/en/webhooks/webhook-events-and-payloads
_BODY_TIMEOUT = 60.0
_SMALL_BODY = 64 * 1024
_BODIES_AT_ONCE = 4  # so that memory stays bounded

REFUSALS = web.AppKey("refusals", Buckets)
BODIES = web.AppKey("bodies", asyncio.Semaphore)


def prepare(app: web.Application) -> None:
    app[REFUSALS] = Buckets(capacity=20, rate=0.5)
    app[BODIES] = asyncio.Semaphore(_BODIES_AT_ONCE)


async def receive_hook(call: Call) -> web.Response:
    request, app = call.request, call.request.app
    address = answers.client(request)
    repository, sealed = await call.read(lambda conn: _hook(conn, call.given["hook"]))
    hopeless = repository is None or not signing.well_formed(request.headers, time.time())
    if hopeless and app[REFUSALS].empty(address):
        raise answers.TooManyRequestsError("too many refused deliveries from this address")
    if repository is None or hopeless:
        app[REFUSALS].take(address)
        await _taken(request, signing.nobodys().update)
        raise _refused()
    async with app[BODIES]:
        body = await _body(request)
        secrets = [call.services.keyring.unseal(each, hook_context(repository.id)) for each in sealed]
        if not await _soon(body, lambda: signing.verify(request.headers, body, secrets, time.time())):
            app[REFUSALS].take(address)
            raise _refused()
        told = _push(await _soon(body, lambda: contract.parse(body)))
    delivery, new = await intake.receive(call.services, repository, "hook", request.headers[signing.DELIVERY], told)
    return web.json_response(_received(delivery), status=202 if new else 200)


def _refused() -> Unauthorized:
    return Unauthorized(
        "this delivery is not authentic",
        next_step=f"check the hook's address, its secret, and that {signing.TIMESTAMP} is the time now",
    )


def _received(delivery: Delivery) -> dict[str, str | None]:
    return {"delivery": delivery.id, "state": delivery.state, "verdict": delivery.verdict}


def _hook(conn: Connection, hook: str) -> tuple[Repository | None, list[bytes]]:
    """The hook's repository and its sealed secrets, in one look: a sender waits for each."""
    found = repositories.by_hook(conn, hook)
    return found, repositories.hook_secrets(conn, found.id) if found else []


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


def _push(tree: object) -> dict[str, str | None]:
    """What of the body is kept. Raises Invalid, saying what is expected."""
    problems = contract.complaints(contract.schema("#/components/schemas/HookBody"), tree)
    if problems or not isinstance(tree, dict):
        raise Invalid(
            "the body is not as documented",
            problems,
            next_step='send {"event": "push", "ref": "refs/heads/BRANCH", "commit": "HASH"}',
        )
    if tree["event"] == "ping":
        return {"event": "ping"}
    return {"event": "push", "ref": tree["ref"], "commit": tree.get("commit")}
