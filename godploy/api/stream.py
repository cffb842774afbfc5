"""Server-sent events: one way to send them, which notices when anybody has gone.

A handler of aiohttp is not told that its client has left, so something is written every 15 seconds; and a server that
stops waits for its handlers, so a stream ends by itself as soon as that begins. The source is pulled at the reader's
pace, and a reader who takes nothing for a minute is cut off.
https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from typing import Any

from aiohttp import web

from godploy.api.call import Call
from godploy.errors import GodployError

logger = logging.getLogger(__name__)

Event = tuple[str, Mapping[str, Any]]

HEARTBEAT = 15.0
_EARLY = 2.0  # seconds in which an error is still an ordinary answer, with its status
_SLOWEST = 60.0


async def events(call: Call, source: AsyncGenerator[Event, None]) -> web.StreamResponse:
    """Answers with what the source yields, until it ends, the client has gone or the server stops.

    An error at once is raised; a later one becomes `event: error`, since the answer has begun.
    """
    stopping = asyncio.create_task(call.services.stopping.wait(), name="stream: stopping")
    upcoming = _next(source)
    try:
        await asyncio.wait({upcoming, stopping}, timeout=_EARLY, return_when=asyncio.FIRST_COMPLETED)
        if upcoming.done():
            upcoming.result()
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"})
        await response.prepare(call.request)
        with suppress(ConnectionError, TimeoutError):
            while True:
                await asyncio.wait({upcoming, stopping}, timeout=HEARTBEAT, return_when=asyncio.FIRST_COMPLETED)
                if upcoming.done():
                    event = _event(upcoming)
                    if event is None:
                        break
                    await _write(response, _encoded(*event))
                    upcoming = _next(source)
                elif stopping.done():
                    break
                else:
                    await _write(response, b":\n\n")
            await response.write_eof()
        return response
    finally:
        for task in (upcoming, stopping):
            task.cancel()
        await asyncio.gather(upcoming, stopping, return_exceptions=True)
        await source.aclose()


def _next(source: AsyncGenerator[Event, None]) -> asyncio.Task[Event | None]:
    async def pull() -> Event | None:
        return await anext(source, None)

    return asyncio.create_task(pull(), name="stream: next event")


def _event(done: asyncio.Task[Event | None]) -> Event | None:
    try:
        return done.result()
    except GodployError as error:
        return "error", error.to_json()
    except Exception:
        logger.exception("a stream broke")
        return "error", GodployError("something went wrong in Godploy itself", code="internal").to_json()


async def _write(response: web.StreamResponse, data: bytes) -> None:
    async with asyncio.timeout(_SLOWEST):
        await response.write(data)


def _encoded(kind: str, data: Mapping[str, Any]) -> bytes:
    return f"event: {kind}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode(errors="replace")
