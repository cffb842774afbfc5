"""What goes wrong half way leaves a repository that still works: its address, its hook's secrets, its connection."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from godploy.core.model import State
from godploy.deploy.hosting import asking, hooks
from godploy.providers import HOSTS
from godploy.providers.protocol import ProviderError
from godploy.store import deployments, hosted_hooks, outbox
from tests.api.conftest import until
from tests.providers.whole import FAKES, WORDS, Whole, manifest, whole


@pytest.fixture(params=sorted(FAKES))
async def it(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Whole]:
    async with whole(tmp_path, request.param) as made:
        yield made


async def attached(it: Whole) -> str:
    """The name of the connection by which the shop is reached, whose head is live."""
    first = await it.fake.commit(it.shop, manifest(1))
    connection = (await it.connect())["name"]
    await it.attach(connection)
    await it.deployed(first)
    return str(connection)


async def rotate(it: Whole) -> int:
    return (await it.site.ask("POST", "/api/v1/projects/shop/repositories/shop/hook-secret")).status


async def push_arrives(it: Whole) -> bool:
    """Whether a push's delivery is taken for authentic."""
    before = len(it.fake.deliveries)
    await it.fake.commit(it.shop, manifest(2))
    await it.fake.settled()
    return any(each.status in (200, 202) for each in it.fake.deliveries[before:])


def in_trouble(it: Whole, status: int) -> None:
    """The hook itself is, the list of them is not."""
    (hook,) = it.fake.hooks(it.shop)
    match = hook.uuid.strip("{}") if it.provider == "bitbucket" else f"hooks/{hook.id}"
    it.fake.trouble(status, times=10, match=match)


async def test_a_renamed_repository_is_cloned_from_the_connections_own_address(
    it: Whole, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the provider calls itself: the credential goes there."""
    await attached(it)
    host = type(HOSTS[it.provider])
    located = host.located

    def elsewhere(*given: Any) -> Any:
        found = yield from located(*given)
        return replace(found, clone_url="https://elsewhere.example.org/ada/store.git")

    monkeypatch.setattr(host, "located", elsewhere)
    it.fake.rename(it.shop, "ada/store")
    row = await it.row()
    connection = await asking.connection_of(it.site.services, row)
    await asking.located(it.site.services, connection, row)
    renamed = await it.row()
    assert (renamed.full_name, renamed.url) == ("ada/store", f"{it.fake.base}/ada/store.git")


async def test_a_rotation_that_may_have_been_taken_leaves_both_secrets_for_good(
    it: Whole, monkeypatch: pytest.MonkeyPatch
) -> None:
    await attached(it)
    monkeypatch.setattr(hooks, "OVERLAP", 0.0)  # the one before would be over at once
    in_trouble(it, 503)
    assert await rotate(it) >= 400
    assert await push_arrives(it)


async def test_a_rotation_that_was_refused_leaves_the_old_secret(it: Whole, monkeypatch: pytest.MonkeyPatch) -> None:
    await attached(it)
    monkeypatch.setattr(hooks, "OVERLAP", 0.0)
    in_trouble(it, 422)
    assert await rotate(it) >= 400
    assert await push_arrives(it)


async def test_a_connection_that_was_refused_and_answers_again_is_usable(it: Whole) -> None:
    """Nobody has to look: what is shown is what was seen last."""
    name = await attached(it)
    row = await it.row()
    it.fake.trouble(401, times=1, match="hooks")
    with pytest.raises(ProviderError):
        await hooks.look_after(it.site.services, row)
    assert (await it.site.get("/api/v1/connections")).json["connections"][0]["state"] == "refused"
    await hooks.look_after(it.site.services, row)
    (found,) = (await it.site.get("/api/v1/connections")).json["connections"]
    assert (found["name"], found["state"], found["trouble"], found["next_step"]) == (name, "usable", None, "")


async def test_what_waits_for_a_consent_goes_on_with_it(it: Whole, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with a new token: a status that was to be told much later is told now."""
    first = await it.fake.commit(it.shop, manifest(1))
    connection = await it.connect_by_oauth()
    await it.attach(connection["name"])
    await it.status(first, WORDS[it.provider][1])
    later: list[float | None] = []
    failed = outbox.failed

    def much_later(conn: Any, message: Any, error: str, due_at: float | None) -> None:
        later.append(due_at)
        failed(conn, message, error, time.time() + 3600)

    monkeypatch.setattr(outbox, "failed", much_later)
    for token in it.fake.tokens:
        it.fake.revoke(token)
    for refresh in it.fake.refresh_tokens.values():
        refresh.used = True
    services = it.site.services
    row = await it.row()

    def tell(conn: Any) -> None:
        (newest,) = deployments.of_project(conn, row.project, limit=1)
        outbox.put_status(conn, newest, State.SUCCEEDED, "told once more")

    await services.store.write(tell)
    services.changes.ring("outbox")

    async def has_failed() -> Any:
        return later or None

    await until(has_failed)
    await it.connect_by_oauth(renews=connection["name"])

    async def told() -> Any:
        return it.fake.statuses(it.shop, first)[-1]["description"] == "told once more" or None

    await until(told)


async def test_a_repository_that_is_reached_by_another_connection_has_a_hook_again(it: Whole) -> None:
    first = await attached(it)
    assert (await it.site.ask("DELETE", f"/api/v1/connections/{first}")).status == 200
    assert it.fake.hooks(it.shop) == []
    other = (await it.connect(name="other"))["name"]
    answer = await it.site.ask("PUT", "/api/v1/projects/shop/repositories/shop/connection", {"connection": other})
    assert answer.status == 200, answer.raw
    (hook,) = it.fake.hooks(it.shop)
    assert answer.json["hook"]["state"] in ("unproven", "working")
    assert hook.url == answer.json["hook_url"]
    assert await push_arrives(it)


async def test_a_hook_that_was_never_made_is_made(it: Whole) -> None:
    """Godploy ended between the repository and its hook, say."""
    await attached(it)
    row = await it.row()
    it.shop.hooks.clear()
    await it.site.services.store.write(lambda conn: hosted_hooks.remove(conn, row.id))
    await hooks.look_after(it.site.services, row)
    assert len(it.fake.hooks(it.shop)) == 1
