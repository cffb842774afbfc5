"""The one way to a deployment's log: masked, cleaned, bounded, on disk, and live for whoever follows.

Writing a line only puts it aside; one thread brings what has gathered to disk, so neither a slow disk nor a talkative
build holds the event loop. Followers are woken and read the file themselves: a slow one costs no memory.
"""

from __future__ import annotations

import asyncio
import logging
import re
import shutil
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from godploy.drivers.logfile import Line, LogFile, LogReader
from godploy.drivers.logtext import fit
from godploy.redact import Redactor

__all__ = ["Line", "Log", "Logbook"]

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_PENDING_LINES = 20_000

logger = logging.getLogger(__name__)


class Logbook:
    """The logs below a folder, each in a folder named by its deployment's id. Use it from the event loop's thread."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._writers: dict[str, _Writer] = {}
        self._followers: dict[str, set[asyncio.Future[bool]]] = {}
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="logbook")

    def open(self, deployment: str, redactor: Redactor) -> Log:
        """The log to write to, at the end of what is there; one more while one is open writes to the same."""
        folder = self._folder(deployment)
        writer = self._writers.get(deployment)
        if writer is None:
            writer = self._writers[deployment] = _Writer(self, deployment, LogFile(folder), self._thread)
        writer.users += 1
        return Log(writer, redactor)

    async def read(self, deployment: str, after: int = 0, limit: int = 10_000) -> list[Line]:
        """The lines that follow line number `after`, as they are now."""
        reader = LogReader(self._folder(deployment), after)
        return await asyncio.to_thread(reader.read, limit)

    async def follow(self, deployment: str, after: int = 0) -> AsyncIterator[Line]:
        """The lines that follow line number `after`, then those to come, up to the verdict. A log that does not exist
        yet is waited for; one that is removed ends."""
        reader = LogReader(self._folder(deployment), after)
        while True:
            news = self._listen(deployment)
            try:
                lines = await asyncio.to_thread(reader.read)
                for line in lines:
                    yield line
                    if line.end:
                        return
                if not lines and not await news:
                    return
            finally:
                self._unlisten(deployment, news)

    async def remove(self, deployment: str) -> None:
        """Deletes the log of a deployment that is over; fine where there is none."""
        folder = self._folder(deployment)
        await asyncio.get_running_loop().run_in_executor(
            self._thread, lambda: shutil.rmtree(folder, ignore_errors=True)
        )
        self.tell(deployment, there=False)

    async def close(self) -> None:
        """Brings everything to disk; logs without a verdict stay open-ended, to be gone on with after a restart."""
        for writer in tuple(self._writers.values()):
            await writer.settle()
        self._writers.clear()
        await asyncio.to_thread(self._thread.shutdown)

    def forget(self, deployment: str) -> None:
        self._writers.pop(deployment, None)

    def tell(self, deployment: str, there: bool = True) -> None:
        """Wakes who follows."""
        for future in self._followers.get(deployment, ()):
            if not future.done():
                future.set_result(there)

    def _listen(self, deployment: str) -> asyncio.Future[bool]:
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._followers.setdefault(deployment, set()).add(future)
        return future

    def _unlisten(self, deployment: str, future: asyncio.Future[bool]) -> None:
        followers = self._followers[deployment]
        followers.discard(future)
        if not followers:
            del self._followers[deployment]

    def _folder(self, deployment: str) -> Path:
        if not _ID.fullmatch(deployment):
            raise ValueError(f"not the id of a deployment: {deployment!r}")
        return self._root / deployment


class Log:
    """Where a deployment writes; what it writes passes through its redactor, to which secrets may still be added."""

    def __init__(self, writer: _Writer, redactor: Redactor) -> None:
        self._writer = writer
        self._redactor = redactor

    def write(self, text: str, stage: str | None = None) -> None:
        """One line, or several. Returns at once."""
        at = round(time.time(), 3)
        for line in fit(text, self._redactor):
            self._writer.add(Line(0, at, stage, line))

    async def close(self, verdict: str | None) -> None:
        """Ends the log with its last line, on disk when this returns. Without a verdict the log stays open-ended: the
        deployment goes on later."""
        if verdict is not None:
            last = " ".join(fit(verdict, self._redactor))
            self._writer.add(Line(0, round(time.time(), 3), None, last, end=True))
        await self._writer.finish()


class _Writer:
    """What waits to be written to one log, and the task that brings it to disk."""

    def __init__(self, book: Logbook, deployment: str, file: LogFile, thread: ThreadPoolExecutor) -> None:
        self._book = book
        self._deployment = deployment
        self._file = file
        self._thread = thread
        self.users = 0
        self._pending: list[Line] = []
        self._lost = 0
        self._task: asyncio.Task[None] | None = None

    def add(self, line: Line) -> None:
        if len(self._pending) >= _PENDING_LINES and not line.end:
            self._lost += 1
            return
        if self._lost and len(self._pending) < _PENDING_LINES:
            self._pending.append(Line(0, line.at, line.stage, f"… {self._lost} lines could not be written …"))
            self._lost = 0
        self._pending.append(line)
        if self._task is None:
            self._task = asyncio.create_task(self._drain(), name=f"log {self._deployment}")

    async def settle(self) -> None:
        """Returns when everything is on disk, or lost."""
        while self._task is not None:
            await asyncio.shield(self._task)

    async def finish(self) -> None:
        await self.settle()
        self.users -= 1
        if self.users == 0:
            self._book.forget(self._deployment)

    async def _drain(self) -> None:
        try:
            while self._pending:
                lines, self._pending = self._pending, []
                await self._write(lines)
                self._book.tell(self._deployment)
        finally:
            self._task = None

    async def _write(self, lines: list[Line]) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._thread, self._file.append, lines, lines[-1].end)
        except OSError as error:  # a full disk must not end a deployment
            self._lost += len(lines)
            logger.warning("the log of deployment %s could not be written: %s", self._deployment, error)
