"""Users, made straight in the data directory."""

from __future__ import annotations

import stat
from pathlib import Path

from godploy.store import Store, people

from .conftest import Run

EMAIL = "ada@example.com"


async def owner_of(data: Path, token: str) -> str | None:
    store = await Store.open(data / "godploy.db")
    try:
        found = await store.read(lambda conn: people.user_by_token(conn, token))
    finally:
        await store.close()
    return found[0].email if found else None


def test_the_first_owner_and_a_token(run: Run, tmp_path: Path) -> None:
    import asyncio

    data = tmp_path / "data"
    where = ("--data", str(data), "--email", EMAIL)
    missing = run("user", "create-owner", *where)
    assert missing.code == 1 and f"there is no directory {data}" in missing.err
    data.mkdir()
    assert run("user", "token", *where, "--name", "laptop").code == 1
    assert list(data.iterdir()) == []
    assert run("user", "create-owner", *where, "--json").json["administrator"] is True
    second = run("user", "create-owner", *where)
    assert second.code == 1 and "has an owner already" in second.err
    token = run("user", "token", *where, "--name", "laptop").out.strip()
    assert asyncio.run(owner_of(data, token)) == EMAIL
    assert run("user", "token", *where, "--name", "ci", "--json").json["token"] != token
    assert stat.S_IMODE((data / "godploy.db").stat().st_mode) == 0o600
    assert "there is no user" in run("user", "token", "--data", str(data), "--email", "b@c", "--name", "x").err
    assert run("user", "create-owner", "--data", str(data), "--email", "nobody").code == 2


def test_during_a_trial_nothing_is_written(run: Run, tmp_path: Path) -> None:
    (tmp_path / "trial").touch()
    refused = run("user", "create-owner", "--data", str(tmp_path), "--email", EMAIL)
    assert refused.code == 1 and "a new version of Godploy is being tried" in refused.err
    assert not (tmp_path / "godploy.db").exists()


def test_serve_needs_a_directory(run: Run, tmp_path: Path) -> None:
    assert "there is no directory" in run("serve", "--data", str(tmp_path / "none")).err


def test_version(run: Run) -> None:
    assert run("version").out.startswith("godploy ")
    assert set(run("version", "--json").json) == {"version"}
