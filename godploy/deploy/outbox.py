"""Step 10: states of deployments are told to the status address of their repository, signed, with back-off.

Whoever is told can be down or wrong without changing any deployment: a message ends sent, overtaken by a newer state of
the same deployment, or visibly given up.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Sequence

from godploy.core import remote, signing
from godploy.deploy.job import hook_context
from godploy.deploy.services import Services
from godploy.deploy.supervise import Lanes
from godploy.drivers import http
from godploy.errors import GodployError
from godploy.store import Connection, deployments, events, outbox, repositories, stacks
from godploy.store.outbox import Message

logger = logging.getLogger(__name__)

_LOOK_EVERY = 30.0  # seconds, should a hint be lost
_FIRST_WAIT, _LONGEST_WAIT = 5.0, 1800.0
_ATTEMPTS = 14  # about three hours in all
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
    trouble = await _trouble(services, message)
    if not trouble:
        await services.store.write(lambda conn: outbox.sent(conn, message))
        return
    attempts = message.attempts + 1
    wait = min(_FIRST_WAIT * 2 ** (attempts - 1), _LONGEST_WAIT)
    due_at = None if attempts >= _ATTEMPTS else time.time() + wait

    def note(conn: Connection) -> None:
        outbox.failed(conn, message, trouble, due_at)
        if due_at is None:
            stack = stacks.get(conn, deployments.get(conn, message.deployment).stack)
            text = f"the status {message.body['state']} could not be told to {message.status_url}: {trouble}"
            events.add(
                conn, "outbox", text, stack=stack.id, environment=stack.environment, deployment=message.deployment
            )

    await services.store.write(note)


async def _trouble(services: Services, message: Message) -> str:
    """Sends it; what went wrong, or ""."""
    sealed = await services.store.read(lambda conn: repositories.hook_secrets(conn, message.repository))
    if not sealed:
        return "the repository has no hook secret to sign with"
    secret = services.keyring.unseal(sealed[-1], hook_context(message.repository))
    body = {**message.body, "url": f"{services.settings.url}/deployments/{message.deployment}"}
    raw, now = json.dumps(body).encode(), str(int(time.time()))
    headers = {
        "Content-Type": "application/json",
        signing.DELIVERY: f"status-{message.id}",
        signing.TIMESTAMP: now,
        signing.SIGNATURE: signing.sign(secret, now, raw),
    }
    try:
        target = remote.parse(message.status_url, services.settings.private_bases)
        status = await http.post(target, raw, headers, _TIMEOUT)
    except (http.Unreachable, GodployError) as error:
        return str(error)
    return "" if 200 <= status < 300 else f"it answered {status}"
