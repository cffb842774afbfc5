"""Puts the packet rules in force, takes them away, and looks at what they are made from: the engine's process, what it
was told, and the control group in which it alone runs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from godploy.core import packets
from godploy.core.command import Command
from godploy.core.packets import Ground, Group
from godploy.drivers import process
from godploy.errors import GodployError, Unavailable

_OWN_GROUP = "godploy-engine"  # for an engine that no service manager has given a group of its own
_RESOLVERS = (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf"))
_GROUPS = Path("/sys/fs/cgroup")  # below which nft looks for the paths of groups
_PATIENCE = 20.0  # seconds for nft


class Refused(GodployError):
    """nft would not do it; the message is its own."""

    code = "refused"


@dataclass(frozen=True, slots=True)
class Engine:
    """What the rules take from the engine. `open_because` says why its own packets cannot be told from others'."""

    bridge: str
    resolvers: tuple[str, ...]
    groups: tuple[Group, ...]
    open_because: str = ""


async def put(ground: Ground) -> None:
    """Raises Unavailable where there is no nft, Refused where it refuses."""
    await _nft("-f", "-", text=packets.put(ground))


async def remove(instance: str) -> None:
    """Removing what is not there is no error. The engine goes back to where it ran when nobody else's rules need it."""
    if await listing(instance) is not None:
        await _nft("delete", "table", *packets.table(instance).split())
    tables = await _nft("list", "tables", "inet")
    if "table inet godploy-" not in tables:
        await asyncio.to_thread(_release_engine)


async def listing(instance: str) -> str | None:
    """The rules in force, as nft words them; None: there are none. Raises Refused for everybody but root."""
    names = [line.removeprefix("table ") for line in (await _nft("list", "tables", "inet")).splitlines()]
    name = packets.table(instance)
    return await _nft("list", "table", *name.split()) if name in names else None


def claim_engine() -> str:
    """Gives an engine that runs in the root of the control groups one of its own, so that its packets can be told from
    those of everybody else there. Says why where that fails; blocking."""
    root = _root()
    if root is None:
        return ""
    try:
        for pid in _engines():
            if _group_of(pid) == "/":
                (root / _OWN_GROUP).mkdir(exist_ok=True)
                (root / _OWN_GROUP / "cgroup.procs").write_text(str(pid))
    except OSError as error:
        return f"the engine cannot be given a control group of its own: {error.strerror}"
    return ""


def engine() -> Engine:
    """As it is now; changes nothing. Blocking."""
    pids = list(_engines())
    told = packets.flags(_words(pids[0])) if pids else {}
    config = _config(Path(told.get("config-file", [packets.CONFIG_FILE])[0]))
    files = [path.read_text(errors="replace") for path in _RESOLVERS if path.is_file()]
    groups, because = _groups(pids)
    return Engine(packets.bridge(told, config), packets.resolvers(told, config, files), groups, because)


def _groups(pids: list[int]) -> tuple[tuple[Group, ...], str]:
    root = _root()
    if root is None:
        return (), "control groups of version 2 are not mounted on this machine"
    if not pids:
        return (), "no dockerd runs in this network"
    found: set[Group] = set()
    for pid in pids:
        path = _group_of(pid).strip("/")
        if not (path == _OWN_GROUP or path.endswith(".service")):
            return (), f"the engine shares its control group /{path} with other programs"
        number = (root / path).stat().st_ino
        found.add(Group(str((root / path).relative_to(_GROUPS)), path.count("/") + 1, number))
    return tuple(sorted(found, key=lambda group: group.path)), ""


def _release_engine() -> None:
    root = _root()
    if root is None or not (root / _OWN_GROUP).is_dir():
        return
    for pid in _engines():  # one of another network may be in there, for rules that are put there
        with suppress(OSError):  # it has ended
            if _group_of(pid) == f"/{_OWN_GROUP}":
                (root / "cgroup.procs").write_text(str(pid))
    with suppress(OSError):  # somebody else is in there
        (root / _OWN_GROUP).rmdir()


def _root() -> Path | None:
    """Where the hierarchy of version 2 is mounted: alone, or beside those of version 1."""
    return next((path for path in (_GROUPS, _GROUPS / "unified") if (path / "cgroup.controllers").is_file()), None)


def _engines() -> Iterator[int]:
    """The engines of this network; one inside a container has another. A program of anybody but root's may call itself
    by that name."""
    here = Path("/proc/self/ns/net").readlink()
    for folder in Path("/proc").iterdir():
        with suppress(OSError):  # no process, one that has ended, or somebody else's
            named = (folder / "comm").read_text() == "dockerd\n" and (folder / "ns/net").readlink() == here
            if named and _is_roots((folder / "status").read_text()):
                yield int(folder.name)


def _is_roots(status: str) -> bool:
    """Whether all the user ids in a process's status are root's: https://man7.org/linux/man-pages/man5/proc_pid_status.5.html"""
    found = [line.split()[1:] for line in status.splitlines() if line.startswith("Uid:")]
    return bool(found) and set(found[0]) == {"0"}


def _group_of(pid: int) -> str:
    with suppress(OSError):  # it has ended
        for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
            if line.startswith("0::"):
                return line[3:]
    return ""


def _words(pid: int) -> list[str]:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")
    return []


def _config(path: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        config = json.loads(path.read_text())
        return config if isinstance(config, dict) else {}
    return {}


async def _nft(*words: str, text: str = "") -> str:
    try:
        result = await process.run(Command(("nft", *words), stdin=text.encode()), timeout=_PATIENCE)
    except process.Missing as error:
        raise Unavailable(str(error), next_step="apt-get install nftables") from error
    except TimeoutError as error:
        raise Refused(f"nft does not end within {_PATIENCE:.0f} s") from error
    if result.code != 0:
        raise Refused(f"nft refuses: {result.complaint}")
    return result.stdout.decode(errors="replace")
