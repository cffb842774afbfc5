"""After going live: every replica is asked each `interval`; after `failures` bad answers in a row it counts as
unhealthy and leaves the pool while another is healthy. Nothing is restarted for it: the engine restarts what exits.

Each workload is asked by itself: one that lets its health check hang holds up nobody else's."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field

from godploy.core.model import Stack, Workload
from godploy.core.specification import Specification
from godploy.deploy import launches, rendering
from godploy.deploy.services import Services
from godploy.errors import GodployError
from godploy.store import Connection, events, releases, stacks

logger = logging.getLogger(__name__)

_TICK = 1.0  # seconds; no service is asked more often
_LOOK_EVERY = 5.0  # seconds between two readings of what is live


@dataclass(slots=True)
class _Watched:
    workload: Workload
    specification: Specification
    port: int
    replicas: int
    host: str | None
    due: float
    bad: dict[int, int] = field(default_factory=dict)  # replica → bad answers in a row
    unhealthy: frozenset[int] = frozenset()


class Watch:
    """The loop, and what it thinks of each live workload."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._watched: dict[str, _Watched] = {}
        self._asking: dict[str, asyncio.Task[None]] = {}  # by workload
        self._looked = 0.0

    async def run(self) -> None:
        await self._services.ready.wait()
        try:
            while True:
                try:
                    await self._look()
                except GodployError as error:
                    logger.warning("health: %s", error)
                self._ask_due()
                await asyncio.sleep(_TICK)
        finally:
            for task in self._asking.values():
                task.cancel()
            await asyncio.gather(*self._asking.values(), return_exceptions=True)

    def _ask_due(self) -> None:
        for workload, task in list(self._asking.items()):
            if task.done():
                del self._asking[workload]
                task.result()
        for workload, watched in self._watched.items():
            if watched.due <= time.monotonic() and workload not in self._asking:
                self._asking[workload] = asyncio.create_task(self._asked(watched), name=f"health {workload}")

    async def _asked(self, watched: _Watched) -> None:
        try:
            await self._ask(watched)
        except GodployError as error:
            logger.warning("health of %s: %s", watched.workload.id, error)

    async def _look(self) -> None:
        """What is live now; a workload that is new here is first asked after its interval."""
        if time.monotonic() - self._looked < _LOOK_EVERY:
            return
        self._looked = time.monotonic()
        live = await self._services.store.read(_live)
        self._watched = {w.workload.id: self._watched.get(w.workload.id, w) for w in live}
        for fresh in live:
            self._watched[fresh.workload.id].replicas = fresh.replicas

    async def _ask(self, watched: _Watched) -> None:
        health = watched.specification.health
        watched.due = time.monotonic() + health.interval
        ref, former = launches.ref(watched.workload), watched.bad
        watched.bad = {}  # a replica that was scaled away is forgotten
        for replica in range(1, watched.replicas + 1):
            good = await self._services.runtime.check(ref, replica, watched.port, health, watched.host)
            watched.bad[replica] = 0 if good else former.get(replica, 0) + 1
        now = frozenset(replica for replica, bad in watched.bad.items() if bad >= health.failures)
        if now != watched.unhealthy:
            await self._changed(watched, now)

    async def _changed(self, watched: _Watched, now: frozenset[int]) -> None:
        workload = watched.workload
        told = [f"replica {n} does not answer its health check" for n in sorted(now - watched.unhealthy)]
        told += [f"replica {n} answers again" for n in sorted(watched.unhealthy - now) if n in watched.bad]

        def note(conn: Connection) -> Stack | None:
            if workload.id not in {live.workload.id for live in _live(conn)}:
                return None  # stopped or replaced since it was looked up: its silence says nothing
            for text in told:
                events.add(
                    conn,
                    "health",
                    f"{workload.service}: {text}",
                    environment=workload.environment,
                    stack=workload.stack,
                    service=workload.service,
                )
            return stacks.get(conn, workload.stack)

        stack = await self._services.store.write(note)
        if stack is None:
            return
        await self._services.runtime.mark(launches.ref(workload), now)
        watched.unhealthy = now
        lock = self._services.locks.stack(stack.id)
        if not lock.locked():
            async with lock:
                await rendering.restore(self._services, stack)
        self._services.changes.ring("stack", stack.id)


def _live(conn: Connection) -> list[_Watched]:
    """What should answer now."""
    found = []
    for stack in stacks.every(conn):
        release = releases.current(conn, stack)
        names = stacks.services(conn, stack.environment)
        for service in release.services if release else ():
            if service.service in names and names[service.service].stopped:
                continue
            workload = releases.workload(conn, service.workload)
            specification = Specification.from_json(workload.specification)
            if specification.port is None or workload.stopped_by:  # what makes room for a new one is not asked
                continue
            routes = release.routes if release else ()
            host = next((route["host"] for route in routes if route["service"] == service.service), None)
            due = time.monotonic() + specification.health.interval
            found.append(_Watched(workload, specification, specification.port, service.replicas, host, due))
    return found
