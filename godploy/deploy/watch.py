"""After going live: every replica is asked each `interval`; after `failures` bad answers in a row it counts as
unhealthy and leaves the pool while another is healthy. Nothing is restarted for it: the engine restarts what exits."""

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
from godploy.runtimes.protocol import RuntimeUnavailable
from godploy.store import Connection, events, releases, stacks

logger = logging.getLogger(__name__)

_TICK = 1.0  # seconds; no service is asked more often
_LOOK_EVERY = 5.0  # seconds between two readings of what is live


@dataclass(slots=True)
class _Watched:
    workload: Workload
    specification: Specification
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
        self._looked = 0.0

    def unhealthy(self, workload: str) -> frozenset[int]:
        """The replicas of a workload that count as unhealthy."""
        watched = self._watched.get(workload)
        return watched.unhealthy if watched else frozenset()

    async def run(self) -> None:
        await self._services.ready.wait()
        while True:
            try:
                await self._look()
                due = [watched for watched in self._watched.values() if watched.due <= time.monotonic()]
                await asyncio.gather(*(self._ask(watched) for watched in due))
            except (RuntimeUnavailable, GodployError) as error:
                logger.warning("health: %s", error)
            await asyncio.sleep(_TICK)

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
        health, port = watched.specification.health, watched.specification.port
        watched.due = time.monotonic() + health.interval
        ref = launches.ref(watched.workload)
        if port is None:
            return
        for replica in range(1, watched.replicas + 1):
            good = await self._services.runtime.check(ref, replica, port, health, watched.host)
            watched.bad[replica] = 0 if good else watched.bad.get(replica, 0) + 1
        now = frozenset(replica for replica, bad in watched.bad.items() if bad >= health.failures)
        now = frozenset(replica for replica in now if replica <= watched.replicas)
        if now != watched.unhealthy:
            await self._changed(watched, now)

    async def _changed(self, watched: _Watched, now: frozenset[int]) -> None:
        workload = watched.workload
        worse, better = sorted(now - watched.unhealthy), sorted(watched.unhealthy - now)
        watched.unhealthy = now
        # With nobody healthy left, all stay in the pool: an answer of the app's own is better than none.
        out_of_pool = now if len(now) < watched.replicas else frozenset()
        await self._services.runtime.mark(launches.ref(workload), out_of_pool)
        told = [f"replica {n} does not answer its health check" for n in worse]
        told += [f"replica {n} answers again" for n in better]

        def note(conn: Connection) -> Stack:
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
        lock = self._services.locks.stack(stack.id)
        if not lock.locked():
            async with lock:
                await rendering.restore(self._services, stack)
        self._services.changes.ring("stack", stack.id)


def _live(conn: Connection) -> list[_Watched]:
    found = []
    for stack in stacks.every(conn):
        release = releases.current(conn, stack)
        names = stacks.services(conn, stack.environment)
        for service in release.services if release else ():
            if service.service in names and names[service.service].stopped:
                continue
            workload = releases.workload(conn, service.workload)
            specification = Specification.from_json(workload.specification)
            hosts = (
                [route["host"] for route in release.routes if route["service"] == service.service] if release else []
            )
            due = time.monotonic() + specification.health.interval
            if specification.port is not None:
                found.append(_Watched(workload, specification, service.replicas, hosts[0] if hosts else None, due))
    return found
