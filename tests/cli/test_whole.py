"""The command line before all of Godploy, with a provider that is played: connected, attached, announced, looked at."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from tests.providers.whole import Whole, manifest, whole


async def command(it: Whole, *arguments: str, stdin: str = "") -> Any:
    """The JSON that a command prints; it has no terminal."""
    access = {"GODPLOY_SERVER": f"http://127.0.0.1:{it.site.port}", "GODPLOY_TOKEN": it.site.token or ""}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "godploy.cli.main", *arguments, "--json"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **access},
    )
    out, err = await process.communicate(stdin.encode())
    assert process.returncode == 0, err.decode()
    return json.loads(out)


async def test_from_a_token_to_a_delivery(tmp_path: Path) -> None:
    async with whole(tmp_path, "gitea") as it:
        first = await it.fake.commit(it.shop, manifest(1))
        token = it.fake.make_token(it.ada)
        add = ("connections", "add", "gitea", "--url", it.fake.base, "--token-file", "-")
        made = await command(it, *add, stdin=token)
        assert (made["account"], made["state"], made["kind"]) == ("ada", "usable", "token")
        name = made["name"]
        assert (await command(it, "connections", "check", name))["state"] == "usable"
        listed = await command(it, "connections", "repositories", name, "sho")
        assert [each["full_name"] for each in listed["repositories"]] == [it.shop.full_name]
        assert await command(it, "connections", "branches", name, it.shop.full_name) == {"branches": ["main"]}

        attached = await command(it, "repositories", "add", "--connection", name, "--from", it.shop.full_name)
        assert (attached["name"], attached["hook"]["state"]) == ("shop", "working")
        await it.deployed(first)
        assert (await command(it, "repositories", "hook", "shop"))["hook"]["state"] == "working"
        assert (await command(it, "repositories", "hook-secret", "shop"))["hook_secret"] is None
        assert (await command(it, "repositories", "connect", "shop", "--connection", name))["connection"] == name

        second = await it.fake.commit(it.shop, manifest(2))
        await it.deployed(second)
        told = [each["id"] for each in await it.deliveries() if each["commit"] == second]
        caused = [made for each in told for made in (await command(it, "deliveries", "show", each))["deployments"]]
        assert [each["commit"] for each in caused] == [second]  # whether the hook or a look told of it first

        renewed = await command(it, "connections", "renew", name, "--token-file", "-", stdin=it.fake.make_token(it.ada))
        assert renewed["repositories"] == ["shop/shop"]
        entered = ("oauth", "add", "gitea", "--url", it.fake.base, "--client-id", "an-id", "--secret-file", "-")
        assert (await command(it, *entered, stdin="a-secret"))["url"] == it.fake.base
        await command(it, "oauth", "remove", "gitea", "--url", it.fake.base)
        assert (await command(it, "oauth"))["oauth_clients"] == []
        assert (await command(it, "connections", "remove", name, "--yes"))["left"] == []
        assert it.fake.hooks(it.shop) == []
