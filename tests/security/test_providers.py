"""A provider that means harm, a member who does, and deliveries that are sent again: tried on all of Godploy."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from aiohttp import web

from godploy.core import remote
from godploy.drivers import http
from godploy.errors import Invalid
from godploy.providers import answers, oauth
from godploy.providers.gitea import Gitea
from godploy.providers.protocol import CommitStatus, OAuthClient, Place, ProviderError, Request, Response, Talk, Trouble
from tests.api.conftest import URL, until
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


NAMES = {"long": "a" * 5_000_000, "half": "\ud800", "lines": "a\r\n\x1b[2Jb\x00", "turned": "a\u202eb"}


@pytest.mark.parametrize("name", NAMES)
async def test_names_of_accounts_that_mean_harm(it: Whole, name: str) -> None:
    """They are kept, and shown in lists, sentences and terminals."""
    tree = json.dumps({"id": 1, "login": NAMES[name]})
    async with answering(lambda _: web.Response(text=tree, content_type="application/json")) as base:
        allowed(it, base)
        made = await it.site.made("/api/v1/connections", {"provider": "gitea", "url": base, "token": "t" * 40})
    assert 0 < len(made["account"]) <= 255
    assert made["account"].isprintable()


@pytest.mark.parametrize("ends", ["9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59"])
async def test_a_time_that_cannot_be_shown_is_not_kept(it: Whole, ends: str) -> None:
    """It would take everybody's list of connections away."""
    body = {"provider": "gitea", "url": it.fake.base, "token": it.fake.make_token(it.ada), "expires_at": ends}
    await it.site.ask("POST", "/api/v1/connections", body)
    assert (await it.site.get("/api/v1/connections")).status == 200


@pytest.mark.parametrize("ends", ["9999-12-31 23:59:59 -2359", "0001-01-01 00:00:00 +2359"])
async def test_a_time_of_github_that_cannot_be_shown_is_not_kept(tmp_path: Path, ends: str) -> None:
    tree = json.dumps({"id": 1, "login": "eve"})
    headers = {"github-authentication-token-expiration": ends}
    async with (
        whole(tmp_path, "github") as it,
        answering(lambda _: web.Response(text=tree, content_type="application/json", headers=headers)) as base,
    ):
        allowed(it, base)
        await it.site.made("/api/v1/connections", {"provider": "github", "url": base, "token": "t" * 40})
        assert (await it.site.get("/api/v1/connections")).status == 200


@pytest.mark.parametrize("name", ["../..", "ada/..", "./x"])
async def test_names_that_climb_ask_nothing(it: Whole, name: str) -> None:
    made = await it.connect()
    before = len(it.fake.requests)
    body = {"name": "shop", "connection": made["name"], "full_name": name}
    answer = await it.site.ask("POST", "/api/v1/projects/shop/repositories", body)
    assert answer.status >= 400, answer.raw
    assert [each.path for each in it.fake.requests[before:]] == []


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


# Deliveries that are sent again


async def test_a_delivery_of_a_tag_that_has_moved_on_brings_nothing_back(it: Whole) -> None:
    """Its id is not signed, so whoever has seen a delivery can send it again as a new one."""
    feeds = {"godploy.yaml": manifest(1)["godploy.yaml"] + "environments:\n  production: {tag: 'v*'}\n"}
    first = await it.fake.commit(it.shop, feeds)
    await it.attach((await it.connect())["name"])
    await it.deliveries()
    await it.fake.tag(it.shop, "v1", first)
    await it.deployed(first)
    (old,) = [each for each in it.fake.deliveries if b'"refs/tags/v1"' in each.body]
    second = await it.fake.commit(it.shop, {"new": "1"})
    await it.fake.delete_tag(it.shop, "v1")
    await it.fake.tag(it.shop, "v1", second)
    await it.deployed(second)
    before = len(await it.deployments())
    for _ in range(2):
        await it.fake.redeliver(old)
        (newest, *_) = await it.deliveries()
        assert "considered before" in newest["verdict"], newest["verdict"]
    await it.fake.delete_tag(it.shop, "v1")
    await it.fake.redeliver(old)
    (newest, *_) = await it.deliveries()
    assert newest["verdict"] == "the tag v1 is not in the repository any more: nothing to deploy"
    assert len(await it.deployments()) == before


# What strangers are told

AT_HOST = "version: 1\nservices:\n  web: {image: 'web:2', port: 8000, routes: ['%s']}\n"


async def test_a_fork_learns_nothing_of_neighbours(it: Whole) -> None:
    """A host that somebody else here has and one that the server keeps for itself are refused in the same words, which
    name nobody."""
    first = await it.fake.commit(it.shop, manifest(1))
    await it.attach((await it.connect())["name"])
    await it.status(first, "success")
    await it.site.made("/api/v1/projects", {"name": "theirs"})
    secret = it.fake.add_repository(it.ada, "ada/secret")
    await it.fake.commit(secret, {"godploy.yaml": AT_HOST % "taken.example.org"})
    body = {"name": "hidden", "connection": "gitea", "full_name": "ada/secret"}
    await it.site.made("/api/v1/projects/theirs/repositories", body)

    async def live() -> bool:
        found = (await it.site.get("/api/v1/projects/theirs/deployments")).json["deployments"]
        return bool(found) and found[0]["state"] == "succeeded"

    await until(live, 20.0)
    told = set()
    for host in ("taken.example.org", "deploy.example.com"):
        opened = await it.fake.open_pull(it.shop, host, {"godploy.yaml": AT_HOST % host}, fork=True)
        status = await it.status(it.shop.pulls[opened].head, "failure", "godploy/plan")
        told.add(status["description"].replace(host, "HOST"))
    (sentence,) = told
    assert "HOST" in sentence
    assert not any(word in sentence for word in ("theirs", "hidden", "secret"))


@pytest.mark.parametrize("error", ["%ED%A0%80", "%00", "%3Cscript%3Ealert(1)%3C/script%3E", "%1B%5B2J%E2%80%AEa"])
async def test_what_a_browser_brings_back_is_text(it: Whole, error: str) -> None:
    client = it.fake.register_client("https://deploy.example.com/oauth/gitea/callback")
    entered = {"provider": "gitea", "url": it.fake.base, "client_id": client.id, "client_secret": client.secret}
    assert (await it.site.ask("PUT", "/api/v1/oauth-clients", entered)).status == 200
    begun = await it.begin()
    state = dict(parse_qsl(urlsplit(begun["url"]).query))["state"]
    page = await it.browse(f"{URL}/oauth/gitea/callback?state={state}&error=x&error_description={error}")
    assert page.status < 500
    assert b"<script" not in page.raw
    shown = (await it.site.get(f"/api/v1/consents/{begun['id']}")).json
    assert shown["stage"] == "failed"
    assert shown["trouble"].isprintable()
