"""A new version on trial: it recovers and then waits, and begins nothing. That the version before finds
what it can go on with is among the crashes."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from godploy.core.model import State
from godploy.deploy import trial
from godploy.runtimes.fake.world import World
from tests.deploy import shop
from tests.deploy.harness import Edge, Godploy, git, godploy


def everything(conn: Any) -> dict[str, list[tuple[Any, ...]]]:
    tables = [row[0] for row in conn.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    return {table: [tuple(row) for row in conn.execute(f"SELECT * FROM {table}")] for table in sorted(tables)}


async def proven(it: Godploy) -> None:
    await it.until(lambda: it.services.trial.proven)


async def test_nothing_is_begun_until_it_is_over_and_catch_up_finds_what_was_pushed(
    tmp_path: Path, world: World
) -> None:
    edge = Edge(world)
    async with godploy(tmp_path, world, edge) as it:
        await shop.deploy(it, shop.manifest(web=shop.web("app:1")))
        repository = await shop.repository(it)
        fresh = it.commit(repository, shop.manifest(web=shop.web("app:2")))
        git(it.services.git.directory(repository.id), "update-ref", "refs/heads/main", fresh)
    (tmp_path / trial.MARK).touch()
    async with godploy(tmp_path, world, edge) as it:
        before = await it.read(everything)
        await proven(it)
        for topic in ("intake", "worker", "poller", "outbox", "reconcile", "drains", "retention"):
            it.services.changes.ring(topic)
        for _ in range(50):
            await asyncio.sleep(0.002)
        assert await it.read(everything) == before
        assert shop.served_image(it) == world.tags["app:1"]
        assert not it.services.ready.is_set()
        assert await it.services.trial.end()
        await it.until(lambda: it.services.ready.is_set())
        await it.settled()
        assert shop.served_image(it) == world.tags["app:2"]
    assert not (tmp_path / trial.MARK).exists()


async def test_it_ends_by_itself_when_nobody_asks(
    tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "PATIENCE", 0.01)
    tmp_path.joinpath(trial.MARK).touch()
    async with godploy(tmp_path, world) as it:
        await it.until(it.services.ready.is_set)
        assert not (tmp_path / trial.MARK).exists()
        assert (await shop.deploy(it, shop.manifest(web=shop.web()))).state is State.SUCCEEDED


async def test_it_goes_on_when_it_is_started_again(tmp_path: Path, world: World) -> None:
    tmp_path.joinpath(trial.MARK).touch()
    for _ in range(2):
        async with godploy(tmp_path, world) as it:
            await proven(it)
            assert it.services.trial.on
