"""A Godploy on the fake runtime for each test, with a few images that any manifest may name."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from godploy.runtimes.fake.world import World
from tests.deploy.harness import Godploy, godploy


@pytest.fixture
def world() -> World:
    made = World()
    for image in ("app:1", "app:2", "app:3", "db:1"):
        made.add_image(image)
    made.add_image("broken:1", "exits")
    return made


@pytest.fixture
async def it(tmp_path: Path, world: World) -> AsyncIterator[Godploy]:
    async with godploy(tmp_path, world) as started:
        yield started
