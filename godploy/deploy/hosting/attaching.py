"""A repository at a provider becomes one of a project."""

from __future__ import annotations

from godploy.core.model import Project, ProviderConnection, Repository
from godploy.deploy.hosting import asking, hooks
from godploy.deploy.services import Services
from godploy.errors import Conflict, Forbidden, NotFound
from godploy.providers.protocol import HostedRepository
from godploy.store import Connection, repositories
from godploy.store.repositories import Hosted


async def attach(
    services: Services,
    project: Project,
    connection: ProviderConnection,
    full_name: str,
    *,
    name: str,
    manifest_path: str,
    branch: str | None,
) -> Repository:
    """The repository, whose head is deployed by catch-up, with a hook or without.

    `branch` feeds production in the default branch's place. Raises ProviderError, Forbidden, NotFound, Conflict.
    """
    base = connection.base
    found = await asking.hosted(services, connection, full_name)
    if not found.administered:
        raise Forbidden(
            f"{connection.account_name} may not administer {found.full_name}, which making a hook needs",
            next_step="choose one of: godploy connections repositories " + connection.name,
        )
    if branch is not None:
        known = await asking.ask(services, connection, lambda host: host.branches(base, found.place))
        if branch not in known:
            few = ", ".join(known[:5])
            raise NotFound(f"{found.full_name} has no branch {branch}", next_step=f"it has {few}" if few else "")
    made = await services.store.write(
        lambda conn: _create(conn, project, connection, found, name, manifest_path, branch or found.default_branch)
    )
    await services.git.create(made.id)
    await hooks.attempt(services, made)
    services.changes.ring("poller")
    return made


def _create(
    conn: Connection,
    project: Project,
    connection: ProviderConnection,
    found: HostedRepository,
    name: str,
    manifest_path: str,
    branch: str | None,
) -> Repository:
    hosted = Hosted(connection.provider, connection.id, found.id, found.full_name, found.web_url)
    url = asking.clone_url(connection.base, found)
    made = repositories.create(conn, project.id, name, url=url, manifest_path=manifest_path, hosted=hosted)
    if branch is not None:
        repositories.set_default_branch(conn, made.id, branch)
    return repositories.get(conn, made.id)


async def must_see(services: Services, repository: Repository, connection: ProviderConnection) -> None:
    """Raises Conflict where the connection is to another server, which the repository's address would give its
    credential to; Forbidden where it does not see the repository as one that it may administer; ProviderError."""
    if not (repository.url or "").startswith(f"{connection.base}/"):
        raise Conflict(f"{repository.name} is not at {connection.base}", next_step="attach it anew")
    wanted = repository.remote_id or ""
    found = await asking.ask(services, connection, lambda host: host.located(connection.base, wanted))
    if not found.administered:
        raise Forbidden(f"{connection.account_name} may not administer {found.full_name}")
