"""Whose a host is: not another project's, not Godploy's own, and never another environment's."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from godploy.core import manifest as manifests
from godploy.core.model import State
from godploy.errors import Invalid
from godploy.runtimes.fake.world import World
from tests.deploy import shop
from tests.deploy.harness import Godploy, godploy
from tests.deploy.shop import manifest, web


@pytest.mark.parametrize(
    "host",
    [
        "*", "*.example.com", "shop.example.com.", ".example.com", "shop..example.com", "a`b.example.com",
        "shop.example.com`)", "shop.example.com) || Host(`x", "shop.example.com\n", "shop.example.com\x00",
        "127.0.0.1", "10.0.0.1", "[::1]", "::1", "shop.example.com:80", "shop.example.com/x",
        "http://shop.example.com", "shop_x.example.com", "-x.example.com", "x-.example.com",
        "a" * 64 + ".example.com", "x." * 130 + "com", "shop example.com", "shop.example.com\u202e",
        "\u2028", "${secrets.X}", "$(id)", ";id", "auto.", "xn--", "\u3002",
    ],
)  # fmt: skip
def test_what_is_no_host(host: str) -> None:
    service = {"image": "app:1", "port": 80, "routes": [host, {"host": host, "path": "/x"}]}
    with pytest.raises(Invalid):
        manifests.parse(json.dumps({"version": 1, "services": {"web": service}}), templates={})


@pytest.mark.parametrize(
    "path",
    ["/`", "/a b", "/../x", "/x/../y", "/./", "//x", "/%2e%2e", "/x\n", "/x\x00", "x", "", "/{a}", "/x`) || Host(`b"],
)
def test_what_is_no_path(path: str) -> None:
    service = {"image": "app:1", "port": 80, "routes": [{"host": "shop.example.com", "path": path}]}
    with pytest.raises(Invalid):
        manifests.parse(json.dumps({"version": 1, "services": {"web": service}}), templates={})


async def refused(it: Godploy, project: str, host: str) -> dict[str, Any]:
    repository = await it.repository(await it.project(project), project)
    delivery = await it.push(repository, it.commit(repository, manifest(web=web(routes=[host]))))
    await it.settled()
    failed = next(each for each in await it.deployments() if each.delivery == delivery.id)
    assert failed.state is State.FAILED and failed.error is not None, host
    return failed.error  # type: ignore[return-value]


async def test_the_first_keeps_it_and_is_not_told(it: Godploy) -> None:
    await shop.deploy(it, manifest(web=web(routes=["shop.example.com"])))
    for host in ("shop.example.com", "SHOP.Example.COM", "web-shop.localhost"):
        if host == "web-shop.localhost":
            await shop.deploy(it, manifest(web=web(routes=["shop.example.com", "auto"])))
        error = await refused(it, "thief", host)
        assert error["code"] == "host_taken"
        assert "shop" not in json.dumps(error).replace(host.lower(), "")
    assert it.edge.serves("shop.example.com")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "deploy.example.com", "Deploy.example.com"])
async def test_what_godploy_itself_answers_to_is_nobodys(tmp_path: Path, world: World, host: str) -> None:
    async with godploy(tmp_path, world, url="https://deploy.example.com") as it:
        assert "reserved" in json.dumps(await refused(it, "thief", host))


async def test_of_two_at_once_one_gets_it(it: Godploy) -> None:
    at = [await it.repository(await it.project(name), name) for name in ("one", "two")]
    files = manifest(web=web(routes=["both.example.com"]))
    await asyncio.gather(*(it.push(each, it.commit(each, files)) for each in at))
    await it.settled()
    ended = await it.deployments()
    assert sorted(each.state for each in ended) == [State.FAILED, State.SUCCEEDED]
    lost = next(each for each in ended if each.state is State.FAILED)
    assert lost.error is not None and lost.error["code"] == "host_taken"
    assert it.edge.serves("both.example.com")


async def test_a_generated_name_is_that_of_one_environment(it: Godploy) -> None:
    """`a` in the environment `b` of the project `shop` and `a-shop` in production would be called alike."""
    everywhere: dict[str, Any] = {"production": {"branch": "main"}, "shop": {"branch": "side"}}
    service = web(routes=["auto"])
    await shop.deploy(it, manifest(everywhere, **{"a-shop": service}))
    repository = await shop.repository(it)
    before = it.edge.serves("a-shop-shop.localhost")
    assert before
    await it.push(repository, it.commit(repository, manifest(everywhere, a=service)), "side")
    await it.settled()
    newest = await it.newest()
    assert newest.branch == "side" and newest.state is State.SUCCEEDED, newest.error
    assert it.edge.serves("a-shop-shop.localhost") == before
    made = [
        host for config in it.edge.files.values() for host in json.dumps(config).split("`") if "a-shop-shop" in host
    ]
    assert len(set(made)) == 2
