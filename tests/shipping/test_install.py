"""A server made from the wheel alone, by `godploy install`, and taken away by `godploy uninstall`."""

from __future__ import annotations

from pathlib import Path

import docker
import pytest

from tests.e2e.installation import free_pool, free_ports

from .conftest import contents, environment, run


@pytest.mark.long
@pytest.mark.engine
def test_no_checkout_is_needed(wheel: Path, engine: docker.DockerClient, instance: str, tmp_path: Path) -> None:
    godploy = environment(tmp_path / "got", wheel) / "godploy"
    http, https, api, listen = free_ports(4)
    prefix = tmp_path / "here"
    flags = (
        *("--prefix", prefix, "--instance", instance, "--port", http, "--https-port", https),
        *("--traefik-api-port", api, "--listen", f"127.0.0.1:{listen}", "--pool", free_pool(engine)),
    )
    removal = ("uninstall", "--purge=localhost", "--prefix", prefix)
    try:
        said = run(godploy, "install", "--demo", *flags, merged=True)
        assert f"The demo is live:   http://web-demo.localhost:{http}/" in said
        assert f"/wheels/{wheel.name}" in said
        offered = f"http://127.0.0.1:{listen}/wheels/{wheel.name}"
        run("curl", "-fsS", "--noproxy", "*", "-o", tmp_path / wheel.name, offered)
        assert contents(tmp_path / wheel.name).keys() == contents(wheel).keys()
    finally:
        installed = prefix / "usr/local/bin/godploy"
        run(installed if installed.exists() else godploy, *removal)
    assert not prefix.exists(), sorted(prefix.rglob("*"))
