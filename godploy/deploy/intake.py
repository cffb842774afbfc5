"""Accept, then decide: what a delivery leads to, told in a sentence, in one transaction.

A delivery is committed before its sender is answered. The loop here takes received ones, one per repository at a time,
the newest push of a branch first, and begins with what an earlier process left.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from godploy.core.model import Delivery, Feed, Kind, Repository
from godploy.deploy import remotes, source
from godploy.deploy.services import Services
from godploy.deploy.supervise import Lanes
from godploy.drivers.git import Heads
from godploy.drivers.git_objects import FileTooLarge, NotARegularFile, TreeTooLarge
from godploy.drivers.git_program import GitError
from godploy.errors import Conflict, Invalid, Unavailable
from godploy.runtimes.protocol import RuntimeUnavailable
from godploy.store import Connection, deliveries, deployments, events, projects, repositories, stacks

logger = logging.getLogger(__name__)

_LOOK_EVERY = 5.0  # seconds, should a hint be lost
_AFTER_TROUBLE = 2.0  # seconds until a decision that could not be written is made again
_UNREACHABLE_TRIES = 3
_HEADS_TAG, _HEADS_BRANCH = "refs/tags/", "refs/heads/"


async def receive(
    services: Services, repository: Repository, kind: str, key: str, body: Mapping[str, Any]
) -> tuple[Delivery, bool]:
    """(the delivery, whether it is new), committed. A repeated key gives the first answer back."""
    received = await services.store.write(lambda conn: deliveries.receive(conn, repository.id, kind, key, body))
    services.changes.ring("intake")
    return received


async def run(services: Services) -> None:
    """The loop: decides what was received, several repositories side by side."""
    lanes = Lanes(lambda: services.changes.ring("intake"))
    try:
        while True:
            for delivery in await services.store.read(deliveries.received):
                if delivery.repository not in lanes:
                    lanes.start(delivery.repository, _decide(services, delivery))
            await services.changes.wait("intake", _LOOK_EVERY)
            lanes.clear_ended()
    finally:
        await lanes.stop()


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What to write down: the sentence, the considered commit, and the environments to deploy to."""

    text: str
    environments: tuple[str, ...] = ()
    branch: str | None = None
    commit: str | None = None
    mapping: Mapping[str, Feed] | None = None  # when the default branch's manifest was read
    default_branch: str | None = None
    forget: str | None = None  # a branch that is gone


async def _decide(services: Services, delivery: Delivery) -> None:
    repository = await services.store.read(lambda conn: repositories.get(conn, delivery.repository))
    try:
        verdict = await _consider(services, repository, delivery)
    except asyncio.CancelledError:
        raise
    except Exception as error:  # a delivery that cannot be decided must not stop the others for ever
        logger.exception("delivery %s", delivery.id)
        verdict = _Verdict(f"not understood because of an error in Godploy: {error}")
    avoid = await occupied(services) if verdict.environments else []
    try:
        await _write_down(services, repository, delivery, verdict, avoid)
    except Unavailable as trouble:  # a full disk, say: it stays received, and is taken up again
        logger.warning("delivery %s stays undecided: %s", delivery.id, trouble)
        await asyncio.sleep(_AFTER_TROUBLE)
        return
    services.changes.ring("worker")
    services.changes.ring("delivery", delivery.id)


async def _write_down(
    services: Services, repository: Repository, delivery: Delivery, verdict: _Verdict, avoid: Sequence[str]
) -> None:
    try:
        await services.store.write(lambda conn: _record(services, conn, repository, delivery, verdict, avoid))
    except Conflict as trouble:  # the pool has no network for another environment: that is this delivery's verdict
        refused = f"{verdict.text}, which is not possible: {trouble}"
        await services.store.write(lambda conn: deliveries.decide(conn, delivery.id, refused))


async def _consider(services: Services, repository: Repository, delivery: Delivery) -> _Verdict:
    body = delivery.body
    ref, commit = str(body.get("ref", "")), body.get("commit")
    if body.get("event") == "ping":
        return _Verdict("a ping: the hook works")
    if ref.startswith(_HEADS_TAG):
        return _tag(repository, ref.removeprefix(_HEADS_TAG), commit)
    branch = ref.removeprefix(_HEADS_BRANCH)
    try:
        heads = await _heads(services, repository)
    except (GitError, Invalid) as error:  # Invalid: its address is not allowed any more
        return _unreachable(repository, branch, commit, error)
    default = repository.default_branch or heads.default or branch
    head = heads.branches.get(branch)
    if head is None:
        return _Verdict(f"the branch {branch} is not in the repository any more: nothing to deploy", forget=branch)
    considered = (await services.store.read(lambda conn: repositories.considered(conn, repository.id))).get(branch)
    if head == considered and delivery.kind != "manual":
        return _Verdict(f"{head[:7]} on {branch} was considered before: nothing new")
    mapping = await _mapping(services, repository, branch, head) if branch == default else None
    fed = fed_environments(mapping or repository.mapping or {"production": Feed()}, branch, default)
    moved = f" ({branch} has moved on from {commit[:7]})" if commit and commit != head else ""
    text = (
        f"{head[:7]} on {branch}{moved}: deploys to {', '.join(fed)}"
        if fed
        else f"{head[:7]} on {branch}{moved}: the branch feeds no environment"
    )
    return _Verdict(text, fed, branch, head, mapping, None if repository.default_branch else default)


async def occupied(services: Services) -> list[str]:
    """Subnets that a new environment's network must keep clear of; none while the engine cannot say."""
    try:
        return await services.runtime.occupied()
    except RuntimeUnavailable:
        return []


async def _heads(services: Services, repository: Repository) -> Heads:
    """The remote's refs; asked a few times before it counts as unreachable."""
    access = await remotes.access(services, repository)
    for attempt in range(1, _UNREACHABLE_TRIES):
        try:
            return await services.git.heads(repository.id, access)
        except GitError:
            await asyncio.sleep(attempt)
    return await services.git.heads(repository.id, access)


def _unreachable(repository: Repository, branch: str, commit: Any, error: Exception) -> _Verdict:
    """The deployment tells it where people look: it fails at its fetch, with the reason."""
    fed = fed_environments(repository.mapping or {"production": Feed()}, branch, repository.default_branch or branch)
    return _Verdict(f"the repository could not be asked for {branch}: {error}", fed, branch, commit)


def _tag(repository: Repository, tag: str, commit: Any) -> _Verdict:
    """A tag is considered by itself; what it names is asked for when it is fetched."""
    fed = tuple(
        name for name, feed in repository.mapping.items() if feed.tag is not None and fnmatchcase(tag, feed.tag)
    )
    if not commit or set(commit) == {"0"}:
        return _Verdict(f"the tag {tag} was deleted: nothing to deploy")
    if not fed:
        return _Verdict(f"the tag {tag} feeds no environment")
    return _Verdict(f"{commit[:7]} tagged {tag}: deploys to {', '.join(fed)}", fed, f"{_HEADS_TAG}{tag}", commit)


def fed_environments(mapping: Mapping[str, Feed], branch: str, default: str) -> tuple[str, ...]:
    """The environments that a branch feeds; one without branch and tag is fed by the default branch."""
    return tuple(
        name
        for name, feed in mapping.items()
        if feed.branch == branch or (feed.branch is None and feed.tag is None and branch == default)
    )


async def _mapping(services: Services, repository: Repository, branch: str, head: str) -> Mapping[str, Feed] | None:
    """What the manifest on the default branch says; None where it cannot be read or is invalid: the old one stays."""
    try:
        await services.git.fetch(repository.id, await remotes.access(services, repository), head, branch)
        manifest = await source.manifest_at(services, repository, head)
    except (GitError, Invalid, NotARegularFile, FileTooLarge, TreeTooLarge):
        return None
    return manifest.environments()


def _record(
    services: Services,
    conn: Connection,
    repository: Repository,
    delivery: Delivery,
    verdict: _Verdict,
    avoid: Sequence[str],
) -> None:
    if not deliveries.decide(conn, delivery.id, verdict.text):
        return
    if verdict.forget:
        repositories.forget_branch(conn, repository.id, verdict.forget)
    if verdict.default_branch:
        repositories.set_default_branch(conn, repository.id, verdict.default_branch)
    if verdict.mapping is not None:
        repositories.set_mapping(conn, repository.id, verdict.mapping)
        _detach_others(conn, repository, verdict.mapping)
    if verdict.branch is None or verdict.commit is None:
        return
    if not verdict.branch.startswith(_HEADS_TAG):
        repositories.consider(conn, repository.id, verdict.branch, verdict.commit)
    _supersede_older(conn, repository, delivery, verdict)
    for name in verdict.environments:
        environment = projects.ensure_environment(conn, repository.project, name, services.settings.pool, avoid)
        stack = stacks.ensure(conn, environment.id, repository.id)
        stacks.set_held(conn, stack.id, False)
        deployments.enqueue(
            conn,
            deployments.Request(
                stack=stack.id,
                kind=Kind.POLL if delivery.kind == "poll" else Kind.PUSH,
                actor=str(delivery.body.get("pusher") or delivery.kind),
                commit=verdict.commit,
                branch=verdict.branch,
                delivery=delivery.id,
            ),
        )


def _supersede_older(conn: Connection, repository: Repository, delivery: Delivery, verdict: _Verdict) -> None:
    """Older pushes that nobody has decided yet, and that could only do what this one does, are decided by it."""
    for other in deliveries.received(conn):
        older = other.repository == delivery.repository and other.received_at <= delivery.received_at
        if older and other.body.get("event") != "ping" and _does_the_same(repository, other, delivery, verdict):
            deliveries.decide(conn, other.id, f"superseded by {(verdict.commit or '')[:7]} (delivery {delivery.id})")


def _does_the_same(repository: Repository, other: Delivery, delivery: Delivery, verdict: _Verdict) -> bool:
    """A push of the same branch or tag, or of another tag that feeds no more than this one: the newest tag counts."""
    ref, others_ref = (str(each.body.get("ref", "")) for each in (delivery, other))
    if ref == others_ref:
        return True
    if not ref.startswith(_HEADS_TAG) or not others_ref.startswith(_HEADS_TAG):
        return False
    fed = _tag(repository, others_ref.removeprefix(_HEADS_TAG), other.body.get("commit")).environments
    return bool(fed) and set(fed) <= set(verdict.environments)


def _detach_others(conn: Connection, repository: Repository, mapping: Mapping[str, Feed]) -> None:
    for stack in stacks.of_repository(conn, repository.id):
        name = projects.environment(conn, stack.environment).name
        if name not in mapping and not stack.detached:
            stacks.detach(conn, stack.id)
            text = f"the manifest no longer names {name}: what runs there keeps running, nothing feeds it"
            events.add(conn, "detached", text, environment=stack.environment, stack=stack.id)
