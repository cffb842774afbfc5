"""What the world changes behind Godploy's back is put right, each correction with its event, and nothing else."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

import pytest

from godploy.core.model import Deployment, State
from godploy.deploy import acts, reconcile
from godploy.runtimes.fake.world import Container, World
from godploy.runtimes.protocol import Ref
from godploy.store import deployments
from tests.deploy import shop
from tests.deploy.harness import Godploy, Hold
from tests.deploy.shop import manifest, web, worker


def _lose(world: World, workload: str, count: int = 1) -> None:
    for container in world.of(workload)[-count:]:
        del world.containers[workload, container.replica]


def _kill(world: World, workload: str) -> None:
    world.of(workload)[-1].state = "exited"


def _unname(world: World, workload: str) -> None:
    world.of(workload)[0].named = False


def _unpolicy(world: World, workload: str) -> None:
    world.of(workload)[0].policy = "no"


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda world, workload: _lose(world, workload, 2), "web: its containers were gone: made again"),
        (_lose, "web: 1 of its containers were gone: made again"),
        (_kill, "web: 1 of its containers did not run: started again"),
        (_unname, "web: its name or restart policy was off: put right"),
        (_unpolicy, "web: its name or restart policy was off: put right"),
    ],
)
async def test_what_is_missing_dead_or_off_is_put_right(
    it: Godploy, damage: Callable[[World, str], None], told: str
) -> None:
    await shop.deploy(it, manifest(web=web(replicas=2)))
    stack = await it.stack(await shop.repository(it))
    workload = await shop.running(it, "web", stack)
    addresses = [container.address for container in it.world.of(workload.id)]
    damage(it.world, workload.id)
    await reconcile.reconcile(it.services)
    assert await it.told("drift") == [told]
    there = it.world.of(workload.id)
    assert [container.address for container in there] == addresses  # the same ones, so the routes still hold
    assert all(container.running and container.promoted for container in there)
    assert it.edge.serves("web-shop.localhost") is not None
    await reconcile.reconcile(it.services)
    assert await it.told("drift") == [told]  # nothing is left to be put right


async def test_a_stopped_service_that_runs_is_stopped_again(it: Godploy) -> None:
    await shop.deploy(it, manifest(web=web()))
    stack = await it.stack(await shop.repository(it))
    await acts.stop(it.services, stack.environment, "web", "anna")
    workload = await shop.running(it, "web", stack)
    it.world.of(workload.id)[0].state = "running"
    await reconcile.reconcile(it.services)
    assert await it.told("drift") == ["web: was running although it is stopped: stopped again"]
    assert not it.world.of(workload.id)[0].running


async def test_a_stray_is_removed_and_what_others_made_is_not(it: Godploy) -> None:
    await shop.deploy(it, manifest(web=web()))
    kept = set(it.world.containers)
    stray = Ref("stray00", (await shop.production(it)).id, "nobody0", "web")
    it.world.containers["stray00", 1] = Container(stray, 1, "", "10.0.0.9", None, (), {}, False)
    await reconcile.reconcile(it.services)
    assert set(it.world.containers) == kept


async def test_what_has_drained_meanwhile_is_no_stray(it: Godploy, caplog: pytest.LogCaptureFixture) -> None:
    """It was seen before draining removed it and marked it as gone."""
    caplog.set_level("INFO", "godploy.deploy.reconcile")
    environment = (await shop.production(it)).id
    await it.supervisor.stop()  # the loop would take the stray away first
    drained, stray = (Ref(name, environment, "nobody0", "web") for name in ("drained0", "stray00"))
    for ref in (drained, stray):
        it.world.containers[ref.workload, 1] = Container(ref, 1, "", "10.0.0.9", None, (), {}, False)
    seen = await it.services.runtime.observe()
    del it.world.containers[drained.workload, 1]
    await reconcile.remove_strays(it.services, seen)
    assert not it.world.containers
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 1 and "stray00" in told[0]


@pytest.mark.parametrize("damage", ["changed", "gone"])
async def test_a_route_file_is_written_anew(it: Godploy, damage: str) -> None:
    await shop.deploy(it, manifest(web=web()))
    stack = await it.stack(await shop.repository(it))
    right = it.edge.files[stack.id]
    if damage == "gone":
        del it.edge.files[stack.id]
    else:
        it.edge.files[stack.id] = {"http": {}}
    await reconcile.reconcile(it.services)
    assert it.edge.files[stack.id] == right
    assert await it.told("drift") == ["the route file was not as it should be: written anew"]


async def test_an_event_of_the_engine_is_enough(it: Godploy) -> None:
    await shop.deploy(it, manifest(worker=worker()))
    workload = await shop.running(it, "worker", await it.stack(await shop.repository(it)))
    container = it.world.of(workload.id)[0]
    container.state = "exited"
    it.world.tell(container.ref)
    await it.until(lambda: container.running)


async def test_what_cannot_be_brought_back_is_told_and_does_not_hold_up_the_others(it: Godploy) -> None:
    """An image that somebody removed, one that no longer starts, a secret whose version is gone: each keeps its stack
    down, and only that; the loop goes on."""
    await shop.secret(it, deploy=False, KEY="a-long-value")
    first, second, third, last = [
        (await shop.deploy(it, files, name), await it.stack(await shop.repository(it, name)))[1]
        for name, files in {
            "first": manifest(a=web("app:1")),
            "second": manifest(b=web("app:2")),
            "third": manifest(c=web("app:3", secrets=["KEY"])),
            "last": manifest(d=web("db:1")),
        }.items()
    ]
    for stack, service in ((first, "a"), (second, "b"), (third, "c"), (last, "d")):
        _lose(it.world, (await shop.running(it, service, stack)).id)
    del it.world.images[it.world.tags["app:1"]]
    it.world.images[it.world.tags["app:2"]] = "exits"
    await it.services.store.write(lambda conn: conn.execute("DELETE FROM secret_version"))
    await reconcile.reconcile(it.services)
    told = await it.told("drift")
    assert [re.sub(":.*", "", text) for text in told] == ["a", "b", "c", "d"]
    assert told[0].startswith("a: could not be brought back") and "image" in told[0]
    assert told[1].startswith("b: could not be brought back")
    assert told[2].startswith("c: could not be brought back") and "KEY" in told[2]
    assert told[3] == "d: its containers were gone: made again"
    await reconcile.reconcile(it.services)
    assert await it.told("drift") == told  # the same trouble is told once


async def test_a_deployment_that_ended_meanwhile_is_not_started_over(it: Godploy) -> None:
    """The look at the world may be older than the release that became current since: what that runs is not touched."""
    await shop.deploy(it, manifest(other=web(routes=["auto"])), "other")
    await shop.deploy(it, manifest(web=web("app:1")))
    looking = asyncio.create_task(reconcile.reconcile(it.services))
    routing = Hold(it.world, "before endpoints", looking)  # the look has happened; the first stack's turn is not over
    await routing.reached.wait()
    await shop.deploy(it, manifest(web=web("app:2")))
    routing.release()
    await looking
    assert sum(line.startswith("create web") for line in it.world.history) == 2
    assert await it.told("drift") == []


async def test_between_start_and_switch_the_replaced_one_is_left_stopped(it: Godploy) -> None:
    """Two versions never work side by side, whenever the reconciler looks."""
    await shop.deploy(it, manifest(worker=worker("app:1"), web=web()))
    stack = await it.stack(await shop.repository(it))
    old = await shop.running(it, "worker", stack)
    it.edge.answers = lambda host: None  # it stays at the switch
    deployment = await shop.push(it, manifest(worker=worker("app:2"), web=web("app:2")))
    await it.until(lambda: _has_draft(it, deployment))
    await reconcile.reconcile(it.services)
    assert not it.world.of(old.id)[0].running
    it.edge.answers = it.edge.serves
    assert (await it.ended(deployment)).state is State.SUCCEEDED


async def _has_draft(it: Godploy, deployment: Deployment) -> bool:
    return (await it.read(deployments.get, deployment.id)).stage == "switch"


async def test_an_undoing_that_fails_is_tried_again_and_ends_nothing(it: Godploy) -> None:
    """The old one does not come back (its image is broken by now): the process lives, and goes on trying."""
    await shop.deploy(it, manifest(worker=worker("app:1")))
    stack = await it.stack(await shop.repository(it))
    old = await shop.running(it, "worker", stack)

    def breaks(*_: Any) -> int:
        it.world.images[old.specification["image"]] = "exits"
        return 1

    it.world.on_run = breaks
    failed = await shop.push(it, manifest(worker=worker("app:2", release_command="migrate")))
    assert (await it.ended(failed)).state is State.FAILED
    await reconcile.reconcile(it.services)
    it.world.images[old.specification["image"]] = "healthy"
    it.services.changes.ring("reconcile")
    await it.settled()
    assert it.world.of(old.id)[0].running
    assert await it.told("undone") == ["what was new is removed; the release before serves"]
