"""What `godploy doctor` makes of names, clock and certificates: what the rest of the world sees of this server."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from godploy.core.certificates import Standing, State, astray
from godploy.core.doctor import Level, Line

_CLOCK_OFF, _CLOCK_WRONG = 60, 300  # seconds; from the latter on signed hooks are refused
_SEE_TRAEFIK = "see whether this server reaches the authority, and what Traefik's log says"
_LET_THEM_IN = "the host must lead here, and be reached from outside on port 80 (tls-alpn-01: 443)"


@dataclass(frozen=True, slots=True)
class Named:
    """A public name, with `*` for all that begins with one word more, and where DNS sends it."""

    name: str
    leads_to: Sequence[str]


@dataclass(frozen=True, slots=True)
class Outside:
    """What was seen. `server` holds the machine's own addresses; `clock` is by how many seconds the machine is ahead of
    the certificate authority, None where that was not to be had: `clock_error` says why.

    `asks`: certificates are asked for; `public`: Godploy's own host could have one. `certificates` is None where the
    database does not tell which hosts there are.
    """

    names: Sequence[Named]
    server: Sequence[str]
    clock: float | None
    clock_error: str
    asks: bool
    public: bool
    certificates: Sequence[Standing] | None


def judge(seen: Outside) -> list[Line]:
    return [
        *(_name(each, seen.server) for each in seen.names),
        _clock(seen),
        *_certificates(seen),
    ]


def _name(named: Named, server: Sequence[str]) -> Line:
    wrong = astray(named.name, named.leads_to, server)
    if not named.leads_to:
        advice = f"make an A or AAAA record for {named.name} with this server's public address"
        return Line(Level.BAD, "DNS", str(wrong), advice)
    if wrong is not None:
        advice = (
            f"correct the record of {named.name}, unless a proxy of yours stands there and passes on to this server"
        )
        return Line(Level.WARN, "DNS", wrong, advice)
    leads = f"{named.name} leads to {', '.join(named.leads_to)}"
    if set(named.leads_to) & set(server):
        return Line(Level.OK, "DNS", f"{leads}, which is this server")
    return Line(
        Level.OK, "DNS", f"{leads}; this server, which has no public address of its own, cannot tell whose it is"
    )


def _clock(seen: Outside) -> Line:
    if seen.clock is None:
        return Line(Level.OK, "clock", f"not checked: {seen.clock_error}")
    off = abs(seen.clock)
    where = "ahead of" if seen.clock > 0 else "behind"
    text = f"{off:.0f} s {where} that of the certificate authority"
    if off < _CLOCK_OFF:
        return Line(Level.OK, "clock", "agrees with that of the certificate authority")
    level = Level.WARN if off < _CLOCK_WRONG else Level.BAD
    return Line(level, "clock", text, "let it be set by the network: timedatectl set-ntp true, or install chrony")


def _certificates(seen: Outside) -> Iterator[Line]:
    if not seen.asks:
        if seen.public:
            advice = "run install/install.sh again with --email, or set acme_email"
            yield Line(Level.WARN, "certificates", "none is asked for, since there is no e-mail address", advice)
        else:
            yield Line(Level.OK, "certificates", "none is asked for: Godploy's own host has no public name")
    elif seen.certificates is None:
        yield Line(Level.WARN, "certificates", "which hosts there are stands in the database", "see database above")
    elif not seen.certificates:
        yield Line(Level.OK, "certificates", "there is no host yet that could have one")
    for standing in seen.certificates or ():
        yield _certificate(standing)


def _certificate(standing: Standing) -> Line:
    subject = f"certificate of {standing.host}"
    if standing.state is State.VALID and standing.expires is not None:
        text = f"valid until {_day(standing.expires)}, from {standing.issuer}"
        if standing.error is None:
            return Line(Level.OK, subject, text)
        return Line(Level.WARN, subject, f"{text}; {standing.error}", _SEE_TRAEFIK)
    if standing.error is None:
        asked = standing.state is State.ASKED
        return Line(Level.OK, subject, "it is being asked for" if asked else "none yet: the server asks for it soon")
    again = (
        f"; it is tried again at {_minute(standing.next_at)}" if standing.next_at else "; it is being asked for again"
    )
    return Line(Level.WARN, subject, f"there is none: {standing.error}{again}", _LET_THEM_IN)


def _day(at: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(at))


def _minute(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at))
