"""Oneself, one's tokens, and the server as a whole."""

from __future__ import annotations

import asyncio
import time

from aiohttp import web

from godploy import __version__
from godploy.api import show
from godploy.api.call import Call
from godploy.core import manifest, permissions
from godploy.errors import Invalid, Unavailable
from godploy.store import Connection, people

_ENGINE_PATIENCE = 3.0  # seconds that the engine has to answer


async def me(call: Call) -> web.Response:
    user = call.caller.user
    mine = await call.read(lambda conn: people.organizations(conn, user.id))
    return web.json_response(
        {
            "user": {"id": user.id, "email": user.email, "administrator": user.administrator},
            "organizations": [
                {**show.organization(place), "role": role, "permissions": sorted(permissions.ROLES[role])}
                for place, role in mine
            ],
        }
    )


async def list_tokens(call: Call) -> web.Response:
    found = await call.read(lambda conn: people.tokens(conn, call.caller.user.id))
    tokens = [
        {
            "id": token["id"],
            "name": token["name"],
            "created_at": show.time(token["created_at"]),
            "expires_at": show.maybe_time(token["expires_at"]),
            "last_used_at": show.maybe_time(token["last_used_at"]),
            "current": token["id"] == call.caller.token,
        }
        for token in found
    ]
    return web.json_response({"tokens": tokens})


async def create_token(call: Call) -> web.Response:
    name, seconds = call.given["name"], call.given["expires_in"]
    ends = time.time() + seconds if seconds else None

    def create(conn: Connection) -> tuple[str, str]:
        token = people.create_token(conn, call.caller.user.id, name, ends)
        found = people.user_by_token(conn, token)
        assert found is not None
        return token, found[1]

    token, token_id = await call.write(create)
    return web.json_response({"id": token_id, "name": name, "token": token}, status=201)


async def delete_token(call: Call) -> web.Response:
    await call.write(lambda conn: people.delete_token(conn, call.caller.user.id, call.given["token"]))
    return web.Response(status=204)


async def server(call: Call) -> web.Response:
    settings = call.services.settings
    trouble = ""
    try:
        async with asyncio.timeout(_ENGINE_PATIENCE):
            await call.services.runtime.images()
    except Unavailable as error:
        trouble = error.message
    except TimeoutError:
        trouble = "the engine does not answer"
    return web.json_response(
        {
            "version": __version__,
            "instance": settings.instance,
            "ready": call.services.ready.is_set(),
            "url": settings.url,
            "apps_domain": settings.apps_domain,
            "engine": {"available": not trouble, "message": trouble},
        }
    )


async def list_templates(call: Call) -> web.Response:
    templates = call.services.templates
    return web.json_response({"templates": [show.template(templates[name]) for name in sorted(templates)]})


async def validate_manifest(call: Call) -> web.Response:
    problems: list[str] = []
    try:
        await asyncio.to_thread(manifest.parse, call.given["text"], templates=call.services.templates)
    except Invalid as error:
        problems = list(error.problems) or [error.message]
    return web.json_response({"valid": not problems, "problems": problems})
