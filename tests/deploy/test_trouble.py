"""The engine is down, the disk is full, Godploy is stopped: what was accepted is kept, what runs is left alone, and the
process lives on."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from godploy import bootstrap
from godploy.core.model import State
from godploy.core.naming import new_id
from godploy.deploy import intake, recovery, retention, worker
from godploy.errors import Conflict, Unavailable
from godploy.runtimes.fake.runtime import Fake
from godploy.runtimes.fake.world import World
from godploy.settings import Settings
from godploy.store import deployments
from tests.deploy import shop
from tests.deploy.harness import Edge, Godploy, Hold, Steps, git, godploy
from tests.deploy.shop import built, manifest, web

BUILT: dict[str, Any] = {"build": {}, "port": 8000, "deploy": {"drain": "0s"}, "release_command": "migrate"}


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tried again is tried at once."""
    monkeypatch.setattr(worker, "_LOOK_EVERY", 0.01)
    monkeypatch.setattr(recovery, "_RETRY_EVERY", 0.01)
    monkeypatch.setattr(intake, "_AFTER_TROUBLE", 0.01)


# The engine


@pytest.mark.parametrize(
    "moment",
    [
        "before images",
        "before build",
        "before ensure_network",
        "before run_once",
        "before start",
        "after create",
        "before promote",
        "before endpoints",
    ],
)
async def test_an_engine_that_goes_down_fails_the_deployment_and_is_cleaned_up_later(it: Godploy, moment: str) -> None:
    await shop.deploy(it, built("one", web=BUILT))
    stack = await it.stack(await shop.repository(it))
    before = await shop.current(it, stack)
    held = Hold(it.world, moment)
    deployment = await shop.push(it, built("two", web=BUILT))
    await held.reached.wait()
    it.world.down = True
    held.release()
    failed = await it.ended(deployment)
    assert failed.state is State.FAILED and failed.error is not None and failed.error["code"] == "engine_down"
    it.world.down = False
    await it.settled()
    assert (await shop.current(it, stack)).id == before.id
    assert it.edge.serves("web-shop.localhost") == (before.id, before.services[0].workload)
    assert (await shop.deploy(it, built("three", web=BUILT))).state is State.SUCCEEDED


async def test_with_the_engine_down_at_start_deliveries_are_taken(tmp_path: Path, world: World) -> None:
    world.down = True
    async with godploy(tmp_path, world) as it:
        deployment = await shop.push(it, manifest(web=web()))
        assert (await it.read(deployments.get, deployment.id)).state is State.QUEUED
        assert not it.services.ready.is_set()
        world.down = False
        assert (await it.ended(deployment)).state is State.SUCCEEDED


# The disk


@pytest.mark.parametrize("moment", ["before images", "before build", "before start", "after create", "after promote"])
async def test_a_full_disk_fails_the_deployment_and_nothing_is_lost(it: Godploy, moment: str) -> None:
    await shop.deploy(it, built("one", web=BUILT))
    stack = await it.stack(await shop.repository(it))
    before = await shop.current(it, stack)
    held = Hold(it.world, moment)
    deployment = await shop.push(it, built("two", web=BUILT))
    await held.reached.wait()
    it.disk.full = True
    held.release()
    await it.until(lambda: _says(it, deployment, "the disk is full"))
    with pytest.raises(Unavailable):
        await intake.receive(it.services, await shop.repository(it), "hook", new_id(), {})  # nobody is told 202
    it.disk.full = False
    failed = await it.ended(deployment)
    assert failed.state is State.FAILED and failed.error is not None and "disk is full" in failed.error["message"]
    await it.settled()
    assert it.edge.serves("web-shop.localhost") == (before.id, before.services[0].workload)
    assert not it.supervisor.died.is_set()


async def test_what_was_accepted_before_the_disk_was_full_is_decided_afterwards(
    it: Godploy, caplog: pytest.LogCaptureFixture
) -> None:
    repository = await shop.repository(it)
    with pytest.MonkeyPatch.context() as accepted_only:
        accepted_only.setattr(it.services.changes, "ring", lambda *_: None)
        delivery = await it.push(repository, it.commit(repository, manifest(web=web())))
        it.disk.full = True
    it.services.changes.ring("intake")
    await it.until(lambda: "undecided" in caplog.text)
    it.disk.full = False
    it.services.changes.ring("intake")
    assert "deploys to production" in await it.decided(delivery)
    await it.settled()
    assert (await it.newest()).state is State.SUCCEEDED


async def test_the_poller_outlives_a_full_disk(it: Godploy, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    repository = await shop.repository(it)
    sha = it.commit(repository, manifest(web=web()))
    git(it.services.git.directory(repository.id), "update-ref", "refs/heads/main", sha)
    it.disk.full = True
    it.services.changes.ring("poller")
    await it.until(lambda: "the disk is full" in caplog.text)
    it.disk.full = False
    it.services.changes.ring("poller")
    await it.settled()
    assert (await it.newest()).commit == sha


async def test_recovery_waits_for_a_full_disk(tmp_path: Path, world: World, caplog: pytest.LogCaptureFixture) -> None:
    edge, steps = Edge(world), Steps()
    async with godploy(tmp_path, world, edge, steps) as it:
        starting = Hold(world, "before start")
        deployment = await shop.push(it, manifest(web=web()))
        await starting.reached.wait()
        steps.dead.set()  # a crash: it stays running in the database
    async with godploy(tmp_path, world, edge, full=True) as it:
        await it.until(lambda: "recovery waits" in caplog.text)
        assert not it.services.ready.is_set() and not it.supervisor.died.is_set()
        it.disk.full = False
        assert (await it.ended(deployment)).state is State.SUCCEEDED


async def test_a_stop_does_not_wait_for_the_disk(tmp_path: Path, world: World) -> None:
    edge = Edge(world)
    async with godploy(tmp_path, world, edge) as it:
        starting = Hold(world, "before start")
        deployment = await shop.push(it, manifest(web=web()))
        await starting.reached.wait()
        it.disk.full = True
        starting.release()
        await it.until(lambda: _says(it, deployment, "the disk is full"))
    async with godploy(tmp_path, world, edge) as it:
        assert (await it.ended(deployment)).state is State.SUCCEEDED  # it was interrupted, and had its second attempt


# The process


@pytest.mark.parametrize("moment", ["before build", "before start", "after create", "before run_once"])
async def test_a_stop_puts_it_back_into_the_queue_and_the_next_start_finishes_it(
    tmp_path: Path, world: World, moment: str
) -> None:
    edge = Edge(world)
    async with godploy(tmp_path, world, edge) as it:
        held = Hold(world, moment)
        deployment = await shop.push(it, built("one", web=BUILT))
        await held.reached.wait()
    assert not world.containers  # nothing half-made is left while Godploy is down
    async with godploy(tmp_path, world, edge) as it:
        done = await it.ended(deployment)
        assert (done.state, done.attempt) == (State.SUCCEEDED, 2)
        assert "Godploy stops; the deployment goes on when it is started again" in await it.log(deployment)
        assert len(await it.deployments()) == 1
        await it.settled()


async def test_a_data_directory_has_one_godploy(tmp_path: Path, world: World) -> None:
    async with godploy(tmp_path, world):
        with pytest.raises(Conflict, match="another Godploy works with") as raised:
            async with bootstrap.application(Settings(data=tmp_path), runtime=Fake(world)):
                pass
        assert raised.value.next_step
    async with godploy(tmp_path, world) as it:  # the lock is free again
        assert (await shop.deploy(it, manifest(web=web()))).state is State.SUCCEEDED


async def test_a_loop_that_dies_ends_the_process(it: Godploy, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: Any) -> None:
        raise RuntimeError("a bug")

    await it.until(it.services.ready.is_set)
    monkeypatch.setattr(retention, "tidy", broken)
    it.services.changes.ring("retention")
    async with asyncio.timeout(5):
        await it.supervisor.died.wait()
    assert it.supervisor.reason == "the loop retention ended: RuntimeError('a bug')"


async def test_a_log_that_cannot_be_opened_fails_its_deployment_alone(
    it: Godploy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise OSError("a bad disk")

    monkeypatch.setattr(it.services.logbook, "open", broken)
    deployment = await shop.push(it, manifest(web=web()))
    await it.until(lambda: _is_final(it, deployment))
    monkeypatch.undo()
    assert not it.supervisor.died.is_set()
    assert (await shop.deploy(it, manifest(web=web("app:2")))).state is State.SUCCEEDED


async def test_a_generated_password_never_reaches_the_log(it: Godploy) -> None:
    """It came into being after the log was opened."""
    it.world.add_image("postgres:16")
    seen: list[str] = []

    def on_run(launch: Any, argv: Any, log: Any) -> int:
        seen.append(launch.env["DATABASE_URL"])
        log(f"connecting to {launch.env['DATABASE_URL']}")
        return 0

    it.world.on_run = on_run
    app = web(env={"DATABASE_URL": "${services.db.url}"}, release_command="migrate", depends_on=["db"])
    done = await shop.deploy(it, manifest(web=app, db={"template": "postgres", "parameters": {"version": "16"}}))
    assert done.state is State.SUCCEEDED, done.error
    password = seen[0].partition("://")[2].partition(":")[2].partition("@")[0]
    log = await it.log(done)
    assert len(password) >= 16 and password not in log and "connecting to postgresql://" in log and "•••" in log


async def _says(it: Godploy, deployment: Any, text: str) -> bool:
    return text in await it.log(deployment)


async def _is_final(it: Godploy, deployment: Any) -> bool:
    return (await it.read(deployments.get, deployment.id)).state.final
