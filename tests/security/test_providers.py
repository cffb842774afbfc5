"""A provider that means harm, a member who does, and deliveries that are sent again: tried on all of Godploy."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from godploy.core import remote
from godploy.drivers import http
from godploy.errors import Invalid
from godploy.providers import answers, oauth
from godploy.providers.gitea import Gitea
from godploy.providers.protocol import CommitStatus, OAuthClient, Place, ProviderError, Request, Response, Talk, Trouble
from tests.providers.fakes.gitea import GiteaFake
from tests.providers.whole import Whole, manifest, whole


@pytest.fixture
async def it(tmp_path: Path) -> AsyncIterator[Whole]:
    async with whole(tmp_path, "gitea") as made:
        yield made


@asynccontextmanager
async def answering(answer: Callable[[web.Request], web.Response]) -> AsyncIterator[str]:
    """The address of a server that answers whatever is asked."""

    async def handle(request: web.Request) -> web.StreamResponse:
        return answer(request)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.5)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def allowed(it: Whole, base: str) -> None:
    """A server administrator lists one more base."""
    settings = it.running.services.settings
    object.__setattr__(
        it.running.services, "settings", replace(settings, private_bases=(*settings.private_bases, base))
    )


# A member with a provider of their own


async def test_a_connection_does_not_go_to_another_server(it: Whole, tmp_path: Path) -> None:
    """Whoever attaches a repository of a server of their own, and then names a colleague's connection for it, would be
    sent that one's credential by git: it is the same number that both servers gave."""
    (tmp_path / "other").mkdir()
    async with GiteaFake(tmp_path / "other") as own:
        allowed(it, own.base)
        eve = own.add_user("eve")
        mine = own.add_repository(eve, "eve/shop")
        assert mine.id == it.shop.id
        theirs = await it.connect()
        body = {"provider": "gitea", "url": own.base, "token": own.make_token(eve), "name": "eve"}
        made = await it.site.made("/api/v1/connections", body)
        await it.site.made(
            "/api/v1/projects/shop/repositories", {"name": "shop", "connection": made["name"], "full_name": "eve/shop"}
        )
        path = "/api/v1/projects/shop/repositories/shop"
        answer = await it.site.ask("PUT", f"{path}/connection", {"connection": theirs["name"]})
        assert answer.status == 409, answer.raw
        assert (await it.row()).connection == made["id"]


# What a provider answers


async def test_what_no_talk_expects_is_the_providers_trouble(it: Whole, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that is read wrongly must not end the loop that asked, and Godploy with it."""
    monkeypatch.setattr("godploy.deploy.outbox._FIRST_WAIT", 0.05)
    right, asked = Gitea.set_status, 0

    def wrong(self: Gitea, base: str, place: Place, status: CommitStatus) -> Talk[None]:
        nonlocal asked
        asked += 1
        if asked > 1:
            return (yield from right(self, base, place, status))
        yield Request("GET", f"{base}/api/v1/version")
        raise OverflowError("cannot convert float infinity to integer")

    monkeypatch.setattr(Gitea, "set_status", wrong)
    first = await it.fake.commit(it.shop, manifest(1))
    await it.attach((await it.connect())["name"])
    await it.status(first, "success")
    assert asked > 1


LIFETIMES = ["1e999", "-1e999", "NaN", "1" + "0" * 400, '"soon"', "true", "[]", "{}", '"1e999"', "9" * 30]


@pytest.mark.parametrize("lifetime", LIFETIMES)
def test_lifetimes_that_no_clock_has(lifetime: str) -> None:
    talk = oauth.exchange("https://git.example.com/token", "Gitea", OAuthClient("a", "b"), "https://here", "code", "")
    next(talk)
    try:
        talk.send(
            Response(200, {}, f'{{"access_token": "t", "token_type": "bearer", "expires_in": {lifetime}}}'.encode())
        )
    except ProviderError:
        return
    except StopIteration as end:
        assert end.value.lifetime is None or 0 < end.value.lifetime <= 100 * 366 * 86400


def test_an_error_that_is_nested_to_be_read_often() -> None:
    """Counted, not timed."""
    looked = 0

    class Counted(dict[str, Any]):
        def get(self, *given: Any) -> Any:
            nonlocal looked
            looked += 1
            return super().get(*given)

    inner: Any = [Counted({"x": Counted()})] * 4
    for _ in range(8):
        inner = Counted({str(number): inner for number in range(30)})
    assert answers.words(inner) == ""
    assert looked < 20_000


@pytest.mark.parametrize("body", ["[" + "[]," * 500_000 + "[]]", "[" + "{}," * 500_000 + "0]", "[" * 500_000])
def test_an_answer_that_is_small_until_it_is_read(body: str) -> None:
    assert Response(200, {}, body.encode()).tree() is None


def test_a_delivery_that_is_small_until_it_is_read() -> None:
    with pytest.raises(Invalid, match="values"):
        answers.payload(b'{"commits": [' + b"[]," * 2_000_000 + b"[]]}")


@pytest.mark.parametrize(
    ("header", "wait"), [("60", 60.0), ("999999", 3600.0), ("9999999", None), ("1e3", None), ("-1", None), ("٣", None)]
)
def test_a_provider_that_wants_to_be_left_alone_for_ever(header: str, wait: float | None) -> None:
    """What waits is sent or given up, within hours either way."""
    assert answers.waiting(Response(429, {"retry-after": header}, b"")) == wait


@pytest.mark.parametrize("token", ["a\\nb", "\\u0000", "\\ud800", "é", " " * 70_000])
def test_a_grant_whose_token_fits_in_no_header(token: str) -> None:
    talk = oauth.exchange("https://git.example.com/token", "Gitea", OAuthClient("a", "b"), "https://here", "code", "")
    next(talk)
    with pytest.raises(ProviderError) as caught:
        talk.send(Response(200, {}, f'{{"access_token": "{token}", "token_type": "bearer"}}'.encode()))
    assert caught.value.trouble is Trouble.DOWN


async def test_an_answer_that_is_small_until_it_is_unpacked() -> None:
    """The limit is on what comes out: half a gigabyte of zeros is half a megabyte on its way."""
    bomb = gzip.compress(bytes(1 << 26), 9)
    async with answering(lambda _: web.Response(body=bomb, headers={"Content-Encoding": "gzip"})) as base:
        target = remote.parse(f"{base}/x", (base,))
        with pytest.raises(http.Unreachable, match="more than 8 MiB"):
            await http.ask(Request("GET", f"{base}/x"), target, 20.0)
