"""Stop, start, and one-off commands: acts on what runs, without a deployment."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from godploy.core.model import Environment, Stack, Stage, Workload
from godploy.deploy import launches, rendering
from godploy.deploy.job import environment_secrets
from godploy.deploy.services import Services
from godploy.errors import Conflict, NotFound
from godploy.redact import Redactor
from godploy.runtimes.protocol import ImageNotFound, Unhealthy
from godploy.store import Connection, deployments, events, releases, runs, stacks

_RUN_WITHIN = 24 * 3600.0  # seconds


@dataclass(frozen=True, slots=True)
class _Found:
    """A service of an environment, with its current workload."""

    stack: Stack
    workload: Workload
    replicas: int
    host: str | None


def _find(conn: Connection, environment: str, name: str) -> _Found:
    held = stacks.services(conn, environment).get(name)
    stack = stacks.get(conn, held.stack) if held else None
    release = releases.current(conn, stack) if stack else None
    service = next((s for s in release.services if s.service == name), None) if release else None
    if stack is None or release is None or service is None:
        raise NotFound(f"there is no service {name} in this environment")
    host = next((route["host"] for route in release.routes if route["service"] == name), None)
    return _Found(stack, releases.workload(conn, service.workload), service.replicas, host)


async def stop(services: Services, environment: str, name: str, actor: str) -> None:
    """Stops its containers and answers its routes with 503, until `start`. Raises Conflict during a deployment."""
    async with _at_rest(services, environment, name) as found:
        await _flag(services, found, True, f"{name} stopped by {actor}")
        await rendering.restore(services, found.stack, wait=True)
        await services.runtime.stop(launches.ref(found.workload), found.workload.specification["stop_grace"])
    services.changes.ring("stack", found.stack.id)


async def start(services: Services, environment: str, name: str, actor: str) -> None:
    """Starts a stopped service again, at its current release; when it does not become healthy it stays stopped."""
    async with _at_rest(services, environment, name) as found:
        launch = await launches.launch(services, found.workload, replicas=found.replicas, host=found.host, alone=True)
        seen = {o.ref.workload: o for o in await services.runtime.observe(environment)}.get(found.workload.id)
        try:
            if seen is None or seen.total == 0:
                await services.runtime.start(launch, lambda line: None)
            else:
                await services.runtime.resume(launch)
            await services.runtime.promote(launch)
        except (Unhealthy, ImageNotFound) as error:
            await services.runtime.stop(launch.ref, launch.stop_grace)
            raise Conflict(f"{name} was started but did not become healthy ({error}); it is stopped again") from error
        await _flag(services, found, False, f"{name} started by {actor}")
        await rendering.restore(services, found.stack, wait=True)
    services.changes.ring("stack", found.stack.id)


@asynccontextmanager
async def _at_rest(services: Services, environment: str, name: str) -> AsyncIterator[_Found]:
    """The service, with its stack's lock, when no deployment is changing its containers. It is looked up once more
    under the lock: a release may have gone live while that was waited for."""

    def find(conn: Connection) -> _Found:
        found = _find(conn, environment, name)
        running = deployments.running(conn, found.stack.id)
        if any(deployment.stage in (Stage.START, Stage.SWITCH) for deployment in running):
            raise Conflict(
                "a deployment is changing this stack now", next_step="wait for it, or: godploy cancel NUMBER"
            )
        return found

    found = await services.store.read(find)
    async with services.locks.stack(found.stack.id):
        yield await services.store.read(find)


async def _flag(services: Services, found: _Found, stopped: bool, message: str) -> None:
    workload = found.workload

    def write(conn: Connection) -> None:
        stacks.set_stopped(conn, workload.environment, workload.service, stopped)
        events.add(
            conn,
            "stopped" if stopped else "started",
            message,
            environment=workload.environment,
            stack=workload.stack,
            service=workload.service,
        )

    await services.store.write(write)


async def run(
    services: Services,
    environment: Environment,
    service: str | None,
    argv: Sequence[str],
    actor: str,
    log: Callable[[str], None],
) -> int:
    """A one-off command in the image and environment of a service's current release; its exit code.

    Where no service is named it is `web`, or else the first one.
    """
    name = service if service else await services.store.read(lambda conn: _main_service(conn, environment))
    found = await services.store.read(lambda conn: _find(conn, environment.id, name))
    launch = await launches.launch(services, found.workload)
    redact = Redactor(await environment_secrets(services, environment.id))
    release = found.stack.current_release or ""
    run_id = await services.store.write(lambda conn: runs.start(conn, found.stack.id, release, name, argv, actor))
    code: int | None = None
    try:
        code = await services.runtime.run_once(launch, argv, lambda line: log(redact(line)), _RUN_WITHIN)
        return code
    finally:
        await services.store.write(lambda conn: runs.finish(conn, run_id, code))


def _main_service(conn: Connection, environment: Environment) -> str:
    names = list(stacks.services(conn, environment.id))
    if not names:
        raise NotFound(f"nothing is deployed in {environment.name} yet", next_step="godploy deploy")
    return "web" if "web" in names else names[0]
