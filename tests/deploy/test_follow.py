"""What a pusher reads in the terminal, to the last line, whatever becomes of the push."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from godploy.core.model import State
from godploy.deploy import follow, poller
from godploy.runtimes.fake.world import World
from godploy.store import deliveries
from tests.deploy import shop
from tests.deploy.harness import Edge, Godploy, Hold, git, godploy
from tests.deploy.shop import manifest, web, worker


async def lines(it: Godploy, delivery: Any) -> list[str]:
    async with asyncio.timeout(20):
        return [line async for line in follow.delivery(it.services, delivery.id)]


async def pushed(it: Godploy, files: dict[str, str], branch: str = "main") -> Any:
    repository = await shop.repository(it)
    return await it.push(repository, it.commit(repository, files), branch)


async def test_a_push_that_goes_live(it: Godploy) -> None:
    told = await lines(it, await pushed(it, manifest(web=web())))
    assert told[0].endswith("on main: deploys to production")
    assert told[1] == "deployment 1 to production"
    assert any("web: healthy" in line for line in told)
    assert told[-1] == "http://web-shop.localhost/"


async def test_a_push_that_fails_ends_with_what_to_do(it: Godploy) -> None:
    told = await lines(it, await pushed(it, manifest(web=web(secrets=["KEY"]))))
    assert told[-2].startswith("deployment 1 to production failed: ") and "the secret KEY has no value" in told[-2]
    assert told[-1] == "next: godploy secrets set KEY --environment production"


async def test_a_push_that_feeds_nothing(it: Godploy) -> None:
    await pushed(it, manifest(web=web()))
    await it.settled()
    told = await lines(it, await pushed(it, manifest(web=web("app:2")), "topic"))
    assert len(told) == 1 and told[0].endswith("on topic: the branch feeds no environment")


async def test_a_push_that_is_overtaken_before_it_ran(it: Godploy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "_LAST_LINES_WITHIN", 0.3)  # it has no log to wait for
    starting = Hold(it.world, "before start")
    first = await pushed(it, manifest(web=web("app:1")))
    await starting.reached.wait()
    second = await pushed(it, manifest(web=web("app:2")))
    await it.decided(second)
    third = await pushed(it, manifest(web=web("app:3")))
    followers = [asyncio.ensure_future(lines(it, each)) for each in (first, second, third)]
    await it.decided(third)
    starting.release()
    told = await asyncio.gather(*followers)
    newest = (await it.newest()).commit or ""
    assert told[0][-1] == told[2][-1] == "http://web-shop.localhost/"
    assert told[1][-1] == f"deployment 2 to production: superseded by {newest[:7]}"


async def test_a_push_to_two_environments_tells_of_both(it: Godploy) -> None:
    told = await lines(it, await pushed(it, manifest({"production": {}, "staging": {}}, web=web())))
    assert "deployment 1 to production" in told and "deployment 2 to staging" in told
    assert "http://web-shop.localhost/" in told and told[-1] == "http://web-shop-staging.localhost/"


async def test_somebody_who_comes_late_reads_the_same(it: Godploy) -> None:
    delivery = await pushed(it, manifest(web=web(), worker=worker()))
    live = await lines(it, delivery)
    assert await lines(it, delivery) == live


async def test_somebody_who_leaves_does_not_cancel_it(it: Godploy) -> None:
    starting = Hold(it.world, "before start")
    delivery = await pushed(it, manifest(web=web()))
    reading = asyncio.ensure_future(lines(it, delivery))
    await starting.reached.wait()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    starting.release()
    await it.settled()
    assert (await it.newest()).state is State.SUCCEEDED


# What nobody told of


async def test_what_a_crash_swallowed_is_caught_up(tmp_path: Path, world: World) -> None:
    """The ref was moved, and the process died before the delivery was written."""
    edge = Edge(world)
    async with godploy(tmp_path, world, edge) as it:
        repository = await shop.repository(it)
        sha = it.commit(repository, manifest(web=web()))
        git(it.services.git.directory(repository.id), "update-ref", "refs/heads/main", sha)
    async with godploy(tmp_path, world, edge) as it:
        await it.settled()
        newest = await it.newest()
        assert (newest.state, newest.commit, newest.kind) == (State.SUCCEEDED, sha, "poll")


async def test_a_look_without_news_receives_nothing(it: Godploy) -> None:
    await pushed(it, manifest(web=web()))
    await it.settled()
    project = await it.project()
    before = len(await it.read(deliveries.of_project, project.id))
    await poller.catch_up(it.services, await shop.repository(it))
    assert len(await it.read(deliveries.of_project, project.id)) == before


async def test_only_branches_that_feed_an_environment_are_compared(
    it: Godploy, monkeypatch: pytest.MonkeyPatch
) -> None:
    await pushed(it, manifest({"production": {"branch": "main"}, "staging": {"branch": "dev"}}, web=web()))
    await it.settled()
    repository = await shop.repository(it)
    directory = it.services.git.directory(repository.id)
    for branch, image in (("dev", "app:2"), ("topic", "app:3")):
        git(directory, "update-ref", f"refs/heads/{branch}", it.commit(repository, manifest(web=web(image))))
    monkeypatch.setattr(poller, "_TOLD_WITHIN", 0.0)
    await poller.catch_up(it.services, repository)
    await it.settled()
    assert shop.served_image(it, "web-shop-staging.localhost") == it.world.tags["app:2"]
    assert len(await it.deployments()) == 2
