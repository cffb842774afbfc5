"""What came in and what happened."""

from __future__ import annotations

from aiohttp import web

from godploy.api import show
from godploy.api.call import Call
from godploy.core.model import Delivery
from godploy.deploy import acts
from godploy.errors import NotFound
from godploy.store import Connection, deliveries, events, repositories


async def list_events(call: Call) -> web.Response:
    names = await call.environment_names()
    found = await call.read(lambda conn: events.of_project(conn, call.project.id, call.given["limit"]))
    return web.json_response({"events": [show.event(each, names) for each in found]})


async def list_deliveries(call: Call) -> web.Response:
    def read(conn: Connection) -> list[show.Json]:
        found = deliveries.of_project(conn, call.project.id, call.given["limit"])
        return [show.delivery(conn, each) for each in found]

    return web.json_response({"deliveries": await call.read(read)})


async def get_delivery(call: Call) -> web.Response:
    settings = call.services.settings
    return web.json_response(await call.read(lambda conn: show.delivery_details(conn, settings, _delivery(conn, call))))


def _delivery(conn: Connection, call: Call) -> Delivery:
    found = deliveries.get(conn, call.given["delivery"])
    if repositories.get(conn, found.repository).project != call.project.id:
        raise NotFound("there is no such delivery")
    return found


async def replay_delivery(call: Call) -> web.Response:
    found = await call.read(lambda conn: _delivery(conn, call))
    made = await acts.replay(call.services, found, call.caller.name)
    return web.json_response(await call.read(lambda conn: show.delivery(conn, made)), status=202)
