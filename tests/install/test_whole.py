"""The installer as a user meets it: on a bare machine, from nothing to a live demo, an upgrade, and away again."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from tests.install.fresh import CHECKOUT, MACHINE, fresh_machine, run

# What packages bring along stays after an uninstallation, and says nothing about us.
LOOK_AT_FILES = (
    "find /opt /root /home /srv /usr/local /var/lib/godploy* /etc/systemd -not -path '/root/godploy*'"
    " | grep -Ev '^/opt/containerd|target.wants|/usr/local/lib/python3' | sort"
)

INSTALL_DEMO = "bash install/install.sh --demo"


def address_in(output: str) -> str:
    found = re.search(r"The demo is live: +(http\S+)", output)
    assert found, output
    return found[1]


@pytest.fixture
def machine() -> Iterator[Path]:
    with fresh_machine() as directory:
        yield directory


@pytest.mark.long
def test_a_bare_machine_without_systemd_and_registry(machine: Path) -> None:
    story = f"""
        set -e
        cd /root/godploy
        {LOOK_AT_FILES} >/tmp/before
        {INSTALL_DEMO}
        echo == second push
        cd /root/godploy-demo
        sed -i 's/It is live/It is changed/' www/index.html
        git commit -qam Changed
        page() {{ curl -fsS --max-time 10 --resolve web-demo.localhost:80:127.0.0.1 http://web-demo.localhost/; }}
        touch /tmp/keep-asking
        while [ -e /tmp/keep-asking ]; do page >/dev/null || echo failed; echo asked; done >/tmp/answers 2>&1 &
        git push godploy main
        rm /tmp/keep-asking
        wait
        page | grep '<h1>'
        echo "requests meanwhile: $(grep -c asked /tmp/answers), failed: $(grep -c failed /tmp/answers)"
        echo == again
        cd /root/godploy
        {INSTALL_DEMO}
        echo == removal
        docker image inspect busybox:stable >/dev/null && echo the engine answers
        bash install/uninstall.sh --yes
        {LOOK_AT_FILES} >/tmp/after
        echo == compare
        diff /tmp/before /tmp/after && echo nothing is left
        cat /proc/[0-9]*/comm | grep -E 'godploy|respawn|traefik|dockerd|containerd' || echo nothing runs
    """
    done = run([MACHINE, "run", machine, "bash", "-c", story])
    assert done.returncode == 0, done.stdout
    first, second, again, removal, compare = re.split(r"^== .*\n", done.stdout, flags=re.MULTILINE)
    assert address_in(first) == "http://web-demo.localhost/"
    assert "remote: " in first
    assert "It is live" in first
    assert re.search(r"Your API token: +\S{20}", first)
    assert "It is changed" in second
    assert re.search(r"requests meanwhile: [1-9]\d+, failed: 0$", second, flags=re.MULTILINE), second
    assert "signed in already" in again
    assert "It is changed" in again
    assert "the engine answers" in removal
    assert "docker.io" in removal, "packages that stay are listed"
    assert "nothing is left" in compare
    assert "nothing runs" in compare


def free_ports(count: int) -> list[str]:
    sockets = [socket.socket() for _ in range(count)]
    for listening in sockets:
        listening.bind(("127.0.0.1", 0))
    ports = [str(listening.getsockname()[1]) for listening in sockets]
    for listening in sockets:
        listening.close()
    return ports


@pytest.mark.engine
def test_beside_another_installation(engine: docker.DockerClient, instance: str, tmp_path: Path) -> None:
    prefix = tmp_path / "here"
    http, https, api, own = free_ports(4)
    flags: list[str | Path] = [
        *("--prefix", prefix, "--instance", instance, "--port", http, "--https-port", https),
        *("--traefik-api-port", api, "--listen", f"127.0.0.1:{own}", "--pool", "10.217.0.0/16"),
    ]
    environment = {**os.environ, "GIT_SSL_CAINFO": "/etc/ssl/certs/ca-certificates.crt"}
    try:
        done = run([CHECKOUT / "install/install.sh", "--demo", *flags], env=environment)
        assert done.returncode == 0, done.stdout
        assert address_in(done.stdout) == f"http://web-demo.localhost:{http}/"
        assert "GIT_SSL_CAINFO is set" in done.stdout
        again = run([CHECKOUT / "install/install.sh", "--demo", "--prefix", prefix])
        assert again.returncode == 0, again.stdout
        assert address_in(again.stdout) == address_in(done.stdout), "an upgrade keeps its settings"
        ours: dict[str, str | list[str] | bool] = {"label": f"godploy.instance={instance}"}
        shared = engine.images.list(filters=ours)[0]
        foreign = engine.containers.create(shared.id, name=f"{instance}-foreign", labels={"godploy.instance": ""})
    finally:
        removed = run([CHECKOUT / "install/uninstall.sh", "--purge=localhost", "--prefix", prefix])
    assert removed.returncode == 0, removed.stdout
    assert not prefix.exists(), sorted(prefix.rglob("*"))
    assert f"the image {shared.tags[0]} stays" in removed.stdout
    foreign.remove()
    shared.remove()
    assert engine.containers.list(all=True, filters=ours) == []
    assert engine.networks.list(filters=ours) == []
    assert engine.volumes.list(filters=ours) == []
    assert engine.images.list(all=True, filters=ours) == []
