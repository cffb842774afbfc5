"""Certificates of an ACME server, decided here, got by Traefik. Pure.

Traefik asks the server (RFC 8555) for whatever router names its resolver, and asks again each time that any route
changes. So a router names it only while Godploy wants that: a certificate authority counts failures by host and by
hour (https://letsencrypt.org/docs/rate-limits/), and one wrong host must not be asked for at every deployment.

What Traefik has stands in its store, `acme.json`; why it has not, in its log. Both forms are those of Traefik 3.7.15.
"""

from __future__ import annotations

import base64
import ipaddress
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

RESOLVER = "acme"

# Names that no authority on the internet vouches for: RFC 6761, RFC 2606, RFC 6762, RFC 8375, RFC 7686 and ICANN's
# `internal`. Those of sslip.io and nip.io belong to everybody, who would use up one domain's limit together.
_NOT_PUBLIC = (
    "localhost", "test", "example", "invalid", "local", "internal", "lan", "home.arpa", "onion", "sslip.io", "nip.io",
)  # fmt: skip

PATIENCE = 300.0  # seconds after which a certificate that has not come counts as not coming
# Seconds to wait after the first, second, … failure: four attempts in the first hour, where five would be too many.
_PAUSES = (120.0, 600.0, 1800.0, 3600.0, 7200.0, 14400.0)

_TIME = r"(?P<at>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)"
_QUOTED = r'"(?P<reason>(?:[^"\\]|\\.)*)"'
_REFUSED = re.compile(
    rf"{_TIME} ERR Unable to obtain ACME certificate for domains error={_QUOTED}.* domains=\[(?P<hosts>[^\]]*)\]"
)
_ADDED = re.compile(r"^(?:unable to generate a certificate for the domains \[[^\]]*\]:|cannot get ACME client) ")
_PROBLEM = re.compile(r"one or more domains had a problem: \[[^:\]]+: (.*)\]$", re.DOTALL)
_RETRY_AFTER = re.compile(r"retry after (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC")
_REASON_LIMIT = 500


@dataclass(frozen=True, slots=True)
class Certificate:
    """One that Traefik has for a host; times in seconds since 1970."""

    host: str
    begins: float
    expires: float
    issuer: str

    @property
    def overdue_at(self) -> float:
        """From when on its renewal is late: a sixth of its life before its end, where Traefik renews with a third of
        it left, and looks every day."""
        return self.expires - (self.expires - self.begins) / 6


@dataclass(frozen=True, slots=True)
class Complaint:
    """Why Traefik got no certificate for a host, and when it said so (to the second)."""

    at: float
    host: str
    reason: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """How asking for a host's certificate goes. `asked_at` is None while nobody asks; `failures` are in a row."""

    failures: int = 0
    asked_at: float | None = None
    next_at: float = 0.0
    error: str | None = None

    def begun(self, now: float) -> Attempt:
        return replace(self, asked_at=now)

    def failed(self, now: float, reason: str) -> Attempt:
        """The next one waits longer each time, and as long as the authority says."""
        pause = _PAUSES[min(self.failures, len(_PAUSES) - 1)]
        return Attempt(self.failures + 1, None, max(now + pause, _retry_after(reason)), reason)

    def to_json(self) -> dict[str, Any]:
        return {"failures": self.failures, "asked_at": self.asked_at, "next_at": self.next_at, "error": self.error}


class State(StrEnum):
    """Of a host: VALID has a certificate, ASKED gets one now, WAITING is asked for again later, OFF never is."""

    VALID = "valid"
    ASKED = "asked"
    WAITING = "waiting"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Standing:
    """A host as people ask for it; times in seconds since 1970."""

    host: str
    state: State
    expires: float | None = None
    issuer: str | None = None
    error: str | None = None
    next_at: float | None = None


def is_public(host: str) -> bool:
    """Whether an authority may vouch for the host: a name with a dot, no address, and under no private suffix."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return "." in host and not any(host == suffix or host.endswith(f".{suffix}") for suffix in _NOT_PUBLIC)
    return False


def stored(text: str) -> dict[str, Certificate] | None:
    """The certificates in Traefik's store, by host; None where it is half written, as a reader may find it."""
    if not text.strip():
        return {}
    try:
        found = json.loads(text)[RESOLVER]["Certificates"] or ()
        read = [_certificate(entry) for entry in found]
    except (ValueError, KeyError, TypeError):
        return None
    return {certificate.host: certificate for certificate in read}


def _certificate(entry: Mapping[str, Any]) -> Certificate:
    from cryptography import x509  # 2 MB that only a server with certificates needs
    from cryptography.x509.oid import NameOID

    leaf = x509.load_pem_x509_certificate(base64.b64decode(entry["certificate"]))
    names = [*leaf.issuer.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
    names += leaf.issuer.get_attributes_for_oid(NameOID.COMMON_NAME)
    return Certificate(
        str(entry["domain"]["main"]),
        leaf.not_valid_before_utc.timestamp(),
        leaf.not_valid_after_utc.timestamp(),
        " ".join(str(name.value) for name in names),
    )


def complaints(lines: Iterable[str]) -> Iterator[Complaint]:
    """What Traefik's log says of certificates that it could not get."""
    for line in lines:
        found = _REFUSED.search(line)
        if found is None:
            continue
        at = datetime.strptime(found["at"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()
        for host in re.findall(r'"([^"]+)"', found["hosts"]):
            yield Complaint(at, host, _reason(found["reason"]))


def _reason(quoted: str) -> str:
    """The authority's own words, without those that each caller put in front of them."""
    text = re.sub(r"\\(.)", r"\1", quoted)
    problem = _PROBLEM.search(text)
    words = problem[1] if problem else _ADDED.sub("", text, count=1)
    return " ".join(words.split())[:_REASON_LIMIT]


def _retry_after(reason: str) -> float:
    found = _RETRY_AFTER.search(reason)
    if found is None:
        return 0.0
    return datetime.strptime(found[1], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC).timestamp()


def astray(host: str, leads_to: Iterable[str], server: Iterable[str]) -> str | None:
    """What is wrong with where DNS sends a host, in words; None where it is right, or where nobody can tell, since a
    server behind another's address knows only private ones of its own."""
    found, own = list(leads_to), [ipaddress.ip_address(address) for address in server]
    public = [str(address) for address in own if address.is_global]
    if not found:
        return f"{host} leads nowhere: DNS has no address for it{f'; this server is {public[0]}' if public else ''}"
    if not public or any(_is_here(address, own) for address in found):
        return None
    return f"{host} leads to {', '.join(found)}, this server is {public[0]}"


def _is_here(address: str, own: Iterable[ipaddress.IPv4Address | ipaddress.IPv6Address]) -> bool:
    parsed = ipaddress.ip_address(address)
    return parsed.is_loopback or parsed in own
