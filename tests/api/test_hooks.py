"""The generic hook from outside: what is accepted is durable, what is refused is refused alike."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest

from godploy.core import signing
from tests.api.conftest import Site, until

COMMIT = "3f2a91c0d5a6f0b8c7e1d2a3b4c5d6e7f8091a2b"
PUSH = {"event": "push", "ref": "refs/heads/main", "commit": COMMIT}


@pytest.fixture
async def hook(site: Site) -> tuple[str, str]:
    """(its address, its secret) of a repository elsewhere."""
    await site.made("/api/v1/projects", {"name": "shop"})
    made = await site.made("/api/v1/projects/shop/repositories", {"name": "app", "url": "git://127.0.0.1:1/app.git"})
    return made["hook_url"], made["hook_secret"]


async def deliveries(site: Site) -> Any:
    return (await site.get("/api/v1/projects/shop/deliveries")).json["deliveries"]


async def test_a_push_is_received_once(site: Site, hook: tuple[str, str]) -> None:
    first = await site.hook(*hook, PUSH, key="k1")
    assert first.status == 202
    again = await site.hook(*hook, PUSH, key="k1")
    assert (again.status, again.json["delivery"]) == (200, first.json["delivery"])
    assert (await site.hook(*hook, PUSH, key="k2")).status == 202
    kept = await deliveries(site)
    assert [(found["key"], found["ref"], found["commit"]) for found in kept] == [
        ("k2", "refs/heads/main", COMMIT),
        ("k1", "refs/heads/main", COMMIT),
    ]


async def test_a_ping_gets_a_verdict(site: Site, hook: tuple[str, str]) -> None:
    assert (await site.hook(*hook, {"event": "ping"}, key="p")).status == 202

    async def verdict() -> Any:
        return (await site.hook(*hook, {"event": "ping"}, key="p")).json["verdict"]

    assert "ping" in await until(verdict)


async def test_an_unknown_key_in_the_body_is_fine_and_not_kept(site: Site, hook: tuple[str, str]) -> None:
    body = {**PUSH, "commits": [{"message": "x" * 1000}] * 1000, "repository": {"clone_url": "https://evil.example"}}
    assert (await site.hook(*hook, body)).status == 202


async def test_large_bodies(site: Site, hook: tuple[str, str]) -> None:
    """Git hosts send up to 25 MiB, which is more than the API takes."""
    padded = json.dumps({**PUSH, "padding": "x" * (20 * 1024 * 1024)}).encode()
    assert (await site.hook(*hook, padded)).status == 202
    assert (await site.hook(*hook, b" " * (25 * 1024 * 1024 + 1), key="2")).status == 413


async def test_refusals_are_all_alike(site: Site, hook: tuple[str, str]) -> None:
    url, secret = hook
    raw = json.dumps(PUSH).encode()
    refused = [
        await site.hook(url, "wrong", PUSH),
        await site.hook(url + "x", secret, PUSH),
        await site.hook(url, secret, PUSH, at=time.time() - 301),
        await site.hook(url, secret, PUSH, key=""),
        await site.hook(url, secret, PUSH, **{signing.SIGNATURE: "sha256=é"}),
        await site.hook(url, secret, PUSH, **{signing.SIGNATURE: ""}),
        await site.as_(None).ask("POST", url.removeprefix("https://deploy.example.com"), data=raw),
        await site.hook(url, "wrong", b"not json"),
    ]
    assert {answer.status for answer in refused} == {401}
    assert len({answer.raw for answer in refused}) == 1
    assert await deliveries(site) == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"not json",
        {"event": "pull"},
        {"event": "push"},
        {"event": "push", "ref": "main"},
        {"event": "push", "ref": "refs/heads/a b"},
        {"event": "push", "ref": "refs/godploy/kept/x"},
        {"event": "push", "ref": "refs/heads/main", "commit": "HEAD"},
        {"event": "push", "ref": "refs/heads/main", "commit": COMMIT.upper()},
    ],
)
async def test_an_authentic_body_that_is_wrong(site: Site, hook: tuple[str, str], body: Any) -> None:
    answer = await site.hook(*hook, body)
    assert answer.status == 422
    assert await deliveries(site) == []


async def test_rotation(site: Site, hook: tuple[str, str]) -> None:
    url, old = hook
    made = await site.made("/api/v1/projects/shop/repositories/app/hook-secret")
    assert made["hook_url"] == url
    assert made["hook_secret"] != old
    assert (await site.hook(url, old, PUSH, key="1")).status == 202
    assert (await site.hook(url, made["hook_secret"], PUSH, key="2")).status == 202
    shown = await site.get("/api/v1/projects/shop/repositories/app")
    assert old.encode() not in shown.raw
    assert "hook_secret" not in shown.json


async def test_refused_addresses_are_turned_away_authentic_deliveries_never(site: Site, hook: tuple[str, str]) -> None:
    url, secret = hook
    seen = [(await site.hook(url + "x", secret, PUSH)).status for _ in range(25)]
    assert seen[:20] == [401] * 20
    assert seen[-1] == 429
    assert (await site.hook(url, secret, PUSH)).status == 202
    elsewhere = await site.hook(url + "x", secret, PUSH, **{"X-Forwarded-For": "203.0.113.5"})
    assert elsewhere.status == 401


async def test_a_body_is_not_read_of_who_is_turned_away(site: Site, hook: tuple[str, str]) -> None:
    for _ in range(21):
        await site.hook(hook[0] + "x", hook[1], PUSH)
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(b"POST /hooks/generic/nobody HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n")
    async with asyncio.timeout(5):
        assert b" 429 " in await reader.readline()
    writer.close()


async def test_replay(site: Site, hook: tuple[str, str]) -> None:
    first = (await site.hook(*hook, {"event": "ping"})).json["delivery"]
    made = await site.made(f"/api/v1/projects/shop/deliveries/{first}/replay")
    assert made["id"] != first
    assert made["kind"] == "manual"
    await site.made("/api/v1/projects", {"name": "other"})
    assert (await site.ask("POST", f"/api/v1/projects/other/deliveries/{first}/replay")).status == 404


async def test_other_ways_to_the_hook(site: Site, hook: tuple[str, str]) -> None:
    path = hook[0].removeprefix("https://deploy.example.com")
    assert (await site.get(path)).status == 405
    assert (await site.ask("POST", path.replace("generic", "github"))).status == 401  # as if there were no such hook
    assert (await site.ask("POST", path.replace("generic", "others"))).status in (404, 405, 422)
