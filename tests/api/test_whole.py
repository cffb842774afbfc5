"""The API before all of Godploy, on a runtime in memory: what a person does from a first push to a rollback."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest

from godploy.core.command import Command
from godploy.runtimes.fake.world import HEALTHY
from tests.api.conftest import Checkout, Site, events, until

SHOP = "/api/v1/projects/shop"
MANIFEST = """\
version: 1
services:
  web: {build: {context: .}, port: 8000, secrets: [KEY]}
"""
DASHBOARD = """\
version: 1
services:
  cache: {image: "web:1", port: 8000}
"""


def url(site: Site) -> str:
    return f"http://git:{site.token}@127.0.0.1:{site.port}/git/default/shop/app.git"


@pytest.fixture
async def shop(whole: Site, checkout: Checkout) -> Site:
    """The project with a first release of its repository."""
    await whole.made("/api/v1/projects", {"name": "shop"})
    await whole.ask("PUT", f"{SHOP}/secrets", {"values": {"KEY": "a secret value"}})
    await checkout.commit("first", **{"godploy.yaml": MANIFEST, "Dockerfile": "FROM scratch\n"})
    told = await checkout.git("push", url(whole), "main")
    assert "http://web-shop.localhost/" in told, told
    return whole


async def ended(site: Site, number: int) -> Any:
    async def final() -> Any:
        found = (await site.get(f"{SHOP}/deployments/{number}")).json
        return found if found["finished_at"] else None

    return await until(final)


async def test_from_a_first_push_to_a_rollback(shop: Site, checkout: Checkout) -> None:
    found = (await shop.get(f"{SHOP}/deployments/1")).json
    assert (found["state"], found["kind"], found["release"], found["message"]) == ("succeeded", "push", 1, "first")
    await checkout.commit("second", other="2", Dockerfile="FROM scratch\nENV A=1\n")
    told = await checkout.git("push", url(shop), "main")
    assert ": live in" in told
    back = await shop.made(f"{SHOP}/rollback")
    assert (await ended(shop, back["number"]))["state"] == "succeeded"
    releases = (await shop.get(f"{SHOP}/releases")).json["releases"]
    assert [(release["number"], release["current"], release["kind"]) for release in releases] == [
        (3, True, "rollback"),
        (2, False, "push"),
        (1, False, "push"),
    ]
    details = (await shop.get(SHOP)).json
    assert details["stacks"][0]["held"] is True
    assert [service["name"] for service in details["services"]] == ["web"]
    again = await shop.made(f"{SHOP}/deployments", {"update": ["web"]})
    assert (await ended(shop, again["number"]))["state"] == "succeeded"


async def test_services_are_shown_stopped_and_started(shop: Site) -> None:
    (web,) = (await shop.get(f"{SHOP}/services", params={"stats": "true"})).json["services"]
    assert (web["state"], web["health"], web["replicas"], web["routes"]) == (
        "running",
        "healthy",
        1,
        ["http://web-shop.localhost/"],
    )
    assert web["memory"] == 1 << 20
    stopped = await shop.made(f"{SHOP}/services/web/stop")
    assert stopped == {"service": "web", "environment": "production", "stopped": True}
    (web,) = (await shop.get(f"{SHOP}/services")).json["services"]
    assert (web["state"], web["health"], web["cpu"]) == ("stopped", None, None)
    await shop.made(f"{SHOP}/services/web/start")
    assert (await shop.get(f"{SHOP}/services")).json["services"][0]["state"] == "running"
    assert (await shop.ask("POST", f"{SHOP}/services/web/stop", {"environment": "staging"})).status == 404
    assert (await shop.ask("POST", f"{SHOP}/services/db/stop")).status == 404
    restarted = await shop.made(f"{SHOP}/restart", {"services": ["web"]})
    assert (await ended(shop, restarted["number"]))["state"] == "succeeded"
    kinds = [event["kind"] for event in (await shop.get(f"{SHOP}/events")).json["events"]]
    assert "stopped" in kinds and "started" in kinds


async def test_the_log_of_a_deployment(shop: Site) -> None:
    read = (await shop.get(f"{SHOP}/deployments/1/log")).json
    followed = await events(shop, "GET", f"{SHOP}/deployments/1/log", params={"follow": "true"})
    assert [line for kind, line in followed if kind == "line"] == read["lines"]
    assert followed[-1][0] == "end"
    assert followed[-1][1]["state"] == "succeeded"
    assert read["next"] == len(read["lines"]) == read["lines"][-1]["n"]
    rest = (await shop.get(f"{SHOP}/deployments/1/log", params={"after": str(read["next"] - 1)})).json
    assert rest["lines"] == read["lines"][-1:]
    assert (await shop.get(f"{SHOP}/deployments/99/log", params={"follow": "true"})).status == 404


async def test_a_running_deployment_is_followed_and_cancelled(shop: Site, checkout: Checkout) -> None:
    building, go = asyncio.Event(), asyncio.Event()

    async def hold(call: str) -> None:
        if call == "before build":
            building.set()
            await go.wait()

    before = shop.world.on_call
    shop.world.on_call = lambda call: hold(call) if call == "before build" else before(call)
    await checkout.commit("second", Dockerfile="FROM scratch\nENV A=2\n")
    push = asyncio.create_task(checkout.run("push", url(shop), "main"))
    async with asyncio.timeout(10):
        await building.wait()
    following = asyncio.create_task(events(shop, "GET", f"{SHOP}/deployments/2/log", params={"follow": "true"}))
    assert (await shop.ask("POST", f"{SHOP}/deployments/2/cancel")).status == 200
    followed = await asyncio.wait_for(following, 10)
    assert followed[-1][1]["state"] == "cancelled"
    code, told = await push
    assert code == 0
    assert "cancelled by ada@example.com" in told
    assert (await shop.ask("POST", f"{SHOP}/deployments/2/cancel")).status == 409


async def test_what_a_service_writes(shop: Site) -> None:
    (container,) = [each for each in shop.world.containers.values() if each.ref.service == "web"]
    container.lines += [(time.time(), "one"), (time.time(), "\x1b]52;c;aGk=\x07two")]
    found = await events(shop, "GET", f"{SHOP}/services/web/logs", params={"tail": "10"})
    assert [line["text"] for kind, line in found if kind == "line"] == ["one", "two"]
    assert found[-1] == ("end", {})
    following = asyncio.create_task(
        events(shop, "GET", f"{SHOP}/services/web/logs", params={"tail": "0", "follow": "true"})
    )
    await asyncio.sleep(0.2)
    began = time.monotonic()
    shop.services.stopping.set()
    assert await asyncio.wait_for(following, 5) == []
    assert time.monotonic() - began < 1


async def test_one_off_commands(shop: Site) -> None:
    def run(launch: Any, argv: Sequence[str], log: Any) -> int:
        log(f"ran {' '.join(argv)} with {launch.env['KEY']}")
        return 7

    shop.world.on_run = run
    found = await events(shop, "POST", f"{SHOP}/runs", {"argv": ["echo", "hi there"]})
    assert found == [("line", {"text": "ran echo hi there with •••"}), ("end", {"exit_code": 7})]
    assert (await shop.ask("POST", f"{SHOP}/runs", {"argv": ["x"], "service": "db"})).status == 404
    assert (await shop.ask("POST", f"{SHOP}/runs", {"argv": []})).status == 422


async def test_whoever_leaves_ends_the_command(shop: Site) -> None:
    """As nothing is written for a while, leaving is noticed at the next line or heartbeat."""
    began = asyncio.Event()

    async def hold(call: str) -> None:
        began.set()
        await asyncio.Event().wait()

    before = shop.world.on_call
    shop.world.on_call = lambda call: hold(call) if call == "after run_once.create" else before(call)
    running = asyncio.create_task(events(shop, "POST", f"{SHOP}/runs", {"argv": ["sleep", "9"]}))
    async with asyncio.timeout(10):
        await began.wait()
    shop.services.stopping.set()
    assert await asyncio.wait_for(running, 5) == []

    async def gone() -> bool:
        return all(each.named for each in shop.world.containers.values())

    await until(gone)


async def test_secrets_never_come_back(shop: Site) -> None:
    listed = await shop.get(f"{SHOP}/secrets")
    assert [(secret["name"], secret["version"]) for secret in listed.json["secrets"]] == [("KEY", 1)]
    changed = await shop.ask("PUT", f"{SHOP}/secrets", {"values": {"KEY": "another value"}})
    (caused,) = changed.json["deployments"]
    assert (await ended(shop, caused["number"]))["kind"] == "config"
    quiet = await shop.ask("PUT", f"{SHOP}/secrets", {"values": {"KEY": "a third value"}, "deploy": False})
    assert quiet.json["deployments"] == []
    assert (await shop.ask("DELETE", f"{SHOP}/secrets/KEY")).status == 409
    await shop.ask("PUT", f"{SHOP}/secrets", {"values": {"OTHER": "x"}, "environment": "staging"})
    assert (await shop.ask("DELETE", f"{SHOP}/secrets/OTHER")).status == 404
    assert (await shop.ask("DELETE", f"{SHOP}/secrets/OTHER", params={"environment": "staging"})).status == 204
    assert (await shop.ask("PUT", f"{SHOP}/secrets", {"values": {"A-B": "x"}})).status == 422
    for path in ("/secrets", "/events", "/deployments", "/releases", ""):
        raw = (await shop.get(f"{SHOP}{path}")).raw
        assert b"a secret value" not in raw
        assert b"another value" not in raw


async def test_manifests_that_godploy_keeps(shop: Site) -> None:
    assert (await shop.get(f"{SHOP}/manifest")).json == {"revision": None, "text": None, "deployments": []}
    planned = await shop.made(f"{SHOP}/plan", {"text": DASHBOARD})
    assert any("cache" in line for line in planned["lines"])
    assert planned["destructive"] == []
    saved = (await shop.ask("PUT", f"{SHOP}/manifest", {"text": DASHBOARD})).json
    assert saved["revision"] == 1
    assert (await ended(shop, saved["deployments"][0]["number"]))["state"] == "succeeded"
    assert (await shop.get(f"{SHOP}/manifest")).json["text"] == DASHBOARD
    conflict = await shop.ask("POST", f"{SHOP}/deployments", {})
    assert conflict.status == 409
    assert "app, dashboard" in conflict.error["message"]
    assert (await shop.made(f"{SHOP}/deployments", {"repository": "dashboard"}))["revision"] == 1
    refused = await shop.ask("PUT", f"{SHOP}/manifest", {"text": DASHBOARD.replace("port", "prot")})
    assert refused.status == 422
    assert any('did you mean "port"?' in problem for problem in refused.error["fields"]["problems"])
    verdict = await shop.made("/api/v1/validate", {"text": "version: 2"})
    assert verdict["valid"] is False and verdict["problems"]
    stored = (await shop.ask("PUT", f"{SHOP}/repositories/app/manifest", {"text": MANIFEST})).json
    assert (stored["revision"], stored["deployments"]) == (1, [])


async def test_hosts(shop: Site) -> None:
    given = await shop.ask("PUT", f"{SHOP}/hosts/shop.example.com")
    assert given.json == {"host": "shop.example.com", "given": True, "generated": False, "certificate": None}
    for wrong in ("Shop.example.com", "shop`example", "deploy.example.com", "a..b"):
        assert (await shop.ask("PUT", f"{SHOP}/hosts/{wrong}")).status in (409, 422), wrong
    hosts = (await shop.get(f"{SHOP}/hosts")).json["hosts"]
    assert {host["host"] for host in hosts} >= {"shop.example.com"}
    developer = await shop.member("developer")
    assert (await developer.ask("PUT", f"{SHOP}/hosts/other.example.com")).status == 403
    assert (await shop.ask("DELETE", f"{SHOP}/hosts/shop.example.com")).status == 204
    assert (await shop.ask("DELETE", f"{SHOP}/hosts/shop.example.com")).status == 404


async def test_volumes(shop: Site) -> None:
    text = DASHBOARD.replace("port: 8000", "port: 8000, volumes: ['data:/data'], deploy: {drain: 0s}")
    saved = (await shop.ask("PUT", f"{SHOP}/manifest", {"text": text})).json
    await ended(shop, saved["deployments"][0]["number"])
    (volume,) = (await shop.get(f"{SHOP}/volumes")).json["volumes"]
    assert (volume["name"], volume["service"]) == ("data", "cache")
    path = f"{SHOP}/volumes/{volume['id']}"
    assert (await shop.ask("DELETE", path)).status == 422
    assert (await shop.ask("DELETE", path, params={"confirm": "dat"})).error["code"] == "needs_confirmation"
    assert (await shop.ask("DELETE", path, params={"confirm": "data"})).status == 409
    saved = (await shop.ask("PUT", f"{SHOP}/manifest", {"text": DASHBOARD})).json
    await ended(shop, saved["deployments"][0]["number"])

    async def drained() -> bool:
        return not any(container.mounts for container in shop.world.containers.values())

    await until(drained)
    assert (await shop.ask("DELETE", path, params={"confirm": "data"})).status == 204
    assert (await shop.get(f"{SHOP}/volumes")).json["volumes"] == []


async def test_the_pusher_learns_why_it_failed(shop: Site, checkout: Checkout) -> None:
    def behaviour(commands: Sequence[Command], tag: str) -> str:
        return "exits"

    shop.world.on_build = behaviour
    await checkout.commit("bad", Dockerfile="FROM scratch\nENV A=3\n")
    code, told = await checkout.run("push", url(shop), "main")
    assert code == 0
    assert "failed" in told
    assert "web" in told
    shop.world.on_build = lambda commands, tag: HEALTHY
    (web,) = (await shop.get(f"{SHOP}/services")).json["services"]
    assert (web["state"], web["release"]) == ("running", 1)


async def test_templates(whole: Site) -> None:
    templates = (await whole.get("/api/v1/templates")).json["templates"]
    assert [template["name"] for template in templates] == ["mongodb", "postgres", "redis"]
    assert "url" in templates[1]["offers"]


async def test_a_first_deployment_by_word(whole: Site, checkout: Checkout) -> None:
    """Where nothing was deployed yet, the repository that feeds the environment is the one that is meant."""
    await whole.made("/api/v1/projects", {"name": "shop"})
    assert (await whole.ask("POST", f"{SHOP}/deployments")).status == 404
    await whole.made(f"{SHOP}/repositories", {"name": "app"})
    answer = await whole.ask("POST", f"{SHOP}/deployments")
    assert answer.status == 404
    assert "push one first" in answer.error["next_step"]
    assert (await whole.ask("POST", f"{SHOP}/deployments", {"environment": "staging"})).status == 404
