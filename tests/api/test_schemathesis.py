"""Schemathesis reads the contract and tries the server: no fault of ours, no answer that the contract does not have."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from godploy.api import contract
from godploy.api.server import listening
from godploy.runtimes.fake.world import World
from godploy.store import people
from tests.api.conftest import URL
from tests.deploy.harness import godploy

MANIFEST = "version: 1\nservices:\n  web: {image: 'web:1', port: 8000}\n"


class Running:
    """A whole Godploy on a loop and a thread of its own, since schemathesis calls from this one."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._started: queue.Queue[tuple[str, str]] = queue.Queue()
        self._stop: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._thread.start()
        self.address, self.token = self._started.get(timeout=30)

    async def _serve(self) -> None:
        self._stop, self._loop = asyncio.Event(), asyncio.get_running_loop()
        world = World()
        world.add_image("web:1", ports=(8000,))
        async with godploy(self._data, world, listen="127.0.0.1:0", url=URL) as running:
            services = running.services
            project = await running.project()
            user = await services.store.read(people.first_owner)
            assert user is not None
            token = await services.store.write(lambda conn: people.create_token(conn, user.id, "test"))
            await running.repository(project)
            async with listening(services) as port:
                self._started.put((f"http://127.0.0.1:{port}", token))
                await self._stop.wait()
                services.stopping.set()

    def close(self) -> None:
        assert self._loop is not None and self._stop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(30)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    it = Running(tmp_path_factory.mktemp("schemathesis") / "data")
    yield it
    it.close()


# Streams are tried in test_whole: here they would be waited for.
_STREAMS = ("deployment_log", "service_logs", "run")
# These ask other servers, which is tried in tests/providers and tests/ssh: a made-up address is nobody's to be asked.
_OUTSIDE = ("create_connection", "scan_host_keys")


def _bounded() -> schemathesis.schemas.BaseSchema:
    loaded = schemathesis.openapi.from_dict(dict(contract.document()))
    return loaded.exclude(operation_id=[*_STREAMS, *_OUTSIDE])


schema = _bounded()


@schema.parametrize()
@settings(
    max_examples=6,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_the_server_keeps_to_the_contract(case: schemathesis.Case, running: Running) -> None:
    if "project" in case.path_parameters and len(case.path_parameters["project"]) % 2:
        case.path_parameters["project"] = "shop"  # half of the time one that is there
    headers = {"Authorization": f"Bearer {running.token}"}
    answer = case.call(base_url=running.address, headers=headers, timeout=20)
    case.validate_response(
        answer,
        checks=[
            not_a_server_error,
            status_code_conformance,
            content_type_conformance,
            response_schema_conformance,
        ],
    )
