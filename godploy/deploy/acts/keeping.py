"""What people give Godploy to keep: secrets, manifests, repositories; and the volumes that they may delete."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping

from godploy.core.model import Deployment, Environment, Kind, Project, Release, Repository
from godploy.core.plan import Plan
from godploy.core.sealing import secret_versions
from godploy.core.specification import Specification
from godploy.deploy import intake, planning, source
from godploy.deploy.job import secret_context
from godploy.deploy.services import Services
from godploy.errors import Conflict
from godploy.store import Connection, deployments, events, projects, releases, repositories, secrets, stacks, volumes
from godploy.store.deployments import Request
from godploy.store.repositories import Revision


async def set_secrets(
    services: Services, environment: Environment, values: Mapping[str, str], actor: str, *, deploy: bool = True
) -> list[Deployment]:
    """New current versions; with `deploy`, a `config` deployment for each stack that names one of them."""
    sealed = {
        name: services.keyring.seal(value, secret_context(environment.id, name)) for name, value in values.items()
    }

    def write(conn: Connection) -> list[Deployment]:
        for name, value in sealed.items():
            version = secrets.put(conn, environment.id, name, value)
            events.add(conn, "secret", f"{name} set to version {version} by {actor}", environment=environment.id)
        return _config_deployments(conn, environment, set(values), actor) if deploy else []

    made = await services.store.write(write)
    services.changes.ring("worker")
    return made


def _config_deployments(conn: Connection, environment: Environment, changed: set[str], actor: str) -> list[Deployment]:
    """Each remembers the versions that ran before: a rollback over it brings these back, and never one between."""
    made = []
    for stack in stacks.of_environment(conn, environment.id):
        release = releases.current(conn, stack)
        ran = _secret_versions(conn, release) if release else {}
        named = sorted(changed & ran.keys())
        if release and named:
            request = Request(
                stack.id,
                Kind.CONFIG,
                actor,
                commit=release.commit,
                revision=release.revision,
                message=f"{', '.join(named)} changed",
                from_release=release.id,
                options={"secrets": {name: ran[name] for name in named}},
            )
            made.append(deployments.enqueue(conn, request))
    return made


def _secret_versions(conn: Connection, release: Release) -> dict[str, int]:
    """name → version of every secret that the release runs with."""
    named: dict[str, int] = {}
    for service in release.services:
        named |= secret_versions(Specification.from_json(releases.workload(conn, service.workload).specification))
    return named


def _built_with(conn: Connection, release: Release) -> dict[str, int]:
    """name → version of every secret that went into the release's builds."""
    named: dict[str, int] = {}
    for service in release.services:
        named |= Specification.from_json(releases.workload(conn, service.workload).specification).build_secrets
    return named


async def remove_secret(services: Services, environment: Environment, name: str, actor: str) -> None:
    """It has no value any more; what runs keeps it until it is deployed again. Raises Conflict while a current release
    names it, NotFound."""

    def write(conn: Connection) -> None:
        for stack in stacks.of_environment(conn, environment.id):
            release = releases.current(conn, stack)
            if release is not None and name in _secret_versions(conn, release) | _built_with(conn, release):
                raise Conflict(
                    f"{planning.source_name(conn, stack)} uses {name} in {environment.name}",
                    next_step="take it out of the manifest and deploy first",
                )
        secrets.remove(conn, environment.id, name)
        events.add(conn, "secret", f"{name} removed by {actor}", environment=environment.id)

    await services.store.write(write)


async def save_manifest(
    services: Services, project: Project, repository: Repository | None, text: str, actor: str
) -> tuple[Revision, list[Deployment]]:
    """A new revision of the stored or the dashboard manifest. The latter is deployed in every environment that it names
    and where its plan is not empty. Raises Invalid with all problems."""
    if repository is not None:
        await source.parse(services, text, repository.manifest_path)
        saved = await services.store.write(
            lambda conn: repositories.save_revision(conn, project.id, repository.id, text, actor)
        )
        return saved, []
    manifest = await source.parse(services, text, source.DASHBOARD, dashboard=True)
    avoid = await intake.occupied(services)

    def write(conn: Connection) -> tuple[Revision, list[Deployment]]:
        revision = repositories.save_revision(conn, project.id, None, text, actor)
        made = []
        for name in manifest.environments():
            environment = projects.ensure_environment(conn, project.id, name, services.settings.pool, avoid)
            stack = stacks.ensure(conn, environment.id, None)
            message = f"dashboard manifest, revision {revision.revision}"
            request = Request(stack.id, Kind.MANUAL, actor, revision=revision.revision, message=message)
            made.append(deployments.enqueue(conn, request))
        return revision, made

    saved_with = await services.store.write(write)
    services.changes.ring("worker")
    return saved_with


async def draft_plan(
    services: Services, project: Project, environment_name: str, repository: Repository | None, text: str
) -> Plan:
    """What saving or pushing this text would do in the environment; nothing is changed by asking. Raises Invalid."""
    filename = repository.manifest_path if repository else source.DASHBOARD
    manifest = await source.parse(services, text, filename, dashboard=repository is None)
    environment, stack = await services.store.read(
        lambda conn: planning.place(conn, project, environment_name, repository)
    )
    drafted = source.Source(manifest, posixpath.dirname(filename) if repository else "")
    return await planning.draft(services, project, environment, stack, drafted)


async def delete_volume(services: Services, volume_id: str, actor: str) -> None:
    """Deletes a detached volume and its data for good. Raises Conflict while it is mounted."""

    def write(conn: Connection) -> None:
        volume = volumes.get(conn, volume_id)
        volumes.delete(conn, volume_id)
        text = f"volume {volume.name} and its data deleted by {actor}"
        events.add(conn, "volume", text, environment=volume.environment)

    volume = await services.store.read(lambda conn: volumes.detached(conn, volume_id))
    try:
        await services.runtime.remove_volume(volume.environment, volume.id)
    except Conflict as error:
        raise Conflict(
            f"volume {volume.name} is still in use by a container that finishes its requests",
            next_step="try again in a moment",
        ) from error
    await services.store.write(write)
