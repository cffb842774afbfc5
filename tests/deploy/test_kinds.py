"""Rollback, restart and `config`: what they take from then, what from now, and what they leave behind them."""

from __future__ import annotations

from typing import Any

import pytest

from godploy.core.model import Kind, Stack, State
from godploy.deploy import acts, poller, retention
from godploy.errors import Conflict, NotFound
from godploy.store import releases, secrets
from tests.deploy import shop
from tests.deploy.harness import Godploy
from tests.deploy.shop import built, manifest, web, worker


async def the_stack(it: Godploy, name: str = "shop") -> Stack:
    return await it.stack(await shop.repository(it, name))


async def env(it: Godploy, service: str, variable: str, name: str = "shop") -> str | None:
    """What a variable of a running service is."""
    workload = await shop.running(it, service, await the_stack(it, name))
    return it.world.of(workload.id)[0].env.get(variable)


async def rolls_back(it: Godploy, number: int | None = None) -> Any:
    done = await it.ended(await acts.rollback(it.services, await the_stack(it), "anna", number))
    await it.settled()
    return done


# Secrets


async def test_a_secret_deploys_the_stacks_that_name_it(it: Godploy) -> None:
    await shop.secret(it, deploy=False, KEY="first-value", OTHER="other-value")
    await shop.deploy(it, manifest(web=web(secrets=["KEY"]), quiet=web()))
    await shop.deploy(it, manifest(other=web(secrets=["OTHER"])), "other")
    quiet = await shop.running(it, "quiet", await the_stack(it))
    (made,) = await shop.secret(it, KEY="second-value")
    assert (made.kind, made.stack) == (Kind.CONFIG, (await the_stack(it)).id)
    assert (await it.ended(made)).state is State.SUCCEEDED
    await it.settled()
    assert await env(it, "web", "KEY") == "second-value"
    assert (await shop.running(it, "quiet", await the_stack(it))).id == quiet.id


async def test_without_deploy_a_secret_waits_for_the_next_push(it: Godploy) -> None:
    await shop.secret(it, deploy=False, KEY="first-value")
    await shop.deploy(it, manifest(web=web(secrets=["KEY"])))
    assert await shop.secret(it, deploy=False, KEY="second-value") == []
    assert await env(it, "web", "KEY") == "first-value"
    done = await shop.deploy(it, manifest(web=web(secrets=["KEY"]), other=web("app:2")))
    assert "KEY v1 → v2" in await it.log(done)
    assert await env(it, "web", "KEY") == "second-value"


async def test_missing_secrets_fail_the_plan_all_at_once(it: Godploy) -> None:
    failed = await shop.deploy(it, manifest(web=web(secrets=["KEY", "OTHER"])))
    log = await it.log(failed)
    assert failed.state is State.FAILED and failed.error is not None and failed.error["code"] == "missing_secret"
    assert "godploy secrets set KEY --environment production" in log
    assert "godploy secrets set OTHER --environment production" in log
    assert not it.world.containers


async def test_a_secret_in_use_is_not_removed(it: Godploy) -> None:
    await shop.secret(it, deploy=False, KEY="first-value")
    await shop.deploy(it, manifest(web=web(secrets=["KEY"])))
    with pytest.raises(Conflict, match="repository shop uses KEY in production"):
        await acts.remove_secret(it.services, await shop.production(it), "KEY", "anna")
    await shop.deploy(it, manifest(web=web()))
    await acts.remove_secret(it.services, await shop.production(it), "KEY", "anna")
    with pytest.raises(NotFound):
        await acts.remove_secret(it.services, await shop.production(it), "KEY", "anna")


# Rollback


async def test_a_rollback_takes_secrets_as_they_are_now(it: Godploy) -> None:
    await shop.secret(it, deploy=False, KEY="first-value")
    await shop.deploy(it, manifest(web=web("app:1", secrets=["KEY"])))
    await shop.deploy(it, manifest(web=web("app:2")))
    await shop.secret(it, KEY="second-value")
    assert (await rolls_back(it)).state is State.SUCCEEDED
    assert shop.served_image(it) == it.world.tags["app:1"]
    assert await env(it, "web", "KEY") == "second-value"


async def test_a_rollback_to_a_secret_that_is_gone_fails_before_anything_stops(it: Godploy) -> None:
    await shop.secret(it, deploy=False, KEY="first-value")
    await shop.deploy(it, manifest(web=web("app:1", secrets=["KEY"]), worker=worker("app:1")))
    await shop.deploy(it, manifest(web=web("app:2"), worker=worker("app:2")))
    await acts.remove_secret(it.services, await shop.production(it), "KEY", "anna")
    history = len(it.world.history)
    failed = await rolls_back(it)
    assert failed.state is State.FAILED and failed.error is not None
    assert failed.error["code"] == "missing_secret" and "KEY" in failed.error["message"]
    assert it.world.history[history:] == []
    assert shop.served_image(it) == it.world.tags["app:2"]


async def test_a_rollback_over_a_changed_secret_brings_the_former_one_back(it: Godploy) -> None:
    await shop.secret(it, deploy=False, KEY="good-value")
    await shop.deploy(it, manifest(web=web(secrets=["KEY"])))
    (bad,) = await shop.secret(it, KEY="bad-value")
    await it.ended(bad)
    await it.settled()
    assert (await rolls_back(it)).state is State.SUCCEEDED
    assert await env(it, "web", "KEY") == "good-value"
    assert (await it.told("secret"))[-1] == "KEY is back at version 1 (rollback)"
    await shop.deploy(it, manifest(web=web("app:2", secrets=["KEY"])))
    assert await env(it, "web", "KEY") == "good-value"  # the next push does not bring the bad one


async def test_the_former_one_is_what_ran_not_what_never_went_live(it: Godploy) -> None:
    await shop.secret(it, deploy=False, KEY="good-value")
    await shop.deploy(it, manifest(web=web(secrets=["KEY"])))
    await shop.secret(it, deploy=False, KEY="never-deployed")
    (made,) = await shop.secret(it, KEY="bad-value")
    await it.ended(made)
    await it.settled()
    assert (await rolls_back(it)).state is State.SUCCEEDED
    assert await env(it, "web", "KEY") == "good-value"


async def test_a_rollback_does_not_run_release_commands(it: Godploy) -> None:
    runs: list[tuple[str, ...]] = []

    def on_run(launch: Any, argv: Any, log: Any) -> int:
        runs.append(tuple(argv))
        return 0

    it.world.on_run = on_run
    await shop.deploy(it, manifest(web=web("app:1", release_command="migrate one")))
    await shop.deploy(it, manifest(web=web("app:2", release_command="migrate two")))
    done = await rolls_back(it)
    assert runs == [("migrate", "one"), ("migrate", "two")]
    assert "data is not rolled back" in await it.log(done)


async def test_a_rollback_needs_its_image(it: Godploy) -> None:
    await shop.deploy(it, built("one", web={"build": {}, "port": 8000, "deploy": {"drain": "0s"}}))
    await shop.deploy(it, built("two", web={"build": {}, "port": 8000, "deploy": {"drain": "0s"}}))
    first = await it.read(releases.by_number, (await the_stack(it)).id, 1)
    image = (await it.read(releases.workload, first.services[0].workload)).specification["image"]
    del it.world.images[image]
    failed = await rolls_back(it)
    assert failed.state is State.FAILED and failed.error is not None and failed.error["code"] == "image_gone"


@pytest.mark.parametrize(
    ("number", "error", "text"),
    [(2, Conflict, "release 2 is the current one"), (7, NotFound, "there is no release 7 here")],
)
async def test_where_a_rollback_cannot_go(it: Godploy, number: int, error: type[Exception], text: str) -> None:
    await shop.deploy(it, manifest(web=web("app:1")))
    with pytest.raises(Conflict, match="no earlier release"):
        await acts.rollback(it.services, await the_stack(it), "anna")
    await shop.deploy(it, manifest(web=web("app:2")))
    with pytest.raises(error, match=text):
        await acts.rollback(it.services, await the_stack(it), "anna", number)


async def test_a_stack_is_held_after_a_rollback_until_there_is_something_new(it: Godploy) -> None:
    await shop.secret(it, deploy=False, KEY="first-value")
    await shop.deploy(it, manifest(web=web("app:1", secrets=["KEY"])))
    await shop.deploy(it, manifest(web=web("app:2", secrets=["KEY"])))
    await rolls_back(it)
    assert (await the_stack(it)).held
    await poller.catch_up(it.services, await shop.repository(it))
    await it.settled()
    assert shop.served_image(it) == it.world.tags["app:1"]  # what it left does not come back by itself
    for kept in (
        await shop.secret(it, KEY="second-value"),
        [await acts.restart(it.services, await the_stack(it), "a")],
    ):
        assert (await it.ended(kept[0])).state is State.SUCCEEDED
        assert (await the_stack(it)).held  # the same release goes on
    await shop.deploy(it, manifest(web=web("app:3", secrets=["KEY"])))
    assert not (await the_stack(it)).held
    assert shop.served_image(it) == it.world.tags["app:3"]


async def test_a_persons_word_ends_the_hold(it: Godploy) -> None:
    await shop.deploy(it, manifest(web=web("app:1")))
    await shop.deploy(it, manifest(web=web("app:2")))
    await rolls_back(it)
    await it.ended(await acts.deploy(it.services, await the_stack(it), "anna"))
    assert not (await the_stack(it)).held
    assert shop.served_image(it) == it.world.tags["app:2"]


# Restart


async def test_a_restart_makes_new_containers_of_the_same(it: Godploy) -> None:
    await shop.deploy(it, manifest(web=web(), other=web()))
    stack = await the_stack(it)
    before = {name: await shop.running(it, name, stack) for name in ("web", "other")}
    assert (await it.ended(await acts.restart(it.services, stack, "anna", ["web"]))).state is State.SUCCEEDED
    await it.settled()
    after = {name: await shop.running(it, name, stack) for name in ("web", "other")}
    assert after["other"].id == before["other"].id
    assert after["web"].id != before["web"].id and after["web"].generation == before["web"].generation + 1
    with pytest.raises(NotFound, match="there is no service nobody here"):
        await acts.restart(it.services, stack, "anna", ["nobody"])


# References across stacks


async def test_who_refers_to_a_value_follows_when_it_changes(it: Godploy) -> None:
    await shop.deploy(it, manifest(api=web(port=8000)), "backend")
    await shop.deploy(it, manifest(web=web(env={"API": "${services.api.url}"})))
    assert await env(it, "web", "API") == "http://api:8000"
    await shop.deploy(it, manifest(api=web(port=9000)), "backend")
    assert await env(it, "web", "API") == "http://api:9000"
    newest = await it.newest()
    assert (newest.kind, newest.state) == (Kind.CONFIG, State.SUCCEEDED)
    assert newest.message == "api.url changed"  # and not api.port, which it does not use


async def test_what_others_refer_to_is_not_removed(it: Godploy) -> None:
    await shop.deploy(it, manifest(api=web(), more=web()), "backend")
    await shop.deploy(it, manifest(web=web(env={"API": "${services.api.url}"})))
    failed = await shop.deploy(it, manifest(more=web()), "backend")
    assert failed.state is State.FAILED and "repository shop" in await it.log(failed)


async def test_a_service_name_is_taken_once_in_an_environment(it: Godploy) -> None:
    await shop.deploy(it, manifest(web=web()))
    failed = await shop.deploy(it, manifest(web=web("app:2")), "other")
    assert failed.state is State.FAILED and failed.error is not None
    assert "web" in failed.error["message"]
    assert shop.served_image(it) == it.world.tags["app:1"]


# What is kept


async def test_five_releases_are_kept_with_images_and_secrets_and_never_a_volume_goes(it: Godploy) -> None:
    service = {"build": {}, "port": 8000, "deploy": {"drain": "0s"}, "secrets": ["KEY"]}
    keeper = {"image": "db:1", "port": 5432, "volumes": ["data:/data"], "deploy": {"drain": "0s"}}
    await shop.secret(it, deploy=False, KEY="value-number-0")
    await shop.deploy(it, built("0", web=service, keeper=keeper))
    for number in range(1, 8):
        await shop.secret(it, deploy=False, KEY=f"value-number-{number}")
        await shop.deploy(it, built(str(number), web=service))
    await retention.tidy(it.services)
    stack = await the_stack(it)
    kept = await it.read(releases.of_stack, stack.id)
    assert [release.number for release in kept] == [8, 7, 6, 5, 4]
    assert len(it.world.built) == 5
    environment = await shop.production(it)
    assert sorted(await it.read(secrets.versions, environment.id)) == [("KEY", n) for n in range(4, 9)]
    assert len(it.world.volumes) == 1
    assert (await rolls_back(it, 4)).state is State.SUCCEEDED
