"""Projects, their repositories, the manifests that Godploy keeps for them, and the plan of a draft."""

from __future__ import annotations

from aiohttp import web

from godploy.api import show
from godploy.api.call import Call, repository
from godploy.core import describe
from godploy.core.model import Deployment, Repository
from godploy.deploy import acts
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
