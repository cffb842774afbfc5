"""A Godploy that may ask a certificate authority, and somebody elsewhere who trusts that authority alone."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from tests.certificates.front import Front
from tests.certificates.pebble import Pebble
from tests.e2e.elsewhere import Elsewhere
from tests.e2e.installation import GODPLOY, Installation, free_ports
from tests.e2e.person import Person

OWN = "deploy.example.com"
HOSTS = ("shop.example.com", "blog.example.com", "late.example.com", "hooked.example.com", "often.example.com")


def with_hosts(file: Path) -> tuple[str, ...]:
    """What a command begins with to see these names: in a mount namespace of its own, nobody else sees them."""
    return ("unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', str(file))


@pytest.fixture(scope="module")
def pebble(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pebble]:
    pebble = Pebble(tmp_path_factory.mktemp("pebble"), *free_ports(2))
    try:
        pebble.start()
        yield pebble
    finally:
        pebble.stop()


@pytest.fixture(scope="module")
def front(pebble: Pebble) -> Iterator[Front]:
    front = Front(pebble)
    yield front
    front.stop()


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("names") / "hosts"
    file.write_text(f"127.0.0.1 localhost\n127.0.0.1 {OWN} {' '.join(HOSTS)}\n")
    return file


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Elsewhere]:
    elsewhere = Elsewhere(tmp_path_factory.mktemp("elsewhere"), free_ports(1)[0])
    elsewhere.start()
    yield elsewhere
    elsewhere.stop()


@pytest.fixture(scope="module")
def server(
    engine: docker.DockerClient,
    pebble: Pebble,
    front: Front,
    hosts: Path,
    elsewhere: Elsewhere,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Installation]:
    installation = Installation(tmp_path_factory.mktemp("godploy"), f"c{uuid.uuid4().hex[:10]}", engine)
    try:
        installation.start(
            command=(*with_hosts(hosts), GODPLOY),
            http_port=str(pebble.http),
            https_port=str(pebble.https),
            url=f"https://{OWN}:{pebble.https}",
            acme_email="ada@example.com",
            acme_url=front.url,
            acme_ca=str(pebble.authority),
            private_bases=elsewhere.base,
        )
        installation.http, installation.https = pebble.http, pebble.https
        installation.make_owner()
        yield installation
        code = installation.stop()
    finally:
        strays = installation.remove()
    log = installation.log.read_text()
    assert code == 0, log[-2000:]
    assert "Traceback" not in log, log[log.index("Traceback") - 500 :][:5000]
    assert strays == []
    assert installation.left_over() == []


@pytest.fixture(scope="module")
def person(server: Installation, pebble: Pebble, hosts: Path, tmp_path_factory: pytest.TempPathFactory) -> Person:
    """Their programs know the names, and trust what Pebble issues and nothing else."""
    home = tmp_path_factory.mktemp("ada")
    root = home / "root.pem"
    root.write_text(pebble.root())
    trusting = ("env", f"SSL_CERT_FILE={root}", f"GIT_SSL_CAINFO={root}")
    return Person(home, server, (*with_hosts(hosts), *trusting))
