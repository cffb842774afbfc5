"""One-off runs: a container of its own, whose output is read while it runs, and of which nothing stays."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace

from godploy.drivers.docker import Refused
from godploy.runtimes.engine import settings, streams
from godploy.runtimes.engine.daemon import Daemon
from godploy.runtimes.engine.settings import Place
from godploy.runtimes.protocol import Launch, Log

_NOT_STARTED = 127  # as a shell says of a program that it cannot run


async def run(daemon: Daemon, launch: Launch, place: Place, argv: Sequence[str], log: Log) -> int:
    """The exit code; the container, whose name is `place.name`, is left to the caller to remove."""
    config = settings.container(
        replace(launch, command=tuple(argv), port=None), place, daemon.instance, processors=await daemon.processors()
    )
    container = await daemon.create(config, place.name)
    try:
        await daemon.start(container)
    except Refused as error:
        log(error.message)
        return _NOT_STARTED
    async with aclosing(streams.follow(daemon, container)) as lines:
        async for _, text in lines:
            log(text)
    found = await daemon.ended(container)  # its output may have ended before it does
    if found is None:
        log("its container was removed while it ran")
        return _NOT_STARTED
    if found.oom:
        log(f"it was killed: out of memory, the limit is {launch.memory // (1024 * 1024)}M")
    return found.exit_code
