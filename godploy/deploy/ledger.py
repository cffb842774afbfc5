"""What Godploy knows of hosts and their certificates at this moment: rendering, status and the API read it."""

from __future__ import annotations

import time
from collections.abc import Iterable

from godploy.core.certificates import Attempt, Certificate, Standing, State, is_public
from godploy.core.routing import Encryption, Route
from godploy.settings import Settings


class Ledger:
    """Only the loop of `deploy.certificates` writes it. Where certificates are not `wanted` every host is off."""

    def __init__(self, wanted: bool = False) -> None:
        self._wanted = wanted
        self.valid: dict[str, Certificate] = {}
        self.attempts: dict[str, Attempt] = {}

    def wants(self, host: str, tls: str = "auto") -> bool:
        """Whether a host is one to get a certificate for."""
        return self._wanted and tls == "auto" and is_public(host)

    def has(self, host: str, tls: str = "auto") -> bool:
        """Whether a route of the host answers on HTTPS with a certificate that browsers trust."""
        found = self.valid.get(host)
        return self.wants(host, tls) and found is not None and found.expires > time.time()

    def encryption(self, hosts: Iterable[str], settings: Settings) -> Encryption:
        """As the routers of these hosts are to be. One that has a certificate stays with its resolver; without, it is
        named only while it is asked for."""
        named = set(hosts)
        certified = frozenset(host for host in named if self.has(host))
        asked = frozenset(host for host in named if self.wants(host) and self._asked(host))
        return Encryption(certified | asked, certified, settings.https_port, settings.http_port)

    def _asked(self, host: str) -> bool:
        return host in self.attempts and self.attempts[host].asked_at is not None

    def standing(self, host: str, tls: str = "auto") -> Standing:
        if not self.wants(host, tls):
            return Standing(host, State.OFF)
        attempt, found = self.attempts.get(host, Attempt()), self.valid.get(host)
        if found is not None and self.has(host):
            late = "it was not renewed in time" if found.overdue_at <= time.time() else None
            return Standing(host, State.VALID, found.expires, found.issuer, late)
        if self._asked(host):
            return Standing(host, State.ASKED, error=attempt.error)
        return Standing(host, State.WAITING, error=attempt.error, next_at=attempt.next_at or None)

    def standings(self, routes: Iterable[Route]) -> list[Standing]:
        """One for each host of the routes, by its name; a host is off only where all its routes are."""
        wishes: dict[str, str] = {}
        for route in routes:
            for host in route.hosts:
                wishes[host] = "auto" if "auto" in (route.tls, wishes.get(host)) else "off"
        return [self.standing(host, tls) for host, tls in sorted(wishes.items())]


def remark(found: Standing) -> str | None:
    """For the end of a deployment's log: what is with a host's certificate; None where there is nothing to say."""
    if found.state in (State.VALID, State.OFF):
        return None
    if found.state is State.WAITING and found.error:
        return f"{found.host}: no certificate yet ({found.error}); until there is one, plain HTTP answers"
    return f"{found.host}: its certificate is being asked for; until it is there, plain HTTP answers"
