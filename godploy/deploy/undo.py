"""Takes back a deployment that was not committed, from the database alone: the same after a failure, a cancellation and
a crash. It removes only what the deployment made, and starts again what it stopped. Idempotent."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial

from godploy.core.model import Release, Stack, Stage, State, Volume, Workload
from godploy.deploy import launches, rendering
from godploy.deploy.services import Services
from godploy.store import Connection, addresses, deployments, events, projects, releases, stacks, volumes

_FINISH_WITHIN = 10.0  # seconds, however long the drain of a service is


@dataclass(frozen=True, slots=True)
class _Left:
    """What an uncommitted deployment left behind."""

    running: bool
    stack: Stack
    current: Release | None
    new: list[Workload]
    stopped: list[Workload]
    volumes: list[Volume]


async def undo(services: Services, deployment: str, *, unless_running: bool = False) -> None:
    """Routes back first, then the new containers, then the old ones again, last stopped first.

    With `unless_running` (the reconciler's use) a deployment that has meanwhile been claimed again is left alone.
    """
    found = await services.store.read(lambda conn: deployments.get(conn, deployment))

    def rows(conn: Connection) -> _Left:
        now, stack = deployments.get(conn, deployment), stacks.get(conn, found.stack)
        return _Left(
            now.state is State.RUNNING,
            stack,
            releases.current(conn, stack),
            releases.made_by(conn, deployment),
            releases.stopped_by(conn, deployment),
            volumes.made_by(conn, deployment),
        )

    async with services.locks.stack(found.stack):
        left = await services.store.read(rows)
        if left.running and unless_running:
            return
        tried = found.stage is Stage.SWITCH
        await rendering.restore(services, left.stack, wait=tried)
        if tried:
            await _let_finish(left.new)
        for workload in left.new:
            await services.runtime.remove(launches.ref(workload))
        for workload in left.stopped:
            await _resume(services, left, workload)
        await _scale_back(services, left.current)
        if left.stopped:  # the file had no servers for them before
            await rendering.restore(services, left.stack)
        for volume in left.volumes:
            await services.runtime.remove_volume(volume.environment, volume.id)
        await services.store.write(lambda conn: _forget(conn, deployment, left))


async def _let_finish(new: list[Workload]) -> None:
    """Requests that reached the new containers while the switch was tried get their answers before those go."""
    drains = [workload.specification["drain"] for workload in new if workload.specification["port"] is not None]
    await asyncio.sleep(min(max(drains, default=0.0), _FINISH_WITHIN))


async def _resume(services: Services, left: _Left, workload: Workload) -> None:
    replicas = next((s.replicas for s in left.current.services if s.workload == workload.id), 1) if left.current else 1
    launch = await launches.launch(services, workload, replicas=replicas)
    await services.runtime.resume(launch)
    await services.runtime.promote(launch)
    await services.store.write(lambda conn: releases.mark_stopped(conn, workload.id, None))


async def _scale_back(services: Services, current: Release | None) -> None:
    for service in current.services if current else ():
        workload = await services.store.read(partial(releases.workload, workload_id=service.workload))
        if workload.replicas > service.replicas:
            await shrink(services, workload, service.replicas)


async def shrink(services: Services, workload: Workload, replicas: int) -> None:
    """Removes the surplus containers of a workload, and says so in its row."""
    launch = await launches.launch(services, workload, replicas=replicas)
    await services.runtime.scale(launch, lambda line: None)
    await services.store.write(lambda conn: releases.set_replicas(conn, workload.id, replicas))


def _forget(conn: Connection, deployment: str, left: _Left) -> None:
    for workload in left.new:
        releases.set_gone(conn, workload.id)
        addresses.release(conn, workload.id)
    draft = releases.of_deployment(conn, deployment)
    if draft is not None and (left.current is None or draft.id != left.current.id):
        releases.drop(conn, draft.id)
    for volume in left.volumes:
        volumes.delete(conn, volume.id)
    projects.drop_claims(conn, deployment)
    kept = [service.service for service in left.current.services] if left.current else []
    stacks.keep_services(conn, left.stack.id, kept)
    if left.new or left.stopped:
        events.add(
            conn,
            "undone",
            "what was new is removed; the release before serves",
            environment=left.stack.environment,
            stack=left.stack.id,
            deployment=deployment,
        )
