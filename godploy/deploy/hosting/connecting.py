"""Connections: made with a token, looked at, renewed, removed; and what can be chosen through them."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from godploy.core import remote
from godploy.core.model import ProviderConnection
from godploy.core.naming import new_id
from godploy.deploy.hosting import asking, credentials, hooks
from godploy.deploy.hosting.conversation import converse
from godploy.deploy.hosting.credentials import Kept
from godploy.deploy.services import Services
from godploy.errors import Conflict, GodployError, Invalid
from godploy.providers import HOSTS, github_app
from godploy.providers.protocol import Account, Credential, Listing, ProviderError, Trouble
from godploy.store import Connection, connections, outbox
from godploy.store.connections import Wanted


@dataclass(frozen=True, slots=True)
class Token:
    """An access token as a person gives it; `expires_at` in seconds since 1970 where they know."""

    token: str = field(repr=False)
    username: str = ""
    expires_at: float | None = None

    @property
    def credential(self) -> Credential:
        return Credential("token", self.token, self.username)


def base_of(services: Services, provider: str, base: str | None) -> str:
    """The web address of the provider's server that is meant, checked as every address is. Raises Invalid."""
    host = HOSTS[provider]
    wanted = (base or host.usual_base).rstrip("/")
    if not wanted:
        raise Invalid(
            f"{host.title} runs at many addresses", next_step=f"say which: --url https://{provider}.example.com"
        )
    private = services.settings.private_bases
    if "?" in wanted or "#" in wanted:
        raise Invalid(f"{wanted} is not the address of a server")
    listed = remote.parse_server(wanted, private).private
    if host.single and wanted != host.usual_base and not listed:
        raise Invalid(f"{host.title} is at {host.usual_base} alone", next_step="leave --url out")
    return wanted


async def add_token(
    services: Services, organization: str, provider: str, base: str, token: Token, *, name: str | None, actor: str
) -> ProviderConnection:
    """A connection by an access token, which is tried first. Raises ProviderError, and Conflict for a name."""
    account = await _account(services, provider, base, token.credential)
    wanted = Wanted(
        organization,
        provider,
        base,
        "token",
        account.id,
        account.name,
        actor,
        name,
        expires_at=token.expires_at or account.expires_at,
    )
    made = new_id()
    kept = Kept(token=token.token, username=token.username)
    sealed = services.keyring.seal(kept.text(), credentials.context(made))
    return await services.store.write(lambda conn: connections.create(conn, made, wanted, sealed))


async def renew_token(services: Services, connection: ProviderConnection, token: Token) -> ProviderConnection:
    """Another token in the place of the one before, of the same account. Raises ProviderError and Conflict."""
    if connection.kind != "token":
        raise Conflict(f"{connection.name} was not made with a token", next_step=credentials.how_to_renew(connection))
    account = await _account(services, connection.provider, connection.base, token.credential)
    must_be_the_same(connection, account)
    text = Kept(token=token.token, username=token.username).text()
    expires_at = token.expires_at or account.expires_at
    return await keep(services, connection, text, expires_at)


async def _account(services: Services, provider: str, base: str, credential: Credential) -> Account:
    host = HOSTS[provider]
    try:
        return await converse(services, host, base, host.account(base), credential)
    except ProviderError as error:
        if error.trouble is Trouble.CREDENTIAL and not error.next_step:
            scopes = ", ".join(host.token_scopes)
            error.next_step = f"make a token at {base}{host.token_page} with {scopes}"
        elif error.trouble is Trouble.MISSING and not error.next_step:
            error.next_step = f"is {base} the web address of {host.title}, and all of it?"
        raise


def must_be_the_same(connection: ProviderConnection, account: Account) -> None:
    """Raises Conflict: whoever renews a connection must not slip another account under its repositories."""
    if account.id != connection.account_id:
        raise Conflict(
            f"this is {account.name}, but {connection.name} is {connection.account_name}'s",
            next_step="sign in as that account, or make another connection: godploy connections add",
        )


async def keep(
    services: Services, connection: ProviderConnection, text: str, expires_at: float | None
) -> ProviderConnection:
    """Keeps a credential anew; what waited for it goes on."""
    sealed = services.keyring.seal(text, credentials.context(connection.id))
    services.hosting.forget(connection.id)
    kept = await services.store.write(lambda conn: put_kept(conn, connection.id, sealed, expires_at))
    services.changes.ring("outbox")
    services.changes.ring("poller")
    return kept


def put_kept(conn: Connection, connection_id: str, sealed: bytes, expires_at: float | None) -> ProviderConnection:
    """In a transaction: with the credential, what waited for it is due. Whoever rings is the caller."""
    connections.keep(conn, connection_id, sealed, expires_at)
    for repository in connections.repositories_of(conn, connection_id):
        outbox.retry(conn, repository.id)
    return connections.get(conn, connection_id)


async def check(services: Services, connection: ProviderConnection) -> ProviderConnection:
    """Looks whether it can be used now, and notes what it saw. A GitHub App that has been installed meanwhile is."""
    try:
        if connection.state == "uninstalled":
            await _find_installation(services, connection)
        account = await asking.ask(services, connection, lambda host: host.account(connection.base))
    except ProviderError as error:
        if error.trouble is not Trouble.CREDENTIAL:
            raise
    else:

        def write(conn: Connection) -> None:
            connections.note_state(conn, connection.id, "usable")
            connections.note_account(conn, connection.id, account.name, account.expires_at)

        await services.store.write(write)
    return await services.store.read(lambda conn: connections.get(conn, connection.id))


async def _find_installation(services: Services, connection: ProviderConnection) -> None:
    """Where the App is installed is asked of GitHub with the App's own key; what a browser brings is not believed."""
    found = await credentials.kept(services, connection)
    if found.app is None:
        return
    host, base = HOSTS[connection.provider], connection.base
    there = await converse(services, host, base, github_app.installations(base, found.app, time.time()))
    if not there:
        raise Conflict(
            f"the GitHub App of {connection.name} is not installed yet",
            next_step=f"install it: {github_app.installation_url(base, found.app, '')}",
        )
    kept = Kept(app=found.app, installation=there[0].id)
    await keep(services, connection, kept.text(), None)


async def install_url(services: Services, connection: ProviderConnection) -> str | None:
    """Where a person installs the GitHub App; None for a connection that is none, or that has been installed."""
    if connection.state != "uninstalled":
        return None
    found = await credentials.kept(services, connection)
    return github_app.installation_url(connection.base, found.app, "") if found.app else None


async def remove(services: Services, connection: ProviderConnection) -> list[str]:
    """Removes it with the hooks that it made; what could not be removed at the provider, in sentences. Its
    repositories stay attached, and are polled as far as anybody may read them."""
    left = []
    for repository in await services.store.read(lambda conn: connections.repositories_of(conn, connection.id)):
        try:
            await hooks.remove(services, repository)
        except GodployError as error:
            left.append(f"the hook of {repository.full_name} stays at {connection.base}: {error}")
    await services.store.write(lambda conn: connections.remove(conn, connection.id))
    services.hosting.forget(connection.id)
    return left


async def repositories(services: Services, connection: ProviderConnection, search: str, limit: int) -> Listing:
    """Those that can be chosen. Raises ProviderError."""
    return await asking.ask(services, connection, lambda host: host.repositories(connection.base, search, limit))


async def branches(services: Services, connection: ProviderConnection, full_name: str) -> tuple[str, ...]:
    """Raises ProviderError."""
    base = connection.base
    found = await asking.hosted(services, connection, full_name)
    return await asking.ask(services, connection, lambda host: host.branches(base, found.place))


async def put_client(services: Services, provider: str, base: str, client: str, secret: str) -> None:
    """A server administrator registered Godploy at a provider, and enters what that gave."""
    sealed = services.keyring.seal(secret, credentials.client_context(provider, base))
    await services.store.write(lambda conn: connections.put_client(conn, provider, base, client, sealed))
