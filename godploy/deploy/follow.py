"""What happens to a delivery or a deployment, line by line, for somebody who waits: the pusher's terminal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from godploy.core.model import Delivery, Deployment, State
from godploy.deploy.services import Services
from godploy.store import deliveries, deployments, projects, releases, stacks

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
    environment = await services.store.read(
        lambda conn: projects.environment(conn, stacks.get(conn, deployment.stack).environment).name
    )
    yield f"deployment {deployment.number} to {environment}"
    async with aclosing(_log_until_end(services, deployment.id)) as lines:
        async for line in lines:
            yield line
    outcome = await ended(services, deployment.id)
    yield verdict(outcome, environment)
    for address in await _addresses(services, outcome) if outcome.state is State.SUCCEEDED else ():
        yield address


async def _log_until_end(services: Services, deployment_id: str) -> AsyncGenerator[str, None]:
    """The lines of a deployment's log; one that ended without ever running has none, and is not waited for."""
    end = asyncio.ensure_future(ended(services, deployment_id))
    lines = services.logbook.follow(deployment_id)
    following = asyncio.ensure_future(anext(lines))
    try:
        while True:
            waited = {following} if end.done() else {following, end}
            await asyncio.wait(
                waited, timeout=_LAST_LINES_WITHIN if end.done() else None, return_when=asyncio.FIRST_COMPLETED
            )
            if following.done():
                line = following.result()
                if line.end:
                    return
                yield line.text
                following = asyncio.ensure_future(anext(lines))
            elif end.done() and len(waited) == 1:
                return
    except StopAsyncIteration:
        return
    finally:
        for task in (end, following):
            task.cancel()
        await asyncio.gather(end, following, return_exceptions=True)


def verdict(deployment: Deployment, environment: str) -> str:
    """The outcome in words."""
    error = deployment.error or {}
    told = deployment.result or error.get("message", "")
    advice = f"; next: {error['next_step']}" if error.get("next_step") else ""
    return f"deployment {deployment.number} to {environment} {deployment.state}: {told}{advice}"


async def _addresses(services: Services, deployment: Deployment) -> list[str]:
    """Where the stack's routes open; the last lines that a pusher sees."""
    release = await services.store.read(lambda conn: releases.current(conn, stacks.get(conn, deployment.stack)))
    routes = release.routes if release else ()
    return [services.settings.address(route["host"], route["path"]) for route in routes]
