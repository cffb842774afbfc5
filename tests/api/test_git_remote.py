"""`git push` from outside: what git itself says and does."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
from pathlib import Path
from typing import Any

import pytest

from godploy.api.push import bound_socket
from godploy.store import projects, repositories
from tests.api.conftest import Checkout, Site, until


def url(site: Site, name: str = "app", project: str = "shop") -> str:
    return f"http://git:{site.token}@127.0.0.1:{site.port}/git/default/{project}/{name}.git"


@pytest.fixture
async def shop(site: Site) -> Site:
    await site.made("/api/v1/projects", {"name": "shop"})
    return site


async def queued(site: Site, count: int = 1) -> Any:
    """The first queued deployments, once there are so many."""

    async def found() -> Any:
        listed = (await site.get("/api/v1/projects/shop/deployments")).json["deployments"]
        return listed if len(listed) >= count else None

    return await until(found)


async def output(program: asyncio.subprocess.Process) -> tuple[int | None, str]:
    async with asyncio.timeout(30):
        text, _ = await program.communicate()
    return program.returncode, text.decode()


async def pushed(site: Site, checkout: Checkout, *argv: str) -> str:
    """Pushes what is deployed, and lets the deployment succeed."""
    before = len((await site.get("/api/v1/projects/shop/deployments")).json["deployments"])
    program = await checkout.start("push", url(site), *argv)
    deployment = (await queued(site, before + 1))[0]
    await site.finish(deployment["id"], "live in 0.1 s", "built web")
    code, text = await output(program)
    assert code == 0, text
    return text


async def test_a_push_is_deployed_and_told(shop: Site, checkout: Checkout) -> None:
    commit = await checkout.commit("first", file="1")
    program = await checkout.start("push", url(shop), "main")
    deployment = (await queued(shop))[0]
    assert deployment["commit"] == commit
    assert deployment["actor"] == "ada@example.com"
    await shop.finish(deployment["id"], "live in 0.1 s", "built web", "\x1b]0;title\x07bad \u202etext")
    code, text = await output(program)
    assert code == 0
    remote = [line.removeprefix("remote:").strip() for line in text.splitlines() if line.startswith("remote:")]
    assert "built web" in remote
    assert "bad text" in remote
    assert any("live in 0.1 s" in line for line in remote)
    assert not any("does not answer" in line for line in remote)
    delivery = (await shop.get("/api/v1/projects/shop/deliveries")).json["deliveries"][0]
    assert (delivery["kind"], delivery["ref"], delivery["commit"]) == ("push", "refs/heads/main", commit)


async def test_the_first_push_makes_the_repository_and_its_branch_the_head(
    shop: Site, checkout: Checkout, tmp_path: Path
) -> None:
    await checkout.commit("first", file="1")
    await checkout.git("branch", "--move", "trunk")
    await pushed(shop, checkout, "trunk")
    found = (await shop.get("/api/v1/projects/shop/repositories/app")).json
    assert found["default_branch"] == "trunk"
    assert found["git_url"] == "https://deploy.example.com/git/default/shop/app.git"
    await checkout.git("clone", "--quiet", url(shop), str(tmp_path / "clone"))
    assert await Checkout(tmp_path / "clone").git("symbolic-ref", "HEAD") == "refs/heads/trunk"


async def test_a_large_push_and_a_second_one(shop: Site, checkout: Checkout, tmp_path: Path) -> None:
    (checkout.folder / "large").write_bytes(os.urandom(8 * 1024 * 1024))
    await checkout.commit("first")
    await pushed(shop, checkout, "main")
    commit = await checkout.commit("second", file="2")
    assert commit[:7] in await pushed(shop, checkout, "--force", "main")
    await checkout.git("clone", "--quiet", url(shop), str(tmp_path / "clone"))
    assert (tmp_path / "clone" / "large").stat().st_size == 8 * 1024 * 1024


async def test_several_first_branches(shop: Site, checkout: Checkout) -> None:
    await checkout.commit("first", file="1")
    await checkout.git("branch", "another")
    program = await checkout.start("push", url(shop), "another", "main")
    await shop.finish((await queued(shop))[0]["id"])
    code, text = await output(program)
    assert code == 0
    assert "feeds no environment" in text
    assert (await shop.get("/api/v1/projects/shop/repositories/app")).json["default_branch"] == "main"


async def test_tags_and_deleted_branches_have_verdicts(shop: Site, checkout: Checkout) -> None:
    commit = await checkout.commit("first", file="1")
    await pushed(shop, checkout, "main")
    await checkout.git("tag", "--annotate", "--message", "release", "v1")
    assert "the tag v1 feeds no environment" in await checkout.git("push", url(shop), "v1")
    delivery = (await shop.get("/api/v1/projects/shop/deliveries")).json["deliveries"][0]
    assert delivery["commit"] == commit  # what the annotated tag leads to
    assert "the tag v1 was deleted" in await checkout.git("push", url(shop), ":v1")
    await checkout.git("push", url(shop), "main:side")
    assert "is not in the repository any more" in await checkout.git("push", url(shop), ":side")


@pytest.mark.parametrize("ref", ["refs/godploy/kept/x", "refs/notes/x", "refs/replace/x", "refs/pull/1/head"])
async def test_only_branches_and_tags_are_taken(shop: Site, checkout: Checkout, ref: str) -> None:
    await checkout.commit("first", file="1")
    code, text = await checkout.run("push", url(shop), f"main:{ref}")
    assert code != 0
    assert "hidden ref" in text
    assert (await shop.get("/api/v1/projects/shop/deliveries")).json["deliveries"] == []


async def test_who_may(shop: Site, checkout: Checkout) -> None:
    await checkout.commit("first", file="1")

    async def refused(site: Site, word: str, **more: str) -> None:
        code, text = await checkout.run("push", url(site, **more), "main")
        assert code != 0
        assert word in text, text

    await refused(await shop.member("viewer"), "repository.push")
    await refused(await shop.member("developer"), "repository.write")
    await refused(await shop.member(None), "there is no project")
    await refused(shop.as_("gdp_wrong"), "Authentication failed")
    await refused(shop, "there is no project", project="other")
    await refused(shop, "has no repository", name="App")
    await shop.made("/api/v1/projects/shop/repositories", {"name": "foreign", "url": "https://example.com/a.git"})
    await refused(shop, "is cloned from https://example.com/a.git", name="foreign")
    viewer = await shop.member("viewer")
    code, text = await checkout.run("ls-remote", url(viewer, "unknown"))
    assert code != 0
    assert "the first push makes it" in text
    await pushed(shop, checkout, "main")
    assert "refs/heads/main" in await checkout.git("ls-remote", url(viewer))


async def test_refs_of_ours_are_not_shown(shop: Site, checkout: Checkout) -> None:
    commit = await checkout.commit("first", file="1")
    await pushed(shop, checkout, "main")

    def find(conn: Any) -> Any:
        return repositories.of_project(conn, projects.of_user(conn, shop.user.id)[0].id)[0]

    await shop.services.git.keep((await shop.services.store.read(find)).id, commit)
    assert "refs/godploy" not in await checkout.git("ls-remote", url(shop))


async def test_an_interrupted_push_is_deployed_all_the_same(shop: Site, checkout: Checkout) -> None:
    await checkout.commit("first", file="1")
    program = await checkout.start("push", url(shop), "main")
    deployment = (await queued(shop))[0]
    os.killpg(program.pid, signal.SIGKILL)  # git pushes by a program of its own
    await program.wait()
    await shop.finish(deployment["id"])
    found = (await shop.get("/api/v1/projects/shop/deployments")).json["deployments"][0]
    assert found["state"] == "succeeded"


async def test_godploy_stops_while_a_push_is_followed(shop: Site, checkout: Checkout) -> None:
    await checkout.commit("first", file="1")
    program = await checkout.start("push", url(shop), "main")
    await queued(shop)
    shop.services.stopping.set()
    code, text = await output(program)
    assert code == 0
    assert "will be deployed" in text


async def test_what_is_not_git(shop: Site) -> None:
    where = "/git/default/shop/app.git"
    assert (await shop.get(f"{where}/info/refs")).status == 422
    assert (await shop.get(f"{where}/info/refs", params={"service": "git-shell"})).status == 422
    assert (await shop.ask("POST", f"{where}/git-receive-pack")).status == 422
    assert (await shop.get(f"{where}/HEAD")).status == 404
    assert (await shop.get(f"{where}/objects/info/packs")).status == 404
    assert (await shop.as_(None).get(f"{where}/info/refs", params={"service": "git-upload-pack"})).status == 401
    assert (await shop.get("/api/v1/projects/shop/repositories")).json["repositories"] == []


async def test_nobody_else_reaches_the_hook(shop: Site) -> None:
    folder = shop.services.settings.data / "run"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "hook.sock").stat().st_mode) == 0o600
    reader, writer = await asyncio.open_unix_connection(str(folder / "hook.sock"))
    body = b'{"token": "guessed", "updates": []}'
    writer.write(b"POST /push HTTP/1.0\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    assert b" 401 " in await reader.readline()
    writer.close()


def test_a_socket_may_lie_deep(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 100) / "run" / "hook.sock"
    bound_socket(deep).close()
    assert deep.is_socket()
