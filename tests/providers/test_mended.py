"""What goes wrong half way leaves a repository that still works: its address, its hook's secrets, its connection."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from godploy.deploy.hosting import asking, hooks
from godploy.providers import HOSTS
from tests.providers.whole import FAKES, Whole, manifest, whole


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
    monkeypatch.setattr(hooks, "_OVERLAP", 0.0)  # the one before would be over at once
    in_trouble(it, 503)
    assert await rotate(it) >= 400
    second = await it.fake.commit(it.shop, manifest(2))
    assert (await it.deployed(second))["kind"] == "push"


async def test_a_rotation_that_was_refused_leaves_the_old_secret(it: Whole, monkeypatch: pytest.MonkeyPatch) -> None:
    await attached(it)
    monkeypatch.setattr(hooks, "_OVERLAP", 0.0)
    in_trouble(it, 422)
    assert await rotate(it) >= 400
    second = await it.fake.commit(it.shop, manifest(2))
    assert (await it.deployed(second))["kind"] == "push"
