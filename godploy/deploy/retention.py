"""What is kept, and what goes: the last releases with their images and secret versions, deliveries and events for a
while. Only what carries our labels and what no kept release names is removed; volumes and networks never are."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from functools import partial

from godploy.core.model import Release
from godploy.core.sealing import secret_versions
from godploy.core.specification import Specification
from godploy.deploy.services import Services
from godploy.drivers.git_program import GitError
from godploy.errors import GodployError
from godploy.runtimes.protocol import RuntimeUnavailable
from godploy.store import (
    Connection,
    deliveries,
    deployments,
    events,
    outbox,
    projects,
    pull_requests,
    releases,
    secrets,
    stacks,
)

logger = logging.getLogger(__name__)

KEPT_RELEASES = 5
_DAY = 86_400.0
_DELIVERIES_KEPT = 30 * _DAY
_HISTORY_KEPT = 90 * _DAY  # deployments with their logs, and events
_EVERY = 3600.0


async def run(services: Services) -> None:
    """The loop: after every retired workload, and hourly."""
    await services.ready.wait()
    while True:
        try:
            await tidy(services)
        except (RuntimeUnavailable, GodployError) as error:
            logger.warning("retention: %s", error)
        await services.changes.wait("retention", _EVERY)


async def tidy(services: Services) -> None:
    """Forgets what is no longer kept, then removes the images that nothing needs."""
    gone = await services.store.write(_forget)
    for deployment in gone.deployments:
        await services.logbook.remove(deployment)
    for repository, commits in gone.commits.items():
        try:
            for commit in commits:
                await services.git.let_go(repository, commit)
            await services.git.tidy(repository)
        except (GitError, TimeoutError) as error:  # one that is hard to pack is that repository's trouble alone
            logger.warning("retention: the repository %s was not tidied: %s", repository, error)
    if await services.store.read(deployments.running):
        return  # a build may be about to use an image that nothing names yet
    for image in await services.runtime.images():
        if image not in await services.store.read(releases.images_in_use):
            await services.runtime.remove_image(image)
            await services.store.write(partial(releases.forget_image, image_id=image))


@dataclass(frozen=True, slots=True)
class _Gone:
    """What the database no longer has, and files still do."""

    deployments: list[str]
    commits: dict[str, set[str]]  # repository → commits that no kept release is made of


def _forget(conn: Connection) -> _Gone:
    now = time.time()
    commits: dict[str, set[str]] = {}
    for stack in stacks.every(conn):
        there = releases.of_stack(conn, stack.id)
        dropped = [old for old in there[KEPT_RELEASES:] if old.id != stack.current_release]
        for old in dropped:
            releases.drop(conn, old.id)
        if stack.repository:
            commits.setdefault(stack.repository, set()).update(old.commit for old in dropped if old.commit)
    for repository in commits:
        kept_stacks = stacks.of_repository(conn, repository)
        commits[repository] -= {kept.commit for stack in kept_stacks for kept in releases.of_stack(conn, stack.id)}
    releases.forget_workloads(conn)
    for environment in projects.every_environment(conn):
        kept = [
            release for s in stacks.of_environment(conn, environment.id) for release in releases.of_stack(conn, s.id)
        ]
        secrets.forget_versions(conn, environment.id, _named(conn, kept))
    ended = deployments.forget_older(conn, now - _HISTORY_KEPT)
    deliveries.forget_older(conn, now - _DELIVERIES_KEPT)
    outbox.forget_older(conn, now - _DELIVERIES_KEPT)
    pull_requests.forget_older(conn, now - _DELIVERIES_KEPT)
    events.forget_older(conn, now - _HISTORY_KEPT)
    return _Gone(ended, {repository: found for repository, found in commits.items() if found})


def _named(conn: Connection, kept: list[Release]) -> set[tuple[str, int]]:
    """The secret versions that kept releases need to run again."""
    named: set[tuple[str, int]] = set()
    for release in kept:
        named |= set(release.secrets_changed.items())
        for service in release.services:
            specification = Specification.from_json(releases.workload(conn, service.workload).specification)
            named |= set(secret_versions(specification).items())
    return named
