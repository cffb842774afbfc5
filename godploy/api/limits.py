"""How much of our attention one address may cost by requests that are refused."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

_ADDRESSES_KEPT = 10_000


class Buckets:
    """A token bucket for each address: `capacity` refusals at once, then `rate` per second.

    What is authentic takes nothing from it. Memory is bounded: the address that was quiet the longest is forgotten.
    """

    def __init__(self, capacity: float, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._capacity, self._rate, self._clock = capacity, rate, clock
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()  # address → (level, when)

    def empty(self, address: str) -> bool:
        return self._level(address) < 1.0

    def take(self, address: str) -> None:
        """One refusal."""
        self._levels[address] = (max(0.0, self._level(address) - 1.0), self._clock())
        self._levels.move_to_end(address)
        while len(self._levels) > _ADDRESSES_KEPT:
            self._levels.popitem(last=False)

    def _level(self, address: str) -> float:
        level, at = self._levels.get(address, (self._capacity, self._clock()))
        return min(self._capacity, level + (self._clock() - at) * self._rate)
