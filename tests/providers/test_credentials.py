"""Credentials that end: renewed in time, once, and never lost; and what is told where they cannot be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from godploy.core.model import ProviderConnection
from godploy.deploy.hosting import asking, credentials
from godploy.errors import Unavailable
from godploy.providers.protocol import Account, ProviderError, Trouble
from godploy.store import connections
from tests.deploy.harness import Hold
from tests.providers.whole import FAKES, WORDS, Whole, manifest, whole


@pytest.fixture(params=sorted(FAKES))
async def it(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Whole]:
    """Its tokens last, and can be renewed: GitHub's OAuth apps may be set so, too."""
    async with whole(tmp_path, request.param) as made:
        made.fake.token_lifetime = 7200.0
        yield made


async def connection_of(it: Whole, made: Any) -> ProviderConnection:
    return await it.site.services.store.read(lambda conn: connections.get(conn, made["id"]))


def refreshes(it: Whole) -> int:
    return sum(b"grant_type=refresh_token" in each.body or b'"refresh_token"' in each.body for each in it.fake.requests)


async def account(it: Whole, found: ProviderConnection) -> Account:
    return await asking.ask(it.site.services, found, lambda host: host.account(found.base))


async def look(it: Whole, found: ProviderConnection) -> str:
    wanted = await asking.ask(it.site.services, found, lambda host: host.repository(found.base, "ada/shop"))
    return wanted.full_name


def expire_all(it: Whole) -> None:
    for token in it.fake.tokens:
        it.fake.expire(token)


async def is_newest(it: Whole, found: ProviderConnection) -> bool:
    """Whether what is stored is what the provider gave last."""
    kept = await credentials.kept(it.site.services, found)
    token, refresh = it.fake.token(kept.token), it.fake.refresh_tokens[kept.refresh]
    return token is not None and not refresh.used and kept.refresh == list(it.fake.refresh_tokens)[-1]


async def test_what_ends_is_renewed_in_time(it: Whole) -> None:
    it.fake.token_lifetime = 100.0  # less than is left to a request
    found = await connection_of(it, await it.connect_by_oauth())
    it.fake.token_lifetime = 7200.0
    assert (await account(it, found)).name == "ada"
    assert refreshes(it) == 1
    assert await is_newest(it, found)


@pytest.mark.parametrize("known", [True, False])
async def test_two_ask_at_once(it: Whole, known: bool) -> None:
    """One renews, both go on. `known`: that it ends is known beforehand; else both are refused first."""
    it.fake.token_lifetime = 100.0 if known else 7200.0
    found = await connection_of(it, await it.connect_by_oauth())
    it.fake.token_lifetime = 7200.0
    expire_all(it)
    answered = await asyncio.gather(*(account(it, found) for _ in range(4)))
    assert {each.name for each in answered} == {"ada"}
    assert refreshes(it) == 1
    assert await is_newest(it, found)
    assert (await connection_of(it, {"id": found.id})).state == "usable"


async def test_a_token_that_ends_during_a_deployment(it: Whole) -> None:
    """It was good for the fetch, and is not for the status."""
    first = await it.fake.commit(it.shop, manifest(1))
    await it.attach((await it.connect_by_oauth())["name"])
    await it.status(first, WORDS[it.provider][1])
    held = Hold(it.running.world, "before start")
    second = await it.fake.commit(it.shop, manifest(2))
    await held.reached.wait()
    expire_all(it)
    held.release()
    await it.deployed(second)
    await it.status(second, WORDS[it.provider][1])
    assert refreshes(it) == 1


async def test_a_renewed_one_that_could_not_be_stored(it: Whole, monkeypatch: pytest.MonkeyPatch) -> None:
    """The provider takes a refresh token once: what it gave for it is kept until there is room for it."""
    found = await connection_of(it, await it.connect_by_oauth())
    expire_all(it)
    keep, full = connections.keep, [True]

    def on_a_full_disk(*given: Any) -> None:
        if full:
            raise Unavailable("the disk is full: nothing was written")
        keep(*given)

    monkeypatch.setattr(connections, "keep", on_a_full_disk)
    for _ in range(2):
        with pytest.raises(Unavailable):
            await account(it, found)
    full.clear()
    assert (await account(it, found)).name == "ada"
    assert refreshes(it) == 1
    assert await is_newest(it, found)
    assert it.site.services.hosting.unstored(found.id) is None


async def test_one_that_ended_for_good(it: Whole) -> None:
    """Asked once more with a renewed one, then never again for the same question; a person is told."""
    found = await connection_of(it, await it.connect_by_oauth())
    expire_all(it)
    for refresh in it.fake.refresh_tokens.values():
        refresh.used = True
    with pytest.raises(ProviderError) as raised:
        await account(it, found)
    assert raised.value.trouble is Trouble.CREDENTIAL
    assert "godploy connections renew" in raised.value.next_step
    assert refreshes(it) == 1
    assert (await connection_of(it, {"id": found.id})).state == "refused"


async def test_a_provider_that_refuses_whatever_it_gave(it: Whole) -> None:
    """One renewal for one question: it is not asked for ever."""
    found = await connection_of(it, await it.connect_by_oauth())
    it.fake.trouble(401, times=100, match="shop")
    with pytest.raises(ProviderError) as raised:
        await look(it, found)
    assert raised.value.trouble is Trouble.CREDENTIAL
    assert refreshes(it) == 1
    assert await is_newest(it, found)


async def test_a_refusal_that_passes(it: Whole) -> None:
    found = await connection_of(it, await it.connect_by_oauth())
    it.fake.trouble(401, times=1, match="shop")
    assert await look(it, found) == "ada/shop"
    assert refreshes(it) == 1
