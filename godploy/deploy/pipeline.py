"""The deploy story: one commit becomes live traffic, or nothing has changed.

    fetch ─► plan ─► build ─► start ─► switch ─► (behind it: drain, retire)

`switching.switch` commits the release: the one commit point. Before it, any failure, cancellation or crash is undone
from the database by `undo.undo`, which removes only what is new; after it, nothing removes the release.
"""

from __future__ import annotations

import asyncio

from godploy.core.model import Kind, Release, Stage
from godploy.core.plan import Plan
from godploy.deploy import building, planning, source, starting, switching
from godploy.deploy.job import Job
from godploy.errors import Conflict
from godploy.store import Connection, deployments, releases

_PLAN_WITHIN = 300.0  # seconds for fetch and plan, before the plan says what the deployment may take


async def run(job: Job) -> str:
    """Brings the deployment to its end; one sentence that says how it went well. Raises what ended it otherwise."""
    async with asyncio.timeout(_PLAN_WITHIN):
        manifest, plan = await intend(job)
    if plan.empty:
        return "nothing changed"
    before_build = job.seconds

    await job.enter(Stage.BUILD)
    images = await building.build(job, plan)

    left, built = plan.timeout - before_build, job.seconds
    async with asyncio.timeout(left):
        release = await starting.start(job, plan, images, manifest)
        return await switching.switch(job, release, within=left - (job.seconds - built))


async def intend(job: Job) -> tuple[str, Plan]:
    """The manifest's text and the plan: from the commit, or from the release that is to run again."""
    if job.deployment.kind.from_release:
        await job.enter(Stage.PLAN)
        target = await job.services.store.write(lambda conn: _target(job, conn))
        return target.manifest, await planning.from_release(job, target)
    await job.enter(Stage.FETCH)
    found = await source.read(job)
    await job.enter(Stage.PLAN)
    return found.manifest.text, await planning.from_source(job, found)


def _target(job: Job, conn: Connection) -> Release:
    """A rollback goes to the release that it names. A restart or a changed value goes on from the release that is
    current by now: a push that came before it must not be taken back."""
    if job.deployment.kind is Kind.ROLLBACK:
        return releases.get(conn, job.deployment.from_release or "")
    current = releases.current(conn, job.stack)
    if current is None:
        raise Conflict("nothing is deployed here yet", next_step="godploy deploy")
    job.deployment = deployments.go_on_from(conn, job.deployment.id, current)
    return current
