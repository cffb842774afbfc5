"""What a project holds beside its services: secrets, volumes and hosts."""

from __future__ import annotations

from aiohttp import web

from godploy.api import show
from godploy.api.call import Call
from godploy.core import naming
from godploy.core.model import Volume
from godploy.deploy import acts, status
from godploy.errors import Conflict, Invalid, NotFound
from godploy.store import Connection, projects, secrets, volumes


async def list_secrets(call: Call) -> web.Response:
    place = await call.environment()
    found = await call.read(lambda conn: secrets.listing(conn, place.id))
    listed = [
        {"name": each["name"], "version": each["version"], "changed_at": show.time(each["changed_at"])}
        for each in found
    ]
    return web.json_response({"secrets": listed})


async def set_secrets(call: Call) -> web.Response:
    """The first secret may come before the first deployment, so it makes the environment."""
    name, pool = call.given["environment"], call.services.settings.pool
    avoid = await call.services.runtime.occupied()
    place = await call.write(lambda conn: projects.ensure_environment(conn, call.project.id, name, pool, avoid))
    caused = await acts.set_secrets(
        call.services, place, call.given["values"], call.caller.name, deploy=call.given["deploy"]
    )
    settings = call.services.settings
    shown = await call.read(lambda conn: [show.deployment(conn, settings, each) for each in caused])
    return web.json_response({"deployments": shown})


async def remove_secret(call: Call) -> web.Response:
    await acts.remove_secret(call.services, await call.environment(), call.given["name"], call.caller.name)
    return web.Response(status=204)


async def list_volumes(call: Call) -> web.Response:
    def read(conn: Connection) -> list[show.Json]:
        return [show.volume(conn, each) for each in volumes.of_project(conn, call.project.id)]

    return web.json_response({"volumes": await call.read(read)})


async def delete_volume(call: Call) -> web.Response:
    found = await call.read(lambda conn: _volume(conn, call))
    if call.given["confirm"] != found.name:
        raise Conflict(
            f"deleting {found.name} destroys its data",
            next_step=f"confirm it by its name: {found.name}",
            code="needs_confirmation",
        )
    await acts.delete_volume(call.services, found.id, call.caller.name)
    return web.Response(status=204)


def _volume(conn: Connection, call: Call) -> Volume:
    for found in volumes.of_project(conn, call.project.id):
        if found.id == call.given["volume"]:
            return found
    raise NotFound("this project has no such volume", next_step="see: godploy volumes")


async def list_hosts(call: Call) -> web.Response:
    found = await call.read(lambda conn: projects.hosts(conn, call.project.id))
    standings = await status.hosts(call.services, call.project)
    return web.json_response({"hosts": [show.host(each, standings.get(each.host)) for each in found]})


async def give_host(call: Call) -> web.Response:
    host = call.given["host"]
    if not naming.is_host(host):
        raise Invalid(f'"{host}" is not a host', next_step="write it in lower case, without scheme and port")
    if host == call.services.settings.host:
        raise Conflict(f"{host} is the dashboard's own host")

    def give(conn: Connection) -> projects.Host:
        projects.give_host(conn, host, call.project.id)
        return next(each for each in projects.hosts(conn, call.project.id) if each.host == host)

    given = await call.write(give)
    return web.json_response(show.host(given, (await status.hosts(call.services, call.project)).get(host)))


async def release_host(call: Call) -> web.Response:
    await call.write(lambda conn: projects.release_host(conn, call.given["host"], call.project.id))
    return web.Response(status=204)
