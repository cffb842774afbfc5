"""Step 10: states of deployments, and what plans of pull requests say, are told where people look, with back-off.

Whoever is told can be down or wrong without changing any deployment: a message ends sent, overtaken by a newer one of
the same subject, or visibly given up.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Sequence

from godploy.core import remote, signing
from godploy.core.model import Repository
from godploy.deploy.hosting import statuses
from godploy.deploy.job import hook_context
from godploy.deploy.services import Services
from godploy.deploy.supervise import Lanes
from godploy.drivers import http
from godploy.errors import GodployError
from godploy.providers.protocol import ProviderError, Trouble
from godploy.store import Connection, deployments, events, outbox, repositories, stacks
from godploy.store.outbox import Message

logger = logging.getLogger(__name__)

_LOOK_EVERY = 30.0  # seconds, should a hint be lost
_FIRST_WAIT, _LONGEST_WAIT = 5.0, 1800.0
_ATTEMPTS = 14  # about three hours in all
_NEVER = {Trouble.INVALID: 3, Trouble.FORBIDDEN: 5, Trouble.MISSING: 5}  # attempts at what seldom mends itself
_TIMEOUT = 10.0
_AFTER_TROUBLE = 5.0  # seconds until a repository is told again after what could not be written down


async def run(services: Services) -> None:
    """The loop: one repository's messages in their order, those of several side by side, so that an address that hangs
    delays its own repository's alone."""
    lanes = Lanes(lambda: services.changes.ring("outbox"))
    try:
        while True:
            await services.changes.wait("outbox", await _look(services, lanes))
            lanes.clear_ended()
    finally:
        await lanes.stop()


async def _look(services: Services, lanes: Lanes) -> float:
    """Begins to send what is due; seconds until something is to be sent that nobody rings for."""
    now = time.time()
    try:
        due = await services.store.read(lambda conn: outbox.due(conn, now))
        following = await services.store.read(lambda conn: outbox.next_due(conn, now))
    except GodployError as error:
        logger.warning("outbox: %s", error)
        return _LOOK_EVERY
    for repository in dict.fromkeys(message.repository for message in due):
        if repository not in lanes:
            lanes.start(repository, _send_all(services, [each for each in due if each.repository == repository]))
    return _LOOK_EVERY if following is None else min(following - now, _LOOK_EVERY)


async def _send_all(services: Services, messages: Sequence[Message]) -> None:
    try:
        for message in messages:
            await _send(services, message)
    except GodployError as error:  # the disk is full, say
        logger.warning("outbox: %s", error)
        await asyncio.sleep(_AFTER_TROUBLE)  # what it has told, but could not write down, is not told again at once


async def _send(services: Services, message: Message) -> None:
    if not await services.store.read(lambda conn: outbox.waits(conn, message)):
        return
    repository = await services.store.read(lambda conn: repositories.get(conn, message.repository))
    wait: float | None = None
    most = _ATTEMPTS
    try:
        if message.kind == "notice":
            await _notify(services, repository, message)
        else:
            await statuses.send(services, repository, message)
    except ProviderError as error:
        trouble, wait, most = error.message, error.wait, _NEVER.get(error.trouble, _ATTEMPTS)
    except (http.Unreachable, GodployError) as error:
        trouble = str(error)
    else:
        await services.store.write(lambda conn: outbox.sent(conn, message))
        return
    attempts = message.attempts + 1
    pause = max(min(_FIRST_WAIT * 2 ** (attempts - 1), _LONGEST_WAIT), wait or 0.0)
    due_at = None if attempts >= most else time.time() + pause
    await services.store.write(lambda conn: _note(conn, repository, message, trouble, due_at))


def _note(conn: Connection, repository: Repository, message: Message, trouble: str, due_at: float | None) -> None:
    outbox.failed(conn, message, trouble, due_at)
    if due_at is not None:
        return
    where = repository.status_url if message.kind == "notice" else f"commit {message.body['commit'][:7]}"
    text = f"the status {message.body['state']} could not be told to {where}: {trouble}"
    if message.deployment is None:
        events.add(conn, "outbox", f"{message.body['context']}: {text}", project=repository.project)
        return
    stack = stacks.get(conn, deployments.get(conn, message.deployment).stack)
    events.add(conn, "outbox", text, stack=stack.id, environment=stack.environment, deployment=message.deployment)


async def _notify(services: Services, repository: Repository, message: Message) -> None:
    """Posts it to the status address, signed as hooks are. Raises http.Unreachable, or a GodployError."""
    sealed = await services.store.read(lambda conn: repositories.hook_secrets(conn, message.repository))
    if not sealed or repository.status_url is None:
        raise GodployError("the repository has no hook secret to sign with")
    secret = services.keyring.unseal(sealed[-1], hook_context(message.repository))
    body = {**message.body, "url": f"{services.settings.url}/deployments/{message.deployment}"}
    raw, now = json.dumps(body).encode(), str(int(time.time()))
    headers = {
        "Content-Type": "application/json",
        signing.DELIVERY: f"status-{message.id}",
        signing.TIMESTAMP: now,
        signing.SIGNATURE: signing.sign(secret, now, raw),
    }
    target = remote.parse(repository.status_url, services.settings.private_bases)
    status = await http.post(target, raw, headers, _TIMEOUT)
    if not 200 <= status < 300:
        raise GodployError(f"it answered {status}")
