"""Repositories: attached to a project, reached by what belongs to them, announced by a hook."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass, field

from godploy.core import remote
from godploy.core.model import Project, ProviderConnection, Repository
from godploy.core.remote import Remote
from godploy.deploy.hosting import attaching, hooks
from godploy.deploy.remotes import access_context
from godploy.deploy.services import Services
from godploy.drivers import ssh
from godploy.drivers.git_program import GitError
from godploy.drivers.ssh import HostKey
from godploy.errors import Conflict, Invalid, Unavailable
from godploy.store import Connection, access, connections, repositories
from godploy.store.access import Kept


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A repository at any git server: its address and, where it is not for everybody, a login (https) or the
    fingerprints of the server's keys as a person confirmed them (ssh)."""

    url: str
    login: tuple[str, str] | None = field(default=None, repr=False)
    fingerprints: tuple[str, ...] = ()


async def create_repository(
    services: Services,
    project: Project,
    name: str,
    elsewhere: Elsewhere | str | None,
    manifest_path: str,
    status_url: str | None = None,
) -> tuple[Repository, str | None]:
    """(the repository, its hook secret in plain for one elsewhere, whose head is then deployed by catch-up).

    None is our own remote. `status_url` is told, signed with that secret, what becomes of its deployments. One over ssh
    gets a deploy key of its own. Raises Conflict, and Invalid for an address that may not be reached.
    """
    must_be_in_the_repository(manifest_path)
    wanted = Elsewhere(elsewhere) if isinstance(elsewhere, str) else elsewhere
    if status_url is not None:
        remote.parse(status_url, services.settings.private_bases)
    target = remote.parse(wanted.url, services.settings.private_bases, ssh=True) if wanted else None
    kept = await _access(services, target, wanted) if wanted and target else None
    url = target.url if target else None

    def write(conn: Connection) -> Repository:
        made = repositories.create(conn, project.id, name, url=url, manifest_path=manifest_path, status_url=status_url)
        if kept is not None:
            access.put(conn, made.id, _sealed(services, made.id, kept))
        return made

    made = await services.store.write(write)
    await services.git.create(made.id)
    if url is None:
        return made, None
    secret = await rotate_hook_secret(services, made)
    services.changes.ring("poller")
    return made, secret


def must_be_in_the_repository(manifest_path: str) -> None:
    """Raises Invalid."""
    if posixpath.normpath(manifest_path) != manifest_path or manifest_path.startswith(("/", "..")):
        raise Invalid(
            f"{manifest_path} is not the path of a file in the repository",
            next_step="write it from the repository's root, such as godploy.yaml or api/godploy.yaml",
        )


@dataclass(frozen=True, slots=True)
class _Plain:
    """What is to be kept, before it is sealed."""

    login: tuple[str, str] | None = None
    key: str = ""
    public_key: str = ""
    host_keys: tuple[str, ...] = ()


async def _access(services: Services, target: Remote, wanted: Elsewhere) -> _Plain | None:
    if target.scheme == "ssh":
        if wanted.login is not None:
            raise Invalid("an ssh repository has a deploy key, no password", next_step="leave the login out")
        pinned = await _confirmed(target, wanted.fingerprints)
        private, public = ssh.new_key()
        return _Plain(key=private, public_key=public, host_keys=pinned)
    if wanted.login is not None and target.scheme not in ("https", "http"):
        raise Invalid(f"{target.scheme}:// takes no login", next_step="use its https:// address")
    return _Plain(login=wanted.login) if wanted.login is not None else None


def _sealed(services: Services, repository: str, plain: _Plain) -> Kept:
    seal, context = services.keyring.seal, access_context(repository)
    if plain.login is not None:
        return Kept(username=plain.login[0], password=seal(plain.login[1], context))
    return Kept(key=seal(plain.key, context), public_key=plain.public_key, host_keys=plain.host_keys)


async def scan_host_keys(services: Services, url: str) -> tuple[str, tuple[HostKey, ...]]:
    """(host, the keys that it shows now). Raises Invalid, Unavailable."""
    target = remote.parse(url, services.settings.private_bases, ssh=True)
    if target.scheme != "ssh":
        raise Invalid(f"{url} is not an ssh address", next_step="only ssh servers have host keys")
    return target.host, await _scanned(target)


async def _scanned(target: Remote) -> tuple[HostKey, ...]:
    try:
        return await ssh.scan(target)
    except GitError as error:
        raise Unavailable(f"{target.host} shows no key: {error.facts.get('detail', '')}") from error


async def _confirmed(target: Remote, fingerprints: Sequence[str]) -> tuple[str, ...]:
    """The keys that the server shows and a person has confirmed. Raises Conflict where there is none of them."""
    shown = await _scanned(target)
    pinned = tuple(key.line for key in shown if key.fingerprint in fingerprints)
    if not pinned:
        told = ", ".join(f"{key.type} {key.fingerprint}" for key in shown)
        raise Conflict(
            f"{target.host} shows {told}, of which none was confirmed",
            next_step="compare them with what its administrator tells, and confirm one: --host-key FINGERPRINT",
            fields={"host_keys": [{"type": key.type, "fingerprint": key.fingerprint} for key in shown]},
            code="host_key_unconfirmed",
        )
    return pinned


async def pin_host_keys(services: Services, repository: Repository, fingerprints: Sequence[str]) -> None:
    """Raises Conflict, also for a repository that is not reached over ssh."""
    target = remote.parse(repository.url or "", services.settings.private_bases, ssh=True)
    if target.scheme != "ssh":
        raise Conflict(f"{repository.name} is not reached over ssh", next_step="it has no host keys")
    pinned = await _confirmed(target, fingerprints)
    await services.store.write(lambda conn: access.pin(conn, repository.id, pinned))
    services.changes.ring("poller")


async def set_login(services: Services, repository: Repository, username: str, password: str) -> None:
    """The login by which it is cloned from now on. Raises Conflict where that is decided otherwise."""
    scheme = (repository.url or "").partition("://")[0]
    if repository.connection is not None or scheme not in ("https", "http"):
        by = "its connection" if repository.connection else "a deploy key" if scheme == "ssh" else "no login"
        raise Conflict(f"{repository.name} is reached by {by}")
    kept = _sealed(services, repository.id, _Plain(login=(username, password)))
    await services.store.write(lambda conn: access.put(conn, repository.id, kept))
    services.changes.ring("poller")


async def attach_hosted(
    services: Services,
    project: Project,
    connection: ProviderConnection,
    full_name: str,
    *,
    name: str,
    manifest_path: str,
    branch: str | None,
) -> Repository:
    """See `hosting.attaching`."""
    must_be_in_the_repository(manifest_path)
    return await attaching.attach(
        services, project, connection, full_name, name=name, manifest_path=manifest_path, branch=branch
    )


async def ensure_hook(services: Services, repository: Repository) -> None:
    """Makes or mends the hook at the provider, and waits a while for something to come from it. Raises Conflict for a
    repository without a provider, ProviderError."""
    if repository.remote_id is None:
        raise Conflict(
            f"{repository.name} is at no provider, so its hook is yours to make", next_step="see its hook_url"
        )
    await hooks.ensure(services, repository)
    await hooks.prove(services, repository)


async def reconnect(services: Services, repository: Repository, connection: ProviderConnection) -> None:
    """Reaches a provider's repository by another connection, which must see it, and which the hook is looked after by
    from now on. Raises Conflict, Forbidden, ProviderError."""
    if repository.remote_id is None or repository.provider != connection.provider:
        raise Conflict(f"{repository.name} is not at {connection.provider}", next_step="attach it anew")
    await attaching.must_see(services, repository, connection)

    def use(conn: Connection) -> Repository:
        connections.use(conn, repository.id, connection.id)
        return repositories.get(conn, repository.id)

    await hooks.attempt(services, await services.store.write(use))
    services.changes.ring("poller")


async def rotate_hook_secret(services: Services, repository: Repository, overlap: float = hooks.OVERLAP) -> str | None:
    """A new hook secret; the one before stays valid for `overlap` seconds. In plain, once, for a hook that a person
    made; None for one that Godploy made, where the provider is given it. Raises ProviderError."""
    if repository.connection is not None:
        await hooks.rotate(services, repository)
        return None
    return (await hooks.another_secret(services, repository, overlap))[0]
