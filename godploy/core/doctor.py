"""What `godploy doctor` makes of what it saw: facts in, lines in words out, each that is not well with what to do.

Version floors are warnings: distributions back-port fixes without changing the number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

_DISK_WARN, _DISK_BAD = 0.8, 0.9
_MEMORY_LOW = 0.05
_OLDEST_API = (1, 41)
# The versions that brought the last security fix that matters here: the newest branch last, older ones first.
_FLOORS: Mapping[str, tuple[tuple[int, ...], ...]] = {
    "engine API": ((1, 44),),
    "runc": ((1, 2, 8), (1, 3, 3)),
    "Traefik": ((3, 6, 19), (3, 7, 3)),
    "git": ((2, 43, 7), (2, 44, 4), (2, 45, 4), (2, 46, 4), (2, 47, 3), (2, 48, 2), (2, 49, 1), (2, 50, 1)),
    "aiohttp": ((3, 13, 4),),
}


class Level(StrEnum):
    OK = "ok"
    WARN = "warn"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that was looked at; `advice` is empty where all is well."""

    level: Level
    subject: str
    text: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """What was seen. Text that is None could not be had; `engine` and `builder` then say why in `…_error`.

    `ports` maps each of Traefik's to whether something answers there, `disks` a folder to the used share of its disk,
    `modes` a path of ours to its permission bits; `memory` is the share that is available. `trial`: an upgrade has not
    come to its end.
    """

    versions: Mapping[str, str | None]
    ports: Mapping[int, bool]
    disks: Mapping[str, float]
    modes: Mapping[str, int]
    engine_error: str = ""
    builder: str = ""
    builder_error: str = ""
    cgroups: str = ""
    traefik: str | None = None
    memory: float | None = None
    schema: int | None = None
    newest_schema: int = 0
    trial: bool = False


def judge(facts: Facts) -> list[Line]:
    return [
        *_engine(facts),
        *_traefik(facts),
        *(_floor(name, facts.versions.get(name)) for name in ("git", "aiohttp")),
        *(_disk(folder, used) for folder, used in facts.disks.items()),
        *_memory(facts),
        *(_mode(path, mode) for path, mode in facts.modes.items()),
        _database(facts),
        *_trial(facts),
    ]


def _engine(facts: Facts) -> Iterator[Line]:
    api = facts.versions.get("engine API")
    if facts.engine_error or api is None:
        yield Line(Level.BAD, "engine", facts.engine_error or "it does not answer", "systemctl start docker")
        return
    if _numbers(api) < _OLDEST_API:
        yield Line(Level.BAD, "engine", f"its API is {api}, 1.41 is the oldest that works", "install a newer Docker")
    else:
        yield _floor("engine API", api)
    if facts.versions.get("runc"):  # not every engine tells
        yield _floor("runc", facts.versions["runc"])
    if facts.builder:
        yield Line(Level.OK, "BuildKit", f"{facts.builder} builds with it")
    else:
        yield Line(Level.BAD, "BuildKit", facts.builder_error, "install the plugin docker-buildx of your Docker")
    if facts.cgroups == "2":
        yield Line(Level.OK, "cgroups", "version 2")
    else:
        yield Line(Level.WARN, "cgroups", f"version {facts.cgroups or 'unknown'}", "start the kernel with version 2")


def _traefik(facts: Facts) -> Iterator[Line]:
    running = facts.traefik == "running"
    if running:
        yield Line(Level.OK, "Traefik", "its container runs")
        yield _floor("Traefik", facts.versions.get("Traefik"))
    elif not facts.engine_error:
        what = "there is no container of it" if facts.traefik is None else f"its container is {facts.traefik}"
        yield Line(Level.BAD, "Traefik", what, "start the server: it makes and starts it; its log says what hinders")
    for port, answers in facts.ports.items():
        if answers and (running or facts.engine_error):
            yield Line(Level.OK, f"port {port}", "something answers")
        elif answers:
            what = "another program has it, so that Traefik cannot"
            yield Line(Level.BAD, f"port {port}", what, f"end it, or choose another port: ss -ltnp 'sport = :{port}'")
        else:
            yield Line(Level.BAD, f"port {port}", "nothing answers", "see Traefik above, and the log of the server")


def _floor(name: str, found: str | None) -> Line:
    if found is None:
        return Line(Level.BAD, name, "its version could not be had", f"see whether {name} is installed and runs")
    floors, at = _FLOORS[name], _numbers(found)
    if at < next((floor for floor in floors if floor[:2] == at[:2]), floors[-1]):
        wanted = ".".join(map(str, next(floor for floor in floors if floor > at)))
        advice = "upgrade it, unless your distribution back-ports fixes"
        return Line(Level.WARN, name, f"{found} is older than {wanted}", advice)
    return Line(Level.OK, name, found)


def _disk(folder: str, used: float) -> Line:
    text, advice = f"{used:.0%} of the disk of {folder} is used", "docker builder prune; then look for what grows"
    level = Level.BAD if used >= _DISK_BAD else Level.WARN if used >= _DISK_WARN else Level.OK
    return Line(level, "disk", text, "" if level is Level.OK else advice)


def _memory(facts: Facts) -> Iterator[Line]:
    if facts.memory is not None:
        low = facts.memory < _MEMORY_LOW
        text = f"{facts.memory:.0%} is available"
        yield Line(Level.WARN if low else Level.OK, "memory", text, "limit or stop a service" if low else "")


def _mode(path: str, mode: int) -> Line:
    if mode & 0o077:
        if mode & 0o100:  # a folder; what is in it is private by itself
            return Line(Level.WARN, "permissions", f"others may look into {path}", f"chmod 700 {path}")
        return Line(Level.BAD, "permissions", f"others may read {path}", f"chmod 600 {path}")
    return Line(Level.OK, "permissions", f"{path} is private")


def _database(facts: Facts) -> Line:
    at, newest = facts.schema, facts.newest_schema
    if at is None:
        return Line(Level.BAD, "database", "there is none", "start the server once: it makes it")
    if at > newest:
        return Line(Level.BAD, "database", f"at schema {at}, known is {newest}", "install the newer Godploy again")
    if at < newest:
        return Line(Level.WARN, "database", f"at schema {at} of {newest}", "restart the server: it migrates")
    return Line(Level.OK, "database", f"at schema {at}, the newest")


def _trial(facts: Facts) -> Iterator[Line]:
    if facts.trial:
        what = "a new version is on trial: hooks, pushes and changes are refused"
        yield Line(Level.WARN, "upgrade", what, "run install/install.sh again, unless it is running now")


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text)[:3])
