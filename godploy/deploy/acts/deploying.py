"""Deploy, roll back, restart, cancel, replay: a few rows in one transaction; the worker does the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from godploy.core import feeding
from godploy.core.model import Delivery, Deployment, Environment, Kind, Release, Repository, Stack, State
from godploy.core.naming import new_id
from godploy.deploy import intake, remotes
from godploy.deploy.services import Services
from godploy.errors import Conflict, NotFound
from godploy.store import Connection, deployments, projects, releases, repositories, stacks
from godploy.store.deployments import Request
from godploy.store.repositories import Revision


async def deploy(
    services: Services,
    stack: Stack,
    actor: str,
    *,
    commit: str | None = None,
    confirm: str | None = None,
    update: Sequence[str] = (),
) -> Deployment:
    """The head of what feeds the stack, or `commit`; for the dashboard manifest its newest revision."""
    options = {"confirm": confirm, "update": list(update)}
    if stack.repository is None:
        revision = await _newest_revision(services, stack)
        request = Request(stack.id, Kind.MANUAL, actor, revision=revision, message="deploy", options=options)
    else:
        wanted, branch = await _head(services, stack, commit)
        request = Request(stack.id, Kind.MANUAL, actor, commit=wanted, branch=branch, message="deploy", options=options)
    return await _enqueue(services, request)


async def _newest_revision(services: Services, stack: Stack) -> int:
    def newest(conn: Connection) -> Revision | None:
        project = projects.environment(conn, stack.environment).project
        return repositories.revision(conn, project, None)

    found = await services.store.read(newest)
    if found is None:
        raise Conflict("this project has no dashboard manifest yet", next_step="godploy manifest save FILE")
    return found.revision


async def _head(services: Services, stack: Stack, commit: str | None) -> tuple[str, str | None]:
    """(the commit to deploy, its branch)."""

    def rows(conn: Connection) -> tuple[Repository, Environment]:
        return repositories.get(conn, stack.repository or ""), projects.environment(conn, stack.environment)

    repository, environment = await services.store.read(rows)
    feed = repository.mapping.get(environment.name)
    branch = (feed.branch if feed else None) or repository.default_branch
    if commit is not None:
        return commit, branch
    if feed is not None and (feed.tag is not None or feeding.is_pattern(feed.branch or "")):
        by = "tags" if feed.tag is not None else f"the branches {feed.branch}"
        raise Conflict(
            f"{environment.name} is fed by {by}", next_step="name the commit: godploy deploy --commit COMMIT"
        )
    heads = await remotes.heads(services, repository)
    branch = branch or heads.default
    head = heads.branches.get(branch or "")
    if head is None:
        raise NotFound(f"the repository {repository.name} has no branch {branch or 'yet'}", next_step="push one first")
    return head, branch


async def rollback(services: Services, stack: Stack, actor: str, number: int | None = None) -> Deployment:
    """To the release before the current one, or to release `number`; cancels what has not begun to start."""

    def enqueue(conn: Connection) -> Deployment:
        current = releases.current(conn, stacks.get(conn, stack.id))
        kept = [release for release in releases.of_stack(conn, stack.id) if current and release.id != current.id]
        if current is None or not kept:
            raise Conflict("there is no earlier release to return to", next_step="see: godploy deployments")
        older = [release for release in kept if release.number < current.number]
        target = releases.by_number(conn, stack.id, number) if number is not None else (older or kept)[0]
        if target.id == current.id:
            raise Conflict(f"release {target.number} is the current one")
        reason = f"cancelled by a rollback to release {target.number}"
        deployments.end_waiting(conn, stack.id, State.CANCELLED, reason)
        deployments.ask_to_end(conn, stack.id, State.CANCELLED, reason)
        request = Request(
            stack.id,
            Kind.ROLLBACK,
            actor,
            commit=target.commit,
            revision=target.revision,
            message=f"rollback to release {target.number}",
            from_release=target.id,
            options={"secrets": _former_secrets(current, target)},
        )
        return deployments.enqueue(conn, request)

    return await _queued(services, await services.store.write(enqueue))


def _former_secrets(current: Release, target: Release) -> Mapping[str, int]:
    """From a release made by a changed secret to the one before it: what that changed goes back."""
    before = current.kind is Kind.CONFIG and target.number == current.number - 1
    return current.secrets_changed if before else {}


async def restart(services: Services, stack: Stack, actor: str, names: Sequence[str] = ()) -> Deployment:
    """New containers for the named services, or all, from the current release."""

    def enqueue(conn: Connection) -> Deployment:
        current = releases.current(conn, stacks.get(conn, stack.id))
        if current is None:
            raise Conflict("nothing is deployed here yet", next_step="godploy deploy")
        unknown = set(names) - {service.service for service in current.services}
        if unknown:
            raise NotFound(f"there is no service {sorted(unknown)[0]} here")
        request = Request(
            stack.id,
            Kind.RESTART,
            actor,
            commit=current.commit,
            revision=current.revision,
            message=f"restart {', '.join(names) or 'all services'}",
            from_release=current.id,
            options={"restart": list(names)},
        )
        return deployments.enqueue(conn, request)

    return await _queued(services, await services.store.write(enqueue))


async def cancel(services: Services, deployment: Deployment, actor: str) -> Deployment:
    """Ends it before it is live. Raises Conflict when it has ended already."""
    reason = f"cancelled by {actor}"
    return await _queued(
        services, await services.store.write(lambda conn: deployments.cancel(conn, deployment.id, reason))
    )


async def replay(services: Services, delivery: Delivery, actor: str) -> Delivery:
    """The same delivery once more, considered although it was before."""
    repository = await services.store.read(lambda conn: repositories.get(conn, delivery.repository))
    body = {**delivery.body, "pusher": actor}
    received, _ = await intake.receive(services, repository, "manual", f"replay:{delivery.id}:{new_id()}", body)
    return received


async def _enqueue(services: Services, request: Request) -> Deployment:
    return await _queued(services, await services.store.write(lambda conn: deployments.enqueue(conn, request)))


async def _queued(services: Services, deployment: Deployment) -> Deployment:
    services.changes.ring("worker")
    services.changes.ring("outbox")
    services.changes.ring("deployment", deployment.id)
    return deployment
