"""How a repository is reached: the credential that belongs to it, found where it is kept."""

from __future__ import annotations

from godploy.core.access import Access
from godploy.core.model import Repository
from godploy.deploy.hosting import asking, credentials
from godploy.deploy.services import Services
from godploy.providers import HOSTS
from godploy.store import access as kept_access


async def access(services: Services, repository: Repository) -> Access | None:
    """None for our own remote. Raises ProviderError where a connection's credential cannot be renewed."""
    if repository.url is None:
        return None
    if repository.connection is not None:
        connection = await asking.connection_of(services, repository)
        held = await credentials.current(services, connection)
        return Access(repository.url, login=HOSTS[repository.provider].git_login(held))
    kept = await services.store.read(lambda conn: kept_access.of(conn, repository.id))
    unseal, context = services.keyring.unseal, access_context(repository.id)
    if kept.key is not None:
        return Access(repository.url, key=unseal(kept.key, context), host_keys=kept.host_keys)
    if kept.username is not None and kept.password is not None:
        return Access(repository.url, login=(kept.username, unseal(kept.password, context)))
    return Access(repository.url)


def access_context(repository: str) -> str:
    """What a repository's own login or key is sealed with."""
    return f"access:{repository}"
