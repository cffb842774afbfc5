"""What was pushed to our own remote: made known by git's hook over a socket of this machine, and answered line by line.

The hook runs below git, which runs below us, but it only has what git gives it: so each push gets a token of its own,
and the socket is ours alone. What it tells is committed as deliveries before anything is said to the pusher; from then
on the push may be interrupted, Godploy may stop, and the deployment goes on.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from aiohttp import web

from godploy import resources
from godploy.api import post_receive
from godploy.api.call import SERVICES
from godploy.core.model import Delivery, Repository
from godploy.core.naming import new_id
from godploy.core.remote import is_branch, is_commit
from godploy.deploy import follow, intake
from godploy.deploy.services import Services
from godploy.drivers.git import Heads
from godploy.drivers.logtext import clean
from godploy.errors import Unauthorized

logger = logging.getLogger(__name__)

_BRANCHES, _TAGS = "refs/heads/", "refs/tags/"
_USUAL = ("main", "master")  # which of several first branches is meant to be the default
# In this order: everything is hidden, which means refused to a push, then what people push to is not.
_HIDDEN = ("refs", "!refs/heads", "!refs/tags")


@dataclass(slots=True)
class Push:
    """One push under way. `received` once what it updated is committed as deliveries."""

    id: str
    repository: Repository
    actor: str
    received: asyncio.Event = field(default_factory=asyncio.Event)


class Pushes:
    """The pushes under way, by the tokens of their hooks; and the place where git finds the hook and the hook us."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._under_way: dict[str, Push] = {}
        self._tokens: dict[str, str] = {}
        data = services.settings.data
        self.hooks = data / "hooks"
        self.socket = data / "run" / "hook.sock"

    @contextmanager
    def expected(self, repository: Repository, actor: str) -> Iterator[Push]:
        push, token = Push(new_id(), repository, actor), secrets.token_urlsafe(32)
        self._under_way[token] = push
        self._tokens[push.id] = token
        try:
            yield push
        finally:
            del self._under_way[token]
            del self._tokens[push.id]

    def claim(self, token: str) -> Push:
        """The push of a hook's token; each is good once. Raises Unauthorized."""
        push = self._under_way.get(token)
        if push is None or push.received.is_set():
            raise Unauthorized("there is no such push")
        return push

    def serving(self, push: Push) -> dict[str, str]:
        """The environment of `git http-backend` for it."""
        environment = self._services.git.serving(self.hooks)
        given = int(environment["GIT_CONFIG_COUNT"])
        for number, value in enumerate(_HIDDEN, start=given):
            environment[f"GIT_CONFIG_KEY_{number}"] = "receive.hideRefs"
            environment[f"GIT_CONFIG_VALUE_{number}"] = value
        return {
            **environment,
            "GIT_CONFIG_COUNT": str(given + len(_HIDDEN)),
            "GODPLOY_HOOK_SOCKET": str(self.socket),
            "GODPLOY_HOOK_TOKEN": self._tokens[push.id],
        }


PUSHES = web.AppKey("pushes", Pushes)


def build(services: Services, pushes: Pushes) -> web.Application:
    """The application behind the hook's socket."""
    app = web.Application()
    app[SERVICES] = services
    app[PUSHES] = pushes
    app.router.add_post("/push", pushed)
    return app


def install_hook(pushes: Pushes) -> None:
    """Writes the hook that git runs. Blocking; for the start."""
    resources.write_program(pushes.hooks / "post-receive", post_receive.__file__)


def bound_socket(path: Path) -> socket.socket:
    """A listening socket at `path` that only we may connect to. Blocking; for the start.

    The path of a socket has room for 107 bytes, so it is bound by way of its folder's descriptor.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        bound.bind(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)
    path.chmod(0o600)
    bound.setblocking(False)
    return bound


async def pushed(request: web.Request) -> web.StreamResponse:
    services, told = request.app[SERVICES], await request.json()
    try:
        push = request.app[PUSHES].claim(str(told.get("token", "")))
    except Unauthorized:
        return web.Response(status=401)
    heads = await services.git.heads(push.repository.id, None)
    updates = [update for update in told["updates"] if _is_update(update)]
    await _choose_default(services, push.repository, heads, updates)
    received = [await _receive(services, push, heads, number, update) for number, update in enumerate(updates)]
    push.received.set()
    response = web.StreamResponse(headers={"Content-Type": "text/plain; charset=utf-8"})
    await response.prepare(request)
    with suppress(ConnectionError):
        if await _tell(services, received, response):
            await response.write(b".\n")
        await response.write_eof()
    return response


def _is_update(update: Sequence[str]) -> bool:
    """Whether it is `old new ref` for a branch or a tag that can be deployed."""
    if len(update) != 3 or not all(is_commit(commit) for commit in update[:2]):
        return False
    ref = update[2]
    name = ref.removeprefix(_BRANCHES) if ref.startswith(_BRANCHES) else ref.removeprefix(_TAGS)
    return name != ref and is_branch(name)


async def _choose_default(
    services: Services, repository: Repository, heads: Heads, updates: Sequence[Sequence[str]]
) -> None:
    """The first branch pushed becomes the default one; of several at once, the usual name."""
    pushed = [ref.removeprefix(_BRANCHES) for _, _, ref in updates if ref.startswith(_BRANCHES)]
    there = [branch for branch in pushed if branch in heads.branches]
    if heads.default is None and there:
        chosen = next((name for name in _USUAL if name in there), there[0])
        await services.git.set_head(repository.id, chosen)


async def _receive(services: Services, push: Push, heads: Heads, number: int, update: Sequence[str]) -> Delivery:
    before, after, ref = update
    commit: str | None = None if set(after) == {"0"} else after
    if commit and ref.startswith(_TAGS):
        commit = heads.tags.get(ref.removeprefix(_TAGS), commit)  # an annotated tag leads to a commit in the end
    body: Mapping[str, object] = {
        "event": "push",
        "ref": ref,
        "commit": commit,
        "before": None if set(before) == {"0"} else before,
        "pusher": push.actor,
    }
    delivery, _ = await intake.receive(services, push.repository, "push", f"push:{push.id}:{number}", dict(body))
    return delivery


async def _tell(services: Services, received: Sequence[Delivery], response: web.StreamResponse) -> bool:
    """Writes what happens to the deliveries, as it does; whether that was all, or Godploy stops before."""
    stopping = asyncio.create_task(services.stopping.wait(), name="push: stopping")
    try:
        for delivery in received:
            async with aclosing(_lines(services, delivery)) as lines:
                while True:
                    upcoming = asyncio.ensure_future(_next(lines))
                    await asyncio.wait({upcoming, stopping}, return_when=asyncio.FIRST_COMPLETED)
                    if not upcoming.done():
                        upcoming.cancel()
                        await asyncio.gather(upcoming, return_exceptions=True)
                        return False
                    line = upcoming.result()
                    if line is None:
                        break
                    await response.write(f" {clean(line)}\n".encode(errors="replace"))
        return True
    finally:
        stopping.cancel()


async def _lines(services: Services, delivery: Delivery) -> AsyncGenerator[str, None]:
    said = cast(AsyncGenerator[str, None], follow.delivery(services, delivery.id))
    async with aclosing(said) as texts:
        async for text in texts:
            for line in text.splitlines() or [""]:
                yield line


async def _next(lines: AsyncIterator[str]) -> str | None:
    return await anext(lines, None)
