"""Waits until a container has earned traffic, by asking it from outside; no tool inside the image is needed."""

from __future__ import annotations

import asyncio

from godploy.core.specification import Health
from godploy.drivers import probe
from godploy.runtimes.engine import diagnosis
from godploy.runtimes.engine.daemon import Daemon
from godploy.runtimes.engine.diagnosis import Cause
from godploy.runtimes.engine.settings import Found
from godploy.runtimes.protocol import Launch, Unhealthy

_INTERVAL = 0.1  # seconds between two questions to a container that starts


async def until_healthy(daemon: Daemon, container: str, launch: Launch, *, successes: int) -> None:
    """Returns after `successes` good answers in a row or, where there is no port, after `launch.settle` seconds up.
    Raises Unhealthy at once when it ends or restarts, else after `health.start_timeout`. The container stays."""
    clock = asyncio.get_running_loop().time
    first = await _look(daemon, container, launch)
    begun = clock()
    deadline = begun + (launch.settle if launch.port is None else launch.health.start_timeout)
    good, found, answer = 0, first, probe.Answer()
    while True:
        if not found.running:
            found = await daemon.ended(found.id) or found
            raise await _unhealthy(daemon, found, diagnosis.ended(found, launch, clock() - begun))
        if (found.restarts, found.started) != (first.restarts, first.started):
            raise await _unhealthy(daemon, found, diagnosis.restarted(found, launch))
        if good and good >= successes:
            return
        if clock() >= deadline:
            break
        if launch.port is not None:
            answer = await ask(found.address, launch.port, launch.health, launch.host)
            good = good + 1 if is_good(answer, launch.health) else 0
        if good < successes or launch.port is None:
            await asyncio.sleep(_INTERVAL)
        found = await _look(daemon, container, launch)  # after the answer: one who answers and then dies is not healthy
    if launch.port is not None:
        sockets = await diagnosis.listening(found.pid)
        raise await _unhealthy(daemon, found, diagnosis.unanswered(found, launch, answer, sockets))


async def ask(address: str, port: int, health: Health, host: str | None) -> probe.Answer:
    if health.path is None:
        return await probe.tcp(address, port, health.timeout)
    return await probe.http(address, port, health.path, host, health.timeout)


def is_good(answer: probe.Answer, health: Health) -> bool:
    if health.path is None:
        return bool(answer)
    return health.status_from <= answer.status <= health.status_to


async def _look(daemon: Daemon, container: str, launch: Launch) -> Found:
    found = await daemon.look(container)
    if found is None:
        facts = {"service": launch.ref.service, "exit_code": "unknown", "seconds": 0}
        raise Unhealthy("exited", facts, ["its container was removed"])
    return found


async def _unhealthy(daemon: Daemon, found: Found, cause: Cause) -> Unhealthy:
    lines = await daemon.last_lines(found.id)
    if found.complaint:
        lines.append(found.complaint)
    return Unhealthy(cause.code, cause.facts, lines)
