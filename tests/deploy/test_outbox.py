"""States are told to a repository's status address, signed, in order; trouble there changes no deployment."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from godploy.core.model import State
from godploy.deploy import acts, outbox
from godploy.drivers import http
from godploy.drivers.http import Unreachable
from godploy.runtimes.fake.world import World
from godploy.store import events
from tests.deploy.harness import Godploy, godploy


@dataclass
class Receiver:
    """A server elsewhere that is told."""

    base: str = ""
    answers: Callable[[dict[str, Any]], int] = lambda body: 204
    told: list[dict[str, Any]] = field(default_factory=list)
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    hanging: asyncio.Event = field(default_factory=asyncio.Event)

    async def hang(self, request: web.Request) -> web.Response:
        self.hanging.set()
        await asyncio.Event().wait()
        raise AssertionError

    async def handle(self, request: web.Request) -> web.Response:
        raw = await request.read()
        self.requests.append((dict(request.headers), raw))
        body = json.loads(raw)
        status = self.answers(body)
        if status < 300:
            self.told.append(body)
        return web.Response(status=status)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    it = Receiver()
    app = web.Application()
    app.router.add_post("/status", it.handle)
    app.router.add_post("/hangs", it.hang)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    it.base = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield it
    await runner.cleanup()


async def pushed(it: Godploy, receiver: Receiver, name: str = "shop", path: str = "status") -> str:
    """A repository with a status address, deployed; its hook secret."""
    project = await it.project()
    address = f"{receiver.base}/{path}"
    made, secret = await acts.create_repository(it.services, project, name, None, "godploy.yaml", address)
    secret = secret or await acts.rotate_hook_secret(it.services, made)
    manifest = f"version: 1\nservices: {{{name}: {{build: {{}}, port: 80}}}}\n"
    await it.push(made, it.commit(made, {"Dockerfile": "FROM scratch\n", "godploy.yaml": manifest}))
    await it.settled()
    return secret


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


async def test_the_states_are_told_signed(receiver: Receiver, tmp_path: Path) -> None:
    async with godploy(tmp_path, World(), private_bases=(receiver.base,)) as it:
        secret = await pushed(it, receiver)
        await until(lambda: bool(receiver.told) and receiver.told[-1]["state"] == "succeeded")
        told, newest = receiver.told[-1], await it.newest()
        assert (told["project"], told["environment"], told["commit"]) == ("shop", "production", newest.commit)
        assert told["description"] == newest.result and told["url"].endswith(f"/deployments/{newest.id}")
    headers, raw = receiver.requests[-1]
    signed = headers["X-Godploy-Timestamp"].encode() + b"." + raw
    wanted = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    assert headers["X-Godploy-Signature-256"] == f"sha256={wanted}"


async def test_a_final_state_overtakes_one_that_could_not_be_told(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "_FIRST_WAIT", 0.05)
    receiver.answers = lambda body: 500 if len(receiver.requests) < 4 else 204
    async with godploy(tmp_path, World(), private_bases=(receiver.base,)) as it:
        await pushed(it, receiver)
        assert (await it.newest()).state is State.SUCCEEDED
        await until(lambda: bool(receiver.told))
    assert [body["state"] for body in receiver.told] == ["succeeded"]


async def test_an_address_that_hangs_delays_its_own_repository_alone(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "_TIMEOUT", 60.0)
    async with godploy(tmp_path, World(), private_bases=(receiver.base,)) as it:
        await pushed(it, receiver, "slow", "hangs")
        async with asyncio.timeout(10):
            await receiver.hanging.wait()
        await pushed(it, receiver, "quick")
        await until(lambda: bool(receiver.told) and receiver.told[-1]["state"] == "succeeded")


async def test_it_is_given_up_visibly(receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "_FIRST_WAIT", 0.01)
    monkeypatch.setattr(outbox, "_LONGEST_WAIT", 0.01)
    receiver.answers = lambda body: 404
    async with godploy(tmp_path, World(), private_bases=(receiver.base,)) as it:
        await pushed(it, receiver)
        stack = await it.stack(await it.repository(await it.project()))
        async with asyncio.timeout(10):
            while not (given_up := await it.services.store.read(lambda conn: _given_up(conn, stack.id))):
                it.services.changes.ring("outbox")
                await asyncio.sleep(0.01)
        assert "it answered 404" in given_up[0]
        assert (await it.newest()).state is State.SUCCEEDED


def _given_up(conn: Any, stack: str) -> list[str]:
    told = events.newest(conn, "outbox", stack, None)
    return [told.message] if told else []


async def test_a_name_that_leads_inside_is_refused(receiver: Receiver) -> None:
    from godploy.core.remote import Remote

    port = int(receiver.base.rpartition(":")[2])
    target = Remote(f"http://localhost:{port}/status", "http", "localhost", port, "/status", private=False)
    with pytest.raises(Unreachable, match="not a public address"):
        await http.post(target, b"{}", {}, 5)
    assert not receiver.requests
