"""Hostile repositories and hostile clients on our own remote, with git itself on the other side."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from tests.api.conftest import Checkout, Site, until

PAYLOADS = [
    ";touch canary", "$(touch canary)", "`touch canary`", "|touch canary", "&touch canary",
    "--upload-pack=touch canary",
    "-oProxyCommand=touch canary", "<img src=x onerror=alert(1)>", "\x1b]52;c;Y2FuYXJ5\x07", "\x9b2J",
    "\u202ekcatta", "' OR 1=1 --",
]  # fmt: skip


def url(site: Site) -> str:
    return f"http://git:{site.token}@127.0.0.1:{site.port}/git/default/shop/app.git"


@pytest.fixture
async def shop(site: Site) -> Site:
    await site.made("/api/v1/projects", {"name": "shop"})
    return site


@pytest.mark.parametrize("payload", PAYLOADS, ids=range(len(PAYLOADS)))
async def test_whatever_git_says_is_text(whole: Site, checkout: Checkout, tmp_path: Path, payload: str) -> None:
    """As message, author, name of a file, of a branch and of a tag: nothing runs, and terminals see plain text."""
    await whole.made("/api/v1/projects", {"name": "shop"})
    manifest = 'version: 1\nservices: {web: {image: "web:1", port: 8000, deploy: {drain: 0s}}}\n'
    name = payload.replace("/", "_")
    await checkout.git("config", "user.name", payload)
    await checkout.commit(payload, **{"godploy.yaml": manifest, name: payload})
    branch = "".join("-" if character in " ~^:?*[\\\x1b\x07" else character for character in payload).lstrip("-")
    code, text = await checkout.run("push", url(whole), "main", f"main:refs/heads/{branch}", f"main:refs/tags/{branch}")
    assert code == 0, text
    assert "live in" in text
    told = "".join(line for line in text.split("\n") if line.startswith("remote:"))
    assert not [each for each in ("\x1b]", "\x07", "\x9b", "\u202e") if each in told]
    listed = await whole.get("/api/v1/projects/shop/deployments")
    assert listed.json["deployments"][0]["state"] == "succeeded"
    assert not any(each in listed.raw.decode() for each in ("\x1b", "\x9b", "\u202e"))
    found = await asyncio.to_thread(lambda: [str(each) for each in tmp_path.rglob("canary")])
    assert found == []


async def test_names_with_foreign_line_ends_tell_of_no_other_branch(shop: Site, checkout: Checkout) -> None:
    """Python takes U+2028 for the end of a line, and U+2003 for a space: neither may begin another update."""
    commit = await checkout.commit("first", file="1")
    forged = f"x\u2028{commit}\u2003{'1' * 40}\u2003refs/heads/main"
    code, text = await checkout.run("push", url(shop), f"main:refs/heads/{forged}", "main:refs/heads/a\u2028b")
    assert code == 0, text
    assert (await shop.get("/api/v1/projects/shop/deliveries")).json["deliveries"] == []
    program = await checkout.start("push", url(shop), "main")
    queued = await until(lambda: _queued(shop))
    assert [each["commit"] for each in queued] == [commit]
    await shop.finish(queued[0]["id"])
    await program.wait()


async def _queued(site: Site) -> list[dict[str, str]]:
    return (await site.get("/api/v1/projects/shop/deployments")).json["deployments"]  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", [".git", ".GIT", ".git\u200c", "git~1", ".", ".."])
async def test_a_tree_that_would_write_into_git_is_not_taken(shop: Site, checkout: Checkout, name: str) -> None:
    await checkout.commit("first", file="1")
    blob = await checkout.git("hash-object", "-w", "file")
    entry = f"100644 {name}".encode() + b"\0" + bytes.fromhex(blob)
    await asyncio.to_thread((checkout.folder / "tree").write_bytes, entry)
    tree = await checkout.git("hash-object", "-w", "-t", "tree", "--literally", "tree")
    commit = await checkout.git("commit-tree", tree, "-m", "hostile")
    code, text = await checkout.run("push", url(shop), f"{commit}:refs/heads/main")
    assert code != 0, text
    assert (await shop.get("/api/v1/projects/shop/deliveries")).json["deliveries"] == []


async def test_a_bomb_of_trees_is_cut_off(whole: Site, checkout: Checkout) -> None:
    """Ten folders deep, ten alike in each: 10¹⁰ files in a few hundred bytes."""
    await whole.made("/api/v1/projects", {"name": "shop"})
    (checkout.folder / "Dockerfile").write_text("FROM scratch\n")
    (checkout.folder / "godploy.yaml").write_text("version: 1\nservices: {web: {build: ., port: 8000}}\n")
    await checkout.git("add", "--all")
    kind, tree = "100644 blob", await checkout.git("hash-object", "-w", "Dockerfile")
    for _ in range(10):
        lines = "".join(f"{kind} {tree}\tf{number}\n" for number in range(10))
        tree, kind = await _made(checkout, lines), "040000 tree"
    files = await checkout.git("ls-tree", await checkout.git("write-tree"))
    whole_tree = await _made(checkout, f"{files}\n040000 tree {tree}\tbomb\n")
    commit = await checkout.git("commit-tree", whole_tree, "-m", "bomb")
    code, text = await checkout.run("push", url(whole), f"{commit}:refs/heads/main")
    assert code == 0 and "more than the 100000 allowed" in text, text


async def _made(checkout: Checkout, lines: str) -> str:
    pipe = asyncio.subprocess.PIPE
    program = await asyncio.create_subprocess_exec(
        "git",
        "mktree",
        cwd=checkout.folder,
        stdin=pipe,
        stdout=pipe,
        env={**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null"},
    )
    output, _ = await program.communicate(lines.encode())
    return output.decode().strip()
