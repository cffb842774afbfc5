"""An image that was built for one environment is no other's: not by its tag, its id, nor by some beginning of that."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from godploy.core.command import Command
from godploy.core.model import Deployment, State
from godploy.runtimes.protocol import ImageNotFound
from tests.contract.bench import EngineBench
from tests.deploy.harness import Godploy
from tests.deploy.shop import NOW, built, manifest, web
from tests.runtimes.conftest import real

__all__ = ["real"]


async def _pushed(it: Godploy, project: str, files: Mapping[str, str]) -> Deployment:
    """The deployment of a push to a project, ended."""
    repository = await it.repository(await it.project(project), project)
    delivery = await it.push(repository, it.commit(repository, files))
    await it.settled()
    return next(each for each in await it.deployments() if each.delivery == delivery.id)


async def test_a_manifest_cannot_name_what_another_project_built(it: Godploy) -> None:
    await _pushed(it, "victim", built("private", web={"build": {}, "port": 8000, "deploy": NOW}))
    image = next(iter(it.world.built))
    tag = next(tag for tag, found in it.world.tags.items() if found == image)
    for name in (image, tag):
        refused = await _pushed(it, "thief", manifest(web=web(name)))
        assert refused.error is not None and refused.error["code"] == "image_not_found"
    assert [container.image for container in it.world.containers.values()] == [image]
    own = await _pushed(it, "victim", manifest(web=web(image), again=web(tag)))
    assert own.state is State.SUCCEEDED, own.error


@pytest.mark.engine
async def test_the_engine_finds_it_for_its_own_environment_only(real: EngineBench, tmp_path: Path) -> None:
    await asyncio.to_thread((tmp_path / "Dockerfile").write_text, "FROM busybox:stable\n")
    tag = f"godploy/{real.instance}-shopenv-web:1"
    labels = ("--label", f"godploy.instance={real.instance}", "--label", "godploy.environment=shopenv")
    command = Command(("docker", "build", "--network", "none", *labels, "-t", tag, str(tmp_path)))
    image = await real.runtime.build([command], tag, 60, lambda line: None)
    short = image.id.removeprefix("sha256:")
    for name in (tag, image.id):
        assert (await real.runtime.resolve(name, pull=False, environment="shopenv")).id == image.id
        with pytest.raises(ImageNotFound):
            await real.runtime.resolve(name, pull=False, environment="other")
    for name in (short, short[:12], f"sha256:{short[:12]}"):
        for environment in ("shopenv", "other", None):
            with pytest.raises(ImageNotFound):
                await real.runtime.resolve(name, pull=False, environment=environment)
    public = await real.runtime.resolve("busybox:stable", pull=False, environment="other")
    assert public == await real.runtime.resolve("busybox:stable", pull=False)
