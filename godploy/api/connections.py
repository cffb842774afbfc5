"""Connections to git providers, what can be chosen through them, and the OAuth clients behind them."""

from __future__ import annotations

from datetime import datetime

from aiohttp import web

from godploy.api import show
from godploy.api.call import Call
from godploy.core.model import Consent, ProviderConnection
from godploy.deploy.hosting import connecting, consenting, credentials
from godploy.deploy.hosting.connecting import Token
from godploy.errors import Conflict, Invalid, NotFound
from godploy.providers import HOSTS
from godploy.store import Connection, connections, consents, projects


async def list_providers(call: Call) -> web.Response:
    entered = await call.read(connections.clients)
    told = [
        {
            "name": name,
            "title": host.title,
            "url": host.usual_base or None,
            "kinds": ["token", "oauth", *(["app"] if name == "github" else [])],
            "token_page": host.token_page,
            "token_scopes": list(host.token_scopes),
            "token_username": host.token_username or None,
            "oauth_page": host.oauth_page,
            "oauth_scopes": list(host.oauth_scopes),
            "callback": credentials.callback(call.services, name),
            "oauth_urls": [each.base for each in entered if each.provider == name],
        }
        for name, host in HOSTS.items()
    ]
    return web.json_response({"providers": told})


async def list_oauth_clients(call: Call) -> web.Response:
    found = await call.read(connections.clients)
    return web.json_response({"oauth_clients": [_client(each) for each in found]})


async def put_oauth_client(call: Call) -> web.Response:
    given = call.given
    base = connecting.base_of(call.services, given["provider"], given["url"])
    await connecting.put_client(call.services, given["provider"], base, given["client_id"], given["client_secret"])
    found = await call.read(connections.clients)
    return web.json_response(
        next(_client(each) for each in found if (each.provider, each.base) == (given["provider"], base))
    )


def _client(found: connections.Client) -> show.Json:
    return {
        "provider": found.provider,
        "url": found.base,
        "client_id": found.client,
        "created_at": show.time(found.created_at),
    }


async def delete_oauth_client(call: Call) -> web.Response:
    provider = call.given["provider"]
    base = (call.given["url"] or HOSTS[provider].usual_base).rstrip("/")
    await call.write(lambda conn: connections.remove_client(conn, provider, base))
    return web.Response(status=204)


async def list_connections(call: Call) -> web.Response:
    found = await call.read(lambda conn: connections.of_organization(conn, call.organization.id))
    return web.json_response({"connections": [await _shown(call, each) for each in found]})


async def create_connection(call: Call) -> web.Response:
    given = call.given
    base = connecting.base_of(call.services, given["provider"], given["url"])
    made = await connecting.add_token(
        call.services,
        call.organization.id,
        given["provider"],
        base,
        _token(call),
        name=given["name"],
        actor=call.caller.name,
    )
    return web.json_response(await _shown(call, made), status=201)


def _token(call: Call) -> Token:
    return Token(call.given["token"], call.given["username"], _ends_at(call.given["expires_at"]))


def _ends_at(text: str | None) -> float | None:
    """Seconds since 1970. Raises Invalid for a time that cannot be shown again: one that is outside of all years in
    UTC, say."""
    try:
        ends_at = datetime.fromisoformat(text).timestamp() if text else None
        show.maybe_time(ends_at)
    except (ValueError, OverflowError) as error:
        raise Invalid(f"expires_at: {text} is no time that a token ends at") from error
    return ends_at


async def renew_connection(call: Call) -> web.Response:
    found = await call.read(lambda conn: named(conn, call))
    return web.json_response(await _shown(call, await connecting.renew_token(call.services, found, _token(call))))


async def check_connection(call: Call) -> web.Response:
    found = await call.read(lambda conn: named(conn, call))
    return web.json_response(await _shown(call, await connecting.check(call.services, found)))


async def delete_connection(call: Call) -> web.Response:
    found = await call.read(lambda conn: named(conn, call))
    return web.json_response({"left": await connecting.remove(call.services, found)})


async def list_hosted_repositories(call: Call) -> web.Response:
    found = await call.read(lambda conn: named(conn, call))
    listing = await connecting.repositories(call.services, found, call.given["search"], call.given["limit"])
    shown = [
        {
            "full_name": each.full_name,
            "url": each.clone_url,
            "web_url": each.web_url,
            "default_branch": each.default_branch,
            "private": each.private,
        }
        for each in listing.repositories
    ]
    return web.json_response({"repositories": shown, "complete": listing.complete})


async def list_hosted_branches(call: Call) -> web.Response:
    found = await call.read(lambda conn: named(conn, call))
    branches = await connecting.branches(call.services, found, call.given["repository"])
    return web.json_response({"branches": list(branches)})


def named(conn: Connection, call: Call) -> ProviderConnection:
    """The connection that the call's path names. Raises NotFound."""
    return by_name(conn, call.organization.id, call.given["connection"])


def by_name(conn: Connection, organization: str, wanted: str) -> ProviderConnection:
    """By name or id. Raises NotFound."""
    for found in connections.of_organization(conn, organization):
        if wanted in (found.name, found.id):
            return found
    raise NotFound(f'there is no connection "{wanted}"', next_step="see: godploy connections")


async def begin_consent(call: Call) -> web.Response:
    given = call.given
    provider, kind = given["provider"], given["kind"]
    if kind == "app" and provider != "github":
        raise Conflict(f"{HOSTS[provider].title} has no apps of this kind", next_step="use OAuth or an access token")
    renews, base = None, connecting.base_of(call.services, provider, given["url"])
    if given["renews"]:
        found = await call.read(lambda conn: by_name(conn, call.organization.id, given["renews"]))
        if (found.provider, found.kind) != (provider, kind):
            raise Conflict(f"{found.name} is a connection of another kind", next_step=credentials.how_to_renew(found))
        renews, base = found.id, found.base
    begun, url = await consenting.begin(
        call.services,
        consenting.Wanted(
            call.organization.id, call.caller.token, provider, base, kind, given["name"], renews, given["owner"]
        ),
    )
    return web.json_response(_consent(begun, url), status=201)


async def get_consent(call: Call) -> web.Response:
    found = await call.read(lambda conn: consents.get(conn, call.given["consent"], call.caller.token))
    return web.json_response(_consent(found))


async def cancel_consent(call: Call) -> web.Response:
    await call.write(lambda conn: consents.remove(conn, call.given["consent"], call.caller.token))
    return web.Response(status=204)


async def confirm_consent(call: Call) -> web.Response:
    made = await consenting.confirm(
        call.services, call.given["consent"], call.caller.token, call.given["code"], call.caller.name
    )
    return web.json_response(await _shown(call, made), status=201)


def _consent(found: Consent, url: str | None = None) -> show.Json:
    return {
        "id": found.id,
        "url": url,
        "stage": found.stage,
        "account": found.account_name,
        "trouble": found.trouble,
        "expires_at": show.time(found.expires_at),
    }


async def _shown(call: Call, found: ProviderConnection) -> show.Json:
    install_url = await connecting.install_url(call.services, found)

    def users(conn: Connection) -> list[str]:
        return [
            f"{projects.get(conn, each.project).name}/{each.name}"
            for each in connections.repositories_of(conn, found.id)
        ]

    return {
        "id": found.id,
        "name": found.name,
        "provider": found.provider,
        "url": found.base,
        "kind": found.kind,
        "account": found.account_name,
        "state": found.state,
        "trouble": found.trouble,
        "next_step": _next_step(found),
        "expires_at": show.maybe_time(found.expires_at),
        "checked_at": show.time(found.checked_at),
        "created_at": show.time(found.created_at),
        "repositories": await call.read(users),
        "install_url": install_url,
    }


def _next_step(found: ProviderConnection) -> str:
    match found.state:
        case "refused":
            return credentials.how_to_renew(found)
        case "uninstalled":
            return f"install the GitHub App, then: godploy connections check {found.name}"
    return ""
