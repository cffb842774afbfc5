"""The contract suite runs once on the fake and once on a real engine; the latter half is marked `engine`."""

from __future__ import annotations

import io
import json
import tarfile
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping

import docker
import pytest

from godploy.runtimes.fake import World

from .bench import PROGRAMS, Bench, EngineBench, FakeBench, new_environment


@pytest.fixture(scope="session")
def behaving_images(engine: docker.DockerClient) -> Iterator[Mapping[str, str]]:
    """Behaviour → id of an image that behaves so; made from busybox and removed afterwards."""
    label = f"contract-{uuid.uuid4().hex[:10]}"
    images: dict[str, str] = {}
    for behaviour, words in PROGRAMS.items():
        lines = [
            "FROM busybox:stable",
            f"LABEL godploy.test={label} behaviour={behaviour}",
            "WORKDIR /www",
            *(["COPY index.html /www/"] if behaviour == "healthy" else []),
            f"CMD {json.dumps(words)}",
            "EXPOSE 8000",
        ]
        image, _ = engine.images.build(
            fileobj=_context({"Dockerfile": "\n".join(lines), "index.html": "ok\n"}), custom_context=True, rm=True
        )
        images[behaviour] = image.id
    yield images
    for image in engine.images.list(filters={"label": f"godploy.test={label}"}):
        engine.images.remove(image.id, force=True)


def _context(files: Mapping[str, str]) -> io.BytesIO:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
    packed.seek(0)
    return packed


@pytest.fixture(params=["fake", pytest.param("engine", marks=pytest.mark.engine)])
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    if request.param == "fake":
        yield FakeBench(World())
        return
    client = request.getfixturevalue("engine")
    instance = request.getfixturevalue("instance")
    real = EngineBench(client, instance, request.getfixturevalue("behaving_images"))
    yield real
    await real.close()


@pytest.fixture
async def environment(bench: Bench) -> str:
    return await new_environment(bench.runtime)
