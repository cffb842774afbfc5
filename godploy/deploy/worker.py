"""Step 3: claims what is queued, one deployment per stack at a time, and brings each to exactly one final state."""

from __future__ import annotations

import asyncio
import logging
from functools import partial

from godploy.core.failures import failure
from godploy.core.model import Deployment, State
from godploy.deploy import follow, pipeline
from godploy.deploy.causes import cause
from godploy.deploy.job import EndedError, Job, open_job
from godploy.deploy.services import Services
from godploy.deploy.supervise import to_the_end
from godploy.deploy.undo import undo
from godploy.errors import GodployError, Unavailable
from godploy.runtimes.protocol import ImageNotFound, Unhealthy
from godploy.store import Connection, deployments

logger = logging.getLogger(__name__)

_LOOK_EVERY = 2.0  # seconds, should a hint be lost


class Worker:
    """The loop and the deployments that it runs."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._running: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Claims for ever. Cancelled, it takes back what runs and returns it to the queue."""
        await self._services.ready.wait()
        try:
            while True:
                await self._end_those_asked()
                await self._claim_all()
                await self._services.changes.wait("worker", _LOOK_EVERY)
                await self._reap()
        finally:
            for task in self._running.values():
                task.cancel()
            await to_the_end(asyncio.wait(self._running.values())) if self._running else None

    async def _claim_all(self) -> None:
        try:
            while (deployment := await self._services.store.write(deployments.claim)) is not None:
                name = f"deployment {deployment.id}"
                task = asyncio.create_task(carry_out(self._services, deployment), name=name)
                self._running[deployment.id] = task
                self._services.changes.ring("outbox")
                task.add_done_callback(lambda _: self._services.changes.ring("worker"))
        except Unavailable as error:  # the disk is full, say: what is queued stays queued
            logger.warning("nothing claimed: %s", error)

    async def _end_those_asked(self) -> None:
        """Cancels the tasks of deployments that a newer push or a person asked to end."""
        if not self._running:
            return
        for deployment in await self._services.store.read(deployments.asked_to_end):
            task = self._running.get(deployment.id)
            if task is not None and task.cancelling() == 0:
                task.cancel()

    async def _reap(self) -> None:
        for deployment_id, task in list(self._running.items()):
            if not task.done():
                continue
            if task.cancelled():  # before it had begun: claimed again, it ends as it was asked to
                await self._services.store.write(partial(deployments.requeue, deployment_id=deployment_id))
            else:
                task.result()  # an error here is one of ours: let it end the process
            del self._running[deployment_id]


async def carry_out(services: Services, deployment: Deployment) -> None:
    """One claimed deployment, to its final state, or back to the queue when Godploy stops."""
    try:
        job = await open_job(services, deployment)
    except Exception as error:  # its log cannot be written, or a secret not opened
        logger.exception("deployment %s", deployment.id)
        failed = failure("unexpected", detail=f"{type(error).__name__}: {error}")
        await to_the_end(fail_for_certain(services, deployment.id, failed))
        return
    try:
        await _succeed(job, await pipeline.run(job))
    except (asyncio.CancelledError, EndedError):
        await to_the_end(_end(job))
    except Exception as error:
        await to_the_end(_fail(job, error))
    finally:
        await to_the_end(close(job))


async def close(job: Job) -> None:
    """Ends the log with the outcome; a deployment that goes on later keeps it open."""
    found = await job.services.store.read(lambda conn: deployments.get(conn, job.deployment.id))
    *told, last = await follow.outcome(job.services, found)
    if found.state.final:
        for line in told:
            job.say(line)
    await job.log.close(last if found.state.final else None)
    job.services.changes.ring("deployment", job.deployment.id)
    job.services.changes.ring("outbox")


async def _succeed(job: Job, result: str) -> None:
    """A switch commits by itself; what changed nothing ends here."""

    def finish_unless_done(conn: Connection) -> None:
        if not deployments.get(conn, job.deployment.id).state.final:
            deployments.finish(conn, job.deployment.id, State.SUCCEEDED, result=result)

    await job.services.store.write(finish_unless_done)


async def _end(job: Job) -> None:
    """It was asked to end, or Godploy stops. A release that was committed in the same moment stays."""
    found = await job.services.store.read(lambda conn: deployments.get(conn, job.deployment.id))
    if found.state.final:
        return
    await _take_back(job)
    if found.ending is None:
        job.say("Godploy stops; the deployment goes on when it is started again")
        await job.services.store.write(lambda conn: deployments.requeue(conn, found.id))
        return
    state, _, reason = found.ending.partition(":")
    job.say(reason)
    await job.services.store.write(lambda conn: deployments.finish(conn, found.id, State(state), result=reason))


async def _fail(job: Job, error: BaseException) -> None:
    """Takes it back and says why. One that went live in the same moment has succeeded, whatever happened behind it."""
    failed = cause(job, error)
    if await _has_ended(job):
        return
    await _take_back(job)
    await fail_for_certain(job.services, job.deployment.id, failed)


async def _has_ended(job: Job) -> bool:
    found = await job.services.store.read(lambda conn: deployments.get(conn, job.deployment.id))
    return found.state.final


async def fail_for_certain(services: Services, deployment: str, failed: GodployError) -> None:
    """Writes the final state, waiting for the database where it cannot take it now (a full disk). Where Godploy stops
    meanwhile the deployment counts as interrupted."""
    while not services.stopping.is_set():
        try:
            await services.store.write(
                lambda conn: deployments.finish(conn, deployment, State.FAILED, error=failed.to_json())
            )
            return
        except Unavailable as error:
            logger.warning("deployment %s: %s", deployment, error)
            await asyncio.sleep(_LOOK_EVERY)


async def _take_back(job: Job) -> None:
    """Undoes it; what cannot be undone now (the engine is down) the reconciler undoes later, from the same rows."""
    try:
        await undo(job.services, job.deployment.id)
    except (Unhealthy, ImageNotFound, GodployError) as error:
        logger.warning("deployment %s: undone later: %s", job.deployment.id, error)
        job.say(f"the clean-up goes on later: {error}")
