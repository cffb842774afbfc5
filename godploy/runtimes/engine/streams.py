"""What a workload says and uses: its logs, its figures, and the engine's events about it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from godploy.errors import Conflict, NotFound
from godploy.runtimes.engine import settings
from godploy.runtimes.engine.daemon import Daemon
from godploy.runtimes.engine.settings import Found
from godploy.runtimes.protocol import Ref, Stats

Line = tuple[float, int, str]  # (time, replica, text)

_LINE_LIMIT = 16 * 1024  # characters
_AT_ONCE = 4  # containers measured at the same time
_FIRST_GAP = 0.2  # seconds between the two looks that a first CPU figure needs
_HELD = 256  # lines that merged logs are ahead of their reader
_STAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(?:Z|[+-]\d\d:\d\d) ?")
_EVENTS = ("start", "die", "oom", "pause", "unpause", "destroy")


@dataclass(frozen=True, slots=True)
class _Sample:
    at: float
    cpu: float  # seconds of CPU since the container started


class Figures:
    """CPU, memory and network of containers; a CPU figure is the difference of two samples, so the last is kept."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._last: dict[str, _Sample] = {}
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def stats(self, refs: Sequence[Ref]) -> dict[str, Stats]:
        ours, wanted = await self._daemon.find({}), {ref.workload for ref in refs}
        running = [each for each in ours if each.running and each.ref.workload in wanted]
        measured = await asyncio.gather(*(self._measure(each.id) for each in running))
        totals: dict[str, Stats] = {}
        for each, figures in zip(running, measured, strict=True):
            if figures is not None:
                totals[each.ref.workload] = _sum(totals.get(each.ref.workload), figures)
        there = {each.id for each in ours}
        self._last = {container: sample for container, sample in self._last.items() if container in there}
        return totals

    async def _measure(self, container: str) -> Stats | None:
        async with self._slots:
            try:
                if container not in self._last:
                    self._last[container] = _sample(await self._look(container))
                    await asyncio.sleep(_FIRST_GAP)
                raw = await self._look(container)
            except NotFound:
                return None
        if not (raw.get("memory_stats") or {}).get("usage"):  # it ended meanwhile
            return None
        before, now = self._last[container], _sample(raw)
        self._last[container] = now
        elapsed = now.at - before.at
        return _figures(raw, cpu=max(0.0, now.cpu - before.cpu) / elapsed if elapsed > 0 else 0.0)

    async def _look(self, container: str) -> dict[str, Any]:
        return dict(await self._daemon.call(lambda api: api.stats(container, stream=False, one_shot=True)))


async def logs(daemon: Daemon, containers: Sequence[Found], live: bool, tail: int) -> AsyncGenerator[Line, None]:
    """The last `tail` lines of each container, merged by time; then, with `live`, what each says, as it comes."""
    begun = datetime.now(UTC).timestamp()
    past: list[tuple[str, Line]] = []
    latest: dict[str, str] = {}
    for found in containers:
        async with aclosing(_read(daemon, found.id, tail=tail)) as lines:
            async for stamp, text in lines:
                past.append((stamp, (_seconds(stamp), found.replica, text)))
                latest[found.id] = stamp
    for _, line in sorted(past, key=lambda held: held[0]):
        yield line
    if live:
        after = {found.id: latest.get(found.id) or _stamp(begun) for found in containers}
        async with aclosing(_merged(daemon, containers, after)) as lines_to_come:
            async for line in lines_to_come:
                yield line


async def follow(daemon: Daemon, container: str, after: str = "") -> AsyncGenerator[tuple[str, str], None]:
    """(stamp, text) of every line after the stamp `after`, until the container ends.

    The engine may end a followed log before its last lines [measured: a last line without a line end is often
    missing], so the rest is read once more when it has."""
    for live in (True, False):
        async with aclosing(_read(daemon, container, after=after, follow=live)) as lines:
            async for stamp, text in lines:
                after = stamp
                yield stamp, text


async def events(daemon: Daemon) -> AsyncGenerator[Ref, None]:
    wanted = {"type": ["container"], "label": [f"{settings.INSTANCE}={daemon.instance}"], "event": list(_EVENTS)}
    async with aclosing(daemon.stream(lambda api: api.events(decode=True, filters=wanted))) as stream:
        async for event in stream:
            yield settings.reference(event["Actor"]["Attributes"])


async def _merged(daemon: Daemon, containers: Sequence[Found], after: dict[str, str]) -> AsyncGenerator[Line, None]:
    queue: asyncio.Queue[Line | None] = asyncio.Queue(_HELD)

    async def pump(found: Found) -> None:
        try:
            async with aclosing(follow(daemon, found.id, after[found.id])) as lines:
                async for stamp, text in lines:
                    await queue.put((_seconds(stamp), found.replica, text))
        finally:
            if not asyncio.current_task().cancelling():  # type: ignore[union-attr]
                await queue.put(None)

    tasks = [asyncio.create_task(pump(found), name=f"log {found.id[:12]}") for found in containers]
    try:
        open_ = len(tasks)
        while open_:
            line = await queue.get()
            if line is None:
                open_ -= 1
            else:
                yield line
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _read(
    daemon: Daemon, container: str, *, tail: int | str = "all", after: str = "", follow: bool = False
) -> AsyncGenerator[tuple[str, str], None]:
    """Of the last `tail` entries those after the stamp `after`, which may be empty."""
    options: dict[str, Any] = {"stream": True, "timestamps": True, "follow": follow, "tail": tail}
    if after:
        options["since"] = int(_seconds(after))  # the SDK's precision; what is older is left out below
    async with aclosing(_lines(daemon.stream(lambda api: api.logs(container, **options)))) as lines:
        try:
            async for stamp, text in lines:
                if stamp > after:
                    yield stamp, text
        except (NotFound, Conflict):  # removed, or about to be
            return


async def _lines(chunks: AsyncGenerator[bytes, None]) -> AsyncGenerator[tuple[str, str], None]:
    """The engine hands out a log entry as a chunk, stamped; a line beyond 16 KiB comes as several, each stamped anew,
    of which only the last has a line end."""
    stamp, text = "", ""
    async with aclosing(chunks):
        async for chunk in chunks:
            entry = chunk.decode(errors="replace")
            found = _STAMP.match(entry)
            if found and not text:
                stamp = found[0].strip()
            text += entry[found.end() if found else 0 :].rstrip("\n")[: _LINE_LIMIT - len(text)]
            if entry.endswith("\n"):
                yield stamp, text
                text = ""
    if text:
        yield stamp, text


def _seconds(stamp: str) -> float:
    found = _STAMP.match(stamp)
    if found is None:
        return 0.0
    whole = datetime.fromisoformat(found[1]).replace(tzinfo=UTC).timestamp()
    return whole + float(found[2] or 0)


def _stamp(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "000Z"


def _sample(raw: dict[str, Any]) -> _Sample:
    return _Sample(_seconds(raw["read"]), raw["cpu_stats"]["cpu_usage"]["total_usage"] / 1e9)


def _figures(raw: dict[str, Any], cpu: float) -> Stats:
    memory = raw["memory_stats"]
    details = memory.get("stats") or {}
    cache = details.get("total_inactive_file", details.get("inactive_file", 0))  # cgroups v1, v2: given back on need
    networks = (raw.get("networks") or {}).values()
    return Stats(
        cpu=cpu,
        memory=max(0, memory["usage"] - cache),
        memory_limit=memory.get("limit", 0),
        received=sum(network["rx_bytes"] for network in networks),
        sent=sum(network["tx_bytes"] for network in networks),
        replicas=1,
    )


def _sum(total: Stats | None, more: Stats) -> Stats:
    if total is None:
        return more
    return Stats(
        cpu=total.cpu + more.cpu,
        memory=total.memory + more.memory,
        memory_limit=total.memory_limit + more.memory_limit,
        received=total.received + more.received,
        sent=total.sent + more.sent,
        replicas=total.replicas + more.replicas,
    )
