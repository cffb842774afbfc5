"""Accept, then decide: what a delivery leads to, told in a sentence, in one transaction.

A delivery is committed before its sender is answered. The loop here takes received ones, one per repository at a time,
the newest push of a branch first, and begins with what an earlier process left.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from godploy.core import feeding
from godploy.core.model import Delivery, Feed, Kind, Repository
from godploy.deploy import considering
from godploy.deploy.considering import HEADS, TAGS, Verdict
from godploy.deploy.services import Services
from godploy.deploy.supervise import Lanes
from godploy.errors import Conflict, Unavailable
from godploy.runtimes.protocol import RuntimeUnavailable
from godploy.store import (
    Connection,
    deliveries,
    deployments,
    events,
    hosted_hooks,
    projects,
    repositories,
    stacks,
)

logger = logging.getLogger(__name__)

_LOOK_EVERY = 5.0  # seconds, should a hint be lost
_AFTER_TROUBLE = 2.0  # seconds until a decision that could not be written is made again


async def receive(
    services: Services, repository: Repository, kind: str, key: str, body: Mapping[str, Any]
) -> tuple[Delivery, bool]:
    """(the delivery, whether it is new), committed. A repeated key gives the first answer back."""
    received = await services.store.write(lambda conn: deliveries.receive(conn, repository.id, kind, key, body))
    services.changes.ring("intake")
    return received


async def receive_hook(
    services: Services,
    repository: Repository,
    key: str,
    bodies: Sequence[Mapping[str, Any]],
    headers: Mapping[str, str],
) -> tuple[Delivery, bool]:
    """The same for what a hook's sender told, which may be several things at once: each is decided by itself, and the
    first stands for all."""

    def write(conn: Connection) -> tuple[Delivery, bool]:
        hosted_hooks.hear(conn, repository.id)
        first, *_ = [
            deliveries.receive(conn, repository.id, "hook", _numbered(key, number), body, headers)
            for number, body in enumerate(bodies, 1)
        ]
        return first

    received = await services.store.write(write)
    services.changes.ring("intake")
    services.changes.ring("hook", repository.id)
    return received


def _numbered(key: str, number: int) -> str:
    return key if number == 1 else f"{key}/{number}"


async def run(services: Services) -> None:
    """The loop: decides what was received, several repositories side by side."""
    lanes = Lanes(lambda: services.changes.ring("intake"))
    try:
        while True:
            for delivery in await services.store.read(partial(deliveries.next_of_each, besides=lanes.names())):
                if delivery.repository not in lanes:
                    lanes.start(delivery.repository, _decide(services, delivery))
            await services.changes.wait("intake", _LOOK_EVERY)
            lanes.clear_ended()
    finally:
        await lanes.stop()


async def _decide(services: Services, delivery: Delivery) -> None:
    repository = await services.store.read(lambda conn: repositories.get(conn, delivery.repository))
    try:
        verdict = await considering.consider(services, repository, delivery)
    except asyncio.CancelledError:
        raise
    except Exception as error:  # a delivery that cannot be decided must not stop the others for ever
        logger.exception("delivery %s", delivery.id)
        verdict = Verdict(f"not understood because of an error in Godploy: {error}")
    avoid = await occupied(services) if verdict.environments else []
    try:
        await _write_down(services, repository, delivery, verdict, avoid)
    except Unavailable as trouble:  # a full disk, say: it stays received, and is taken up again
        logger.warning("delivery %s stays undecided: %s", delivery.id, trouble)
        await asyncio.sleep(_AFTER_TROUBLE)
        return
    services.changes.ring("worker")
    services.changes.ring("outbox")
    services.changes.ring("delivery", delivery.id)


async def _write_down(
    services: Services, repository: Repository, delivery: Delivery, verdict: Verdict, avoid: Sequence[str]
) -> None:
    try:
        await services.store.write(lambda conn: _record(services, conn, repository, delivery, verdict, avoid))
    except Conflict as trouble:  # the pool has no network for another environment: that is this delivery's verdict
        refused = f"{verdict.text}, which is not possible: {trouble}"
        await services.store.write(lambda conn: deliveries.decide(conn, delivery.id, refused))


async def occupied(services: Services) -> list[str]:
    """Subnets that a new environment's network must keep clear of; none while the engine cannot say."""
    try:
        return await services.runtime.occupied()
    except RuntimeUnavailable:
        return []


def _record(
    services: Services,
    conn: Connection,
    repository: Repository,
    delivery: Delivery,
    verdict: Verdict,
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
    if delivery.body.get("event") == "push":
        _supersede_older(conn, repository, delivery, verdict)
    if verdict.branch is None or verdict.commit is None:
        return
    repositories.consider(conn, repository.id, verdict.branch, verdict.commit)
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


def _supersede_older(conn: Connection, repository: Repository, delivery: Delivery, verdict: Verdict) -> None:
    """Older pushes that nobody has decided yet, and that could only do what this one does, are decided by it: of the
    same branch, whose head is looked at whichever is decided; of the same tag, or of another that feeds no more than
    this one, since the newest tag counts."""
    ref, deploys = str(delivery.body.get("ref", "")), bool(verdict.environments)
    by = f"(delivery {delivery.id})"
    text = f"superseded by {verdict.commit[:7]} {by}" if verdict.commit else f"{verdict.text} {by}"
    if verdict.commit or ref.startswith(HEADS):
        deliveries.supersede(conn, delivery, ref, text, replays=deploys)
    if not deploys or not ref.startswith(TAGS):
        return
    for other in deliveries.received(conn, repository.id, delivery.received_at):
        tag = str(other.body.get("ref", ""))
        fed = feeding.by_tag(repository.mapping, tag.removeprefix(TAGS)) if tag.startswith(TAGS) else ()
        if other.body.get("commit") and fed and set(fed) <= set(verdict.environments):
            deliveries.decide(conn, other.id, text)


def _detach_others(conn: Connection, repository: Repository, mapping: Mapping[str, Feed]) -> None:
    for stack in stacks.of_repository(conn, repository.id):
        name = projects.environment(conn, stack.environment).name
        if name not in mapping and not stack.detached:
            stacks.detach(conn, stack.id)
            text = f"the manifest no longer names {name}: what runs there keeps running, nothing feeds it"
            events.add(conn, "detached", text, environment=stack.environment, stack=stack.id)
