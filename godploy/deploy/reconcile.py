"""Desired against observed: at start, when the engine tells of a change, and every 30 s. Each correction is an event.

Desired is what current releases name, less what is stopped. Stacks with a deployment under way are left alone, since
theirs is a moving truth. A leftover is a workload that nothing names; nothing else is ever removed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from godploy.core.failures import failure
from godploy.core.model import ReleaseService, Stack, Workload, WorkloadState
from godploy.deploy import launches, rendering
from godploy.deploy.services import Services
from godploy.deploy.undo import undo
from godploy.errors import GodployError
from godploy.runtimes.protocol import ImageNotFound, Observed, RuntimeUnavailable, Unhealthy
from godploy.store import Connection, addresses, deployments, events, projects, releases, stacks

logger = logging.getLogger(__name__)

_EVERY = 30.0  # seconds
_AFTER_TROUBLE = 3.0


async def run(services: Services) -> None:
    """The loop."""
    await services.ready.wait()
    while True:
        wait = _EVERY
        try:
            await reconcile(services)
        except (RuntimeUnavailable, GodployError) as error:
            logger.warning("reconciling: %s", error)
            wait = _AFTER_TROUBLE
        await services.changes.wait("reconcile", wait)


async def listen(services: Services) -> None:
    """Turns the engine's events into hints. The stream may end silently: it is opened anew, and a full look follows."""
    while True:
        try:
            async for ref in services.runtime.events():
                services.changes.ring("reconcile")
                services.changes.ring("stack", ref.stack)
        except (RuntimeUnavailable, GodployError) as error:
            logger.warning("engine events: %s", error)
        services.changes.ring("reconcile")
        await asyncio.sleep(_AFTER_TROUBLE)


async def reconcile(services: Services) -> None:
    """One full look. The trouble of one stack does not hold up the others."""
    everything = await services.runtime.observe()
    glance = {seen.ref.workload: seen for seen in everything}
    for deployment in await services.store.read(_unfinished):
        await _undo(services, deployment)
    for stack in await services.store.read(stacks.every):
        lock = services.locks.stack(stack.id)
        if lock.locked():
            continue
        async with lock:
            if stack.id not in await services.store.read(_deploying):
                await _stack(services, stack, glance)
    await remove_strays(services, everything)


async def _undo(services: Services, deployment: str) -> None:
    try:
        await undo(services, deployment, unless_running=True)
    except RuntimeUnavailable:
        raise
    except (Unhealthy, ImageNotFound, GodployError) as error:
        logger.warning("deployment %s: undone later: %s", deployment, error)


def _unfinished(conn: Connection) -> list[str]:
    """Deployments that are not running, and yet have something new or stopped that no release took over."""
    left = {w.made_by for w in releases.present(conn) if w.state is WorkloadState.NEW}
    left |= {w.stopped_by for w in releases.present(conn) if w.stopped_by}
    running = {deployment.id for deployment in deployments.running(conn)}
    return sorted(left - running)


def _deploying(conn: Connection) -> set[str]:
    return {deployment.stack for deployment in deployments.running(conn)}


@dataclass(frozen=True, slots=True)
class _Desired:
    service: ReleaseService
    workload: Workload
    stopped: bool


def _desired(conn: Connection, stack: Stack) -> list[_Desired]:
    release = releases.current(conn, stacks.get(conn, stack.id))
    names = stacks.services(conn, stack.environment)
    return [
        _Desired(service, releases.workload(conn, service.workload), names[service.service].stopped)
        for service in (release.services if release else ())
        if service.service in names
    ]


def _as_wanted(wanted: _Desired, seen: Observed | None) -> bool:
    if wanted.stopped:
        return seen is None or not seen.running
    return seen is not None and seen.running >= wanted.service.replicas and seen.promoted


async def _stack(services: Services, stack: Stack, glance: Mapping[str, Observed]) -> None:
    """Corrects one stack, whose lock is held. The glance may be older than the stack's current release: before anything
    is touched, the world is looked at again."""
    desired = await services.store.read(lambda conn: _desired(conn, stack))
    corrected = False
    if not all(_as_wanted(wanted, glance.get(wanted.workload.id)) for wanted in desired):
        observed = {seen.ref.workload: seen for seen in await services.runtime.observe(stack.environment)}
        for wanted in desired:
            corrected |= await _put_right(services, stack, wanted, observed.get(wanted.workload.id))
    release = await services.store.read(lambda conn: releases.current(conn, stack))
    config = (await rendering.render(services, stack, release)).config
    if await services.routes.read(stack.id) != config:
        await services.routes.write(stack.id, config)
        if not corrected:
            await _note(services, stack, None, "the route file was not as it should be: written anew")


async def _put_right(services: Services, stack: Stack, wanted: _Desired, seen: Observed | None) -> bool:
    """Whether something had to be done, which is told; trouble that stays is told once."""
    if _as_wanted(wanted, seen):
        return False
    service = wanted.service.service
    try:
        await _note(services, stack, service, await _correct(services, wanted, seen))
    except RuntimeUnavailable:
        raise
    except Unhealthy as error:
        sentence = failure(error.code, **error.facts)
        await _note(services, stack, service, f"could not be brought back: {sentence.message}", trouble=error.code)
    except (ImageNotFound, GodployError) as error:
        await _note(services, stack, service, f"could not be brought back: {error}", trouble=type(error).__name__)
    return True


async def _correct(services: Services, wanted: _Desired, seen: Observed | None) -> str:
    """Brings one workload that is not as its release wants it there; what had to be done, in words."""
    workload, replicas = wanted.workload, wanted.service.replicas
    if wanted.stopped:
        await services.runtime.stop(launches.ref(workload), workload.specification["stop_grace"])
        return "was running although it is stopped: stopped again"
    launch = await launches.launch(services, workload, replicas=replicas)
    if seen is None or seen.total == 0:
        subnet = await services.store.read(lambda conn: projects.subnet(conn, workload.environment))
        await services.runtime.ensure_network(workload.environment, subnet)
        await services.runtime.start(launch, lambda line: None)
        await services.runtime.promote(launch)
        return "its containers were gone: made again"
    if seen.total < replicas:
        await services.runtime.resume(launches.with_replicas(launch, seen.total))
        await services.runtime.scale(launch, lambda line: None)
        return f"{replicas - seen.total} of its containers were gone: made again"
    if seen.running < replicas:
        await services.runtime.resume(launch)
        await services.runtime.promote(launch)
        return f"{replicas - seen.running} of its containers did not run: started again"
    await services.runtime.promote(launch)
    return "its name or restart policy was off: put right"


async def _note(services: Services, stack: Stack, service: str | None, what: str, trouble: str = "") -> None:
    text = f"{service}: {what}" if service else what

    def write(conn: Connection) -> bool:
        before = events.newest(conn, "drift", stack.id, service)
        if trouble and before is not None and before.fields.get("trouble") == trouble:
            return False
        fields = {"trouble": trouble} if trouble else {}
        events.add(conn, "drift", text, environment=stack.environment, stack=stack.id, service=service, fields=fields)
        return True

    if await services.store.write(write):
        logger.info("drift in stack %s: %s", stack.id, text)
        services.changes.ring("stack", stack.id)


async def remove_strays(services: Services, observed: Sequence[Observed]) -> None:
    """Removes containers of ours whose workload the database does not know as present. It was observed before the
    database is read here, and a workload's row is written before its containers are made, so nothing new can look like
    a stray."""
    present = {workload.id for workload in await services.store.read(releases.present)}
    strays = [seen.ref for seen in observed if seen.ref.workload not in present]
    if not strays:
        return
    # Looked at again: what drained between the two looks is gone by now, and was no stray.
    there = {seen.ref.workload for seen in await services.runtime.observe()}
    for ref in strays:
        if ref.workload in there:
            await services.runtime.remove(ref)
            await services.store.write(partial(addresses.release, owner=ref.workload))
            logger.info("removed a stray: %s", ref)
