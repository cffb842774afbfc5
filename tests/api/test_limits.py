"""The token bucket of refusals."""

from __future__ import annotations

from godploy.api.limits import Buckets


def test_refusals_are_counted_by_address_and_forgiven_with_time() -> None:
    now = 0.0
    buckets = Buckets(capacity=3, rate=0.5, clock=lambda: now)
    for _ in range(3):
        assert not buckets.empty("a")
        buckets.take("a")
    assert buckets.empty("a")
    assert not buckets.empty("b")
    now = 1.9
    assert buckets.empty("a")
    now = 2.0
    assert not buckets.empty("a")
    now = 1000.0
    for _ in range(3):
        buckets.take("a")
    assert buckets.empty("a")


def test_memory_is_bounded() -> None:
    buckets = Buckets(capacity=1, rate=0.0, clock=lambda: 0.0)
    buckets.take("first")
    for number in range(10_000):
        buckets.take(str(number))
    assert not buckets.empty("first")
    assert buckets.empty("9999")
