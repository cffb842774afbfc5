"""A new version is on trial until it has proven that it works: then the way back is closed, and not before.

The installer puts a mark into the data directory before it starts another version. `serve` that finds it migrates and
recovers as ever, but accepts nothing and begins nothing: hooks, pushes and every change by the API are refused, and the
loops wait. So a database that is put back to what it was before the upgrade has lost nothing: what was pushed elsewhere
meanwhile catch-up finds. What recovery did the version before does or undoes again, from the same rows.

The first good answer of `/readyz` ends the trial. The mark is gone from the disk before that answer is given, which
makes its removal the one moment that decides: whoever finds the mark may go back, whoever does not may not.
"""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import suppress
from pathlib import Path

from godploy.errors import Unavailable

logger = logging.getLogger(__name__)

MARK = "trial"
PATIENCE = 300.0  # seconds
_AGAIN_AFTER = 5.0


class OnTrial(Unavailable):
    """The refusal of whatever would be lost on the way back."""

    code = "on_trial"

    def __init__(self) -> None:
        super().__init__(
            "a new version of Godploy is being tried: until it has proven that it works, nothing is accepted",
            next_step="try again in a minute",
        )


class Trial:
    """The gate that the API and the loops ask. Without a mark it is open. `proven` once this version has recovered."""

    def __init__(self, mark: Path | None = None) -> None:
        self._mark = mark
        self.proven = False
        self._over = asyncio.Event()
        if mark is None:
            self._over.set()

    @property
    def on(self) -> bool:
        return not self._over.is_set()

    async def over(self) -> None:
        """Until there is no trial, or no more."""
        await self._over.wait()

    async def passed(self) -> None:
        """Says that this version works, and waits until somebody has asked whether it does.

        If nobody does for some minutes, whoever began the trial is gone, and with them the way back: a server that
        refuses every push until someone notices would be no gain, so the trial ends by itself.
        """
        self.proven = True
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await self._over.wait()
        while self.on:
            try:
                await self.end()
            except Unavailable as error:
                logger.error("%s", error)
                await asyncio.sleep(_AGAIN_AFTER)

    async def end(self) -> bool:
        """Ends it for good if this version has proven itself; whether it is over.

        Raises Unavailable where the mark cannot be removed.
        """
        if self.on and self.proven and self._mark is not None:
            try:
                await asyncio.to_thread(_remove, self._mark)
            except OSError as error:
                raise Unavailable(f"the trial cannot end: {self._mark} stays ({error.strerror})") from error
            logger.info("the trial is over: this version stays")
            self._over.set()
        return not self.on


def begun(data: Path) -> bool:
    """Whether a version is on trial in a data directory. Blocking."""
    return (data / MARK).exists()


def found(data: Path) -> Trial:
    """The trial that a mark asks for, or none. Blocking; for the start."""
    return Trial(data / MARK if begun(data) else None)


def _remove(mark: Path) -> None:
    """Also after a power cut it is gone."""
    mark.unlink(missing_ok=True)
    folder = os.open(mark.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
