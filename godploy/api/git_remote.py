"""Our own git remote: smart HTTP by git's own `http-backend`, bytes streamed both ways.

A token is the password, whatever the user's name. The first push of a repository makes it, if the token may. Only the
smart protocol is served, since the dumb one would hand out whatever lies in a repository, referred to or not.
https://git-scm.com/docs/git-http-backend and https://git-scm.com/docs/http-protocol
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from aiohttp import web

from godploy.api import call
from godploy.api.call import SERVICES, Caller
from godploy.api.guard import authenticated, require
from godploy.api.push import PUSHES, Push
from godploy.core import naming
from godploy.core.command import Command
from godploy.core.model import Project, Repository
from godploy.deploy import acts
from godploy.deploy.services import Services
from godploy.drivers import process
from godploy.drivers.process import Process
from godploy.errors import Conflict, GodployError, Invalid, NotFound, TooLarge
from godploy.store import Connection, people, projects, repositories

logger = logging.getLogger(__name__)

PATH = "/git/{organization}/{project}/{repository}.git"

_PULL, _PUSH = "git-upload-pack", "git-receive-pack"
_PERMISSIONS = {_PULL: "repository.pull", _PUSH: "repository.push"}
# A request to pull names commits, no more than this; a push is bounded by git itself, which then says so.
_PULL_LIMIT = 16 * 1024 * 1024
_CHUNK = 64 * 1024
_SILENCE = 120.0  # seconds without a byte from the client
_HANDED_OVER_WITHIN = 30.0  # seconds for a push that was read whole, after its client has gone


@dataclass(frozen=True, slots=True)
class _Exchange:
    """What one request wants of which repository."""

    service: str
    repository: Repository
    caller: Caller


def add_routes(app: web.Application) -> None:
    app.router.add_get(f"{PATH}/info/refs", info_refs)
    for service in _PERMISSIONS:
        app.router.add_post(f"{PATH}/{{service:{service}}}", exchange)


async def info_refs(request: web.Request) -> web.StreamResponse:
    service = request.query.get("service", "")
    if service not in _PERMISSIONS:
        raise Invalid("this remote speaks git's smart protocol only", next_step="use a current git")
    return await _serve(request, await _exchange(request, service), "info/refs")


async def exchange(request: web.Request) -> web.StreamResponse:
    service = request.match_info["service"]
    if request.content_type != f"application/x-{service}-request":
        raise Invalid(f"expected the content type application/x-{service}-request")
    return await _serve(request, await _exchange(request, service), service)


async def _exchange(request: web.Request, service: str) -> _Exchange:
    """Checks the token and its permission, and finds the repository. Raises Unauthorized, NotFound, Forbidden."""
    services = request.app[SERVICES]
    caller = await authenticated(services, request)
    project, role = await _project(services, caller, request.match_info)
    require(_PERMISSIONS[service], role, caller.user.administrator)
    name = request.match_info["repository"]
    found = await services.store.read(lambda conn: repositories.by_name(conn, project.id, name))
    if found is None and service == _PUSH and naming.is_name(name):
        require("repository.write", role, caller.user.administrator)
        found = await _created(services, project, name)
    if found is None:
        raise NotFound(f'{project.name} has no repository "{name}"', next_step="the first push makes it")
    if found.url is not None:
        raise Conflict(f"{name} is cloned from {found.url}", next_step="push there")
    return _Exchange(service, found, caller)


async def _project(services: Services, caller: Caller, path: Mapping[str, str]) -> tuple[Project, str]:
    def find(conn: Connection) -> tuple[Project, str]:
        for place, role in people.organizations(conn, caller.user.id):
            if path["organization"] in (place.name, place.id):
                found = projects.by_name(conn, place.id, path["project"])
                if found is not None:
                    return found, role
        raise NotFound(f'there is no project "{path["project"]}"', next_step=f"godploy link {path['project']}")

    return await services.store.read(find)


async def _created(services: Services, project: Project, name: str) -> Repository:
    try:
        made, _ = await acts.create_repository(services, project, name, None, "godploy.yaml")
    except Conflict:  # another push made it just now
        return await services.store.read(lambda conn: call.repository(conn, project, name))
    return made


async def _serve(request: web.Request, wanted: _Exchange, path: str) -> web.StreamResponse:
    """Lets git answer. A push hands its updates over to `push` by a hook; who only reads needs none."""
    pushes = request.app[PUSHES]
    with pushes.expected(wanted.repository, wanted.caller.name) as push:
        environment = {
            **pushes.serving(push),
            "PATH_INFO": f"/{wanted.repository.id}.git/{path}",
            "QUERY_STRING": f"service={wanted.service}" if path == "info/refs" else "",
            "REQUEST_METHOD": request.method,
            "CONTENT_TYPE": request.headers.get("Content-Type", ""),
            "GIT_PROTOCOL": _protocol(request),
            "REMOTE_USER": wanted.caller.name,
            "REMOTE_ADDR": request.remote or "",
        }
        # aiohttp has unpacked a compressed body by itself, so git is told neither of that nor of its length.
        if request.content_length is not None and "Content-Encoding" not in request.headers:
            environment["CONTENT_LENGTH"] = str(request.content_length)
        async with process.spawn(Command(("git", "http-backend"), env=environment)) as backend:
            feeding = asyncio.create_task(_feed(request, backend, wanted.service), name=f"push {push.id}")
            try:
                return await _answer(request, backend, push)
            finally:
                feeding.cancel()
                await asyncio.gather(feeding, return_exceptions=True)


def _protocol(request: web.Request) -> str:
    """`version=2` and the like; anything else is not passed on."""
    given = request.headers.get("Git-Protocol", "")
    return given if given in ("version=0", "version=1", "version=2") else ""


async def _feed(request: web.Request, backend: Process, service: str) -> None:
    """The body goes to git as it comes. When git has read enough the rest is taken and dropped, since a client that
    is still sending does not listen yet."""
    size, listens = 0, True
    try:
        while True:
            async with asyncio.timeout(_SILENCE):
                chunk = await request.content.readany()
            if not chunk:
                break
            size += len(chunk)
            if service == _PULL and size > _PULL_LIMIT:
                raise TooLarge("a request to pull is not that large")
            if listens:
                listens = await _pass_on(backend, chunk)
    finally:
        backend.stdin.close()


async def _pass_on(backend: Process, chunk: bytes) -> bool:
    """Whether git still reads."""
    try:
        backend.stdin.write(chunk)
        await backend.stdin.drain()
    except ConnectionError:
        return False
    return True


async def _answer(request: web.Request, backend: Process, push: Push) -> web.StreamResponse:
    try:
        head = await backend.stdout.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        await backend.wait()
        logger.error("git http-backend: %s", backend.stderr.decode(errors="replace").strip())
        raise GodployError("git did not answer", next_step="try again", code="git_failed") from error
    status, headers = _head(head)
    response = web.StreamResponse(status=status, headers=headers)
    try:
        await response.prepare(request)
        while chunk := await backend.stdout.read(_CHUNK):
            await response.write(chunk)
        await response.write_eof()
    except ConnectionError:
        await _hand_over(backend, push)
    return response


def _head(raw: bytes) -> tuple[int, dict[str, str]]:
    """Status and headers of a CGI answer, https://www.rfc-editor.org/rfc/rfc3875#section-6"""
    status, headers = 200, dict[str, str]()
    for line in raw.decode("latin-1").splitlines():
        name, colon, value = line.partition(":")
        if name.lower() == "status":
            status = int(value.split()[0])
        elif colon and name.lower() in ("content-type", "cache-control"):
            headers[name] = value.strip()
    return status, headers


async def _hand_over(backend: Process, push: Push) -> None:
    """The client has gone, perhaps with its push accepted: git goes on until we know of it, or has ended."""

    async def drained() -> None:
        while await backend.stdout.read(_CHUNK):
            pass

    tasks = {asyncio.create_task(drained()), asyncio.create_task(push.received.wait())}
    try:
        await asyncio.wait(tasks, timeout=_HANDED_OVER_WITHIN, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)
