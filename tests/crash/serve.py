"""`godploy serve`, made to end like a process that is killed, at a point that a test names. The product has no hook for
it: what it does to the world is wrapped from outside.

The file `crash` in the data directory holds a point, such as `after promote`, `within transaction of switch` or `during
build`, and perhaps which time it is to happen: `after promote #2`. It is removed as the process ends, so that the next
one goes on.
"""

from __future__ import annotations

import functools
import os
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from godploy.cli.main import main
from godploy.drivers.traefik import Routes
from godploy.runtimes.engine import Engine
from godploy.runtimes.engine.daemon import Daemon
from godploy.store import Store

_KILLED = 137
_EFFECTS: tuple[tuple[type, tuple[str, ...]], ...] = (
    (Engine, ("build", "start", "promote", "demote", "stop", "remove", "resume")),
    (Daemon, ("create",)),
    (Routes, ("write", "wait_loaded")),
)

_plan = Path(sys.argv[sys.argv.index("--data") + 1]) / "crash"
_seen: Counter[str] = Counter()


def reached(point: str) -> None:
    """Ends the process where this is the point."""
    try:
        wanted, _, which = _plan.read_text().partition(" #")
    except FileNotFoundError:
        _seen.clear()
        return
    _seen[point] += 1
    if point == wanted and _seen[point] == int(which or 1):
        _plan.unlink()
        os._exit(_KILLED)


def watched(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    @functools.wraps(function)
    async def call(*arguments: Any, **more: Any) -> Any:
        reached(f"before {name}")
        result = await function(*arguments, **more)
        reached(f"after {name}")
        return result

    return call


def watched_store(write: Callable[..., Any]) -> Callable[..., Any]:
    """A transaction is called by the function that made it; `within` is before it commits."""

    @functools.wraps(write)
    async def call(store: Store, work: Callable[..., Any]) -> Any:
        code = getattr(work, "func", work)
        name = f"transaction of {code.__qualname__.partition('.')[0]}"

        def crashing(connection: Any) -> Any:
            result = work(connection)
            reached(f"within {name}")
            return result

        result = await write(store, crashing)
        reached(f"after {name}")
        return result

    return call


def watched_build(build: Callable[..., Any]) -> Callable[..., Any]:
    """`during build` is when the builder has begun to speak."""

    @functools.wraps(build)
    async def call(engine: Engine, commands: Any, tag: str, timeout: float, log: Callable[[str], None]) -> Any:
        def spoken(line: str) -> None:
            reached("during build")
            log(line)

        return await build(engine, commands, tag, timeout, spoken)

    return call


for owner, names in _EFFECTS:
    for name in names:
        label = "routes" if owner is Routes and name == "write" else name
        setattr(owner, name, watched(getattr(owner, name), label))
Engine.build = watched_build(Engine.build)  # type: ignore[method-assign]
Store.write = watched_store(Store.write)  # type: ignore[method-assign]

sys.exit(main(["serve", *sys.argv[1:]]))
