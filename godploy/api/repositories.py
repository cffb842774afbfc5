"""Repositories of a project: attached, reached, announced."""

from __future__ import annotations

from aiohttp import web

from godploy.api import show
from godploy.api.call import Call
from godploy.api.connections import by_name
from godploy.core.model import Repository
from godploy.deploy import acts
from godploy.errors import Conflict, Invalid
from godploy.store import Connection, repositories


async def list_repositories(call: Call) -> web.Response:
    def read(conn: Connection) -> list[show.Json]:
        found = repositories.of_project(conn, call.project.id)
        return [show.repository(conn, call.services.settings, each) for each in found]

    return web.json_response({"repositories": await call.read(read)})


async def create_repository(call: Call) -> web.Response:
    given = call.given
    if given["connection"] is not None:
        return await _attach(call)
    if given["full_name"] is not None or given["branch"] is not None:
        raise Invalid("full_name and branch belong to a connection", next_step="name it as connection")
    made, secret = await acts.create_repository(
        call.services, call.project, given["name"], _elsewhere(call), given["manifest_path"], given["status_url"]
    )
    if secret is None and made.status_url is not None:  # pushed to us, but somebody is told, which is signed
        secret = await acts.rotate_hook_secret(call.services, made)
    return web.json_response({**await _shown(call, made), "hook_secret": secret}, status=201)


def _elsewhere(call: Call) -> acts.Elsewhere | None:
    url, username, password = (call.given[name] for name in ("url", "username", "password"))
    if (username is None) != (password is None) or (url is None and username is not None):
        raise Invalid("username and password belong together, and to a url")
    login = None if username is None else (username, password)
    return None if url is None else acts.Elsewhere(url, login, tuple(call.given["host_keys"]))


async def _attach(call: Call) -> web.Response:
    given = call.given
    if given["full_name"] is None or given["url"] is not None or given["status_url"] is not None:
        raise Invalid("a connection's repository is named by full_name, without url and status_url")
    connection = await call.read(lambda conn: by_name(conn, call.organization.id, given["connection"]))
    made = await acts.attach_hosted(
        call.services,
        call.project,
        connection,
        given["full_name"],
        name=given["name"],
        manifest_path=given["manifest_path"],
        branch=given["branch"],
    )
    return web.json_response({**await _shown(call, made), "hook_secret": None}, status=201)


async def get_repository(call: Call) -> web.Response:
    return web.json_response(await _shown(call, await call.repository()))


async def ensure_hook(call: Call) -> web.Response:
    found = await call.repository()
    await acts.ensure_hook(call.services, found)
    return web.json_response(await _shown(call, found))


async def connect_repository(call: Call) -> web.Response:
    found = await call.repository()
    connection = await call.read(lambda conn: by_name(conn, call.organization.id, call.given["connection"]))
    await acts.reconnect(call.services, found, connection)
    return web.json_response(await _shown(call, await call.repository()))


async def set_repository_login(call: Call) -> web.Response:
    await acts.set_login(call.services, await call.repository(), call.given["username"], call.given["password"])
    return web.Response(status=204)


async def scan_host_keys(call: Call) -> web.Response:
    host, keys = await acts.scan_host_keys(call.services, call.given["url"])
    shown = [{"type": key.type, "fingerprint": key.fingerprint} for key in keys]
    return web.json_response({"host": host, "host_keys": shown})


async def pin_host_keys(call: Call) -> web.Response:
    await acts.pin_host_keys(call.services, await call.repository(), call.given["host_keys"])
    return web.Response(status=204)


async def rotate_hook_secret(call: Call) -> web.Response:
    found = await call.repository()
    if found.url is None and found.status_url is None:
        raise Conflict(f"{found.name} is pushed to Godploy itself, so it has no hook", next_step="push to its git_url")
    secret = await acts.rotate_hook_secret(call.services, found)
    return web.json_response({**await _shown(call, found), "hook_secret": secret}, status=201)


async def _shown(call: Call, found: Repository) -> show.Json:
    return await call.read(lambda conn: show.repository(conn, call.services.settings, found))
