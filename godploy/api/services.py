"""What runs: services as they are now, stopped and started, their logs, and one-off commands beside them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import cast

from aiohttp import web

from godploy.api import show, stream
from godploy.api.call import Call
from godploy.core.model import Environment, Workload
from godploy.deploy import acts, status
from godploy.drivers.logtext import clean
from godploy.errors import NotFound
from godploy.runtimes.protocol import Ref
from godploy.store import Connection, releases, stacks

_OUTPUT_HELD = 10_000  # lines of a command that its reader has not taken yet


async def list_services(call: Call) -> web.Response:
    place = await call.maybe_environment()
    found = await status.services(call.services, call.project, place.name if place else None, call.given["stats"])
    return web.json_response({"services": [show.service(each) for each in found]})


async def stop_service(call: Call) -> web.Response:
    place = await call.environment()
    await acts.stop(call.services, place.id, call.given["service"], call.caller.name)
    return _stopped(call, place, True)


async def start_service(call: Call) -> web.Response:
    place = await call.environment()
    await acts.start(call.services, place.id, call.given["service"], call.caller.name)
    return _stopped(call, place, False)


def _stopped(call: Call, place: Environment, stopped: bool) -> web.Response:
    return web.json_response({"service": call.given["service"], "environment": place.name, "stopped": stopped})


async def service_logs(call: Call) -> web.StreamResponse:
    workload = await _running(call, await call.environment(), call.given["service"])
    ref = Ref(workload.id, workload.environment, workload.stack, workload.service)

    async def lines() -> AsyncGenerator[stream.Event, None]:
        said = call.services.runtime.logs(ref, call.given["follow"], call.given["tail"])
        async with aclosing(cast(AsyncGenerator[tuple[float, int, str], None], said)) as held:
            async for at, replica, text in held:
                yield "line", {"at": show.time(at), "replica": replica, "text": clean(text)}
        yield "end", {}

    return await stream.events(call, lines())


async def _running(call: Call, place: Environment, name: str) -> Workload:
    """The workload of a service in its stack's current release. Raises NotFound."""

    def read(conn: Connection) -> Workload:
        held = stacks.services(conn, place.id).get(name)
        release = releases.current(conn, stacks.get(conn, held.stack)) if held else None
        for service in release.services if release else ():
            if service.service == name:
                return releases.workload(conn, service.workload)
        raise NotFound(f'{place.name} has no service "{name}"', next_step="see: godploy ps")

    return await call.read(read)


async def run(call: Call) -> web.StreamResponse:
    place = await call.environment()
    return await stream.events(call, _run(call, place))


async def _run(call: Call, place: Environment) -> AsyncGenerator[stream.Event, None]:
    """The command's lines, then its exit code. Whoever leaves ends the command."""
    output: asyncio.Queue[str | None] = asyncio.Queue()
    lost = 0

    def take(line: str) -> None:
        nonlocal lost
        if output.qsize() < _OUTPUT_HELD:
            output.put_nowait(line)
        else:
            lost += 1

    given = call.given
    work = acts.run(call.services, place, given["service"], given["argv"], call.caller.name, take)
    running = asyncio.create_task(work, name="run")
    running.add_done_callback(lambda _: output.put_nowait(None))
    try:
        while (line := await output.get()) is not None:
            yield "line", {"text": clean(line)}
        if lost:
            yield "line", {"text": f"… {lost} lines were dropped: they came faster than they were read …"}
        yield "end", {"exit_code": await running}
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
