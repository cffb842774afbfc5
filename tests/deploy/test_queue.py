"""Who runs when: newest wins, one at a time for each stack, oldest first among stacks; and how each is ended."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from godploy.core.model import Kind, Stage, State
from godploy.deploy import acts, follow, switching
from godploy.deploy import worker as worker_loop
from godploy.errors import Conflict
from godploy.runtimes.fake.world import HEALTHY
from godploy.store import deployments
from tests.deploy import shop
from tests.deploy.harness import Godploy, Hold
from tests.deploy.shop import built, manifest, web, worker

BUILT: dict[str, Any] = {"build": {}, "port": 8000, "deploy": {"drain": "0s"}}


async def test_a_newer_push_ends_a_build(it: Godploy) -> None:
    building = Hold(it.world, "before build")
    old = await shop.push(it, built("one", web=BUILT))
    await building.reached.wait()
    new = await shop.push(it, built("two", web=BUILT))
    ended = await it.ended(old)  # nobody lets the build go on: it is cancelled
    assert (ended.state, ended.stage) == (State.SUPERSEDED, Stage.BUILD)
    assert ended.result == f"superseded by {(new.commit or '')[:7]}"
    assert (await it.ended(new)).state is State.SUCCEEDED


async def test_from_start_on_a_deployment_finishes_first(it: Godploy) -> None:
    starting = Hold(it.world, "before start")
    old = await shop.push(it, manifest(web=web("app:1")))
    await starting.reached.wait()
    new = await shop.push(it, manifest(web=web("app:2")))
    assert (await it.read(deployments.get, new.id)).state is State.QUEUED
    starting.release()
    assert (await it.ended(old)).state is State.SUCCEEDED
    assert (await it.ended(new)).state is State.SUCCEEDED
    await it.settled()
    assert shop.served_image(it) == it.world.tags["app:2"]


async def test_of_waiting_pushes_only_the_newest_stays(it: Godploy) -> None:
    starting = Hold(it.world, "before start")
    first = await shop.push(it, manifest(web=web("app:1")))
    await starting.reached.wait()
    second = await shop.push(it, manifest(web=web("app:2")))
    third = await shop.push(it, manifest(web=web("app:3")))
    starting.release()
    states = [(await it.ended(each)).state for each in (first, second, third)]
    assert states == [State.SUCCEEDED, State.SUPERSEDED, State.SUCCEEDED]
    assert (await it.ended(second)).started_at is None


@pytest.mark.parametrize(
    ("moment", "stage"),
    [
        ("before images", Stage.PLAN),
        ("before build", Stage.BUILD),
        ("before start", Stage.START),
        ("after create", Stage.START),
        ("before run_once", Stage.START),
        ("after promote", Stage.START),
    ],
)
async def test_a_person_ends_it_at_any_moment_before_it_is_live(it: Godploy, moment: str, stage: Stage) -> None:
    await shop.deploy(it, built("one", web=BUILT, worker=worker()))
    stack = await it.stack(await shop.repository(it))
    before = await shop.current(it, stack)
    held = Hold(it.world, moment)
    files = built("two", web={**BUILT, "release_command": "migrate"}, worker=worker("app:2"))
    deployment = await shop.push(it, files)
    await held.reached.wait()
    await acts.cancel(it.services, deployment, "anna")
    ended = await it.ended(deployment)
    assert (ended.state, ended.stage, ended.result) == (State.CANCELLED, stage, "cancelled by anna")
    assert (await it.log(deployment)).endswith("cancelled by anna")
    await it.settled()
    assert (await shop.current(it, stack)).id == before.id
    assert {each.ref.workload for each in it.world.containers.values()} == {s.workload for s in before.services}
    with pytest.raises(Conflict, match="has ended already"):
        await acts.cancel(it.services, deployment, "anna")


async def test_a_person_ends_it_during_the_fetch(it: Godploy, monkeypatch: pytest.MonkeyPatch) -> None:
    fetching, never = asyncio.Event(), asyncio.Event()

    async def fetch(*_: Any) -> None:
        fetching.set()
        await never.wait()

    stack = await _with_a_release(it)
    monkeypatch.setattr(it.services.git, "fetch", fetch)
    deployment = await acts.deploy(it.services, stack, "anna")
    await fetching.wait()
    await acts.cancel(it.services, deployment, "anna")
    assert (await it.ended(deployment)).state is State.CANCELLED


async def test_a_person_ends_it_during_the_switch(it: Godploy) -> None:
    stack = await _with_a_release(it)
    before = await shop.current(it, stack)
    it.edge.answers = lambda host: None  # the proof never comes
    deployment = await shop.push(it, manifest(web=web("app:2")))
    await it.until(lambda: _at(it, deployment.id, Stage.SWITCH))
    await acts.cancel(it.services, deployment, "anna")
    assert (await it.ended(deployment)).state is State.CANCELLED
    it.edge.answers = it.edge.serves
    await it.settled()
    assert it.edge.serves("web-shop.localhost") == (before.id, before.services[0].workload)


async def test_a_person_ends_it_before_it_has_begun(it: Godploy) -> None:
    """Not even its log was open: nothing could be said, and yet it gets its final state and makes way for the next."""
    opening, never = asyncio.Event(), asyncio.Event()

    async def opens(*_: Any) -> Any:
        opening.set()
        await never.wait()

    with pytest.MonkeyPatch.context() as slow:
        slow.setattr(worker_loop, "open_job", opens)
        deployment = await shop.push(it, manifest(web=web("app:1")))
        await opening.wait()
    await acts.cancel(it.services, deployment, "anna")
    async with asyncio.timeout(20):
        ended = await follow.ended(it.services, deployment.id)
    assert (ended.state, ended.result) == (State.CANCELLED, "cancelled by anna")
    assert (await shop.deploy(it, manifest(web=web("app:2")))).state is State.SUCCEEDED


async def test_a_queued_one_is_cancelled_at_once(it: Godploy) -> None:
    starting = Hold(it.world, "before start")
    await shop.push(it, manifest(web=web("app:1")))
    await starting.reached.wait()
    waiting = await shop.push(it, manifest(web=web("app:2")))
    assert (await acts.cancel(it.services, waiting, "anna")).state is State.CANCELLED
    starting.release()
    await it.settled()
    assert shop.served_image(it) == it.world.tags["app:1"]


async def test_one_at_a_time_for_a_stack_and_side_by_side_for_others(it: Godploy) -> None:
    starting = Hold(it.world, "before start")
    held = await shop.push(it, manifest(web=web()))
    await starting.reached.wait()
    waiting = await acts.deploy(it.services, await it.stack(await shop.repository(it)), "anna")
    other = await shop.push(it, manifest(api=web()), "other")
    assert (await it.ended(other)).state is State.SUCCEEDED
    found = await it.read(deployments.get, waiting.id)
    assert found.state is State.QUEUED and await it.read(deployments.queue_position, found) == 1
    starting.release()
    assert [(await it.ended(each)).state for each in (held, waiting)] == [State.SUCCEEDED] * 2


async def test_builds_are_bounded_oldest_first(it: Godploy) -> None:
    building = Hold(it.world, "before build")
    order: list[str] = []

    def on_build(commands: Any, tag: str) -> str:
        order.append(tag.partition(":")[0][-1])  # the service's name is a letter
        return HEALTHY

    it.world.on_build = on_build
    first = await shop.push(it, built("a", a=BUILT), "a")
    await building.reached.wait()
    others = []
    for name in ("b", "c"):
        others.append(await shop.push(it, built(name, **{name: BUILT}), name))
        await it.until(lambda: _says(it, others[-1], "waiting for another build"))
    building.release()
    assert [(await it.ended(each)).state for each in (first, *others)] == [State.SUCCEEDED] * 3
    assert order == ["a", "b", "c"]


async def test_a_rollback_ends_what_has_not_begun_to_start_and_the_queued_pushes(it: Godploy) -> None:
    stack = await _with_a_release(it)
    await shop.deploy(it, manifest(web=web("app:2")))
    planning = Hold(it.world, "before images")
    push = await shop.push(it, manifest(web=web("app:3")))
    await planning.reached.wait()
    rollback = await acts.rollback(it.services, stack, "anna")
    assert (await it.ended(push)).result == "cancelled by a rollback to release 1"
    assert (await it.ended(rollback)).state is State.SUCCEEDED
    await it.settled()
    assert shop.served_image(it) == it.world.tags["app:1"]


@pytest.mark.parametrize("kind", [Kind.CONFIG, Kind.RESTART])
async def test_what_goes_on_from_the_current_release_does_not_take_back_a_push_before_it(
    it: Godploy, kind: Kind
) -> None:
    """The release that was current when it was asked for may be an old one when its turn comes."""
    await shop.secret(it, deploy=False, KEY="first-value")
    await shop.deploy(it, manifest(web=web("app:1", secrets=["KEY"])))
    stack = await it.stack(await shop.repository(it))
    starting = Hold(it.world, "before start")
    push = await shop.push(it, manifest(web=web("app:2", secrets=["KEY"])))
    await starting.reached.wait()
    if kind is Kind.CONFIG:
        (asked,) = await shop.secret(it, KEY="second-value")
    else:
        asked = await acts.restart(it.services, stack, "anna")
    starting.release()
    assert [(await it.ended(each)).state for each in (push, asked)] == [State.SUCCEEDED] * 2
    await it.settled()
    assert shop.served_image(it) == it.world.tags["app:2"]
    if kind is Kind.CONFIG:
        workload = await shop.running(it, "web", stack)
        assert it.world.of(workload.id)[0].env["KEY"] == "second-value"


async def test_what_went_live_in_the_moment_of_an_error_stays_live(
    it: Godploy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the commit point nothing may remove the release, and one deployment's trouble does not end the process."""
    commit = switching._commit

    def breaks_afterwards(*arguments: Any) -> None:
        commit(*arguments)
        monkeypatch.setattr(it.services.changes, "ring", broken)

    def broken(topic: str, id: str = "") -> None:
        monkeypatch.undo()
        raise RuntimeError("a bug behind the commit point")

    monkeypatch.setattr(switching, "_commit", breaks_afterwards)
    deployment = await shop.push(it, manifest(web=web("app:1")))
    assert (await it.ended(deployment)).state is State.SUCCEEDED
    assert (await shop.deploy(it, manifest(web=web("app:2")))).state is State.SUCCEEDED


async def test_the_time_limit_ends_it_and_nothing_has_changed(it: Godploy) -> None:
    stack = await _with_a_release(it)
    starting = Hold(it.world, "before start")
    deployment = await shop.push(it, manifest(web=web("app:2", deploy={"timeout": "1s"})))
    await starting.reached.wait()
    ended = await it.ended(deployment)
    assert ended.state is State.FAILED and ended.error is not None and ended.error["code"] == "timeout"
    await it.settled()
    assert shop.served_image(it) == it.world.tags["app:1"]
    assert len((await shop.current(it, stack)).services) == 1


async def _with_a_release(it: Godploy) -> Any:
    await shop.deploy(it, manifest(web=web("app:1")))
    return await it.stack(await shop.repository(it))


async def _at(it: Godploy, deployment: str, stage: Stage) -> bool:
    return (await it.read(deployments.get, deployment)).stage is stage


async def _says(it: Godploy, deployment: Any, text: str) -> bool:
    return text in await it.log(deployment)
