"""Godploy in containers, by the compose file: from nothing to a page that is live, which goes on without it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import docker
import pytest

from tests.e2e.installation import GODPLOY, OWNER, free_pool, free_ports, until

from .conftest import CHECKOUT, PIP, run
from .laptop import Laptop


def compose_program() -> list[str]:
    """Compose as Debian packs it, or as Docker does."""
    for words in (["docker-compose"], ["docker", "compose"]):
        if shutil.which(words[0]) and subprocess.run([*words, "version"], capture_output=True).returncode == 0:
            return words
    pytest.fail("there is no docker compose here; tests/run --long brings it")


@dataclass
class Composed:
    folder: Path
    name: str
    engine: docker.DockerClient
    settings: dict[str, str]
    program: list[str] = field(default_factory=compose_program)

    def compose(self, *words: str) -> str:
        return run(*self.program, "-p", self.name, *words, cwd=self.folder)

    def on_the_server(self, *words: str) -> str:
        return self.compose("exec", "-T", "godploy", "godploy", *words, "--data", self.settings["GODPLOY_DATA"])

    def health(self) -> str:
        (container,) = self.engine.containers.list(filters={"name": f"{self.name}.godploy"})
        return str(container.attrs["State"]["Health"]["Status"])


@pytest.fixture
def composed(wheel: Path, engine: docker.DockerClient, instance: str, tmp_path: Path) -> Iterator[Composed]:
    image = f"godploy:{instance}"
    run(CHECKOUT / "packaging" / "container-image", "--wheel", wheel, "--tag", image)
    http, https, api, listen = map(str, free_ports(4))
    settings = {
        "DOCKER_GROUP": str(Path("/var/run/docker.sock").stat().st_gid),
        "GODPLOY_IMAGE": image,
        "GODPLOY_DATA": str(tmp_path / "data"),
        "GODPLOY_INSTANCE": instance,
        "GODPLOY_POOL": free_pool(engine),
        "GODPLOY_URL": f"https://localhost:{https}",
        "GODPLOY_LISTEN": f"127.0.0.1:{listen}",
        "GODPLOY_HTTP_PORT": http,
        "GODPLOY_HTTPS_PORT": https,
        "GODPLOY_TRAEFIK_API_PORT": api,
    }
    folder = tmp_path / "compose"
    folder.mkdir()
    shutil.copy(CHECKOUT / "packaging" / "container" / "compose.yaml", folder)
    (folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    it = Composed(folder, instance, engine, settings)
    yield it
    it.compose("down")
    subprocess.run(["nft", "delete", "table", "inet", f"godploy-{instance}"], capture_output=True)
    engine.images.remove(image, force=True)


@pytest.mark.long
@pytest.mark.engine
def test_from_compose_up_to_a_page(composed: Composed, wheel: Path, tmp_path: Path) -> None:
    url, http = composed.settings["GODPLOY_URL"], composed.settings["GODPLOY_HTTP_PORT"]
    composed.compose("up", "-d")
    until(lambda: composed.health() == "healthy", 90)
    assert f"table inet godploy-{composed.name}\n" in run("nft", "list", "tables")

    composed.on_the_server("user", "create-owner", "--email", OWNER)
    token = composed.on_the_server("user", "token", "--email", OWNER, "--name", "laptop").strip()
    certificate = tmp_path / "data" / "tls" / "certificate.pem"
    told = run("openssl", "x509", "-in", certificate, "-noout", "-fingerprint", "-sha256")
    (tmp_path / "home").mkdir()
    laptop = Laptop(tmp_path / "home", GODPLOY.parent)
    laptop.login(url, token, told.strip().rpartition("=")[2])
    seen = laptop.push_demo()
    assert "remote: deployment 1 to production: live in" in seen, seen
    page = ("curl", "-fsS", "--noproxy", "*", "-H", "Host: web-demo.localhost", f"http://127.0.0.1:{http}/")
    assert "It is live" in run(*page)

    over_tls = (*PIP, "download", "--no-deps", "--cert", certificate, "--dest", tmp_path / "got")
    run(sys.executable, *over_tls, f"{url}/wheels/{wheel.name}")
    assert (tmp_path / "got" / wheel.name).read_bytes() == wheel.read_bytes()

    lines = json.loads(composed.on_the_server("doctor", "--json"))
    assert lines
    composed.compose(
        "exec", "-T", "host", "godploy", "packet-rules", "remove", "--data", composed.settings["GODPLOY_DATA"]
    )
    composed.compose("down")
    assert f"table inet godploy-{composed.name}\n" not in run("nft", "list", "tables")
    assert "It is live" in run(*page), "apps and Traefik are the engine's, and go on"
