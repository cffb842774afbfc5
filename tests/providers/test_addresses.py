"""Where a credential goes: to its provider's own address, and nowhere that a hostile answer names."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from godploy.deploy.hosting.conversation import converse
from godploy.providers import HOSTS
from godploy.providers.protocol import Credential, OAuthClient, Place, ProviderError, Talk, Trouble
from tests.providers.whole import FAKES, Whole, whole

TOKEN = "the-token-of-a-connection"
PLACE = Place("1", "ada/shop")
OF_MANY = sorted(set(FAKES) - {"bitbucket"})  # providers that run at many addresses


@dataclass
class Server:
    """Answers everything alike."""

    base: str = ""
    asked: list[web.BaseRequest] = field(default_factory=list)
    answer: Callable[[web.BaseRequest], Awaitable[web.Response]] | None = None

    async def handle(self, request: web.BaseRequest) -> web.Response:
        self.asked.append(request)
        return await self.answer(request) if self.answer else web.json_response({})


@asynccontextmanager
async def serving() -> AsyncIterator[Server]:
    made = Server()
    runner = web.ServerRunner(web.Server(made.handle))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.base = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield made
    finally:
        await runner.cleanup()


@dataclass
class Scene:
    """Godploy with two listed servers, the first of which is the provider."""

    whole: Whole
    hostile: Server
    other: Server

    def talk(self, make: Callable[[Any, str], Talk[Any]]) -> Awaitable[Any]:
        host, base = HOSTS[self.whole.provider], self.hostile.base
        return converse(self.whole.site.services, host, base, make(host, base), Credential("token", TOKEN, "ada"))


@pytest.fixture(params=sorted(FAKES))
async def it(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Scene]:
    async with (
        serving() as hostile,
        serving() as other,
        whole(tmp_path, request.param, private_bases=(hostile.base, other.base)) as made,
    ):
        yield Scene(made, hostile, other)


@pytest.mark.parametrize("provider", OF_MANY)
async def test_an_inner_address_that_is_not_listed(tmp_path: Path, provider: str) -> None:
    async with whole(tmp_path, provider, private_bases=("http://127.0.0.1:1",)) as it:
        for base in (it.fake.base, it.fake.base.replace("127.0.0.1", "localhost"), "https://10.0.0.5", "https://[::1]"):
            body = {"provider": provider, "url": base, "token": it.fake.make_token(it.ada)}
            answer = await it.site.ask("POST", "/api/v1/connections", body)
            assert answer.status == 422, (base, answer.raw)
            assert answer.error["message"]
            begun = {"provider": provider, "url": base, "kind": "oauth"}
            assert (await it.site.ask("POST", "/api/v1/consents", begun)).status == 422
            client = {"provider": provider, "url": base, "client_id": "x", "client_secret": "y"}
            assert (await it.site.ask("PUT", "/api/v1/oauth-clients", client)).status == 422
        assert it.fake.requests == []


@pytest.mark.parametrize("provider", OF_MANY)
@pytest.mark.parametrize("inner", ["127.0.0.1", "10.1.2.3", "169.254.169.254", "100.64.0.1"])
async def test_a_public_name_that_leads_inside(
    tmp_path: Path, provider: str, inner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def resolved(host: str, port: int, **_: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (inner, port))]

    async with whole(tmp_path, provider) as it:
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolved)
        body = {"provider": provider, "url": "https://git.example.org", "token": it.fake.make_token(it.ada)}
        answer = await it.site.ask("POST", "/api/v1/connections", body)
        assert answer.status >= 400
        assert f"git.example.org leads to {inner}, which is not a public address" in answer.error["message"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_takes_nothing_along(it: Scene, status: int) -> None:
    async def answer(_: web.BaseRequest) -> web.Response:
        return web.Response(status=status, headers={"Location": f"{it.other.base}/api/v4/user"})

    it.hostile.answer = answer
    with pytest.raises(ProviderError):
        await it.talk(lambda host, base: host.account(base))
    with pytest.raises(ProviderError):
        await it.talk(lambda host, base: host.exchange(base, OAuthClient("x", TOKEN), f"{base}/callback", "c", "v"))
    assert it.hostile.asked
    assert it.other.asked == []


@pytest.mark.parametrize("where", ["{other}/api/v3/x", "{base}@{bare}/x", "{base}.evil.example/x", "//{bare}/x"])
async def test_a_next_page_elsewhere_is_not_asked_for(it: Scene, where: str) -> None:
    bare = it.other.base.partition("://")[2]
    following = where.format(other=it.other.base, base=it.hostile.base, bare=bare)

    async def answer(_: web.BaseRequest) -> web.Response:
        tree: Any = [{"name": "main", "workspace": {"slug": "ada"}}]
        if it.whole.provider == "bitbucket":
            tree = {"values": tree, "next": following}
        return web.json_response(tree, headers={"Link": f'<{following}>; rel="next"', "x-next-page": following})

    it.hostile.answer = answer
    for make in (
        lambda host, base: host.repositories(base, "", 1000),
        lambda host, base: host.hooks(base, PLACE),
        lambda host, base: host.branches(base, PLACE),
    ):
        try:
            async with asyncio.timeout(10):
                await it.talk(make)
        except ProviderError:
            pass  # as good as a short list
    assert it.hostile.asked
    assert it.other.asked == []


async def test_an_answer_that_is_too_large(it: Scene) -> None:
    async def answer(_: web.BaseRequest) -> web.Response:
        return web.Response(body=b"[" + b" " * (9 << 20) + b"]", content_type="application/json")

    it.hostile.answer = answer
    with pytest.raises(ProviderError, match="more than 8 MiB") as raised:
        await it.talk(lambda host, base: host.account(base))
    assert raised.value.trouble is Trouble.DOWN


@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 409, 422, 429, 500])
async def test_a_providers_words_are_cut_and_made_harmless(it: Scene, status: int) -> None:
    said = "\x1b[31mred\r\n" + "x" * 5000

    async def answer(_: web.BaseRequest) -> web.Response:
        tree = {"message": said, "error": said, "error_description": said, "errors": [said] * 50, "type": "error"}
        return web.json_response({**tree, "error": {"message": said}}, status=status)

    it.hostile.answer = answer
    for make in (
        lambda host, base: host.account(base),
        lambda host, base: host.exchange(base, OAuthClient("x", TOKEN), f"{base}/callback", "c", "v"),
    ):
        with pytest.raises(ProviderError) as raised:
            await it.talk(make)
        text = raised.value.message + raised.value.next_step
        assert raised.value.message.count("x") <= 300
        assert "\x1b" not in text and "\n" not in text and "\r" not in text
        assert TOKEN not in text
