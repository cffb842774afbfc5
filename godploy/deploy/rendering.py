"""The route file of a stack, made anew from the database and from what answers now."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from godploy.core.model import Release, Stack, Workload
from godploy.core.routing import Route, traefik
from godploy.deploy import launches
from godploy.deploy.services import Services
from godploy.drivers.traefik import NotLoaded
from godploy.store import Connection, releases, stacks

_SERVED_WITHIN = 5.0  # seconds


@dataclass(frozen=True, slots=True)
class Rendered:
    """`config` is the file's content, empty where the stack has no routes."""

    config: Mapping[str, Any] = field(default_factory=dict)
    routes: tuple[Route, ...] = ()
    workloads: Mapping[str, Workload] = field(default_factory=dict)  # service → workload
    stopped: frozenset[str] = frozenset()
    encrypted: frozenset[str] = frozenset()  # hosts whose plain HTTP only redirects


async def render(services: Services, stack: Stack, release: Release | None) -> Rendered:
    """What the release's routes lead to now: its healthy replicas, at most as many as the release has."""
    if release is None:
        return Rendered()
    routes = tuple(Route.from_json(route) for route in release.routes)
    ports = {route.service: route.port for route in routes}

    def rows(conn: Connection) -> tuple[dict[str, Workload], frozenset[str]]:
        named = {s.service: releases.workload(conn, s.workload) for s in release.services if s.service in ports}
        names = stacks.services(conn, stack.environment)
        return named, frozenset(name for name in named if name in names and names[name].stopped)

    workloads, stopped = await services.store.read(rows)
    wanted = {service.service: service.replicas for service in release.services}
    servers = {}
    for service, workload in workloads.items():
        if service not in stopped:
            answering = await services.runtime.endpoints(launches.ref(workload), ports[service])
            servers[service] = answering[: wanted[service]]
    hosts = {host for route in routes for host in route.hosts}
    encryption = services.certificates.encryption(hosts, services.settings)
    config = traefik(stack.id, release.id, routes, servers, stopped, encryption)
    return Rendered(config, routes, workloads, stopped, encryption.certified)


async def restore(services: Services, stack: Stack, *, wait: bool = False) -> None:
    """Writes the stack's file for its current release, whatever it held; without routes there is no file.

    With `wait` it returns once Traefik serves that, or after a few seconds: what it lacks then, the reconciler finds.
    """
    release = await services.store.read(lambda conn: releases.current(conn, stack))
    config = (await render(services, stack, release)).config
    await services.routes.write(stack.id, config)
    if wait:
        with suppress(NotLoaded):
            await services.routes.wait_loaded(config, _SERVED_WITHIN)
