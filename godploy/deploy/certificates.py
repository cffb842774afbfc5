"""Certificates: who gets asked for, when, and what came of it. Traefik does the asking; see `core.certificates`.

Routes follow: while a host is asked for, its routers name the resolver; once it has its certificate, plain HTTP
redirects; when the certificate is gone, it does not. A deployment waits for none of this.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from godploy.core.certificates import PATIENCE, Attempt, Certificate, astray, complaints
from godploy.core.model import Stack
from godploy.core.routing import Route
from godploy.deploy import rendering
from godploy.deploy.ledger import Ledger
from godploy.deploy.services import Services
from godploy.drivers import acme
from godploy.drivers.acme import Folder
from godploy.errors import GodployError
from godploy.runtimes.protocol import RuntimeUnavailable
from godploy.store import Connection, events, releases, stacks

logger = logging.getLogger(__name__)

_EVERY = 5.0  # seconds between two looks
_WHILE_ASKING = 0.5
_LOOKUP_EVERY = 60.0  # seconds between two looks at DNS for a host that leads elsewhere


def load(ledger: Ledger, folder: Folder) -> None:
    """What an earlier process knew, before routes are rendered. Blocking; for the start."""
    ledger.attempts = folder.attempts()
    ledger.valid = folder.certificates() or {}


def wanted(ledger: Ledger, conn: Connection) -> dict[str, list[Stack]]:
    """Every host of what is live that is to have a certificate, and the stacks that it leads to."""
    found: dict[str, list[Stack]] = {}
    for stack in stacks.every(conn):
        release = releases.current(conn, stack)
        routes = [Route.from_json(route) for route in (release.routes if release else ())]
        hosts = {host for route in routes for host in route.hosts if ledger.wants(host, route.tls)}
        for host in sorted(hosts):
            found.setdefault(host, []).append(stack)
    return found


@dataclass(frozen=True, slots=True)
class Traefik:
    """What the loop needs of Traefik: its last log lines, and Godploy's own route written anew."""

    log: Callable[[], Awaitable[Sequence[str]]]
    write_own: Callable[[], Awaitable[None]]


@dataclass(slots=True)
class Certificates:
    """`server` holds the machine's own addresses."""

    services: Services
    folder: Folder
    traefik: Traefik
    server: Sequence[str]
    _stamp: tuple[int, int] = (-1, -1)
    _stale: set[str] = field(default_factory=set)  # stacks whose route file is to be written anew
    _own_stale: bool = False
    _looked_at: dict[str, float] = field(default_factory=dict)  # host → when DNS was last asked
    _overdue: set[str] = field(default_factory=set)  # hosts of which it was told
    _astray: dict[str, str] = field(default_factory=dict)  # host → what is wrong with where it leads

    async def run(self) -> None:
        """The loop."""
        await self.services.ready.wait()
        while True:
            try:
                await self.look()
            except (RuntimeUnavailable, GodployError, OSError) as error:
                logger.warning("certificates: %s", error)
            busy = self._stale or any(attempt.asked_at is not None for attempt in self._ledger.attempts.values())
            await self.services.changes.wait("certificates", _WHILE_ASKING if busy else _EVERY)

    @property
    def _ledger(self) -> Ledger:
        return self.services.certificates

    async def look(self) -> None:
        """One look at everything, and what follows from it."""
        hosts = await self._hosts()
        before = dict(self._ledger.attempts)
        await self._read_store(hosts)
        await self._read_log(hosts)
        await self._ask(hosts)
        attempts = {host: attempt for host, attempt in self._ledger.attempts.items() if host in hosts}
        self._ledger.attempts = attempts
        if attempts != before:
            await asyncio.to_thread(self.folder.keep, attempts)
        await self._write_routes()

    async def _hosts(self) -> dict[str, list[Stack]]:
        """Every host that is to have a certificate, and the stacks that it leads to; none for Godploy's own."""
        hosts = await self.services.store.read(partial(wanted, self._ledger))
        own = self.services.settings.host
        return {own: [], **hosts} if self._ledger.wants(own) else hosts

    async def _read_store(self, hosts: Mapping[str, list[Stack]]) -> None:
        """What Traefik has got, renewed or lost."""
        stamp = await asyncio.to_thread(self.folder.stamp)
        if stamp != self._stamp:
            found = await asyncio.to_thread(self.folder.certificates)
            if found is None:
                return  # it is being written
            self._stamp = stamp
            found = {host: each for host, each in found.items() if each.expires > time.time()}
            before, self._ledger.valid = self._ledger.valid, found
            for host in hosts.keys() & found.keys():
                if before.get(host) != found[host] or host in self._ledger.attempts:
                    await self._has_come(host, hosts[host], found[host], renewed=host in before)
            for host in hosts.keys() & (before.keys() - found.keys()):
                await self._is_gone(host, hosts[host], "is not in Traefik's store any more")
        now = time.time()
        for host in [host for host, found in self._ledger.valid.items() if found.expires <= now]:
            del self._ledger.valid[host]
            if host in hosts:
                await self._is_gone(host, hosts[host], "has expired")
        for host in hosts.keys() & self._ledger.valid.keys() - self._overdue:
            if self._ledger.valid[host].overdue_at <= now:
                self._overdue.add(host)
                await self._is_late(host, hosts[host], self._ledger.valid[host])

    async def _has_come(self, host: str, of: Sequence[Stack], found: Certificate, *, renewed: bool) -> None:
        self._ledger.attempts.pop(host, None)
        self._astray.pop(host, None)
        self._overdue.discard(host)
        until = time.strftime("%Y-%m-%d", time.gmtime(found.expires))
        what = "has been renewed" if renewed else "is there"
        await self._tell(host, of, f"the certificate of {host} {what}: from {found.issuer}, valid until {until}")

    async def _is_gone(self, host: str, of: Sequence[Stack], why: str) -> None:
        await self._tell(host, of, f"the certificate of {host} {why}: plain HTTP answers again")

    async def _is_late(self, host: str, of: Sequence[Stack], found: Certificate) -> None:
        """Traefik does not say so by itself: a renewal that the authority does not answer leaves no line in its log."""
        until = time.strftime("%Y-%m-%d", time.gmtime(found.expires))
        await self._tell(host, of, f"the certificate of {host} was not renewed in time: it expires on {until}")

    async def _read_log(self, hosts: Mapping[str, list[Stack]]) -> None:
        """What Traefik could not get."""
        now, attempts = time.time(), self._ledger.attempts
        asked = {host: attempt.asked_at for host, attempt in attempts.items() if attempt.asked_at is not None}
        if not asked:
            return
        for complaint in complaints(await self.traefik.log()):
            begun = asked.get(complaint.host)
            if begun is not None and complaint.at >= int(begun) and complaint.host in hosts:
                del asked[complaint.host]
                await self._failed(complaint.host, hosts[complaint.host], complaint.reason)
        for host, begun in asked.items():
            if now - begun > PATIENCE and host in hosts:
                await self._failed(host, hosts[host], f"no certificate came within {PATIENCE / 60:.0f} minutes")

    async def _failed(self, host: str, of: Sequence[Stack], reason: str) -> None:
        reason = "; ".join(filter(None, (self._astray.get(host), reason)))
        attempt = self._ledger.attempts[host].failed(time.time(), reason)
        self._ledger.attempts[host] = attempt
        again = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(attempt.next_at))
        await self._tell(host, of, f"no certificate for {host}: {reason}; it is tried again at {again}")

    async def _ask(self, hosts: Mapping[str, list[Stack]]) -> None:
        """Begins with each host that is due, or that leads here since DNS was changed."""
        now = time.time()
        due = [host for host in hosts if self._is_due(host, now)]
        for host, leads_to in zip(due, await asyncio.gather(*map(acme.addresses, due)), strict=True):
            self._looked_at[host] = now
            was_astray = host in self._astray
            await self._is_astray(host, hosts[host], astray(host, leads_to, self.server))
            attempt = self._ledger.attempts.get(host, Attempt())
            came_right = was_astray and host not in self._astray
            if leads_to and (attempt.next_at <= now or came_right):
                self._ledger.attempts[host] = attempt.begun(now)
                self._touch(host, hosts[host])

    def _is_due(self, host: str, now: float) -> bool:
        attempt = self._ledger.attempts.get(host, Attempt())
        if self._ledger.has(host) or attempt.asked_at is not None:
            return False
        wanted = attempt.next_at <= now or host in self._astray
        return wanted and now - self._looked_at.get(host, 0.0) >= _LOOKUP_EVERY

    async def _is_astray(self, host: str, of: Sequence[Stack], what: str | None) -> None:
        if what is None:
            self._astray.pop(host, None)
        elif self._astray.get(host) != what:
            self._astray[host] = what
            self._ledger.attempts[host] = replace(self._ledger.attempts.get(host, Attempt()), error=what)
            await self._tell(host, of, what)

    async def _tell(self, host: str, of: Sequence[Stack], message: str) -> None:
        """An event of every environment that the host is of, and routes to match."""

        def write(conn: Connection) -> None:
            for stack in of:
                events.add(
                    conn, "certificate", message, environment=stack.environment, stack=stack.id, fields={"host": host}
                )

        logger.info("%s", message)
        if of:
            await self.services.store.write(write)
        self._touch(host, of)

    def _touch(self, host: str, of: Sequence[Stack]) -> None:
        self._stale.update(stack.id for stack in of)
        self._own_stale |= host == self.services.settings.host

    async def _write_routes(self) -> None:
        """A stack that is busy has its turn at the next look."""
        if self._own_stale:
            await self.traefik.write_own()
            self._own_stale = False
        for stack in list(self._stale):
            lock = self.services.locks.stack(stack)
            if not lock.locked():
                async with lock:
                    found = await self.services.store.read(partial(stacks.get, stack_id=stack))
                    await rendering.restore(self.services, found)
                self._stale.discard(stack)
                self.services.changes.ring("stack", stack)
