"""What the deploy story works with: built once in `bootstrap`, handed to everything, never changed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from godploy.core.template import Template
from godploy.deploy.hosting.memory import Memory
from godploy.deploy.ledger import Ledger
from godploy.deploy.trial import Trial
from godploy.drivers.git import Git
from godploy.drivers.keyring import Keyring
from godploy.drivers.logbook import Logbook
from godploy.drivers.traefik import Routes
from godploy.runtimes.protocol import Runtime
from godploy.settings import Settings
from godploy.store import Store

_HINTS_KEPT = 1000


class Changes:
    """Tells those who wait that something changed. A hint only: the truth is in the store, and every loop also looks by
    itself now and then, so a lost hint costs time and nothing else."""

    def __init__(self) -> None:
        self._bells: dict[str, asyncio.Event] = {}
        self._listeners: set[Hints] = set()

    def ring(self, topic: str, id: str = "") -> None:
        self.bell(topic).set()
        for hints in self._listeners:
            hints.put(topic, id)

    def bell(self, topic: str) -> asyncio.Event:
        return self._bells.setdefault(topic, asyncio.Event())

    async def wait(self, topic: str, timeout: float) -> None:
        """Until the topic's bell rings (or rang since the last wait), at most `timeout` seconds. For one waiter."""
        bell = self.bell(topic)
        try:
            async with asyncio.timeout(timeout):
                await bell.wait()
        except TimeoutError:
            return
        bell.clear()

    @contextmanager
    def subscribe(self) -> Iterator[Hints]:
        """Every (topic, id) from now on, for any number of listeners."""
        hints = Hints()
        self._listeners.add(hints)
        try:
            yield hints
        finally:
            self._listeners.discard(hints)


class Hints:
    """What one listener has not heard yet; a listener that is far behind misses some."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[tuple[str, str]] = asyncio.Queue(_HINTS_KEPT)

    def put(self, topic: str, id: str) -> None:
        if not self._queue.full():
            self._queue.put_nowait((topic, id))

    async def next(self, timeout: float) -> tuple[str, str] | None:
        """The next (topic, id); None when nothing was heard for `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout):
                return await self._queue.get()
        except TimeoutError:
            return None

    def __aiter__(self) -> Hints:
        return self

    async def __anext__(self) -> tuple[str, str]:
        return await self._queue.get()


class Locks:
    """One lock per stack: what changes its containers or routes holds it."""

    def __init__(self) -> None:
        self._locks: dict[str, asyncio.Lock] = {}

    def stack(self, stack: str) -> asyncio.Lock:
        return self._locks.setdefault(stack, asyncio.Lock())


@dataclass(frozen=True)
class Services:
    settings: Settings
    store: Store
    runtime: Runtime
    routes: Routes
    git: Git
    keyring: Keyring
    logbook: Logbook
    templates: Mapping[str, Template]
    builds: asyncio.Semaphore
    certificates: Ledger = field(default_factory=Ledger)
    hosting: Memory = field(default_factory=Memory)
    changes: Changes = field(default_factory=Changes)
    locks: Locks = field(default_factory=Locks)
    trial: Trial = field(default_factory=Trial)
    ready: asyncio.Event = field(default_factory=asyncio.Event)  # recovery is done, and no trial is on
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
