"""Background loops: each has an owner, a name and an end; one that dies unexpectedly ends the process.

The service manager then starts Godploy again, which recovers. A loop that limps on with half its state would be worse.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from godploy.errors import GodployError
from godploy.outlast import outlast

T = TypeVar("T")

logger = logging.getLogger(__name__)


class Supervisor:
    """Owns the loops. `died` is set when one of them ended by itself, and `reason` says which and why."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[Any]] = {}
        self.died = asyncio.Event()
        self.reason = ""

    def start(self, name: str, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks[name] = task
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        if task.cancelled():
            return
        error = task.exception()
        if isinstance(error, GodployError):  # somebody can mend that, and needs no traceback for it
            self.reason = f"{error.message}; next: {error.next_step}" if error.next_step else error.message
            logger.critical(self.reason)
        else:
            self.reason = f"the loop {task.get_name()} ended: {error!r}"
            logger.critical(self.reason, exc_info=error)
        self.died.set()

    async def stop(self) -> None:
        """Cancels every loop, the last started first, and waits for its end."""
        for name in reversed(list(self._tasks)):
            task = self._tasks.pop(name)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


class Lanes:
    """Work side by side, one piece at a time for each key: what hangs for one key holds up no other."""

    def __init__(self, ended: Callable[[], None]) -> None:
        """`ended` is called when a piece of work has ended, whatever became of it."""
        self._busy: dict[str, asyncio.Task[None]] = {}
        self._ended = ended

    def __contains__(self, key: str) -> bool:
        return key in self._busy

    def names(self) -> frozenset[str]:
        return frozenset(self._busy)

    def start(self, key: str, work: Coroutine[Any, Any, None]) -> None:
        self._busy[key] = asyncio.create_task(work, name=key)
        self._busy[key].add_done_callback(lambda _: self._ended())

    def clear_ended(self) -> None:
        """Frees the keys whose work has ended. Raises what a piece of work raised."""
        for key, task in list(self._busy.items()):
            if task.done():
                del self._busy[key]
                task.result()

    async def stop(self) -> None:
        for task in self._busy.values():
            task.cancel()
        await asyncio.gather(*self._busy.values(), return_exceptions=True)


async def to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """Awaits `work` to its end also when the caller is cancelled meanwhile; the cancellation goes on afterwards."""
    task = asyncio.ensure_future(work)
    if await outlast(task):
        raise asyncio.CancelledError
    return task.result()
