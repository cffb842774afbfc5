"""What an earlier process left half done is finished or undone, before anything new is begun.

A deployment that was at `switch` with every new workload healthy is finished: its intent is recorded. Every other one
is undone and goes back to the queue, twice at most. Then all route files are written anew, and the reconciler may
begin.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial

from godploy.core.failures import failure
from godploy.core.model import Deployment, Release, Stage, State
from godploy.deploy import launches, reconcile, rendering, switching
from godploy.deploy.job import open_job
from godploy.deploy.services import Services
from godploy.deploy.undo import undo
from godploy.deploy.worker import close, fail_for_certain
from godploy.drivers import traefik_container
from godploy.errors import GodployError, Unavailable
from godploy.runtimes.protocol import ImageNotFound, Unhealthy
from godploy.store import addresses, deployments, releases, runs, stacks

logger = logging.getLogger(__name__)

_ATTEMPTS = 2
_RETRY_EVERY = 1.0  # seconds, while the engine is down or the disk full


async def run(services: Services) -> None:
    """Recovers, however long the engine and the disk take for it, and opens the doors: `services.ready`. A trial ends
    first."""
    while True:
        try:
            await recover(services)
            break
        except Unavailable as error:
            logger.warning("recovery waits: %s", error)
            await asyncio.sleep(_RETRY_EVERY)
    await services.trial.passed()
    services.ready.set()
    services.changes.ring("worker")


async def recover(services: Services) -> None:
    await services.store.write(runs.finish_interrupted)
    for deployment in await services.store.read(deployments.running):
        await _recover(services, deployment)
    known = await services.store.read(stacks.every)
    own = {traefik_container.OWN_ROUTES, traefik_container.CERTIFICATE_NAME}
    await services.routes.move_out_foreign(own | {stack.id for stack in known})
    for stack in known:
        await rendering.restore(services, stack)
    await reconcile.remove_strays(services, await services.runtime.observe())
    await services.store.write(addresses.release_unowned)


async def _recover(services: Services, deployment: Deployment) -> None:
    draft = await services.store.read(lambda conn: releases.of_deployment(conn, deployment.id))
    if draft is not None and deployment.stage is Stage.SWITCH and await _all_healthy(services, draft):
        try:
            job = await open_job(services, deployment)
            job.say("Godploy was started again; the switch goes on")
            await switching.switch(job, draft)
            await close(job)
            return
        except Unavailable:
            raise
        except Exception as error:
            logger.warning("deployment %s: the switch could not be finished: %s", deployment.id, error)
    await _undo(services, deployment)
    newer = await services.store.read(lambda conn: deployments.newer_push_waits(conn, deployment.stack))
    if newer is not None and not deployment.kind.from_release:
        reason = f"superseded by {(newer.commit or '')[:7]}"
        await services.store.write(
            lambda conn: deployments.finish(conn, deployment.id, State.SUPERSEDED, result=reason)
        )
    elif deployment.ending is not None:
        state, _, reason = deployment.ending.partition(":")
        await services.store.write(lambda conn: deployments.finish(conn, deployment.id, State(state), result=reason))
    elif deployment.attempt >= _ATTEMPTS:
        await fail_for_certain(services, deployment.id, failure("interrupted", attempts=deployment.attempt))
    else:
        await services.store.write(lambda conn: deployments.requeue(conn, deployment.id))


async def _undo(services: Services, deployment: Deployment) -> None:
    try:
        await undo(services, deployment.id)
    except Unavailable:
        raise
    except (Unhealthy, ImageNotFound, GodployError) as error:  # the reconciler tries again
        logger.warning("deployment %s: undone later: %s", deployment.id, error)


async def _all_healthy(services: Services, draft: Release) -> bool:
    for service in draft.services:
        workload = await services.store.read(partial(releases.workload, workload_id=service.workload))
        names = await services.store.read(partial(stacks.services, environment_id=workload.environment))
        if names.get(service.service) is not None and names[service.service].stopped:
            continue
        launch = await launches.launch(services, workload, replicas=service.replicas)
        if not await services.runtime.healthy(launch):
            return False
    return True
