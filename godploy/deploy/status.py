"""What runs now, as people ask for it: a line for each service, from the database, the runtime and the health watch."""

from __future__ import annotations

from dataclasses import dataclass

from godploy.core.certificates import Standing
from godploy.core.model import Environment, Project, Release, Stack, Workload
from godploy.core.routing import Route
from godploy.deploy.follow import address
from godploy.deploy.launches import ref
from godploy.deploy.services import Services
from godploy.runtimes.protocol import Observed, RuntimeUnavailable, Stats
from godploy.store import Connection, projects, releases, repositories, stacks


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """`state` is what was seen: running, stopped, degraded, down, or unknown while the engine does not answer.
    CPU in cores, sizes in bytes, network counted since the containers' start; None where they were not asked for."""

    service: str
    environment: str
    stack: str
    source: str
    state: str
    healthy: int
    running: int
    replicas: int
    image: str
    commit: str | None
    release: int
    stopped: bool
    routes: tuple[str, ...] = ()
    hosts: tuple[Standing, ...] = ()
    stats: Stats | None = None


@dataclass(frozen=True, slots=True)
class _Row:
    environment: Environment
    stack: Stack
    source: str
    release: Release
    workload: Workload
    replicas: int
    stopped: bool


async def services(
    services: Services, project: Project, environment: str | None = None, stats: bool = False
) -> list[ServiceStatus]:
    """Every service of the project's environments, or of the one that is named."""
    found = await services.store.read(lambda conn: _rows(conn, project, environment))
    refs = [ref(row.workload) for row in found if not row.stopped]
    try:
        observed = {seen.ref.workload: seen for seen in await services.runtime.observe()}
        measured = await services.runtime.stats(refs) if stats and refs else {}
        known = True
    except RuntimeUnavailable:
        observed, measured, known = {}, {}, False
    return [
        _status(services, row, observed.get(row.workload.id), measured.get(row.workload.id), known) for row in found
    ]


async def hosts(services: Services, project: Project) -> dict[str, Standing]:
    """How the hosts that lead anywhere now stand with their certificates."""

    def routes(conn: Connection) -> list[Route]:
        current = [releases.current(conn, stack) for stack in stacks.of_project(conn, project.id)]
        return [Route.from_json(route) for release in current if release for route in release.routes]

    found = services.certificates.standings(await services.store.read(routes))
    return {standing.host: standing for standing in found}


def _rows(conn: Connection, project: Project, environment: str | None) -> list[_Row]:
    found = []
    for stack in stacks.of_project(conn, project.id):
        place = projects.environment(conn, stack.environment)
        release = releases.current(conn, stack)
        if release is None or (environment is not None and place.name != environment):
            continue
        names = stacks.services(conn, stack.environment)
        for service in release.services:
            workload = releases.workload(conn, service.workload)
            stopped = service.service in names and names[service.service].stopped
            source = repositories.get(conn, stack.repository).name if stack.repository else "dashboard"
            found.append(_Row(place, stack, source, release, workload, service.replicas, stopped))
    return found


def _status(services: Services, row: _Row, seen: Observed | None, stats: Stats | None, known: bool) -> ServiceStatus:
    every = [Route.from_json(route) for route in row.release.routes]
    routes = [route for route in every if route.service == row.workload.service]
    specification = row.workload.specification
    return ServiceStatus(
        service=row.workload.service,
        environment=row.environment.name,
        stack=row.stack.id,
        source=row.source,
        state=_state(row, seen, known),
        healthy=seen.healthy if seen else 0,
        running=seen.running if seen else 0,
        replicas=row.replicas,
        image=specification.get("image_text") or specification["image"],
        commit=row.workload.commit,
        release=row.release.number,
        stopped=row.stopped,
        routes=tuple(address(services, route) for route in routes),
        hosts=tuple(services.certificates.standings(routes)),
        stats=stats,
    )


def _state(row: _Row, seen: Observed | None, known: bool) -> str:
    if row.stopped:
        return "stopped"
    if not known:
        return "unknown"
    if seen is None or seen.running == 0:
        return "down"
    if seen.running < row.replicas or seen.healthy < row.replicas:
        return "degraded"
    return "running"
