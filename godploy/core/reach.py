"""What containers, builds and the engine were seen to reach of this machine, and what the doctor says of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from godploy.core.doctor import Level, Line
from godploy.core.packets import METADATA, State

_SUBJECT = "packet rules"


@dataclass(frozen=True, slots=True)
class Reach:
    """What a knock reached: a port of this machine, from a container on the engine's own bridge and from the engine
    itself, and the metadata address from that container. None: it was not tried, as `untried` says."""

    host: bool | None = None
    metadata: bool | None = None
    engine: bool | None = None
    untried: str = ""


def judge(reach: Reach, state: State | None, data: str) -> Iterator[Line]:
    """`state` is None where only root could have told it; `data` is the data directory."""
    put = f"as root: godploy packet-rules put --data {data}"
    if state is State.NONE:
        yield Line(Level.BAD, _SUBJECT, "there are none", put)
    elif state is State.OUTDATED:
        yield Line(Level.WARN, _SUBJECT, "settings or the engine have changed since they were put in force", put)
    elif state is State.IN_FORCE:
        yield Line(Level.OK, _SUBJECT, "in force")
    if reach.untried:
        yield Line(
            Level.WARN, _SUBJECT, f"whether they act was not tried: {reach.untried}", "start the server, then again"
        )
    tried = {
        "a port of this machine, from a container": (reach.host, Level.BAD),
        f"the metadata at {METADATA}, from a container": (reach.metadata, Level.BAD),
        "a port of this machine, by what the engine fetches for a build": (reach.engine, Level.WARN),
    }
    for what, (reached, level) in tried.items():
        if reached:
            yield Line(level, _SUBJECT, f"within reach: {what}", put)
        elif reached is False:
            yield Line(Level.OK, _SUBJECT, f"out of reach: {what}")
