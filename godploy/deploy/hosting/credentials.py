"""The credential that a connection is to use now. What ends is renewed under a lock, and stored before it is used: many
providers take a refresh token once, so whoever loses the new one has lost the connection."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field
from typing import Any

from godploy.core.model import ProviderConnection
from godploy.deploy.hosting.conversation import converse
from godploy.deploy.services import Services
from godploy.outlast import outlast
from godploy.providers import HOSTS, github_app
from godploy.providers.github_app import App
from godploy.providers.protocol import Credential, Grant, OAuthClient, ProviderError, Trouble
from godploy.store import connections

_BEFORE_IT_ENDS = 300.0  # seconds


@dataclass(frozen=True, slots=True)
class Kept:
    """What is sealed for a connection; which of it there is depends on the connection's kind."""

    token: str = field(default="", repr=False)
    username: str = ""
    refresh: str = field(default="", repr=False)
    ends_at: float | None = None  # of the token, in seconds since 1970
    app: App | None = None
    installation: str = ""

    def text(self) -> str:
        tree: dict[str, Any] = {"token": self.token, "username": self.username, "refresh": self.refresh}
        app = {name: getattr(self.app, name) for name in App.__slots__} if self.app else None
        return json.dumps({**tree, "ends_at": self.ends_at, "app": app, "installation": self.installation})


def read(text: str) -> Kept:
    tree = json.loads(text)
    app = tree.pop("app")
    return Kept(**tree, app=App(**app) if app else None)


def of_grant(grant: Grant, before: Kept | None = None) -> Kept:
    """`before`: a provider that gives no new refresh token lets the old one stand."""
    refresh = grant.refresh or (before.refresh if before else "")
    ends_at = time.time() + grant.lifetime if grant.lifetime is not None else None
    return Kept(token=grant.token, refresh=refresh, ends_at=ends_at)


def context(connection: str) -> str:
    """What a connection's credential is sealed with."""
    return f"connection:{connection}"


def client_context(provider: str, base: str) -> str:
    return f"oauth client:{provider}:{base}"


def callback(services: Services, provider: str) -> str:
    """Where a provider sends the browser back to; registered there to the letter."""
    return f"{services.settings.url}/oauth/{provider}/callback"


def how_to_renew(connection: ProviderConnection) -> str:
    return f"renew it: godploy connections renew {connection.name}"


async def kept(services: Services, connection: ProviderConnection) -> Kept:
    sealed = await services.store.read(lambda conn: connections.sealed(conn, connection.id))
    return read(services.keyring.unseal(sealed, context(connection.id)))


async def current(
    services: Services, connection: ProviderConnection, *, refused: Credential | None = None
) -> Credential:
    """The credential to use now. `refused`: the one that was just refused, so another is wanted; ProviderError says
    that there is none."""
    if connection.kind == "token":
        if refused is not None:
            raise ProviderError(Trouble.CREDENTIAL, _refused(connection))
        found = await kept(services, connection)
        return Credential("token", found.token, found.username)
    async with services.hosting.lock(connection.id):
        if connection.kind == "app":
            return await _installation(services, connection, refused)
        return await _granted(services, connection, refused)


async def _granted(services: Services, connection: ProviderConnection, refused: Credential | None) -> Credential:
    unstored = services.hosting.unstored(connection.id)
    if unstored is not None:
        await _store(services, connection, read(unstored))
    found = await kept(services, connection)
    fresh = found.ends_at is None or found.ends_at - _BEFORE_IT_ENDS > time.time()
    if fresh and (refused is None or refused.token != found.token):
        return Credential("oauth", found.token)
    if not found.refresh:
        raise ProviderError(Trouble.CREDENTIAL, _refused(connection))
    renewing = asyncio.ensure_future(_renew(services, connection, found))
    if await outlast(renewing):  # what the provider gave is stored first
        renewing.exception()
        raise asyncio.CancelledError
    return Credential("oauth", renewing.result().token)


async def _renew(services: Services, connection: ProviderConnection, before: Kept) -> Kept:
    host, base = HOSTS[connection.provider], connection.base
    client = await oauth_client(services, connection.provider, base)
    if client is None:
        reason = f"the OAuth client of {base} that {connection.name} was made with is not here any more"
        raise ProviderError(Trouble.CREDENTIAL, reason, next_step="a server administrator enters it: godploy oauth")
    grant = await converse(
        services, host, base, host.refresh(base, client, callback(services, connection.provider), before.refresh)
    )
    found = of_grant(grant, before)
    services.hosting.keep_unstored(connection.id, found.text())
    await _store(services, connection, found)
    return found


async def _store(services: Services, connection: ProviderConnection, found: Kept) -> None:
    """Raises what the store does: on a full disk, say. What could not be stored is stored before the next use."""
    sealed = services.keyring.seal(found.text(), context(connection.id))
    await services.store.write(lambda conn: connections.keep(conn, connection.id, sealed, None))
    services.hosting.is_stored(connection.id)


async def oauth_client(services: Services, provider: str, base: str) -> OAuthClient | None:
    found = await services.store.read(lambda conn: connections.client(conn, provider, base))
    return OAuthClient(found[0], services.keyring.unseal(found[1], client_context(provider, base))) if found else None


async def _installation(services: Services, connection: ProviderConnection, refused: Credential | None) -> Credential:
    held = services.hosting.installation_token(connection.id)
    if held is not None and (refused is None or held.token != refused.token):
        return held
    found = await kept(services, connection)
    if found.app is None or not found.installation:
        reason = f"the GitHub App of {connection.name} is not installed yet"
        raise ProviderError(Trouble.CREDENTIAL, reason, next_step=f"godploy connections check {connection.name}")
    grant = await converse(
        services,
        HOSTS[connection.provider],
        connection.base,
        github_app.installation_token(connection.base, found.app, found.installation, time.time()),
    )
    made = Credential("installation", grant.token)
    services.hosting.keep_installation_token(connection.id, made, (grant.lifetime or 3600.0) - _BEFORE_IT_ENDS)
    return made


def _refused(connection: ProviderConnection) -> str:
    where = connection.base.partition("://")[2]
    return f"{where} does not accept the credential of {connection.account_name} any more"
