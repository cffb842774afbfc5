"""What open pull requests would do changes with what is deployed: their plans follow."""

from __future__ import annotations

import logging

from godploy.core.model import State
from godploy.deploy import pulls
from godploy.deploy.services import Services
from godploy.errors import GodployError
from godploy.store import Connection, deployments, pull_requests, repositories, stacks

logger = logging.getLogger(__name__)

_LOOK_EVERY = 3600.0  # seconds; nothing is lost by a missed hint but that a plan is of an hour ago


async def run(services: Services) -> None:
    """The loop: one repository after the other, behind everything else."""
    await services.ready.wait()
    with services.changes.subscribe() as hints:
        while True:
            hint = await hints.next(_LOOK_EVERY)
            if hint is None or hint[0] != "deployment":
                continue
            try:
                await _follow(services, hint[1])
            except GodployError as error:
                logger.info("plans of pull requests: %s", error)
            except Exception:  # what stands in a repository is foreign
                logger.exception("plans of pull requests")


async def _follow(services: Services, deployment: str) -> None:
    def concerned(conn: Connection) -> str | None:
        found = deployments.get(conn, deployment)
        of = stacks.get(conn, found.stack).repository if found.state is State.SUCCEEDED else None
        return of if of is not None and pull_requests.open_of(conn, of) else None

    repository = await services.store.read(concerned)
    if repository is not None:
        await pulls.plan_again(services, await services.store.read(lambda conn: repositories.get(conn, repository)))
