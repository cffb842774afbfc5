"""What no delivery told: remote branches, those of our own remote too, are compared with the last considered commit, at
start and every few minutes. Events only make it faster."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Coroutine
from functools import partial
from typing import Any

from godploy.core import feeding
from godploy.core.model import Repository
from godploy.core.naming import new_id
from godploy.deploy import intake, remotes
from godploy.deploy.hosting import asking, hooks
from godploy.deploy.services import Services
from godploy.drivers.git import Heads
from godploy.drivers.git_program import GitError
from godploy.errors import GodployError
from godploy.providers import told
from godploy.providers.protocol import PullRequestChange
from godploy.store import hosted_hooks, repositories

logger = logging.getLogger(__name__)

_PROVIDERS_EVERY = 3600.0  # seconds between looks at hooks and pull requests
_TOLD_WITHIN = 1.0  # seconds from a push to its delivery


async def run(services: Services) -> None:
    """The loop; one request per repository and round, at slightly different times. At start and once in a while more is
    asked of providers: what has become of the hooks that we made, and which pull requests are open."""
    await services.ready.wait()
    looked = -_PROVIDERS_EVERY
    while True:
        providers_too = time.monotonic() - looked >= _PROVIDERS_EVERY
        looked = time.monotonic() if providers_too else looked
        for repository in await services.store.read(repositories.every):
            await _attempt(repository, catch_up(services, repository))
            if repository.connection is None:
                continue
            if providers_too:
                await _attempt(repository, hooks.look_after(services, repository))
            if providers_too or not await services.store.read(partial(hosted_hooks.works, repository=repository.id)):
                await _attempt(repository, catch_up_pulls(services, repository))
        interval = services.settings.poll_interval
        await services.changes.wait("poller", interval * random.uniform(0.9, 1.1))
        await asyncio.sleep(0)


async def _attempt(repository: Repository, work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except (GitError, GodployError) as error:  # unreachable, not allowed any more, or a full disk: next round
        logger.info("polling %s: %s", repository.name, error)
    except Exception:  # a repository is foreign: whatever it does, the others are still looked at
        logger.exception("polling %s", repository.name)


async def catch_up(services: Services, repository: Repository) -> None:
    """Receives what the repository's branches have that was never considered. Raises GitError, or a GodployError."""
    heads = await remotes.heads(services, repository)
    if repository.url is None and await _missed(services, repository, heads):
        # The ref moves before the pusher's delivery is written down: it is to be theirs, who watch what comes of it.
        await asyncio.sleep(_TOLD_WITHIN)
    for branch, head in await _missed(services, repository, heads):
        body = {"event": "push", "ref": f"refs/heads/{branch}", "commit": head, "pusher": "catch-up"}
        await intake.receive(services, repository, "poll", f"poll:{head}:{new_id()}", body)


async def catch_up_pulls(services: Services, repository: Repository) -> None:
    """Receives the open pull requests whose head and base no delivery told of. Raises ProviderError."""
    found = await asking.ask_about(services, repository, lambda host, base, place: host.pull_requests(base, place))
    for pull in found:
        body = told.to_json(PullRequestChange("updated", pull))
        await intake.receive(services, repository, "poll", f"poll:{pull.number}:{pull.commit}:{pull.base}"[:400], body)


async def _missed(services: Services, repository: Repository, heads: Heads) -> list[tuple[str, str]]:
    """Branches that feed an environment, each with a head that was never considered."""
    considered = await services.store.read(lambda conn: repositories.considered(conn, repository.id))
    names = feeding.branches(repository.mapping, heads.branches, repository.default_branch or heads.default)
    found = [(name, heads.branches.get(name)) for name in names]
    return [(branch, head) for branch, head in found if head is not None and head != considered.get(branch)]
