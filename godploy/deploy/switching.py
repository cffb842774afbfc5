"""Step 8: the traffic moves, is proven to arrive, and the release is committed: the one commit point."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from godploy.core.failures import failure
from godploy.core.model import Kind, Release, Stage, State, Workload, WorkloadState
from godploy.core.routing import RELEASE_HEADER, Route
from godploy.core.specification import Specification
from godploy.deploy import rendering
from godploy.deploy.job import EndedError, Job
from godploy.deploy.rendering import Rendered
from godploy.drivers.traefik import NotLoaded
from godploy.store import Connection, deployments, events, projects, releases, secrets, stacks, volumes

_SWITCH_WITHIN = 30.0  # seconds
_MOMENT = 1.0
_RETRY_EVERY = 0.05
_BAD_GATEWAYS = (502, 503, 504)  # Traefik's own answers carry the release's header, too


async def switch(job: Job, release: Release, *, within: float = _SWITCH_WITHIN) -> str:
    """Routes to the release, proves it through Traefik, commits. The sentence of success.

    It has 30 s, or `within` where that is less; what was wrong is told a moment before they are over.
    """
    job.stage = Stage.SWITCH
    async with job.services.locks.stack(job.stack.id):
        deadline = time.monotonic() + min(within, _SWITCH_WITHIN) - _MOMENT
        rendered = await rendering.render(job.services, job.stack, release)
        await job.services.routes.write(job.stack.id, rendered.config)
        await _prove(job, release, rendered, deadline)
        result = f"live in {job.seconds:.1f} s"
        await job.services.store.write(lambda conn: _commit(job, conn, release, result))
    job.services.changes.ring("drains")
    job.services.changes.ring("worker")
    job.services.changes.ring("certificates")
    return result


async def _prove(job: Job, release: Release, rendered: Rendered, deadline: float) -> None:
    """Traefik lists exactly the new servers, and each route answers from the new release."""
    seconds = round(deadline - time.monotonic())
    try:
        await job.services.routes.wait_loaded(rendered.config, max(0.0, deadline - time.monotonic()))
    except NotLoaded as error:
        names = ", ".join(route.name for route in rendered.routes)
        raise failure("switch_not_proven", route=names, seconds=seconds, detail=str(error)) from error
    for route in rendered.routes:
        if route.service in rendered.stopped:
            job.say(f"{route.name}: {route.service} is stopped; the route answers 503 and is not proven")
            continue
        specification = Specification.from_json(rendered.workloads[route.service].specification)
        encrypted = route.tls == "auto" and route.host in rendered.encrypted
        detail = "no answer"
        while (detail := await _miss(job, release, route, specification, encrypted=encrypted)) != "":
            if time.monotonic() > deadline:
                raise failure("switch_not_proven", route=route.name, seconds=seconds, detail=detail)
            await asyncio.sleep(_RETRY_EVERY)


async def _miss(job: Job, release: Release, route: Route, specification: Specification, *, encrypted: bool) -> str:
    """Asks the route once through the entry point, over HTTPS where that is where plain HTTP sends everybody; what was
    wrong with the answer, or ""."""
    health = specification.health
    on_health_path = health.path is not None and health.path.startswith(route.path)
    path = health.path if on_health_path and health.path else route.path
    answer = await job.services.routes.ask(route.host, path, health.timeout + 3, encrypted=encrypted)
    if answer.headers.get(RELEASE_HEADER.lower()) != release.id:
        return f"this release did not answer it ({answer.miss or answer.status})"
    if on_health_path and not health.status_from <= (answer.status or 0) <= health.status_to:
        return f"{path} answered {answer.status}"
    if answer.status in _BAD_GATEWAYS and not on_health_path:
        return f"{path} answered {answer.status}"
    return ""


def _commit(job: Job, conn: Connection, release: Release, result: str) -> None:
    """Everything that becomes true with the release, in the transaction that makes it current."""
    deployment, stack = deployments.get(conn, job.deployment.id), stacks.get(conn, job.stack.id)
    if deployment.state is not State.RUNNING or deployment.ending is not None:
        raise EndedError
    stacks.make_current(conn, stack.id, release.id)
    if deployment.kind not in (Kind.RESTART, Kind.CONFIG):  # with these what it was rolled back to goes on
        stacks.set_held(conn, stack.id, deployment.kind is Kind.ROLLBACK)
    named = {service.workload: service for service in release.services}
    for workload in releases.present(conn, stack.id):
        if workload.id in named:
            releases.set_live(conn, workload.id)
            releases.mark_stopped(conn, workload.id, None)
        elif workload.state is WorkloadState.LIVE:
            releases.set_draining(conn, workload.id, _drain_until(workload))
    mounted = {
        mount["volume"]: service.service
        for service in release.services
        for mount in releases.workload(conn, service.workload).specification["mounts"]
    }
    volumes.attach(conn, stack.id, stack.environment, mounted)
    stacks.keep_services(conn, stack.id, [service.service for service in release.services])
    projects.keep_claims(conn, deployment.id)
    if deployment.kind is Kind.ROLLBACK:
        _bring_back_secrets(conn, stack.environment, deployment.options.get("secrets", {}))
    deployments.finish(conn, deployment.id, State.SUCCEEDED, result=result)
    _tell_referrers(conn, job, release)


def _drain_until(workload: Workload) -> float:
    """What was stopped already, or never had a route, has nothing to finish."""
    specification = workload.specification
    waits = 0.0 if workload.stopped_by or specification["port"] is None else float(specification["drain"])
    return time.time() + waits


def _bring_back_secrets(conn: Connection, environment: str, former: Mapping[str, int]) -> None:
    """A rollback over a `config` release: what that changed goes back, so the next push does not bring it again."""
    for name, version in former.items():
        secrets.set_current(conn, environment, name, version)
        events.add(conn, "secret", f"{name} is back at version {version} (rollback)", environment=environment)


def _tell_referrers(conn: Connection, job: Job, release: Release) -> None:
    """Stacks that took a value from this one which has changed get a `config` deployment."""
    offers = {
        f"{service.service}.{key}": value
        for service in release.services
        for key, value in releases.workload(conn, service.workload).specification["offers"].items()
    }
    for other in stacks.of_environment(conn, job.stack.environment):
        current = releases.current(conn, other) if other.id != job.stack.id else None
        if current is None:
            continue
        changed = [name for name, taken in current.references.items() if offers.get(name, taken) != taken]
        if changed:
            deployments.enqueue(
                conn,
                deployments.Request(
                    stack=other.id,
                    kind=Kind.CONFIG,
                    actor=job.deployment.actor,
                    commit=current.commit,
                    revision=current.revision,
                    message=f"{', '.join(changed)} changed",
                    from_release=current.id,
                ),
            )
