"""One real Godploy for all end-to-end tests, and the person who uses it."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator

import docker
import pytest

from tests.e2e.elsewhere import Elsewhere
from tests.e2e.installation import Installation, free_ports
from tests.e2e.namespace import Namespace
from tests.e2e.person import App, Person
from tests.e2e.secrecy import Arguments


@pytest.fixture(scope="session")
def away() -> Iterator[Namespace]:
    namespace = Namespace(f"godploy-{uuid.uuid4().hex[:6]}")
    namespace.make()
    yield namespace
    namespace.remove()


@pytest.fixture(scope="session")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Elsewhere]:
    elsewhere = Elsewhere(tmp_path_factory.mktemp("elsewhere"), free_ports(1)[0])
    elsewhere.start()
    yield elsewhere
    elsewhere.stop()


@pytest.fixture(scope="session")
def arguments() -> Iterator[Arguments]:
    arguments = Arguments()
    arguments.start()
    yield arguments
    arguments.stop()


@pytest.fixture(scope="session")
def server(
    engine: docker.DockerClient,
    tmp_path_factory: pytest.TempPathFactory,
    elsewhere: Elsewhere,
    away: Namespace,
    arguments: Arguments,
) -> Iterator[Installation]:
    """After the namespace: the certificate names the addresses that the machine has when it is first started."""
    installation = Installation(tmp_path_factory.mktemp("godploy"), f"e{uuid.uuid4().hex[:10]}", engine)
    try:
        installation.start(poll_interval="1.5", private_bases=elsewhere.base)
        installation.make_owner()
        yield installation
        code = installation.stop()
    finally:
        strays = installation.remove()
    log = installation.log.read_text()
    assert code == 0, log[-2000:]
    assert "Traceback" not in log, log[log.index("Traceback") - 500 :][:5000]
    assert not re.findall(r"^.* (?:ERROR|CRITICAL) .*$", log, re.MULTILINE)
    assert strays == []
    assert installation.left_over() == []


@pytest.fixture(scope="session")
def person(server: Installation, tmp_path_factory: pytest.TempPathFactory) -> Person:
    person = Person(tmp_path_factory.mktemp("ada"), server)
    person.login()
    return person


@pytest.fixture(scope="session")
def shop(person: Person) -> App:
    """A web service and a worker of the same image: the healthy release that pushes may not harm."""
    manifest = {
        "version": 1,
        "services": {
            "web": {
                "build": ".",
                "port": 8000,
                "health": {"path": "/healthz", "start_timeout": "4s"},
                "resources": {"memory": "128M"},
                "deploy": {"drain": "3s"},
            },
            "worker": {"image_from": "web", "command": ["python", "app.py", "worker"], "deploy": {"settle": "1s"}},
        },
    }
    app = person.app("shop", manifest)
    app.live(app.push())
    return app
