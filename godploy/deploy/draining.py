"""Step 9: old workloads finish their requests, then go. Deadlines stand in the database, so a restart carries on."""

from __future__ import annotations

import logging
import time

from godploy.core.model import Workload
from godploy.deploy import launches
from godploy.deploy.services import Services
from godploy.deploy.undo import shrink
from godploy.errors import GodployError
from godploy.runtimes.protocol import ImageNotFound, Unhealthy
from godploy.store import Connection, addresses, deployments, releases, stacks

logger = logging.getLogger(__name__)

_LOOK_EVERY = 30.0  # seconds, should a hint be lost


async def run(services: Services) -> None:
    """The loop: retires what has drained, soonest first."""
    await services.ready.wait()
    while True:
        wait = _LOOK_EVERY
        try:
            wait = await retire_due(services)
        except (Unhealthy, ImageNotFound, GodployError) as error:
            logger.warning("draining: %s", error)
            wait = 2.0
        await services.changes.wait("drains", wait)


async def retire_due(services: Services) -> float:
    """Retires every workload whose time has come; seconds until the next one's."""
    wait = _LOOK_EVERY
    for workload in await services.store.read(releases.draining):
        left = (workload.drain_until or 0) - time.time()
        if left <= 0:
            await _retire(services, workload)
        else:
            wait = min(wait, left)
    for workload, _, due in await services.store.read(_surplus):
        left = due - time.time()
        if left > 0:
            wait = min(wait, left)
        elif not services.locks.stack(workload.stack).locked():
            await _remove_surplus(services, workload)
    return wait


async def _retire(services: Services, workload: Workload) -> None:
    ref = launches.ref(workload)
    await services.runtime.demote(ref)
    await services.runtime.stop(ref, workload.specification["stop_grace"])
    await services.runtime.remove(ref)

    def gone(conn: Connection) -> None:
        releases.set_gone(conn, workload.id)
        addresses.release(conn, workload.id)

    await services.store.write(gone)
    services.changes.ring("retention")
    services.changes.ring("stack", workload.stack)


async def _remove_surplus(services: Services, scaled: Workload) -> None:
    """Looked up once more under the lock, since a deployment may have begun to scale it up again."""
    async with services.locks.stack(scaled.stack):
        for workload, replicas, due in await services.store.read(_surplus):
            if workload.id == scaled.id and due <= time.time():
                await shrink(services, workload, replicas)


def _surplus(conn: Connection) -> list[tuple[Workload, int, float]]:
    """(workload, replicas that its current release wants, when the surplus has drained)."""
    found = []
    for stack in stacks.every(conn):
        release = releases.current(conn, stack)
        if release is None or deployments.running(conn, stack.id):
            continue
        for service in release.services:
            workload = releases.workload(conn, service.workload)
            if workload.replicas > service.replicas:
                found.append((workload, service.replicas, release.created_at + workload.specification["drain"]))
    return found
