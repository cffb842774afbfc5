"""The single file, with nothing that leads it to a Python: as the command line, and as a server that takes a push."""

from __future__ import annotations

import shutil
from pathlib import Path

import docker
import pytest

from godploy import __version__
from tests.e2e.installation import Installation

from .conftest import CHECKOUT, CLEAN, run
from .laptop import Laptop


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that it was made into."""
    output = tmp_path_factory.mktemp("single")
    run(CHECKOUT / "packaging" / "single-file", "--wheel", wheel, "--output", output)
    assert [path.name for path in output.iterdir()] == ["godploy"]
    return output


@pytest.mark.long
@pytest.mark.engine
def test_one_file_is_client_and_server(
    programs: Path, wheel: Path, engine: docker.DockerClient, instance: str, tmp_path: Path
) -> None:
    laptop = Laptop(tmp_path, programs)
    assert laptop.godploy("--version") == f"godploy {__version__}\n"
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "Dockerfile").write_text("FROM busybox\nEXPOSE 8000\n")
    laptop.godploy("init", cwd=tmp_path / "shop")
    laptop.godploy("validate", cwd=tmp_path / "shop")
    assert "--wheel FILE" in laptop.godploy("install", "--help")
    server = Installation(tmp_path / "server", instance, engine)
    server.root.mkdir()
    try:
        server.start(command=(programs / "godploy",))
        server.make_owner()
        laptop.login(server.url, server.token, server.fingerprint())
        seen = laptop.push_demo()
        assert "remote: deployment 1 to production: live in" in seen, seen
        assert "web" in laptop.godploy("ps", cwd=tmp_path / "demo")
        assert "It is live" in server.ask("web-demo.localhost").text
        offered = f"http://127.0.0.1:{server.listen}/wheels/{wheel.name}"
        assert run("curl", "-fsS", "-o", tmp_path / wheel.name, offered, env=CLEAN) == ""
        assert (tmp_path / wheel.name).read_bytes() == wheel.read_bytes()
        assert server.stop() == 0
    finally:
        strays = server.remove()
    assert strays == []
    shutil.rmtree(programs)
