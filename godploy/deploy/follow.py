"""What happens to a delivery or a deployment, line by line, for somebody who waits: the pusher's terminal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from godploy.core.model import Delivery, Deployment, State
from godploy.core.routing import Route
from godploy.deploy.ledger import remark
from godploy.deploy.services import Services
from godploy.drivers.logbook import Line
from godploy.store import Connection, deliveries, deployments, projects, releases, stacks

_LOOK_EVERY = 1.0  # seconds, should a hint be lost
_LAST_LINES_WITHIN = 2.0  # seconds between the final state and the log's last line


async def delivery(services: Services, delivery_id: str) -> AsyncIterator[str]:
    """The verdict, then the log of each deployment that the delivery caused, each with its outcome at the end."""
    decided = await _decided(services, delivery_id)
    yield decided.verdict or ""
    for deployment in await services.store.read(lambda conn: deployments.of_delivery(conn, delivery_id)):
        async for line in _deployment(services, deployment):
            yield line


async def ended(services: Services, deployment_id: str) -> Deployment:
    """The deployment, once it has its final state."""
    with services.changes.subscribe() as hints:
        while True:
            found = await services.store.read(lambda conn: deployments.get(conn, deployment_id))
            if found.state.final:
                return found
            await hints.next(_LOOK_EVERY)


async def _decided(services: Services, delivery_id: str) -> Delivery:
    with services.changes.subscribe() as hints:
        while True:
            found = await services.store.read(lambda conn: deliveries.get(conn, delivery_id))
            if found.state == "decided":
                return found
            await hints.next(_LOOK_EVERY)


async def _deployment(services: Services, deployment: Deployment) -> AsyncIterator[str]:
    environment = await services.store.read(lambda conn: _environment(conn, deployment))
    yield f"deployment {deployment.number} to {environment}"
    told = False
    async with aclosing(log(services, deployment.id)) as lines:
        async for line in lines:
            yield line.text
            told = line.end
    if not told:
        for text in await outcome(services, await ended(services, deployment.id)):
            yield text


async def log(services: Services, deployment_id: str, after: int = 0) -> AsyncGenerator[Line, None]:
    """The lines of a deployment's log that follow line number `after`, and those to come, up to its last.

    One that ended without a last line, such as one that never ran, is not waited for.
    """
    end = asyncio.ensure_future(ended(services, deployment_id))
    lines = services.logbook.follow(deployment_id, after)
    upcoming = asyncio.ensure_future(_next(lines))
    try:
        while True:
            over = end.done()
            await asyncio.wait(
                {upcoming} if over else {upcoming, end},
                timeout=_LAST_LINES_WITHIN if over else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if upcoming.done():
                line = upcoming.result()
                if line is None:
                    return
                yield line
                if line.end:
                    return
                upcoming = asyncio.ensure_future(_next(lines))
            elif over:
                return
    finally:
        for task in (end, upcoming):
            task.cancel()
        await asyncio.gather(end, upcoming, return_exceptions=True)


async def _next(lines: AsyncIterator[Line]) -> Line | None:
    return await anext(lines, None)


async def outcome(services: Services, deployment: Deployment) -> list[str]:
    """How it ended, and what to do next or, where it is live, the addresses that open: the last lines of its log."""
    environment, routes = await services.store.read(
        lambda conn: (_environment(conn, deployment), _routes(conn, deployment))
    )
    what = f"deployment {deployment.number} to {environment}"
    if deployment.state is State.FAILED:
        error = deployment.error or {}
        advice = [f"next: {error['next_step']}"] if error.get("next_step") else []
        return [f"{what} failed: {error.get('message', '')}", *advice]
    told = [f"{what}: {deployment.result}"]
    if deployment.state is State.SUCCEEDED:
        told += [words for found in services.certificates.standings(routes) if (words := remark(found))]
        told += [address(services, route) for route in routes]
    return told


def _environment(conn: Connection, deployment: Deployment) -> str:
    return projects.environment(conn, stacks.get(conn, deployment.stack).environment).name


def address(services: Services, route: Route) -> str:
    """Where a route opens in a browser, as things are now."""
    encrypted = services.certificates.has(route.host, route.tls)
    return services.settings.address(route.host, route.path, encrypted=encrypted)


def _routes(conn: Connection, deployment: Deployment) -> tuple[Route, ...]:
    release = releases.current(conn, stacks.get(conn, deployment.stack))
    return tuple(Route.from_json(route) for route in release.routes) if release else ()
