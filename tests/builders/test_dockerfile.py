"""The command of a Dockerfile build."""

from __future__ import annotations

import pytest

from godploy.builders.dockerfile import Inputs, commands
from godploy.core.plan import BuildPlan
from godploy.redact import Secret

BUILD = BuildPlan(
    key="k",
    context="app",
    dockerfile="app/docker/Dockerfile",
    target="runtime",
    args={"AT": "v-${deployment.commit}", "LITERAL": "$${x}", "A": "b c"},
    secrets={"NPM_TOKEN": 2},
    pull=True,
)
INPUTS = Inputs("/exported", "abc123", {"NPM_TOKEN": Secret("hush")})


def test_the_whole_command() -> None:
    (command,) = commands(BUILD, INPUTS, tag="gp/t:1", labels={"godploy.instance": "main"}, cache_ns="p1-e1")
    assert command.argv == (
        "docker", "build", "--progress", "plain", "-t", "gp/t:1", "-f", "/exported/app/docker/Dockerfile",
        "--target", "runtime", "--pull", "--no-cache",
        "--build-arg", "A=b c", "--build-arg", "AT=v-abc123", "--build-arg", "LITERAL=${x}",
        "--build-arg", "BUILDKIT_CACHE_MOUNT_NS=p1-e1",
        "--secret", "id=NPM_TOKEN,src={secrets}/NPM_TOKEN",
        "--label", "godploy.instance=main",
        "/exported/app",
    )  # fmt: skip
    assert command.env["DOCKER_BUILDKIT"] == "1"
    assert command.secret_files == {"NPM_TOKEN": "hush"}
    assert not any("hush" in word for word in command.argv)


def test_the_smallest_command() -> None:
    build = BuildPlan("k", "", "Dockerfile", None, {}, {}, False)
    (command,) = commands(build, Inputs("/exported/", "c", {}), tag="t", labels={}, cache_ns="n")
    assert command.argv == (
        "docker", "build", "--progress", "plain", "-t", "t", "-f", "/exported/Dockerfile",
        "--build-arg", "BUILDKIT_CACHE_MOUNT_NS=n", "/exported",
    )  # fmt: skip


def test_nothing_but_the_commit_is_filled_in() -> None:
    build = BuildPlan("k", "", "Dockerfile", None, {"A": "${secrets.KEY@1}"}, {}, False)
    with pytest.raises(ValueError, match=r"secrets\.KEY"):
        commands(build, INPUTS, tag="t", labels={}, cache_ns="n")
