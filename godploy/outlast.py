"""Waiting for what must not be left half done, through any number of cancellations."""

from __future__ import annotations

import asyncio
from typing import Any


async def outlast(work: asyncio.Future[Any]) -> bool:
    """Returns when `work` is done, whatever became of it; whether the waiting task was cancelled meanwhile, which the
    caller has to raise again in its own time."""
    cancelled = False
    while not work.done():
        try:
            await asyncio.wait([work])
        except asyncio.CancelledError:
            cancelled = True
    return cancelled
