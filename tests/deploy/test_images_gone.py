"""An image that is gone (a restored machine, a clean-up by hand) is built again by the next push, though its sources
are the same."""

from __future__ import annotations

from pathlib import Path

from godploy.core.model import State
from godploy.runtimes.fake.world import World
from tests.deploy.harness import Edge, godploy

FILES = {
    "Dockerfile": "FROM scratch\n",
    "godploy.yaml": "version: 1\nservices:\n  web: {build: {}, port: 80, deploy: {drain: 0s}}\n",
}


async def test_the_next_push_builds_it_again(tmp_path: Path) -> None:
    world = World()
    edge = Edge(world)
    async with godploy(tmp_path, world, edge) as it:
        repository = await it.repository(await it.project())
        await it.push(repository, it.commit(repository, FILES))
        await it.settled()
    for left in (world.containers, world.images, world.tags, world.networks):
        left.clear()
    world.built.clear()
    async with godploy(tmp_path, world, edge) as it:
        await it.push(repository, it.commit(repository, FILES, "the same once more"))
        await it.settled()
        assert (await it.newest()).state is State.SUCCEEDED, (await it.newest()).error
        assert edge.serves("web-shop.localhost") is not None


async def test_an_image_that_is_there_is_not_built_again(tmp_path: Path) -> None:
    world = World()
    async with godploy(tmp_path, world) as it:
        repository = await it.repository(await it.project())
        await it.push(repository, it.commit(repository, FILES))
        await it.settled()
        built = len(world.built)
        await it.push(repository, it.commit(repository, FILES, "the same once more"))
        await it.settled()
        assert ((await it.newest()).result, len(world.built)) == ("nothing changed", built)
