"""Building with whichever `docker` really can, and resolving what a tag leads to, with a registry and without one."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from contract.bench import EngineBench, eventually

from godploy.core.command import Command
from godploy.drivers.docker import Docker
from godploy.runtimes.engine import Engine
from godploy.runtimes.fake import Addresses
from godploy.runtimes.protocol import BuildFailed, ImageNotFound, RuntimeUnavailable

pytestmark = pytest.mark.engine


def silent(line: str) -> None:
    """For what nobody reads."""


@pytest.fixture
def tag(instance: str) -> str:
    return f"{instance}:test"


def command(bench: EngineBench, folder: Path, tag: str, dockerfile: str) -> Command:
    """Without a network: what is tested needs none, and a build's network is not ours to arrange."""
    (folder / "Dockerfile").write_text(dockerfile)
    label = f"godploy.instance={bench.instance}"
    options = ("--network", "none", "--progress", "plain", "--label", label, "-t", tag)
    return Command(("docker", "build", *options, str(folder)))


async def test_a_built_image_is_resolved_and_ours(real: EngineBench, tmp_path: Path, tag: str) -> None:
    lines: list[str] = []
    (tmp_path / "page").write_text(f"hello {tag}")  # never built before, so not taken from the cache
    build = command(real, tmp_path, tag, "FROM busybox:stable\nCOPY page /\nRUN cat page\nEXPOSE 9000 53/udp 80/tcp\n")
    image = await real.runtime.build([build], tag, 60, lines.append)
    assert image.id.startswith("sha256:")
    assert image.ports == (80, 9000)
    assert any(f"hello {tag}" in line for line in lines)
    assert await real.runtime.images() == [image.id]
    assert await real.runtime.has_image(image.id)
    assert (await real.runtime.resolve(tag, pull=False)).id == image.id

    await real.runtime.remove_image(image.id)
    await real.runtime.remove_image(image.id)
    assert not await real.runtime.has_image(image.id)
    assert await real.runtime.images() == []


async def test_an_image_in_use_is_kept(real: EngineBench, tmp_path: Path, tag: str) -> None:
    image = await real.runtime.build([command(real, tmp_path, tag, "FROM busybox:stable\n")], tag, 60, silent)
    container = await asyncio.to_thread(
        real.client.containers.create, image.id, ["true"], labels={"godploy.instance": real.instance}
    )
    await real.runtime.remove_image(image.id)
    assert await real.runtime.has_image(image.id)
    await asyncio.to_thread(container.remove)


@pytest.mark.parametrize(
    ("dockerfile", "code", "step"),
    [
        ("FROM busybox:stable\nRUN echo broken; exit 4\n", "build_failed", "RUN echo broken"),
        ("FROM busybox:stable\nCOPY missing /\n", "build_failed", "COPY missing"),
        ("FROM busybox:stable\nRUN exit 137\n", "build_oom", "RUN exit 137"),
        ("FROM busybox:stable\nRUN echo no space left on device; exit 1\n", "disk_full", "RUN echo no space"),
        ("FRUM busybox\n", "build_failed", ""),
    ],
)
async def test_a_failed_build_says_where(
    real: EngineBench, tmp_path: Path, tag: str, dockerfile: str, code: str, step: str
) -> None:
    with pytest.raises(BuildFailed) as caught:
        await real.runtime.build([command(real, tmp_path, tag, dockerfile)], tag, 60, silent)
    assert caught.value.code == code
    assert step in caught.value.facts["step"]
    assert caught.value.lines
    assert not await real.runtime.has_image(tag)


def sleeping(seconds: int) -> list[int]:
    """Processes anywhere on this machine, containers included, that sleep for exactly that long."""
    found = []
    for words in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if words.read_bytes().split(b"\0")[:2] == [b"sleep", str(seconds).encode()]:
                found.append(int(words.parent.name))
        except OSError:
            continue
    return found


async def test_a_cancelled_build_leaves_nothing_running(real: EngineBench, tmp_path: Path, tag: str) -> None:
    seconds = 100_000 + uuid.uuid4().int % 100_000
    build = command(real, tmp_path, tag, f"FROM busybox:stable\nRUN sleep {seconds}\n")
    running = asyncio.create_task(real.runtime.build([build], tag, 60, silent))

    async def begun() -> bool:
        return bool(await asyncio.to_thread(sleeping, seconds))

    await eventually(begun, 20)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    async def ended() -> bool:
        return not await asyncio.to_thread(sleeping, seconds)

    await eventually(ended, 5)


async def test_a_build_has_a_time_limit(real: EngineBench, tmp_path: Path, tag: str) -> None:
    seconds = 100_000 + uuid.uuid4().int % 100_000
    build = command(real, tmp_path, tag, f"FROM busybox:stable\nRUN sleep {seconds}\n")
    with pytest.raises(BuildFailed) as caught:
        await real.runtime.build([build], tag, 2, silent)
    assert (caught.value.code, caught.value.facts["seconds"]) == ("build_timeout", 2)

    async def ended() -> bool:
        return not await asyncio.to_thread(sleeping, seconds)

    await eventually(ended, 5)


async def test_a_program_without_buildkit_is_passed_over(real: EngineBench, tmp_path: Path) -> None:
    working = await real.runtime.find_builder()  # type: ignore[attr-defined]
    broken = tmp_path / "docker"
    broken.write_text("#!/bin/sh\necho BuildKit is missing >&2\nexit 1\n")
    broken.chmod(0o755)
    runtime = Engine("nobody", Docker(), Addresses(), docker_programs=[str(tmp_path / "absent"), str(broken), working])
    assert await runtime.find_builder() == working
    none = Engine("nobody", Docker(), Addresses(), docker_programs=[str(broken)])
    with pytest.raises(BuildFailed) as caught:
        await none.find_builder()
    assert any("BuildKit is missing" in line for line in caught.value.lines)
    down = Engine("nobody", Docker(f"unix://{tmp_path}/no.sock"), Addresses(), docker_programs=[working])
    with pytest.raises(RuntimeUnavailable):
        await down.find_builder()
    for each in (runtime, none, down):
        await each.close()


async def test_a_program_that_keeps_something_at_each_build(real: EngineBench, tmp_path: Path, tag: str) -> None:
    """As the plugin buildx does, where the service's user has no home to keep it in."""
    working = await real.runtime.find_builder()  # type: ignore[attr-defined]
    keeping = tmp_path / "docker"
    keeping.write_text(f'#!/bin/sh\nmkdir -p "${{DOCKER_CONFIG:-$HOME/.docker}}/buildx" && exec {working} "$@"\n')
    keeping.chmod(0o755)
    runtime = Engine(real.instance, Docker(), Addresses(), docker_programs=[str(keeping)])
    image = await runtime.build([command(real, tmp_path, tag, "FROM busybox:stable\n")], tag, 60, silent)
    assert image.id.startswith("sha256:")
    await runtime.close()


async def test_a_local_image_where_no_registry_answers(real: EngineBench) -> None:
    here = await real.runtime.resolve("redis:7", pull=False)
    assert here.ports == (6379,)
    begun = time.monotonic()
    assert await real.runtime.resolve("redis:7") == here
    assert await real.runtime.resolve(here.id) == here
    with pytest.raises(ImageNotFound, match="no-such-image-of-godploy"):
        await real.runtime.resolve("no-such-image-of-godploy:1")
    with pytest.raises(ImageNotFound):
        await real.runtime.resolve("no-such-image-of-godploy:1", pull=False)
    with pytest.raises(ImageNotFound):
        await real.runtime.resolve("sha256:" + "0" * 64)
    assert time.monotonic() - begun < 45


async def test_a_registry_that_hangs_is_given_up(real: EngineBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("godploy.runtimes.engine.images._REGISTRY_TIMEOUT", 1.0)

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    begun = time.monotonic()
    with pytest.raises(ImageNotFound, match="did not answer"):
        await real.runtime.resolve(f"127.0.0.1:{port}/app:1")
    assert time.monotonic() - begun < 5
    server.close()


@pytest.fixture
async def registry(real: EngineBench) -> AsyncIterator[str]:
    """A registry of our own on this machine, which the engine trusts without TLS as it is on loopback."""
    server = await asyncio.to_thread(_start_registry, real)
    await asyncio.to_thread(server.reload)
    port = server.attrs["NetworkSettings"]["Ports"]["5000/tcp"][0]["HostPort"]

    async def answers() -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", int(port))
        except OSError:
            return False
        writer.close()
        return True

    await eventually(answers)
    yield f"127.0.0.1:{port}"
    await asyncio.to_thread(server.remove, force=True, v=True)


def _start_registry(bench: EngineBench) -> Any:
    network = bench.client.networks.create(f"{bench.instance}-registry", labels={"godploy.instance": bench.instance})
    return bench.client.containers.run(
        "registry:2",
        detach=True,
        network=network.name,
        ports={"5000/tcp": ("127.0.0.1", None)},
        labels={"godploy.instance": bench.instance},
    )


async def test_a_tag_is_pinned_to_its_digest_at_the_registry(
    real: EngineBench, registry: str, tmp_path: Path, tag: str
) -> None:
    name = f"{registry}/team/app"

    async def push(text: str) -> None:
        dockerfile = f"FROM busybox:stable\nENV TEXT={text}\nEXPOSE 8000\n"
        await real.runtime.build([command(real, tmp_path, f"{name}:1", dockerfile)], f"{name}:1", 60, silent)
        await asyncio.to_thread(real.client.images.push, name, "1")
        await asyncio.to_thread(real.client.images.remove, f"{name}:1", force=True)

    await push("one")
    first = await real.runtime.resolve(f"{name}:1")
    assert first.id == f"{name}@{first.digest}"
    assert first.ports == (8000,)
    assert await real.runtime.has_image(first.id)
    assert await real.runtime.resolve(f"{name}:1") == first
    assert await real.runtime.resolve(first.id) == first

    await push("two")
    second = await real.runtime.resolve(f"{name}:1")
    assert second.digest != first.digest
    await real.runtime.remove_image(first.id)
    assert not await real.runtime.has_image(first.id)
    assert await real.runtime.resolve(first.id) == first  # a rollback brings it back
    with pytest.raises(ImageNotFound, match="registry says"):
        await real.runtime.resolve(f"{name}:no-such-tag")
    for each in (first, second):
        await real.runtime.remove_image(each.id)
