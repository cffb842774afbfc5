"""A secret's value stands in no log, no error, no row and no answer, whoever wrote it there."""

from __future__ import annotations

import asyncio
import json

import pytest

from godploy.core.model import State
from godploy.runtimes.protocol import BuildFailed, Unhealthy
from tests.deploy import shop
from tests.deploy.harness import Godploy
from tests.deploy.shop import manifest, web

VALUE = "s3cr3t-canary-value"
ENCODED = ("czNjcjN0LWNhbmFyeS12YWx1ZQ==", VALUE.encode().hex(), VALUE)
TOLD = f"connecting to postgres://app:{VALUE}@db failed"


def _fails_to_start(it: Godploy) -> None:
    def fails(moment: str) -> None:
        if moment == "before start":
            raise Unhealthy("wrong_port", {"service": "web", "seen": TOLD, "port": 1}, ["x", TOLD, ENCODED[0]])

    it.world.on_call = fails


def _fails_to_build(it: Godploy) -> None:
    def fails(*_: object) -> str:
        raise BuildFailed("build_failed", {"exit_code": 1, "step": f"RUN {TOLD}"}, ["x", TOLD, ENCODED[1]])

    it.world.on_build = fails


def _breaks(it: Godploy) -> None:
    def breaks(moment: str) -> None:
        if moment == "before start":
            raise RuntimeError(f"no idea what {TOLD} means")

    it.world.on_call = breaks


@pytest.mark.parametrize("trouble", [_fails_to_start, _fails_to_build, _breaks])
async def test_no_failure_tells_a_secret(it: Godploy, trouble: object) -> None:
    await shop.secret(it, KEY=VALUE)
    trouble(it)  # type: ignore[operator]
    files = shop.built("x", web={"build": {}, "port": 8000, "secrets": ["KEY"], "deploy": shop.NOW})
    deployment = await shop.push(it, files)
    failed = await it.ended(deployment)
    assert failed.state is State.FAILED and failed.error is not None
    written = json.dumps(failed.error, ensure_ascii=False) + await it.log(failed)
    assert not [form for form in ENCODED if form in written]
    assert "•••" in written
    await _nowhere_on_disk(it)


async def test_nothing_that_is_kept_holds_a_secret(it: Godploy) -> None:
    await shop.secret(it, KEY=VALUE)
    env = {"URL": "postgres://${secrets.KEY}@db"}
    done = await shop.deploy(it, manifest(web=web(env=env, command=["serve", "${secrets.KEY}"])))
    assert done.state is State.SUCCEEDED, done.error
    assert any(VALUE in value for each in it.world.containers.values() for value in each.env.values())
    await _nowhere_on_disk(it)


async def _nowhere_on_disk(it: Godploy) -> None:
    """Not in the database with its write-ahead log, not in a log, a route or a repository."""

    def search() -> list[str]:
        files = [path for path in it.services.settings.data.rglob("*") if path.is_file()]
        assert any(path.name.startswith("godploy.db") for path in files)
        return [str(path) for path in files if any(form.encode() in path.read_bytes() for form in ENCODED)]

    assert await asyncio.to_thread(search) == []


async def test_what_is_on_disk_is_for_nobody_else(it: Godploy) -> None:
    """Whatever the umask, also where the data directory is open to others: neither the key nor the database with what
    stands beside it, nor a folder with anything in it."""
    await shop.secret(it, KEY=VALUE)

    def modes() -> dict[str, int]:
        return {path.name: path.stat().st_mode & 0o077 for path in it.services.settings.data.iterdir()}

    found = await asyncio.to_thread(modes)
    assert {"key", "godploy.db", "godploy.db-wal", "repositories", "logs", "builds", "routes", "tls"} <= found.keys()
    assert not [name for name, mode in found.items() if mode]
