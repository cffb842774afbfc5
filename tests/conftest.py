"""What every test shares: a guard against blocking the event loop, and the real engine for those that ask for it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import docker
import pytest
import requests
from blockbuster import blockbuster_ctx


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("gitea", "a real Gitea or Forgejo; without it the tests that need one are left out")
    group.addoption("--gitea", metavar="ADDRESS", help="its web address; it must be free to post to loopback")
    group.addoption("--gitea-login", metavar="FILE", help='holds "name password" of its administrator')


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--gitea") and config.getoption("--gitea-login"):
        return
    left_out = [item for item in items if "gitea" in getattr(item, "fixturenames", ())]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)


@pytest.fixture(autouse=True, scope="session")
def _never_block_the_loop() -> Iterator[None]:
    """A call of ours that would block the event loop (a file, a socket, a sleep) raises BlockingError instead."""
    with blockbuster_ctx("godploy"):
        yield


@pytest.fixture(scope="session")
def engine() -> Iterator[docker.DockerClient]:
    """A client of the real Docker engine; without one the test fails, since skipping it would prove nothing."""
    try:
        client = docker.from_env(timeout=60)
        client.ping()
    except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
        pytest.fail(f"no Docker engine answers ({error}); tests/run starts one, tests/run --fast needs none")
    yield client
    client.close()


@pytest.fixture
def instance(engine: docker.DockerClient) -> Iterator[str]:
    """The name of an instance that nobody else has; what carries its label is removed from the engine afterwards."""
    name = f"t{uuid.uuid4().hex[:10]}"
    yield name
    ours: dict[str, str | list[str] | bool] = {"label": f"godploy.instance={name}"}
    for container in engine.containers.list(all=True, filters=ours, ignore_removed=True):
        container.remove(force=True, v=True)
    for network in engine.networks.list(filters=ours):
        network.remove()
    for volume in engine.volumes.list(filters=ours):
        volume.remove(force=True)
    for image in engine.images.list(all=True, filters=ours):
        engine.images.remove(str(image.id), force=True)
