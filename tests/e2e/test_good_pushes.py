"""Good pushes under constant load: each is live, and nobody notices it."""

from __future__ import annotations

import pytest

from tests.e2e.load import KEEP_ALIVE, SLOW_POST, STREAM, Load
from tests.e2e.person import App

pytestmark = pytest.mark.engine

PUSHES = 5
FORCED = 3


def test_five_pushes_lose_no_request(shop: App) -> None:
    with Load(shop.server.http, shop.host) as load:
        for number in range(1, PUSHES + 1):
            shop.commit(amend=number == FORCED)
            seen = shop.push("--force", "godploy", "main") if number == FORCED else shop.push()
            last = [line.rstrip() for line in shop.live(seen).splitlines() if line.startswith("remote: ")][-1]
            assert last == f"remote: http://{shop.host}:{shop.server.http}/"
            assert shop.ask().text == f"version {shop.version}\n"
    assert load.tally.failures == []
    assert load.tally.rate >= 50
    assert all(load.tally.good[kind] == load.tally.sent[kind] > 0 for kind in (KEEP_ALIVE, SLOW_POST, STREAM))
    assert len(load.tally.releases) == PUSHES + 1


@pytest.mark.long
def test_twenty_swaps_under_two_hundred_requests_a_second(shop: App) -> None:
    with Load(shop.server.http, shop.host, rate=200) as load:
        for _ in range(20):
            shop.deploy()
    assert load.tally.failures == []
    assert load.tally.rate >= 190
    assert len(load.tally.releases) == 21
