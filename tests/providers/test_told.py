"""A provider in trouble changes no deployment: what is to be told is told later, or visibly given up."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from godploy.deploy import outbox
from godploy.deploy.hosting import conversation
from tests.api.conftest import until
from tests.providers.whole import FAKES, WORDS, Whole, manifest, whole

# How a provider refuses, and whether trying again later may help.
TROUBLES: dict[str, tuple[int, dict[str, str], bool]] = {
    "unauthorized": (401, {}, True),
    "forbidden": (403, {}, False),
    "too many, as forbidden": (403, {"Retry-After": "1"}, True),
    "missing": (404, {}, False),
    "not accepted": (422, {}, False),
    "too many": (429, {"Retry-After": "1"}, True),
    "a fault": (500, {}, True),
    "down": (503, {}, True),
}
STATUSES = {"github": "/statuses/", "gitlab": "/statuses/", "gitea": "/statuses/", "bitbucket": "/statuses/build"}


@pytest.fixture(params=sorted(FAKES))
async def it(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Whole]:
    monkeypatch.setattr(outbox, "_FIRST_WAIT", 0.05)
    monkeypatch.setattr(outbox, "_LONGEST_WAIT", 0.1)
    async with whole(tmp_path, request.param) as made:
        first = await made.fake.commit(made.shop, manifest(1))
        await made.attach((await made.connect())["name"])
        await made.status(first, WORDS[made.provider][1])
        yield made


async def fates(it: Whole) -> list[str]:
    def read(conn: Any) -> list[str]:
        return [row["fate"] for row in conn.execute("SELECT fate FROM outbox ORDER BY id")]

    return await it.site.services.store.read(read)


async def all_ended(it: Whole) -> Any:
    it.site.services.changes.ring("outbox")
    found = await fates(it)
    return found if "waiting" not in found else None


@pytest.mark.parametrize("trouble", sorted(TROUBLES))
async def test_trouble_that_passes_is_waited_for(it: Whole, trouble: str) -> None:
    status, headers, _ = TROUBLES[trouble]
    it.fake.trouble(status, times=2, headers=headers, match=STATUSES[it.provider])
    second = await it.fake.commit(it.shop, manifest(2))
    assert (await it.deployed(second))["state"] == "succeeded"
    await it.status(second, WORDS[it.provider][1])


@pytest.mark.parametrize("trouble", sorted(TROUBLES))
async def test_trouble_that_stays_is_given_up_and_told(
    it: Whole, trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "_ATTEMPTS", 4)
    status, headers, _ = TROUBLES[trouble]
    waits = dict.fromkeys(headers, "0")
    it.fake.trouble(status, times=10_000, headers=waits, match=STATUSES[it.provider])
    second = await it.fake.commit(it.shop, manifest(2))
    ended = await it.deployed(second)
    assert (ended["state"], ended["error"]) == ("succeeded", None)
    await until(lambda: all_ended(it), 20.0)
    assert "given up" in await fates(it)
    assert any(f"commit {second[:7]}" in text for text in await it.events("outbox"))
    assert not any(each["state"] == WORDS[it.provider][1] for each in it.fake.statuses(it.shop, second))


async def test_a_provider_that_says_nothing_delays_nobody(it: Whole, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "_TIMEOUT", 0.3)
    it.fake.hang(match=STATUSES[it.provider], times=2)
    second = await it.fake.commit(it.shop, manifest(2))
    await it.deployed(second)
    await it.status(second, WORDS[it.provider][1])


async def test_a_provider_whose_name_leads_nowhere(it: Whole, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "_ATTEMPTS", 2)

    def lead_away(conn: Any) -> None:
        conn.execute("UPDATE connection SET base = 'https://nowhere.invalid'")

    await it.site.services.store.write(lead_away)
    made = await it.site.made("/api/v1/projects/shop/restart", {"environment": "production"})
    await until(lambda: ended(it, made["number"]))
    await until(lambda: all_ended(it), 20.0)
    assert any("cannot be reached" in text or "nowhere.invalid" in text for text in await it.events("outbox"))


async def ended(it: Whole, number: int) -> bool:
    found = next(each for each in await it.deployments() if each["number"] == number)
    return bool(found["state"] == "succeeded")


async def test_the_last_word_stays_the_last(it: Whole) -> None:
    """A pending that could not be told at first is overtaken by what came after it, and never told afterwards."""
    good = WORDS[it.provider][1]
    it.fake.trouble(500, times=3, match=STATUSES[it.provider])
    second = await it.fake.commit(it.shop, manifest(2))
    await it.deployed(second)
    await it.status(second, good)
    await until(lambda: all_ended(it))
    words = [each["state"] for each in it.fake.statuses(it.shop, second)]
    assert [word for word, _ in itertools.groupby(words)][-1] == good
    assert words.index(good) == len(words) - 1
