"""Build secrets reach the build: BuildKit would take layers from its cache that were made with other ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from godploy.deploy import acts
from godploy.errors import Conflict, Invalid
from godploy.runtimes.fake.world import HEALTHY, World
from godploy.store import projects
from tests.deploy.harness import godploy

FILES = {
    "Dockerfile": "FROM scratch\n",
    "godploy.yaml": "version: 1\nservices:\n  web: {build: {secrets: [TOKEN]}, port: 80, deploy: {drain: 0s}}\n",
}


async def test_a_build_with_secrets_takes_no_layer_that_others_may_have_made(tmp_path: Path) -> None:
    world = World()
    fresh: list[bool] = []

    def build(commands: object, tag: str) -> str:
        fresh.append("--no-cache" in str(commands))
        return HEALTHY

    world.on_build = build
    async with godploy(tmp_path, world) as it:
        project = await it.project()
        repository = await it.repository(project)
        pool = it.services.settings.pool
        production = await it.services.store.write(
            lambda conn: projects.ensure_environment(conn, project.id, "production", pool)
        )
        await acts.set_secrets(it.services, production, {"TOKEN": "the first one"}, "tester", deploy=False)
        await it.push(repository, it.commit(repository, FILES))
        await it.settled()
        await it.push(repository, it.commit(repository, {**FILES, "app.py": "changed"}))
        await it.settled()
        await acts.set_secrets(it.services, production, {"TOKEN": "the second one"}, "tester", deploy=False)
        await it.push(repository, it.commit(repository, {**FILES, "app.py": "changed again"}))
        await it.settled()
        with pytest.raises(Conflict, match="repository shop uses TOKEN in production"):
            await acts.remove_secret(it.services, production, "TOKEN", "tester")
    assert fresh == [True, True, True]


@pytest.mark.parametrize(
    "path", ["../godploy.yaml", "/godploy.yaml", "a/../../b.yaml", "a//b.yaml", "./godploy.yaml", ".."]
)
async def test_a_manifest_path_stays_in_the_repository(path: str, tmp_path: Path) -> None:
    async with godploy(tmp_path, World()) as it:
        with pytest.raises(Invalid, match="not the path of a file"):
            await acts.create_repository(it.services, await it.project(), "shop", None, path)
