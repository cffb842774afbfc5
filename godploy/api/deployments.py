"""Deployments: begun, looked at, followed, ended; and the releases that came of them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from aiohttp import web

from godploy.api import show, stream
from godploy.api.call import Call, stack
from godploy.core.manifest import PRODUCTION
from godploy.core.model import Deployment, Stack
from godploy.deploy import acts, follow
from godploy.drivers.logbook import Line
from godploy.errors import NotFound
from godploy.store import Connection, deployments, projects, releases, repositories, stacks

_LINES_AT_ONCE = 10_000


async def list_deployments(call: Call) -> web.Response:
    place, limit = await call.maybe_environment(), call.given["limit"]

    def read(conn: Connection) -> list[show.Json]:
        of = stacks.of_environment(conn, place.id) if place else []
        found = [each for one in of for each in deployments.of_project(conn, call.project.id, one.id, limit)]
        if place is None:
            found = deployments.of_project(conn, call.project.id, limit=limit)
        found.sort(key=lambda each: each.number, reverse=True)
        return [show.deployment(conn, call.services.settings, each) for each in found[:limit]]

    return web.json_response({"deployments": await call.read(read)})


async def deploy(call: Call) -> web.Response:
    avoid = await call.services.runtime.occupied()
    made = await acts.deploy(
        call.services,
        await call.write(lambda conn: _stack(conn, call, avoid)),
        call.caller.name,
        commit=call.given["commit"],
        confirm=call.given["confirm"],
        update=tuple(call.given["update"] or ()),
    )
    return await _answer(call, made, 202)


def _stack(conn: Connection, call: Call, avoid: list[str]) -> Stack:
    """The stack that the call names. Where nothing was deployed yet it is made for the repository that feeds the
    environment: somebody who asks for a first deployment need not wait for a push."""
    name, source = call.given["environment"], call.given["repository"]
    try:
        return stack(conn, call.project, name, source)
    except NotFound:
        feeding = [
            each
            for each in repositories.of_project(conn, call.project.id)
            if source in (None, each.name, each.id) and name in (each.mapping or (PRODUCTION,))
        ]
        if len(feeding) != 1:
            raise
    place = projects.ensure_environment(conn, call.project.id, name, call.services.settings.pool, avoid)
    return stacks.ensure(conn, place.id, feeding[0].id)


async def get_deployment(call: Call) -> web.Response:
    return await _answer(call, await _deployment(call))


async def cancel_deployment(call: Call) -> web.Response:
    return await _answer(call, await acts.cancel(call.services, await _deployment(call), call.caller.name))


async def rollback(call: Call) -> web.Response:
    made = await acts.rollback(call.services, await call.stack(), call.caller.name, call.given["release"])
    return await _answer(call, made, 202)


async def restart(call: Call) -> web.Response:
    names = call.given["services"] or []
    return await _answer(call, await acts.restart(call.services, await call.stack(), call.caller.name, names), 202)


async def _deployment(call: Call) -> Deployment:
    return await call.read(lambda conn: deployments.by_number(conn, call.project.id, call.given["number"]))


async def _answer(call: Call, found: Deployment, status: int = 200) -> web.Response:
    shown = await call.read(lambda conn: show.deployment(conn, call.services.settings, found))
    return web.json_response(shown, status=status)


async def list_releases(call: Call) -> web.Response:
    place = await call.maybe_environment()

    def read(conn: Connection) -> list[show.Json]:
        found = []
        for of in stacks.of_project(conn, call.project.id):
            environment = names[of.environment]
            if place is None or of.environment == place.id:
                found += [show.release(conn, each, environment, of) for each in releases.of_stack(conn, of.id)]
        return found

    names = await call.environment_names()
    return web.json_response({"releases": await call.read(read)})


async def deployment_log(call: Call) -> web.StreamResponse:
    found, after = await _deployment(call), call.given["after"]
    if call.given["follow"]:
        return await stream.events(call, _followed(call, found, after))
    lines = await call.services.logbook.read(found.id, after, _LINES_AT_ONCE)
    return web.json_response({"lines": [_line(line) for line in lines], "next": lines[-1].number if lines else after})


def _line(line: Line) -> show.Json:
    return {"n": line.number, "at": show.time(line.at), "stage": line.stage, "text": line.text}


async def _followed(call: Call, found: Deployment, after: int) -> AsyncGenerator[stream.Event, None]:
    """The lines until the deployment has ended, then how it ended."""
    async with aclosing(follow.log(call.services, found.id, after)) as lines:
        async for line in lines:
            yield "line", _line(line)
    ended = await follow.ended(call.services, found.id)
    yield "end", {"state": ended.state, "result": ended.result, "error": ended.error}
