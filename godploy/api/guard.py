"""What stands before every handler: a token, a permission, parameters and a body as the contract says.

A route is data; there is no other way to a handler than through `guarded`, and a route whose permission is unknown, or
not the one that the contract names, cannot start. Only "" needs no token, and it is written down like any other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import BasicAuth, web

from godploy.api import call, contract
from godploy.api.call import SERVICES, Call, Caller, Handler
from godploy.core import permissions
from godploy.core.model import Organization, Project
from godploy.deploy.services import Services
from godploy.errors import Forbidden, TooLarge, Unauthorized, Unavailable
from godploy.store import Connection, people, projects

OPEN = ""

_BODY_TIMEOUT = 30.0  # seconds for a body of at most a mebibyte


@dataclass(frozen=True, slots=True)
class Route:
    method: str
    path: str
    handler: Handler
    permission: str


def guarded(route: Route) -> web.RouteDef:
    """The route for aiohttp. Raises ValueError for a route that the contract does not allow."""
    operation = contract.operations().get((route.method, route.path))
    if operation is None:
        raise ValueError(f"{route.method} {route.path} is not in schemas/openapi.yaml")
    if route.permission != operation.permission or (
        route.permission != OPEN and route.permission not in permissions.ALL
    ):
        raise ValueError(f"{route.method} {route.path} has no permission that the contract and the roles know")

    async def handle(request: web.Request) -> web.StreamResponse:
        services = request.app[SERVICES]
        caller = None if route.permission == OPEN else await authenticated(services, request)
        given = operation.read_parameters(request.match_info, request.query)
        if operation.body is not None and not operation.verifies_itself:
            given.update(operation.read_body(await _body(request)))
        scope = _Scope()
        if caller is not None:
            scope = await services.store.read(lambda conn: _scope(conn, caller, route.permission, given))
        return await route.handler(Call(request, services, given, caller, scope.project, scope.organization))

    return web.route(route.method, route.path, handle)


async def authenticated(services: Services, request: web.Request) -> Caller:
    """Who sent the request: the owner of its token. Raises Unauthorized."""
    token = _token(request)
    found = await services.store.read(lambda conn: people.user_by_token(conn, token)) if token else None
    if found is None:
        raise Unauthorized(
            "this token is unknown or has expired" if token else "this needs an API token",
            next_step="sign in again: godploy login URL" if token else "sign in: godploy login URL",
        )
    user, token_id, last_used = found
    if people.worth_noting(last_used):
        await services.store.write(lambda conn: people.note_use(conn, token_id))
    return Caller(user, token_id)


def _token(request: web.Request) -> str:
    """Bearer, or the password of Basic, which is what git sends."""
    given = request.headers.get("Authorization", "")
    scheme, _, value = given.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() == "basic":
        try:
            return str(BasicAuth.decode(given).password)
        except ValueError:
            return ""
    return ""


def require(permission: str, role: str | None, administrator: bool) -> None:
    """Raises Forbidden, naming what is missing."""
    if permissions.may(permission, role=role, administrator=administrator):
        return
    if permission in permissions.ADMINISTRATOR:
        raise Forbidden("only a server administrator may do this", fields={"permission": permission})
    raise Forbidden(f"your role here ({role}) does not include {permission}", fields={"permission": permission})


@dataclass(frozen=True, slots=True)
class _Scope:
    """Where a permission was found."""

    project: Project | None = None
    organization: Organization | None = None


def _scope(conn: Connection, caller: Caller, permission: str, given: Mapping[str, Any]) -> _Scope:
    """The project or organization that the call concerns. Raises NotFound, and Forbidden only for what one sees."""
    administrator = caller.user.administrator
    if "project" in given:
        if permission in permissions.ADMINISTRATOR and administrator:
            project, role = call.any_project(conn, caller.user, given["project"]), None
        else:
            project, role = call.project(conn, caller.user, given["project"])
        require(permission, role, administrator)
        return _Scope(project, projects.organization(conn, project.organization))
    if permission in permissions.OF_ORGANIZATION:
        organization, role = call.organization(conn, caller.user, given.get("organization"))
        require(permission, role, administrator)
        return _Scope(None, organization)
    require(permission, None, administrator)
    return _Scope()


async def _body(request: web.Request) -> bytes:
    """Bounded in size by the application and in time here."""
    try:
        async with asyncio.timeout(_BODY_TIMEOUT):
            return await request.read()
    except TimeoutError as error:
        raise Unavailable("the body did not arrive in time") from error
    except web.HTTPRequestEntityTooLarge as error:
        raise TooLarge("the body is larger than 1 MiB") from error
