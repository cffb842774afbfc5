"""A new version on trial as others see it: it answers what changes nothing, until it has proven that it works."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from godploy.api.routes import ROUTES
from godploy.api.server import listening
from godploy.deploy import trial
from tests.api.conftest import Checkout, Site

PUSH = {"event": "push", "ref": "refs/heads/main", "commit": "3f2a91c0d5a6f0b8c7e1d2a3b4c5d6e7f8091a2b"}


@pytest.fixture
async def hook(site: Site) -> tuple[str, str]:
    """(its address, its secret) of a repository elsewhere, in the project `shop`."""
    await site.made("/api/v1/projects", {"name": "shop"})
    made = await site.made("/api/v1/projects/shop/repositories", {"name": "app", "url": "git://127.0.0.1:1/app.git"})
    return made["hook_url"], made["hook_secret"]


@pytest.fixture
async def tried(site: Site, hook: tuple[str, str]) -> AsyncIterator[Site]:
    """The same server, started again with a mark."""
    mark(site).touch()
    services = replace(
        site.services, trial=await asyncio.to_thread(trial.found, site.services.settings.data), ready=asyncio.Event()
    )
    async with listening(services) as port:
        yield replace(site, services=services, port=port)


def mark(site: Site) -> Path:
    return site.services.settings.data / trial.MARK


async def test_every_change_is_refused_whoever_asks(tried: Site) -> None:
    for route in ROUTES:
        path = route.path.replace("{project}", "shop").replace("{repository}", "app").replace("{", "").replace("}", "")
        for asker in (tried, tried.as_(None)):
            if route.method == "GET" and path.endswith(("/log", "/logs")):
                continue  # streams, which need not end
            answer = await asker.ask(route.method, path)
            if route.method == "GET":
                assert answer.status in (200, 401, 404, 422) or path == "/readyz", (path, answer.raw)
            else:
                assert (answer.status, answer.error["code"]) == (503, "on_trial"), (path, answer.raw)
                assert int(answer.headers["Retry-After"]) > 0
                assert "new version" in answer.error["message"]
    assert len((await tried.get("/api/v1/projects")).json["projects"]) == 1


async def test_a_delivery_is_refused_and_taken_once_the_trial_is_over(tried: Site, hook: tuple[str, str]) -> None:
    refused = await tried.hook(*hook, PUSH)
    assert (refused.status, refused.error["code"]) == (503, "on_trial")
    passing = asyncio.create_task(tried.services.trial.passed())
    while (await tried.as_(None).get("/readyz")).status != 200:
        pass
    await passing
    assert (await tried.hook(*hook, PUSH)).status == 202
    assert (await tried.ask("POST", "/api/v1/projects", {"name": "another"})).status == 201


async def test_a_push_is_refused_with_a_sentence_and_a_pull_is_not(site: Site, tried: Site, checkout: Checkout) -> None:
    def url(at: Site) -> str:
        return f"http://git:{at.token}@127.0.0.1:{at.port}/git/default/shop/own.git"

    await site.made("/api/v1/projects/shop/repositories", {"name": "own"})
    await checkout.commit("first", file="1")
    code, said = await checkout.run("push", url(tried), "HEAD:refs/heads/main")
    assert code != 0 and "a new version of Godploy is being tried" in said, said
    assert await checkout.git("ls-remote", url(tried)) == ""
    code, said = await checkout.run("push", url(tried).replace("own.git", "fresh.git"), "HEAD:refs/heads/main")
    assert code != 0, said
    assert {each["name"] for each in (await tried.get("/api/v1/projects/shop/repositories")).json["repositories"]} == {
        "app",
        "own",
    }


async def test_only_a_good_answer_of_readyz_ends_it_and_the_mark_is_gone_before(tried: Site) -> None:
    nobody = tried.as_(None)
    early = await nobody.get("/readyz")
    assert (early.status, early.json) == (503, {"status": "starting", "trial": True})
    assert mark(tried).exists()
    passing = asyncio.create_task(tried.services.trial.passed())
    await asyncio.sleep(0)
    assert (await nobody.get("/healthz")).status == 200
    assert (await tried.get("/api/v1/server")).json["ready"] is False
    assert mark(tried).exists() and not passing.done()
    assert (await nobody.get("/readyz")).json == {"status": "ready"}
    assert not mark(tried).exists()
    await passing


async def test_a_mark_that_cannot_be_removed_keeps_it_on_trial(tried: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    passing = asyncio.create_task(tried.services.trial.passed())
    await asyncio.sleep(0)
    with monkeypatch.context() as changed:
        changed.setattr(trial, "_remove", refuse)
        answer = await tried.as_(None).get("/readyz")
    assert answer.status == 503 and "stays (Operation not permitted)" in answer.error["message"]
    assert (await tried.ask("POST", "/api/v1/projects", {"name": "another"})).status == 503
    assert (await tried.as_(None).get("/readyz")).status == 200
    await passing
