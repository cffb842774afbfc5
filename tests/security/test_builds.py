"""A build gets its own commit's files and nothing of anybody else: no other's caches, no file of the machine."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from godploy.builders.dockerfile import Inputs, commands
from godploy.core import manifest as manifests
from godploy.core.dockerfile import foreign_frontend
from godploy.core.model import Repository, State
from godploy.core.plan import BuildPlan
from godploy.errors import Invalid
from godploy.runtimes.protocol import BuildFailed
from tests.contract.bench import EngineBench
from tests.deploy import shop
from tests.deploy.harness import Godploy, Hold, git
from tests.deploy.shop import manifest
from tests.runtimes.conftest import real

__all__ = ["real"]

BUILT: dict[str, Any] = {"build": {}, "port": 8000, "deploy": {"drain": "0s"}}


@pytest.mark.parametrize(
    ("text", "frontend"),
    [
        ("# syntax=evil/frontend:1\nFROM scratch\n", "evil/frontend:1"),
        ("#syntax=evil/frontend\nFROM scratch\n", "evil/frontend"),
        ("# SYNTAX = evil/frontend more words\r\nFROM scratch\r\n", "evil/frontend"),
        ("\ufeff# syntax=evil/frontend\nFROM scratch\n", "evil/frontend"),
        ("#!/usr/bin/env docker\n# syntax=evil/frontend\n", "evil/frontend"),
        ("# escape=`\n# syntax=evil/frontend\n", "evil/frontend"),
        ("// syntax=evil/frontend\n", "evil/frontend"),
        ("\n\n# a word\n# syntax=evil/frontend\n", "evil/frontend"),
        ('{"syntax": "evil/frontend"}', "a JSON file"),
        ("# syntax=docker/dockerfile.evil:1\n", "docker/dockerfile.evil:1"),
        ("# syntax=evil.example/docker/dockerfile:1\n", "evil.example/docker/dockerfile:1"),
        ("# syntax=docker/dockerfile-upstream:master\n", "docker/dockerfile-upstream:master"),
        ("# syntax=docker/dockerfile:1\nFROM scratch\n", None),
        ("# syntax=docker.io/docker/dockerfile:1.7-labs@sha256:00\nFROM scratch\n", None),
        ("# syntax=docker/dockerfile\nFROM scratch\n", None),
        ("FROM scratch\n# syntax=evil/frontend\n", None),
        ("# about syntax\nFROM scratch\n", None),
        ("", None),
    ],
)
def test_who_reads_a_dockerfile(text: str, frontend: str | None) -> None:
    assert foreign_frontend(text) == frontend


async def test_a_foreign_frontend_is_not_even_fetched(it: Godploy) -> None:
    files = {"Dockerfile": "# syntax=evil/frontend\nFROM scratch\n", **manifest(web=BUILT)}
    failed = await shop.deploy(it, files)
    assert failed.error is not None and failed.error["code"] == "build_failed"
    assert "evil/frontend" in failed.error["message"]
    assert not it.world.built


@pytest.mark.parametrize("name", ["BUILDKIT_CACHE_MOUNT_NS", "BUILDKIT_SYNTAX", "buildkit_syntax", "BUILDKIT_X"])
def test_a_manifest_does_not_steer_the_builder(name: str) -> None:
    text = json.dumps({"version": 1, "services": {"web": {"build": {"args": {name: "other-project"}}}}})
    with pytest.raises(Invalid) as caught:
        manifests.parse(text, templates={})
    assert "BUILDKIT_" in caught.value.problems[0]


LINKS = {
    "Dockerfile": ("Dockerfile", {}),
    "godploy.yaml": ("godploy.yaml", {}),
    "context": ("link", {"context": "link"}),
    "folder of the Dockerfile": ("link", {"dockerfile": "link/secret"}),
    ".dockerignore": (".dockerignore", {}),
    "file": ("link", {}),
}


@pytest.mark.parametrize("case", LINKS)
async def test_a_link_to_a_file_of_the_machine_is_not_followed(it: Godploy, tmp_path: Path, case: str) -> None:
    """Where it would be the manifest, the Dockerfile or the context it is refused; else it stays a link."""
    path, build = LINKS[case]
    target = tmp_path if "secret" in str(build) or "context" in build else tmp_path / "secret"
    await asyncio.to_thread((tmp_path / "secret").write_text, "FROM canary\n")
    repository = await shop.repository(it)
    commit = _with_link(it, repository, path, str(target), shop.built("x", web={**BUILT, "build": build}))
    held = Hold(it.world, "before build")
    await it.push(repository, commit)
    if case in (".dockerignore", "file"):
        await held.reached.wait()
        seen = await asyncio.to_thread(_links, it.services.settings.data / "builds")
        assert seen == [f"{path} → {target}"]
    held.release()
    await it.settled()
    ended = await it.newest()
    if case in (".dockerignore", "file"):
        assert ended.state is State.SUCCEEDED, ended.error
    else:
        assert ended.error is not None and ended.error["code"] != "unexpected"
        assert not it.world.built
    assert "canary" not in await it.log(ended)


def _with_link(it: Godploy, repository: Repository, path: str, target: str, files: Mapping[str, str]) -> str:
    """A commit with these files, and a symbolic link at the path."""
    directory = it.services.git.directory(repository.id)
    blobs = [("120000", target, path), *(("100644", text, name) for name, text in files.items() if name != path)]
    lines = [
        f"{mode} blob {git(directory, 'hash-object', '-w', '--stdin', stdin=text)}\t{name}"
        for mode, text, name in blobs
    ]
    tree = git(directory, "mktree", stdin="\n".join(lines) + "\n")
    return git(directory, "commit-tree", tree, "-m", "hostile")


def _links(folder: Path) -> list[str]:
    return [f"{found.name} → {found.readlink()}" for found in folder.rglob("*") if found.is_symlink()]


def plan(**changes: Any) -> BuildPlan:
    base: dict[str, Any] = {"key": "k", "context": "", "dockerfile": "Dockerfile", "target": None}
    return BuildPlan(**{**base, "args": {}, "secrets": {}, "pull": False, **changes})


async def build(real: EngineBench, folder: Path, dockerfile: str, ns: str = "mine", **changes: Any) -> list[str]:
    """The lines of a build as Godploy makes it. Raises BuildFailed."""
    await asyncio.to_thread((folder / "Dockerfile").write_text, dockerfile)
    labels = {"godploy.instance": real.instance, "godploy.environment": ns}
    made = commands(
        plan(**changes), Inputs(str(folder), None, {}), tag=f"{real.instance}:{ns}", labels=labels, cache_ns=ns
    )
    lines: list[str] = []
    await real.runtime.build(made, f"{real.instance}:{ns}", 60, lines.append)
    return lines


@pytest.mark.engine
@pytest.mark.parametrize(
    "line",
    [
        "RUN --network=host true",
        "RUN --security=insecure true",
        "RUN --mount=type=ssh ls /run/buildkit",
        "RUN --mount=type=secret,id=OTHER,required=true cat /run/secrets/OTHER",
        "RUN --mount=type=bind,source=/,target=/host,rw ls /host/etc/shadow",
        "RUN --mount=type=bind,source=../../../..,target=/host ls /host/etc/shadow",
        "COPY ../../../etc/shadow /",
        "COPY link /",
        "COPY folder/shadow /",
        "RUN ls /var/run/docker.sock",
        "RUN test $(id -u) = 0 && mknod /disk b 8 0 && head -c 1 /disk",
    ],
)
async def test_a_dockerfile_has_no_power_over_the_machine(real: EngineBench, tmp_path: Path, line: str) -> None:
    def links() -> None:
        (tmp_path / "link").symlink_to("/etc/shadow")
        (tmp_path / "folder").symlink_to("/etc")
        (tmp_path / ".dockerignore").symlink_to("/etc/shadow")

    await asyncio.to_thread(links)
    with pytest.raises(BuildFailed) as caught:
        await build(real, tmp_path, f"FROM busybox:stable\n{line}\n")
    assert "root:" not in "\n".join(caught.value.lines)


@pytest.mark.engine
async def test_a_cache_is_not_shared_between_projects(real: EngineBench, tmp_path: Path) -> None:
    name = real.instance
    mount = f"RUN --mount=type=cache,id={name},target=/cache"
    await build(real, tmp_path, f"FROM busybox:stable\n{mount} echo poison > /cache/x\n", "victim")
    seen = await build(
        real, tmp_path, f"FROM busybox:stable\n{mount} test -e /cache/x && echo there # {name}\n", "victim"
    )
    assert any(line.endswith("there") for line in seen)
    with pytest.raises(BuildFailed):
        await build(
            real,
            tmp_path,
            f"FROM busybox:stable\nARG BUILDKIT_CACHE_MOUNT_NS=victim\n{mount} test -e /cache/x # other {name}\n",
            "thief",
            args={"BUILDKIT_CACHE_MOUNT_NS": "victim"},
        )
