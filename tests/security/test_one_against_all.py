"""What one project does, by a push or a manifest, ends nobody else's service: the process and its loops go on."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from godploy.core.model import State
from godploy.deploy import poller, watch
from godploy.drivers.git_program import GitError
from godploy.drivers.process import TooMuchOutput
from godploy.runtimes.fake.world import World
from godploy.runtimes.protocol import Ref
from tests.deploy import shop
from tests.deploy.harness import Godploy, git, godploy
from tests.deploy.shop import manifest, web

# git takes all of these as names of branches; some of them are ends of lines, or spaces, to Python
NAMES = ["a\u2028b", "a\x85b", "a\u2003b", "a\u00a0b", "a\x9b31mb", "a\u202eb", "-x", "a\u2029", "\u3000"]


async def test_a_name_that_only_git_likes_hides_no_other_branch(it: Godploy) -> None:
    repository = await it.repository(await it.project())
    commit = it.commit(repository, manifest(web=web()))
    directory = it.services.git.directory(repository.id)
    for name in NAMES:
        git(directory, "update-ref", f"refs/heads/{name}", commit)
        git(directory, "update-ref", f"refs/tags/{name}", commit)
    heads = await it.services.git.heads(repository.id, None)
    assert heads.branches == {}
    await it.push(repository, commit)
    await it.settled()
    assert (await it.newest()).state is State.SUCCEEDED
    assert not it.supervisor.died.is_set()


async def test_environments_of_one_manifest_cannot_use_up_the_process(tmp_path: Path, world: World) -> None:
    async with godploy(tmp_path, world, pool="10.99.0.0/24") as it:
        greedy, modest = await it.project("greedy"), await it.project("modest")
        many: dict[str, Any] = {f"e{number}": {} for number in range(6)}
        repository = await it.repository(greedy, "greedy")
        delivery = await it.push(repository, it.commit(repository, manifest(many, web=web())))
        assert "has no free network" in await it.decided(delivery)
        other = await it.repository(modest, "modest")
        refused = await it.push(other, it.commit(other, manifest(web=web())))
        assert await it.decided(refused)
        assert not it.supervisor.died.is_set(), it.supervisor.reason


@pytest.mark.parametrize("trouble", [TimeoutError(), TooMuchOutput("refs"), ValueError("odd"), GitError("git_failed")])
async def test_a_repository_that_cannot_be_looked_at_ends_no_loop(
    it: Godploy, monkeypatch: pytest.MonkeyPatch, trouble: Exception
) -> None:
    await shop.deploy(it, manifest(web=web()))
    asked = asyncio.Event()

    async def fails(*_: object) -> None:
        asked.set()
        raise trouble

    monkeypatch.setattr(poller, "catch_up", fails)
    it.services.changes.ring("poller")
    async with asyncio.timeout(20):
        await asked.wait()
    asked.clear()
    it.services.changes.ring("poller")
    async with asyncio.timeout(20):
        while not asked.is_set():
            it.services.changes.ring("poller")
            await asyncio.sleep(0.01)
    assert not it.supervisor.died.is_set(), it.supervisor.reason


@pytest.mark.parametrize("trouble", [TimeoutError(), GitError("git_failed", detail="odd")])
async def test_a_repository_that_cannot_be_packed_ends_no_loop(
    it: Godploy, monkeypatch: pytest.MonkeyPatch, trouble: Exception
) -> None:
    asked: list[str] = []

    async def fails(repository: str, *_: object) -> None:
        asked.append(repository)
        raise trouble

    for name in ("one", "two"):
        for number in range(7):  # more than are kept, so that something is let go
            await shop.deploy(it, manifest(**{name: web(env={"N": str(number)})}), name)
            if number == 5:
                monkeypatch.setattr(it.services.git, "tidy", fails)
    await it.until(lambda: len(set(asked)) == 2 or it.services.changes.ring("retention"))
    assert not it.supervisor.died.is_set(), it.supervisor.reason


async def test_a_health_check_that_hangs_holds_up_no_others(it: Godploy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "_TICK", 0.01)
    monkeypatch.setattr(watch, "_LOOK_EVERY", 0.01)
    health = {"path": "/", "interval": "1s", "failures": 1}
    await shop.deploy(it, manifest(hangs=web(health=health)), "hangs")
    await shop.deploy(it, manifest(other=web(health=health)), "other")
    asked: dict[str, int] = {}

    async def check(ref: Ref, *_: object) -> bool:
        asked[ref.service] = asked.get(ref.service, 0) + 1
        if ref.service == "hangs":
            await asyncio.Event().wait()
        return True

    monkeypatch.setattr(it.services.runtime, "check", check)
    await it.until(lambda: asked.get("hangs") == 1 and asked.get("other", 0) >= 2)
    assert asked["hangs"] == 1
