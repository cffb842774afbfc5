"""A real engine runtime with an environment of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import docker
import pytest
from contract.bench import EngineBench, new_environment


@pytest.fixture
async def real(engine: docker.DockerClient, instance: str) -> AsyncIterator[EngineBench]:
    bench = EngineBench(engine, instance, {"busybox": engine.images.get("busybox:stable").id})
    yield bench
    await bench.close()


@pytest.fixture
async def environment(real: EngineBench) -> str:
    return await new_environment(real.runtime)
