"""A web app with a MongoDB from the template, through the official client. In the longer suite: where no registry
answers, the image is a stand-in (FerretDB) that takes a minute, and Go, to make."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import docker
import pytest

from tests.e2e.person import Person

pytestmark = [pytest.mark.engine, pytest.mark.long]

IMAGE = "mongo:7"
_FERRETDB = "github.com/FerretDB/FerretDB"
_VERSION = "v1.24.0"


@pytest.fixture(scope="module")
def mongo(engine: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The image of the template: there already, pulled, or made."""
    try:
        engine.images.get(IMAGE)
    except docker.errors.ImageNotFound:
        try:
            engine.images.pull(*IMAGE.split(":"))
        except docker.errors.APIError:
            make(engine, tmp_path_factory.mktemp("mongo"))
    return IMAGE


def make(engine: docker.DockerClient, folder: Path) -> None:
    go = shutil.which("go")
    assert go, "no registry has mongo:7, and the stand-in is made with Go: install golang"
    source = folder / "source"
    source.mkdir()
    (source / "go.mod").write_text(f"module standin\ngo 1.24\nrequire {_FERRETDB} {_VERSION}\n")
    (source / "tools.go").write_text(f'//go:build tools\npackage standin\nimport _ "{_FERRETDB}/cmd/ferretdb"\n')
    subprocess.run([go, "mod", "tidy", "-e"], cwd=source, check=True, capture_output=True)
    context = folder / "context"
    shutil.copytree(Path(__file__).parent / "mongo", context)
    # Without build information the program does not ask for files that only its own release has.
    flags = "-s -w -X runtime.modinfo="
    command = [go, "build", "-ldflags", flags, "-o", str(context / "ferretdb"), f"{_FERRETDB}/cmd/ferretdb"]
    subprocess.run(command, cwd=source, check=True, capture_output=True, env={**os.environ, "CGO_ENABLED": "0"})
    engine.images.build(path=str(context), tag=IMAGE, rm=True)


def test_a_web_app_with_its_mongodb_by_one_push(mongo: str, person: Person) -> None:
    manifest = {
        "version": 1,
        "services": {
            "web": {
                "build": ".",
                "port": 8000,
                "health": {"path": "/"},
                "env": {"MONGO_URL": "${services.db.url}"},
                "deploy": {"drain": "1s"},
            },
            "db": {"template": "mongodb", "parameters": {"database": "visits"}},
        },
    }
    app = person.app("documents", manifest, files="documents")
    app.live(app.push())
    assert [app.ask("/visit").text for _ in range(3)] == ["1", "2", "3"]
    database = app.running()["db"]
    app.commit()
    app.live(app.push())
    assert app.ask("/").text == "3", "the data outlives a push"
    assert app.running()["db"] == database, "a push of the app leaves its database alone"
