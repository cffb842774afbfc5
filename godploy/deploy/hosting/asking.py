"""Providers asked by a connection: what is due is renewed, what is refused is noted, what was renamed is found."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar
from urllib.parse import urlsplit

from godploy.core.model import ProviderConnection, Repository
from godploy.deploy.hosting import credentials
from godploy.deploy.hosting.conversation import converse
from godploy.deploy.services import Services
from godploy.errors import NotFound
from godploy.providers import HOSTS
from godploy.providers.protocol import Host, HostedRepository, Place, ProviderError, Talk, Trouble
from godploy.store import Connection, connections, events, repositories

T = TypeVar("T")


async def ask(services: Services, connection: ProviderConnection, make: Callable[[Host], Talk[T]]) -> T:
    """What the talk learns, by the connection's credential: a refused one is renewed once where that can be, and else
    noted on the connection; one that was refused before and is accepted again is usable. Raises ProviderError."""
    try:
        learnt = await _asked(services, connection, make)
    except ProviderError as error:
        if error.trouble is Trouble.CREDENTIAL:
            error.next_step = error.next_step or credentials.how_to_renew(connection)
            await note_refusal(services, connection, error.message)
        raise
    if connection.state == "refused":
        await services.store.write(lambda conn: connections.note_state(conn, connection.id, "usable"))
    return learnt


async def _asked(services: Services, connection: ProviderConnection, make: Callable[[Host], Talk[T]]) -> T:
    host = HOSTS[connection.provider]
    held = await credentials.current(services, connection)
    try:
        return await converse(services, host, connection.base, make(host), held)
    except ProviderError as error:
        if error.trouble is not Trouble.CREDENTIAL:
            raise
        held = await credentials.current(services, connection, refused=held)
        return await converse(services, host, connection.base, make(host), held)


async def hosted(services: Services, connection: ProviderConnection, full_name: str) -> HostedRepository:
    """The repository of that name, as a person typed it. Raises ProviderError."""
    try:
        return await ask(services, connection, lambda host: host.repository(connection.base, full_name))
    except ProviderError as error:
        if error.trouble is Trouble.MISSING and not error.next_step:
            error.message = f"{connection.base} shows {connection.account_name} no repository {full_name}"
            error.next_step = f"see: godploy connections repositories {connection.name}"
        raise


async def ask_about(services: Services, repository: Repository, make: Callable[[Host, str, Place], Talk[T]]) -> T:
    """The same about a repository, which is looked for by its id where it is not found by its name: it was renamed.

    Raises ProviderError, and NotFound where it has no connection."""
    connection = await connection_of(services, repository)

    def about(found: Repository) -> Callable[[Host], Talk[T]]:
        return lambda host: make(host, connection.base, place(found))

    try:
        return await ask(services, connection, about(repository))
    except ProviderError as error:
        if error.trouble is not Trouble.MISSING:
            raise
        renamed = await located(services, connection, repository)
        if renamed is None:
            raise
        return await ask(services, connection, about(renamed))


async def connection_of(services: Services, repository: Repository) -> ProviderConnection:
    """Raises NotFound."""
    if repository.connection is None:
        raise NotFound(
            f"{repository.name} has no connection",
            next_step=f"godploy repositories connect {repository.name} --connection NAME",
        )
    wanted = repository.connection
    return await services.store.read(lambda conn: connections.get(conn, wanted))


def place(repository: Repository) -> Place:
    return Place(repository.remote_id or "", repository.full_name or "")


async def located(services: Services, connection: ProviderConnection, repository: Repository) -> Repository | None:
    """It as it is called now, which is written down; None where that is as before. Raises ProviderError."""
    found = await ask(services, connection, lambda host: host.located(connection.base, repository.remote_id or ""))
    if found.full_name == repository.full_name:
        return None

    def write(conn: Connection) -> Repository:
        repositories.rename(conn, repository.id, found.full_name, clone_url(connection.base, found), found.web_url)
        text = f"{repository.name} is called {found.full_name} now; it was {repository.full_name}"
        events.add(conn, "repository", text, project=repository.project)
        return repositories.get(conn, repository.id)

    return await services.store.write(write)


def clone_url(base: str, found: HostedRepository) -> str:
    """Where it is cloned from: at the connection's own address, whatever the provider calls itself, since the
    credential goes with it."""
    told, own = urlsplit(found.clone_url), urlsplit(base)
    same = (told.scheme, told.netloc) == (own.scheme, own.netloc)
    return found.clone_url if same else f"{base}/{found.full_name}.git"


async def note_refusal(services: Services, connection: ProviderConnection, reason: str) -> None:
    """The connection needs a person now; told as an event of each project that uses it, once."""

    def write(conn: Connection) -> None:
        if connections.note_state(conn, connection.id, "refused", reason):
            text = f"the connection {connection.name} is refused ({reason}): {credentials.how_to_renew(connection)}"
            for project in {each.project for each in connections.repositories_of(conn, connection.id)}:
                events.add(conn, "connection", text, project=project)

    await services.store.write(write)
