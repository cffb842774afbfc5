"""What did not change is neither built nor restarted, whatever else did: the commit, a tag, a template, a default."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from unittest import mock

import docker
import pytest

from godploy import resources
from tests.e2e.installation import Installation
from tests.e2e.person import App, Person

pytestmark = pytest.mark.engine

BUILT = ("web", "api", "docs", "admin", "blog")
DOCKERFILE = """\
FROM busybox:stable
COPY . /www
CMD ["httpd", "-f", "-p", "8000", "-h", "/www"]
"""


@pytest.fixture(scope="module")
def moving(server: Installation) -> Iterator[str]:
    """A tag of this run alone."""
    tag = f"e2e/{server.name}:moving"
    yield tag
    with suppress(docker.errors.ImageNotFound):
        server.engine.images.remove(tag)


@pytest.fixture(scope="module")
def many(person: Person, moving: str) -> App:
    """Five services that are built, one of a moving tag and one of a template; one names the commit."""
    server = person.server
    server.engine.images.get("busybox:stable").tag(moving)
    services = {
        name: {"build": {"context": name}, "port": 8000, "deploy": {"drain": "1s"}, "stop_grace_period": "1s"}
        for name in BUILT
    }
    services["web"]["env"] = {"COMMIT": "${deployment.commit}"}
    services["sleeper"] = {"image": moving, "command": ["sleep", "3600"], "deploy": {"settle": "1s"}}
    services["cache"] = {"template": "redis"}
    app = person.app("many", {"version": 1, "services": services}, files=None)
    for name in BUILT:
        app.write(f"{name}/Dockerfile", DOCKERFILE)
        app.write(f"{name}/index.html", f"{name} 1\n")
    app.deploy()
    return app


SERVICES = (*BUILT, "sleeper", "cache")


def test_a_push_that_concerns_nobody(many: App) -> None:
    before, commit = many.running(), many.git("rev-parse", "HEAD")
    assert set(before) == set(SERVICES)
    many.write("README.md", "Nobody builds this.\n")
    seen = many.deploy()
    assert "nothing changed" in seen
    assert "building" not in seen
    assert many.running() == before
    environment = many.server.engine.containers.get(before["web"]).attrs["Config"]["Env"]
    assert f"COMMIT={commit}" in environment, "it keeps the commit that it was made for"


def test_a_push_that_concerns_one_of_five(many: App) -> None:
    before = many.running()
    many.write("docs/index.html", "docs 2\n")
    seen = many.deploy()
    assert seen.count(": building ") == 1
    after = many.running()
    assert [service for service in SERVICES if after[service] != before[service]] == ["docs"]


def test_an_upgrade_a_newer_template_and_a_moved_tag_restart_nothing(many: App, server_upgraded: None) -> None:
    server, before = many.server, many.running()
    server.engine.images.get("redis:7").tag(f"e2e/{server.name}:moving")
    many.write("README.md", "Still nobody builds this.\n")
    assert "nothing changed" in many.deploy()
    assert many.running() == before
    many.write("blog/index.html", "blog 2\n")
    seen = many.deploy()
    assert seen.count(": building ") == 1
    after = many.running()
    assert [service for service in SERVICES if after[service] != before[service]] == ["blog"]

    many.manifest["services"]["other"] = {"template": "redis"}
    many.deploy()
    new = many.server.engine.containers.get(many.running()["other"])
    assert "NEWER=yes" in new.attrs["Config"]["Env"], "the counterproof: the upgraded server was at work"


@pytest.fixture
def server_upgraded(many: App, tmp_path: Path) -> Iterator[None]:
    server = many.server
    shutil.copytree(resources.root("templates"), tmp_path / "templates")
    file = tmp_path / "templates/redis/template.yaml"
    newer = file.read_text().replace("revision: 1", "revision: 2").replace("memory: 256M", "memory: 300M")
    file.write_text(newer.replace("env:\n", 'env:\n  NEWER: "yes"\n', 1))
    assert server.stop() == 0
    with mock.patch.dict(os.environ, TEMPLATES=str(tmp_path / "templates")):
        server.start(command=(sys.executable, Path(__file__).parent / "upgraded.py"))
    yield
    assert server.stop() == 0
    server.start()
