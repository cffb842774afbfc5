"""What is answered without a token: whether we live, the schemas, and a page for people."""

from __future__ import annotations

import asyncio
from html import escape

from aiohttp import web

from godploy import __version__, resources
from godploy.api import contract
from godploy.api.call import SERVICES, Call
from godploy.core import schema
from godploy.core.model import Deployment
from godploy.errors import NotFound
from godploy.store import Connection, deployments, projects, pull_requests, stacks

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Godploy</title>
<h1>Godploy {version}</h1>
<p>This server deploys what is pushed to it. It is used from a terminal:</p>
<pre>{commands}</pre>
<p>The API is described in <a href="/api/v1/openapi.json">/api/v1/openapi.json</a>.</p>
</html>
"""


_PULL = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="robots" content="noindex"><title>Godploy: plan</title>
<h1>godploy/plan: {state}</h1>
<p>{description}</p>
<p>The whole plan, for members of the project:</p>
<pre>{commands}</pre>
</html>
"""


_DEPLOYMENT = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="robots" content="noindex"><title>Godploy: deployment</title>
<h1>{title}</h1>
<p>Its log, for members of the project:</p>
<pre>{commands}</pre>
</html>
"""


async def alive(call: Call) -> web.Response:
    return web.json_response({"status": "alive"})


async def ready(call: Call) -> web.Response:
    """Whether it deploys what is pushed. Where this version is on trial, the first good answer ends that."""
    services = call.services
    if services.trial.on:
        if not await services.trial.end():
            return web.json_response({"status": "starting", "trial": True}, status=503)
    elif not services.ready.is_set():
        return web.json_response({"status": "starting"}, status=503)
    return web.json_response({"status": "ready"})


async def manifest_schema(call: Call) -> web.Response:
    return _public(web.json_response(schema.document()))


async def openapi(call: Call) -> web.Response:
    return _public(web.json_response(contract.document()))


async def wheel(call: Call) -> web.StreamResponse:
    """The program that serves, for those who install its command line. The name tells the version, as pip wants it."""
    kept = await asyncio.to_thread(resources.wheel)
    if kept is None:
        raise NotFound("this server was installed without its wheel, so it cannot offer it")
    if call.given["wheel"] != kept.name:
        url = f"{call.services.settings.url}/wheels/{kept.name}"
        raise NotFound("there is no such wheel here", next_step=f"pipx install {url}")
    response = web.FileResponse(kept)
    response.content_type = "application/octet-stream"
    return response


def _public(response: web.Response) -> web.Response:
    """Editors in a browser may read it, and keep it for a while."""
    response.headers["Cache-Control"] = "public, max-age=300"
    response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    return response


async def page(request: web.Request) -> web.Response:
    """Whatever else a browser asks for; what a program asks for is not here."""
    if request.path.startswith(("/api/", "/hooks/", "/git/", "/schemas/", "/wheels/")):
        methods = await _answered_methods(request)
        if methods:
            raise web.HTTPMethodNotAllowed(request.method, methods)
        raise NotFound("there is nothing here", next_step="see /api/v1/openapi.json")
    url = request.app[SERVICES].settings.url
    kept = await asyncio.to_thread(resources.wheel)
    got = () if kept is None else (f"pipx install {url}/wheels/{kept.name}",)
    commands = "\n".join((*got, f"godploy login {url}", "godploy projects", "godploy deployments"))
    return web.Response(text=_PAGE.format(version=__version__, commands=escape(commands)), content_type="text/html")


async def deployment_page(request: web.Request) -> web.Response:
    """How far a deployment is, and how its members see more: whoever has the link may not be one. Raises NotFound."""
    services, wanted = request.app[SERVICES], request.match_info["deployment"]

    def read(conn: Connection) -> tuple[Deployment, str, str]:
        found = deployments.get(conn, wanted)
        environment = projects.environment(conn, stacks.get(conn, found.stack).environment)
        return found, projects.get(conn, environment.project).name, environment.name

    found, project, environment = await services.store.read(read)
    commands = f"godploy login {services.settings.url}\ngodploy logs {found.number} --project {project}"
    title = f"deployment {found.number} of {project} to {environment}: {found.state}"
    return web.Response(
        text=_DEPLOYMENT.format(title=escape(title), commands=escape(commands)), content_type="text/html"
    )


async def pull_page(request: web.Request) -> web.Response:
    """What stands on the head of a pull request, and no more: whoever has the link may not be a member. Raises
    NotFound."""
    services = request.app[SERVICES]
    found = await services.store.read(lambda conn: pull_requests.get(conn, request.match_info["pull"]))
    if found.outcome is None:
        raise NotFound("this pull request was not planned yet")
    commands = f"godploy login {services.settings.url}\ngodploy pulls show {found.number}"
    state, description = (escape(found.outcome[key]) for key in ("state", "description"))
    text = _PULL.format(state=state, description=description, commands=escape(commands))
    return web.Response(text=text, content_type="text/html")


async def _answered_methods(request: web.Request) -> set[str]:
    """The methods that the path is answered for by another route than this page's, which takes any path."""
    allowed: set[str] = set()
    for resource in request.app.router.resources():
        _, methods = await resource.resolve(request)
        if resource is not request.match_info.route.resource:
            allowed |= methods
    return allowed
