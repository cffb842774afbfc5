"""What runs between deployments: stopped and started services, replacing and scaling, drains, and the health watch."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from godploy.core.model import Stack, State, WorkloadState
from godploy.deploy import acts, draining, status, watch
from godploy.errors import Conflict, NotFound
from godploy.runtimes.fake.world import World
from godploy.store import releases
from tests.deploy import shop
from tests.deploy.harness import Edge, Godploy, Hold, godploy
from tests.deploy.shop import manifest, web, worker

HOST = "web-shop.localhost"


async def the_stack(it: Godploy) -> Stack:
    return await it.stack(await shop.repository(it))


async def state(it: Godploy, service: str) -> str:
    found = await status.services(it.services, await it.project())
    return next(each.state for each in found if each.service == service)


# Stop and start


async def test_stop_and_start(it: Godploy) -> None:
    await shop.deploy(it, manifest(web=web(), worker=worker()))
    stack = await the_stack(it)
    workload = await shop.running(it, "web", stack)
    await acts.stop(it.services, stack.environment, "web", "anna")
    assert not it.world.of(workload.id)[0].running and it.edge.serves(HOST) is None
    assert (await state(it, "web"), await state(it, "worker")) == ("stopped", "running")
    await acts.start(it.services, stack.environment, "web", "anna")
    assert it.world.of(workload.id)[0].running and it.edge.serves(HOST) is not None
    assert await it.told("stopped") + await it.told("started") == ["web stopped by anna", "web started by anna"]
    with pytest.raises(NotFound, match="there is no service nobody"):
        await acts.stop(it.services, stack.environment, "nobody", "anna")


async def test_a_push_to_a_stopped_service_is_recorded_and_leaves_it_stopped(it: Godploy) -> None:
    await shop.deploy(it, manifest(web=web("app:1"), worker=worker("app:1")))
    stack = await the_stack(it)
    await acts.stop(it.services, stack.environment, "web", "anna")
    done = await shop.deploy(it, manifest(web=web("app:2"), worker=worker("app:1")))
    assert done.state is State.SUCCEEDED and "web: is stopped and stays so" in await it.log(done)
    workload = await shop.running(it, "web", stack)
    assert it.world.of(workload.id) == [] and await state(it, "web") == "stopped"
    await acts.start(it.services, stack.environment, "web", "anna")
    assert shop.served_image(it) == it.world.tags["app:2"]


async def test_what_does_not_become_healthy_stays_stopped(it: Godploy) -> None:
    await shop.deploy(it, manifest(web=web()))
    stack = await the_stack(it)
    workload = await shop.running(it, "web", stack)
    await acts.stop(it.services, stack.environment, "web", "anna")
    it.world.images[workload.specification["image"]] = "exits"
    with pytest.raises(Conflict, match="did not become healthy"):
        await acts.start(it.services, stack.environment, "web", "anna")
    assert await state(it, "web") == "stopped" and not it.world.of(workload.id)[0].running


@pytest.mark.parametrize("act", [acts.stop, acts.start])
async def test_while_containers_change_nobody_stops_or_starts(it: Godploy, act: Any) -> None:
    await shop.deploy(it, manifest(web=web("app:1")))
    stack = await the_stack(it)
    starting = Hold(it.world, "before start")
    deployment = await shop.push(it, manifest(web=web("app:2")))
    await starting.reached.wait()
    with pytest.raises(Conflict, match="a deployment is changing this stack now"):
        await act(it.services, stack.environment, "web", "anna")
    starting.release()
    assert (await it.ended(deployment)).state is State.SUCCEEDED


async def test_a_stop_that_had_to_wait_stops_what_runs_by_then(it: Godploy) -> None:
    """The stack's lock may be held by something short (a look of the reconciler) while a release goes live."""
    await shop.deploy(it, manifest(web=web("app:1")))
    stack = await the_stack(it)
    async with it.services.locks.stack(stack.id):
        deployment = await shop.push(it, manifest(web=web("app:2")))
        stopping = asyncio.ensure_future(acts.stop(it.services, stack.environment, "web", "anna"))
        await asyncio.sleep(0.05)  # both wait for the lock; whoever is first, the end is the same
    try:
        await stopping
        assert not [container for container in it.world.containers.values() if container.running]
    except Conflict:
        assert (await it.ended(deployment)).state is State.SUCCEEDED
    await it.settled()


# Replacing and scaling


async def test_what_is_replaced_comes_last_and_stops_first(it: Godploy) -> None:
    database = {"image": "db:1", "port": 5432, "volumes": ["data:/data"], "deploy": {"drain": "0s"}}
    await shop.deploy(it, manifest(web=web("app:1"), worker=worker("app:1"), db={**database, "env": {"A": "1"}}))
    seen = len(it.world.history)
    await shop.deploy(it, manifest(web=web("app:2"), worker=worker("app:2"), db={**database, "env": {"A": "2"}}))
    steps = [" ".join(line.split()[:2]) for line in it.world.history[seen:]]
    order = [step for step in steps if step.split()[0] in ("create", "stop")][:6]
    assert order[0] == "create web"
    for service in ("worker", "db"):
        assert order.index(f"stop {service}") < order.index(f"create {service}")


async def test_what_was_stopped_to_make_room_comes_back_in_reverse_order(it: Godploy) -> None:
    await shop.deploy(it, manifest(web=web("app:1"), first=worker("app:1"), second=worker("app:1")))
    seen = len(it.world.history)
    failed = await shop.deploy(
        it, manifest(web=web("app:2"), first=worker("app:2"), second=worker("broken:1", depends_on=["first"]))
    )
    assert failed.state is State.FAILED
    steps = [" ".join(line.split()[:2]) for line in it.world.history[seen:]]
    assert [step for step in steps if step.startswith("resume")] == ["resume second", "resume first"]
    assert {container.image for container in it.world.containers.values()} == {it.world.tags["app:1"]}
    assert all(container.running and container.promoted for container in it.world.containers.values())


async def test_only_replicas_changed_keeps_the_workload(it: Godploy) -> None:
    await shop.deploy(it, manifest(web=web()))
    stack = await the_stack(it)
    workload = await shop.running(it, "web", stack)
    await shop.deploy(it, manifest(web=web(replicas=3)))
    assert (await shop.running(it, "web", stack)).id == workload.id
    assert [container.replica for container in it.world.of(workload.id)] == [1, 2, 3]
    await shop.deploy(it, manifest(web=web(replicas=2)))
    await it.until(lambda: len(it.world.of(workload.id)) == 2)
    assert (await shop.current(it, stack)).services[0].replicas == 2


async def test_further_containers_that_fail_are_removed_again(it: Godploy) -> None:
    await shop.deploy(it, manifest(web=web()))
    stack = await the_stack(it)
    workload = await shop.running(it, "web", stack)
    it.world.images[workload.specification["image"]] = "never_listens"
    failed = await shop.push(it, manifest(web=web(replicas=3)))
    assert (await it.ended(failed)).state is State.FAILED
    it.world.images[workload.specification["image"]] = "healthy"
    await it.settled()
    assert [container.replica for container in it.world.of(workload.id)] == [1]
    assert (await shop.running(it, "web", stack)).replicas == 1


# Drains


async def test_a_drain_goes_on_over_a_restart(tmp_path: Path, world: World) -> None:
    edge, slow = Edge(world), {"drain": "60s"}
    async with godploy(tmp_path, world, edge) as it:
        await shop.deploy(it, manifest(web=web("app:1", deploy=slow)))
        old = await shop.running(it, "web", await the_stack(it))
        done = await it.ended(await shop.push(it, manifest(web=web("app:2", deploy=slow))))
        assert done.state is State.SUCCEEDED and it.world.of(old.id)[0].running
        assert shop.served_image(it) == world.tags["app:2"]
    async with godploy(tmp_path, world, edge) as it:
        await it.until(it.services.ready.is_set)
        wait = await draining.retire_due(it.services)
        assert it.world.of(old.id)[0].running and 0 < wait <= 60
        left = (await it.read(releases.workload, old.id)).drain_until
        assert left is not None and left <= time.time() + 60
        await it.services.store.write(lambda conn: releases.set_draining(conn, old.id, time.time() - 1))
        it.services.changes.ring("drains")
        await it.settled()
        assert it.world.of(old.id) == []
        assert (await it.read(releases.workload, old.id)).state is WorkloadState.GONE
    retired = [line.split()[0] for line in world.history if old.id in line][-3:]
    assert retired == ["demote", "stop", "remove"]


async def test_surplus_that_cannot_be_taken_away_is_tried_again(it: Godploy, caplog: pytest.LogCaptureFixture) -> None:
    """Somebody removed the containers by hand, and the image is broken by now."""
    slow = {"drain": "60s"}
    await shop.deploy(it, manifest(web=web(replicas=2, deploy=slow)))
    await it.ended(await shop.push(it, manifest(web=web(replicas=1, deploy=slow))))
    stack = await the_stack(it)
    workload = await shop.running(it, "web", stack)
    image = workload.specification["image"]
    async with it.services.locks.stack(stack.id):  # the reconciler looks elsewhere
        it.world.containers.clear()
        it.world.images[image] = "exits"
    await it.services.store.write(lambda conn: conn.execute("UPDATE release SET created_at = 0"))
    it.services.changes.ring("drains")
    await it.until(lambda: "draining: exited" in caplog.text)
    assert not it.supervisor.died.is_set()
    it.world.images[image] = "healthy"
    await it.settled()
    assert [container.replica for container in it.world.of(workload.id)] == [1]


# The health watch


@pytest.fixture
def _watchful(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "_TICK", 0.01)
    monkeypatch.setattr(watch, "_LOOK_EVERY", 0.0)


def watched(**more: Any) -> dict[str, Any]:
    return web(health={"interval": "1s", "failures": 1, "timeout": "1s"}, **more)


@pytest.mark.usefixtures("_watchful")
async def test_one_of_two_leaves_the_pool_and_returns(it: Godploy, monkeypatch: pytest.MonkeyPatch) -> None:
    await shop.deploy(it, manifest(web=watched(replicas=2)))
    ill: set[int] = {2}
    check = it.services.runtime.check

    async def ask(ref: Any, replica: int, *more: Any) -> bool:
        return replica not in ill and await check(ref, replica, *more)

    monkeypatch.setattr(it.services.runtime, "check", ask)
    await it.until(lambda: it.told("health"))
    await it.until(lambda: _pool(it) == 1)
    assert await state(it, "web") == "degraded"
    ill.clear()
    await it.until(lambda: _pool(it) == 2)
    assert await state(it, "web") == "running"
    assert await it.told("health") == [
        "web: replica 2 does not answer its health check",
        "web: replica 2 answers again",
    ]


@pytest.mark.usefixtures("_watchful")
async def test_the_last_one_stays_in_the_pool_and_is_not_called_healthy(
    it: Godploy, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.deploy(it, manifest(web=watched()))

    async def ask(*_: Any) -> bool:
        return False

    monkeypatch.setattr(it.services.runtime, "check", ask)
    await it.until(lambda: it.told("health"))
    await it.until(lambda: _is(it, "degraded"))
    assert _pool(it) == 1
    assert await it.told("health") == ["web: replica 1 does not answer its health check"]


async def _is(it: Godploy, wanted: str) -> bool:
    return await state(it, "web") == wanted


def _pool(it: Godploy) -> int:
    """How many servers the route file of the only stack has."""
    (config,) = it.edge.files.values()
    return sum(len(each["loadBalancer"]["servers"]) for each in config["http"]["services"].values())
