"""A real Godploy with a real Gitea, from the connection to the status on the commit: only with `--gitea`."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import docker
import pytest

from godploy.deploy.hosting import credentials
from godploy.drivers.keyring import Keyring
from tests.e2e.person import Person
from tests.providers.gitea_server import GiteaServer
from tests.providers.gitea_whole import MANIFEST, Figures, Whole, installed, until

pytestmark = [pytest.mark.engine, pytest.mark.long]


@pytest.fixture
def figures(capfd: pytest.CaptureFixture[str], record_property: Callable[[str, object], None]) -> Iterator[Figures]:
    """Printed even where everything else is captured: they are what a person runs this for."""
    found = Figures()
    yield found
    record_property("figures", found.line())
    with capfd.disabled():
        print(f"\nGitea: {found.line()}")


@pytest.fixture
async def it(engine: docker.DockerClient, gitea: GiteaServer, tmp_path: Path, figures: Figures) -> AsyncIterator[Whole]:
    ada = await gitea.make_user()
    shop = await gitea.make_repository(ada, "shop")
    for folder in ("godploy", "home"):
        (tmp_path / folder).mkdir()
    with installed(tmp_path / "godploy", engine, gitea.base) as server:
        person = Person(tmp_path / "home", server)
        person.login()
        made = Whole(gitea, server, person, ada, shop, tmp_path / "shop", figures)
        made.api("POST", "projects", {"name": "shop"})
        await made.begin()
        yield made


async def attached(it: Whole, connection: str) -> Any:
    """The repository, chosen from the list that the connection offers, with a hook that was heard, and live."""
    first = await it.commit()
    await it.push()
    await it.gitea.settled(it.shop, "main", first)
    begun = time.monotonic()
    listed = it.godploy("connections", "repositories", connection, "sho")
    assert [each["full_name"] for each in listed["repositories"]] == [it.shop.full_name]
    assert it.godploy("connections", "repositories", connection, "nothing-like-it")["repositories"] == []
    it.figures.add("list", time.monotonic() - begun)
    begun = time.monotonic()
    words = ("repositories", "add", "--project", "shop", "--connection", connection, "--from", it.shop.full_name)
    made = await asyncio.to_thread(it.godploy, *words)
    it.figures.add("add → hook proven", time.monotonic() - begun)
    assert made["hook"]["state"] == "working", made["hook"]
    (hook,) = await it.gitea.hooks(it.shop)
    assert (hook["config"]["url"], hook["active"]) == (made["hook_url"], True)
    await it.live(begun, "add")
    status = await it.told(first, "success", begun, "add")
    assert status["description"].startswith("live in ")
    assert status["target_url"].startswith(f"{it.server.settings['GODPLOY_URL']}/deployments/")
    return made


async def test_by_a_token(it: Whole) -> None:
    token = await it.gitea.make_token(it.ada)
    words = ("--url", it.gitea.base, "--name", "ours", "--token-file", "-")
    connection = it.godploy("connections", "add", "gitea", *words, stdin=token)
    assert (connection["account"], connection["state"]) == (it.ada.name, "usable")
    await attached(it, "ours")

    pushed = await it.push_and_see("push")
    states = [each["status"] for each in await it.gitea.statuses(it.shop, pushed)]
    assert states[0] == "pending" and states[-1] == "success" and set(states[:-1]) == {"pending"}
    assert (await it.deployed(pushed, "succeeded"))["kind"] == "push"

    await _a_pull_request(it)
    await _redelivered(it, pushed)
    await it.push_and_see("next push")
    await _redelivered(it, pushed)  # older than what is live now
    await _none_refused(it)
    await _another_secret(it)
    await _renamed(it)
    await _none_refused(it)
    await _revoked(it)


async def _a_pull_request(it: Whole) -> None:
    live = it.version
    head = await it.commit()
    await it.push("feature")
    begun = time.monotonic()
    await it.gitea.open_pull(it.shop, "feature")
    plan = await it.told(head, "success", begun, "pull request", "godploy/plan")
    assert "web" in plan["description"]
    broken = await it.commit(MANIFEST.replace("port", "prot"))
    begun = await it.push("feature")
    plan = await it.told(broken, "failure", begun, "pull request", "godploy/plan")
    assert plan["description"].startswith("godploy.yaml:3"), plan
    deployed = it.api("GET", "projects/shop/deployments")["deployments"]
    assert not {head, broken} & {each["commit"] for each in deployed}
    await it.git("reset", "-q", "--hard", "HEAD~2")
    assert it.server.ask("web-shop.localhost").text == f"version {live}\n"


async def _redelivered(it: Whole, pushed: str) -> None:
    """Nothing is deployed by it."""
    before = it.api("GET", "projects/shop/deployments")["deployments"]
    known = await it.deliveries(1)
    of = next(each for each in known if each["commit"] == pushed and each["event"] == "push")
    (hook,) = await it.gitea.hooks(it.shop)
    await it.gitea.redeliver(it.shop, str(hook["id"]), of["key"])
    found = await it.deliveries(len(known) + 1)
    assert "nothing new" in found[0]["verdict"] or "considered before" in found[0]["verdict"], found[0]
    assert found[0]["key"] != of["key"] and found[0]["commit"] == pushed
    assert it.api("GET", "projects/shop/deployments")["deployments"] == before


async def _another_secret(it: Whole) -> None:
    it.godploy("repositories", "hook-secret", "shop", "--project", "shop")
    await it.push_and_see("push with another secret")
    assert len(await it.gitea.hooks(it.shop)) == 1


async def _renamed(it: Whole) -> None:
    it.shop = await it.gitea.rename(it.shop, "store")
    await it.push_and_see("push of a renamed repository")
    assert it.api("GET", "projects/shop/repositories/shop")["full_name"] == it.shop.full_name


async def _none_refused(it: Whole) -> None:
    """By Gitea's own account of what the hook that there is has sent: each has a button to send it again, and a tick
    where it was taken."""
    (hook,) = await it.gitea.hooks(it.shop)

    async def taken() -> bool:
        address = f"{it.gitea.base}/{it.shop.full_name}/settings/hooks/{hook['id']}"
        async with it.gitea.browser(it.ada) as browser, browser.get(address) as page:
            text = await page.text()
        assert "octicon-alert" not in text
        return 0 < text.count("/replay/") == text.count("octicon-check")

    await until(taken)


async def _revoked(it: Whole) -> None:
    await it.gitea.revoke_tokens(it.ada)
    commit = await it.commit()
    await it.push()
    failed = await it.deployed(commit, "failed")
    assert "renew it: godploy connections renew ours" in failed["error"]["next_step"], failed["error"]
    assert "connections renew ours" in it.godploy("connections", "check", "ours", code=1)
    (seen,) = it.godploy("connections")["connections"]
    assert seen["state"] == "refused" and seen["trouble"]
    token = await it.gitea.make_token(it.ada)
    renewed = it.godploy("connections", "renew", "ours", "--token-file", "-", stdin=token)
    assert renewed["state"] == "usable"
    await it.push_and_see("push with a renewed token")


async def test_by_a_consent(it: Whole) -> None:
    client = await it.gitea.make_client(it.ada, f"{it.server.settings['GODPLOY_URL']}/oauth/gitea/callback")
    words = ("--url", it.gitea.base, "--client-id", client.id, "--secret-file", "-")
    it.godploy("oauth", "add", "gitea", *words, stdin=client.secret)
    wanted = {"provider": "gitea", "url": it.gitea.base, "kind": "oauth", "name": "mine"}
    connection = await it.agree(it.api("POST", "consents", wanted))
    assert (connection["name"], connection["kind"], connection["account"]) == ("mine", "oauth", it.ada.name)
    await attached(it, "mine")

    before = await asyncio.to_thread(_ended, it)
    await it.push_and_see("push with a consent that ended")
    after = await asyncio.to_thread(_kept, it)
    assert after.token != before.token and after.refresh != before.refresh
    assert after.ends_at is not None and after.ends_at > time.time()
    await it.push_and_see("push with a consent that was renewed")


def _keyring(it: Whole) -> Keyring:
    return Keyring.open(it.server.data / "key")


def _kept(it: Whole) -> credentials.Kept:
    (row,) = it.server.rows("SELECT id, sealed FROM connection")
    return credentials.read(_keyring(it).unseal(row["sealed"], credentials.context(row["id"])))


def _ended(it: Whole) -> credentials.Kept:
    """What the connection keeps, made to look as if its hour were over, as nobody wants to wait for that."""
    (row,) = it.server.rows("SELECT id FROM connection")
    ended = replace(_kept(it), ends_at=time.time() - 1)
    sealed = _keyring(it).seal(ended.text(), credentials.context(row["id"]))
    with closing(sqlite3.connect(it.server.data / "godploy.db", timeout=10)) as connection, connection:
        connection.execute("UPDATE connection SET sealed = ? WHERE id = ?", (sealed, row["id"]))
    return ended
