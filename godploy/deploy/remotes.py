"""How a repository is reached: the credential that belongs to it, found where it is kept."""

from __future__ import annotations

from godploy.core.access import Access
from godploy.core.failures import failure
from godploy.core.model import ProviderConnection, Repository
from godploy.deploy.hosting import asking, credentials
from godploy.deploy.services import Services
from godploy.drivers.git import Heads
from godploy.drivers.git_program import GitError
from godploy.errors import GodployError
from godploy.providers import HOSTS
from godploy.store import Connection, connections, repositories
from godploy.store import access as kept_access


async def access(services: Services, repository: Repository) -> Access | None:
    """None for our own remote. Raises ProviderError where a connection's credential cannot be renewed."""
    if repository.url is None:
        return None
    if repository.connection is not None:
        now, connection = await services.store.read(lambda conn: _connected(conn, repository.id))
        held = await credentials.current(services, connection)
        return Access(now.url or "", login=HOSTS[now.provider].git_login(held))
    kept = await services.store.read(lambda conn: kept_access.of(conn, repository.id))
    unseal, context = services.keyring.unseal, access_context(repository.id)
    if kept.key is not None:
        return Access(repository.url, key=unseal(kept.key, context), host_keys=kept.host_keys)
    if kept.username is not None and kept.password is not None:
        return Access(repository.url, login=(kept.username, unseal(kept.password, context)))
    return Access(repository.url)


def _connected(conn: Connection, repository: str) -> tuple[Repository, ProviderConnection]:
    """As it is called now: it may have been renamed since the caller looked."""
    found = repositories.get(conn, repository)
    return found, connections.get(conn, found.connection or "")


async def heads(services: Services, repository: Repository) -> Heads:
    """Where the branches and tags of a repository are. Where git cannot say, its provider is asked what has become of
    it: it may have been renamed, or its credential renewed. Raises GitError, or a GodployError."""
    try:
        return await services.git.heads(repository.id, await access(services, repository))
    except GitError:
        if repository.connection is None:
            raise
        connection = await asking.connection_of(services, repository)
        try:
            await asking.located(services, connection, repository)
        except GodployError:
            pass
        else:
            return await services.git.heads(repository.id, await access(services, repository))
        raise


async def explained(services: Services, repository: Repository, error: GitError) -> GodployError | GitError:
    """Why a fetch came to nothing, for a deployment that fails by it: where a connection may not read, which it is and
    what to do about it."""
    if error.code != "repository_denied" or repository.connection is None:
        return error
    connection = await asking.connection_of(services, repository)
    failed = failure(error.code, **error.facts)
    refused = connection.state == "refused"
    step = credentials.how_to_renew(connection) if refused else f"godploy connections check {connection.name}"
    failed.next_step = f"{step}; then: godploy deploy"
    return failed


def access_context(repository: str) -> str:
    """What a repository's own login or key is sealed with."""
    return f"access:{repository}"
