"""Server-sent events: they tell that they live, end with the server, and hold nothing for whoever has gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable

import aiohttp
import pytest
from aiohttp import web

from godploy.api import stream
from godploy.api.call import Call
from godploy.errors import Conflict
from tests.api.conftest import Site

Source = AsyncGenerator[stream.Event, None]


@pytest.fixture
async def streamed(site: Site) -> AsyncIterator[Callable[[Source], object]]:
    """Serves a source; gives the answer as it comes."""
    runners, session = [], aiohttp.ClientSession()

    async def serve(source: Source) -> aiohttp.ClientResponse:
        async def handle(request: web.Request) -> web.StreamResponse:
            try:
                return await stream.events(Call(request, site.services), source)
            except Conflict as error:
                return web.Response(status=409, text=error.message)

        app = web.Application()
        app.router.add_get("/", handle)
        runner = web.AppRunner(app, shutdown_timeout=1)
        runners.append(runner)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return await session.get(f"http://127.0.0.1:{runner.addresses[0][1]}/")

    yield serve
    await session.close()
    for runner in runners:
        await runner.cleanup()


async def test_events_and_the_end(streamed: Callable[[Source], object]) -> None:
    async def source() -> Source:
        yield "line", {"text": "é\n\u2028"}
        yield "end", {}

    answer = await streamed(source())  # type: ignore[misc]
    assert (await answer.text()) == 'event: line\ndata: {"text": "é\\n\u2028"}\n\nevent: end\ndata: {}\n\n'
    assert answer.headers["Content-Type"] == "text/event-stream"


async def test_an_error_at_once_is_an_ordinary_answer(streamed: Callable[[Source], object]) -> None:
    async def source() -> Source:
        raise Conflict("not now")
        yield "end", {}

    answer = await streamed(source())  # type: ignore[misc]
    assert (answer.status, await answer.text()) == (409, "not now")


async def test_a_later_error_is_an_event(streamed: Callable[[Source], object]) -> None:
    async def source() -> Source:
        yield "line", {}
        raise Conflict("not any more")

    text = await (await streamed(source())).text()  # type: ignore[misc]
    assert "event: error" in text
    assert "not any more" in text


async def test_silence_is_broken_and_who_has_gone_is_noticed(
    streamed: Callable[[Source], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "HEARTBEAT", 0.05)
    monkeypatch.setattr(stream, "_EARLY", 0.05)
    closed = asyncio.Event()

    async def source() -> Source:
        try:
            await asyncio.Event().wait()
            yield "end", {}
        finally:
            closed.set()

    answer = await streamed(source())  # type: ignore[misc]
    assert await answer.content.readexactly(6) == b":\n\n:\n\n"
    answer.close()
    await asyncio.wait_for(closed.wait(), 5)


async def test_a_reader_who_takes_nothing_is_cut_off(
    streamed: Callable[[Source], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "_SLOWEST", 0.2)
    closed, given = asyncio.Event(), 0

    async def source() -> Source:
        nonlocal given
        try:
            while True:
                given += 1
                yield "line", {"text": "x" * 100_000}
        finally:
            closed.set()

    answer = await streamed(source())  # type: ignore[misc]
    await asyncio.wait_for(closed.wait(), 10)
    assert given < 1000  # what the sockets hold, no more
    answer.close()
