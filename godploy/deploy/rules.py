"""The packet rules of these settings on this machine, and whether they act."""

from __future__ import annotations

import asyncio
import logging
import os

from godploy.core import packets, reach
from godploy.core.doctor import Level, Line
from godploy.core.packets import Ground, State, endpoint
from godploy.drivers import packets as driver
from godploy.drivers.docker import Docker
from godploy.errors import GodployError
from godploy.runtimes.engine.daemon import Daemon
from godploy.runtimes.engine.reach import tried
from godploy.settings import Settings

logger = logging.getLogger(__name__)

_BEGIN = 10.0  # seconds after the start: who only restarts is not to be slowed down
_EVERY = 3600.0


def ground(settings: Settings, engine: driver.Engine) -> Ground:
    """What the rules are made from."""
    return Ground(
        instance=settings.instance,
        pool=settings.pool,
        ports=(settings.http_port, settings.https_port),
        bridge=engine.bridge,
        resolvers=engine.resolvers,
        engine=engine.groups,
        engine_reaches=tuple(endpoint(name) for name in settings.engine_reaches),
    )


async def look(settings: Settings, docker: Docker | None = None) -> list[Line]:
    """What the doctor says of them; changes nothing but for a container and a build that come and go."""
    docker = docker or Docker(timeout=10.0)
    try:
        seen = await tried(Daemon(docker, settings.instance))
    finally:
        await docker.close()
    return list(reach.judge(seen, await _state(settings), str(settings.data)))


async def tell(settings: Settings, docker: Docker) -> None:
    """Says in the log whether they act, some time after the start and whenever that has changed; for ever."""
    told: list[Line] = []
    await asyncio.sleep(_BEGIN)
    while True:
        lines = list(reach.judge(await tried(Daemon(docker, settings.instance)), None, str(settings.data)))
        for line in lines if lines != told else ():
            level = logging.INFO if line.level is Level.OK else logging.WARNING
            logger.log(level, "%s: %s%s", line.subject, line.text, f" → {line.advice}" if line.advice else "")
        told = lines
        await asyncio.sleep(_EVERY)


async def _state(settings: Settings) -> State | None:
    """None where only root may know."""
    if os.geteuid() != 0:
        return None
    try:
        listing = await driver.listing(settings.instance)
    except GodployError:
        return None  # no nft, or one that does not work: trying tells
    return packets.state(listing, ground(settings, await asyncio.to_thread(driver.engine)))
