"""Projects, their repositories, the manifests that Godploy keeps for them, and the plan of a draft."""

from __future__ import annotations

from aiohttp import web

from godploy.api import show
from godploy.api.call import Call, repository
from godploy.core import describe
from godploy.core.model import Deployment, Repository
from godploy.deploy import acts
from godploy.errors import Conflict
from godploy.store import Connection, projects, repositories
from godploy.store.repositories import Revision


async def list_projects(call: Call) -> web.Response:
    def read(conn: Connection) -> list[show.Json]:
        return [show.project(conn, found) for found in projects.of_user(conn, call.caller.user.id)]

    return web.json_response({"projects": await call.read(read)})


async def create_project(call: Call) -> web.Response:
    def create(conn: Connection) -> show.Json:
        return show.project(conn, projects.create(conn, call.organization.id, call.given["name"]))

    return web.json_response(await call.write(create), status=201)


async def get_project(call: Call) -> web.Response:
    settings = call.services.settings
    return web.json_response(await call.read(lambda conn: show.project_details(conn, settings, call.project)))


async def list_repositories(call: Call) -> web.Response:
    def read(conn: Connection) -> list[show.Json]:
        found = repositories.of_project(conn, call.project.id)
        return [show.repository(conn, call.services.settings, each) for each in found]

    return web.json_response({"repositories": await call.read(read)})


async def create_repository(call: Call) -> web.Response:
    given = call.given
    made, secret = await acts.create_repository(
        call.services, call.project, given["name"], given["url"], given["manifest_path"], given["status_url"]
    )
    if secret is None and made.status_url is not None:  # pushed to us, but somebody is told, which is signed
        secret = await acts.rotate_hook_secret(call.services, made)
    return web.json_response({**await _shown(call, made), "hook_secret": secret}, status=201)


async def get_repository(call: Call) -> web.Response:
    return web.json_response(await _shown(call, await call.repository()))


async def rotate_hook_secret(call: Call) -> web.Response:
    found = await call.repository()
    if found.url is None and found.status_url is None:
        raise Conflict(f"{found.name} is pushed to Godploy itself, so it has no hook", next_step="push to its git_url")
    secret = await acts.rotate_hook_secret(call.services, found)
    return web.json_response({**await _shown(call, found), "hook_secret": secret}, status=201)


async def _shown(call: Call, found: Repository) -> show.Json:
    return await call.read(lambda conn: show.repository(conn, call.services.settings, found))


async def get_dashboard_manifest(call: Call) -> web.Response:
    return await _manifest(call, None)


async def save_dashboard_manifest(call: Call) -> web.Response:
    return await _save(call, None)


async def get_stored_manifest(call: Call) -> web.Response:
    return await _manifest(call, await call.repository())


async def save_stored_manifest(call: Call) -> web.Response:
    return await _save(call, await call.repository())


async def _manifest(call: Call, of: Repository | None) -> web.Response:
    found = await call.read(lambda conn: repositories.revision(conn, call.project.id, of.id if of else None))
    return await _answer(call, found, [])


async def _save(call: Call, of: Repository | None) -> web.Response:
    saved, caused = await acts.save_manifest(call.services, call.project, of, call.given["text"], call.caller.name)
    return await _answer(call, saved, caused)


async def _answer(call: Call, revision: Revision | None, caused: list[Deployment]) -> web.Response:
    settings = call.services.settings
    return web.json_response(
        {
            "revision": revision.revision if revision else None,
            "text": revision.text if revision else None,
            "deployments": await call.read(lambda conn: [show.deployment(conn, settings, each) for each in caused]),
        }
    )


async def plan(call: Call) -> web.Response:
    wanted = call.given["repository"]
    of = await call.read(lambda conn: repository(conn, call.project, wanted)) if wanted else None
    found = await acts.draft_plan(call.services, call.project, call.given["environment"], of, call.given["text"])
    return web.json_response(
        {
            "lines": describe.lines(found),
            "plan": describe.to_json(found),
            "digest": describe.digest(found),
            "destructive": list(found.destructive),
        }
    )
