"""What only a real engine can show: the exact container, the official images, signals, restarts, lost networks."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from contract.bench import QUICK, EngineBench, eventually, launch

from godploy.core import naming
from godploy.drivers.docker import Docker
from godploy.runtimes.engine import Engine, settings
from godploy.runtimes.fake import Addresses
from godploy.runtimes.protocol import Launch, RuntimeUnavailable, Unhealthy

pytestmark = pytest.mark.engine


def silent(line: str) -> None:
    """For what nobody reads."""


def shell(bench: EngineBench, environment: str, script: str, **changes: Any) -> Launch:
    return launch(bench, environment, "busybox", command=("sh", "-c", script), **{"port": None, **changes})


async def inspected(bench: EngineBench, of: Launch, replica: int = 1) -> dict[str, Any]:
    name = naming.container_name(of.ref.environment, of.ref.service, of.ref.workload, replica)
    return await asyncio.to_thread(bench.client.api.inspect_container, name)  # type: ignore[no-any-return]


# Of the host's configuration everything that differs from the engine's own default, and nothing besides.
ALLOWED = {
    "NetworkMode", "RestartPolicy", "Init", "CapDrop", "CapAdd", "SecurityOpt", "NanoCpus", "Memory", "MemorySwap",
    "PidsLimit", "LogConfig", "Mounts",
}  # fmt: skip


async def test_a_container_differs_from_the_default_only_as_allowed(real: EngineBench, environment: str) -> None:
    await real.runtime.ensure_volume(environment, "data")
    web = shell(real, environment, "sleep 60", mounts=(("data", "/data"),), settle=0.1)
    await real.runtime.start(web, silent)
    default = await asyncio.to_thread(real.client.containers.create, real.images["busybox"], ["true"])
    try:
        plain = (await asyncio.to_thread(real.client.api.inspect_container, default.id))["HostConfig"]
    finally:
        await asyncio.to_thread(default.remove)
    ours = (await inspected(real, web))["HostConfig"]
    differing = {key for key in ours.keys() | plain.keys() if (ours.get(key) or None) != (plain.get(key) or None)}
    assert differing <= ALLOWED
    assert ours["Privileged"] is False
    assert not ours["Binds"]
    assert not ours["PortBindings"]
    assert sorted(ours["CapAdd"]) == sorted(settings.CAPABILITIES)
    assert [mount["Type"] for mount in ours["Mounts"]] == ["volume"]


async def test_the_limits_hold_inside(real: EngineBench, environment: str) -> None:
    lines: list[str] = []
    script = "grep -E 'CapEff|NoNewPrivs' /proc/self/status; cat /proc/1/comm"
    web = shell(real, environment, "true")
    assert await real.runtime.run_once(web, ["sh", "-c", script], lines.append, timeout=20) == 0
    effective = int(lines[0].split()[1], 16)
    assert (effective >> 13) & 1 == 0  # CAP_NET_RAW, capabilities(7)
    assert (effective >> 27) & 1 == 0  # CAP_MKNOD
    assert lines[1].split() == ["NoNewPrivs:", "1"]
    assert "init" in lines[2]


@pytest.mark.parametrize(
    ("image", "port", "env", "mount"),
    [
        ("postgres:15", 5432, {"POSTGRES_PASSWORD": "secret-of-the-test"}, "/var/lib/postgresql/data"),
        ("redis:7", 6379, {}, "/data"),
        ("nginx:stable", 80, {}, None),
    ],
)
async def test_official_images_start_with_our_capabilities(
    real: EngineBench, environment: str, image: str, port: int, env: dict[str, str], mount: str | None
) -> None:
    found = await real.runtime.resolve(image, pull=False)
    assert port in found.ports
    if mount is not None:
        await real.runtime.ensure_volume(environment, "data")
    web = replace(
        launch(real, environment, "busybox", service="db"),
        image=found.id,
        port=port,
        env=env,
        memory=256 << 20,
        cpus=2.0,
        mounts=(("data", mount),) if mount is not None else (),
        health=replace(QUICK, start_timeout=60),
    )
    await real.runtime.start(web, silent)
    await real.runtime.promote(web)
    await real.runtime.stop(web.ref, grace=10)
    state = (await inspected(real, web))["State"]
    assert state["ExitCode"] == 0  # its own stop signal, in its own time: not killed
    await real.runtime.resume(web)


async def test_a_volume_keeps_its_data_over_workloads(real: EngineBench, environment: str) -> None:
    await real.runtime.ensure_volume(environment, "data")
    base = shell(real, environment, "true", mounts=(("data", "/data"),))
    assert await real.runtime.run_once(base, ["sh", "-c", "echo kept > /data/file"], silent, timeout=20) == 0
    lines: list[str] = []
    other = shell(real, environment, "true", mounts=(("data", "/elsewhere"),))
    assert await real.runtime.run_once(other, ["cat", "/elsewhere/file"], lines.append, timeout=20) == 0
    assert lines == ["kept"]


async def test_who_ignores_sigterm_is_killed_after_the_grace(real: EngineBench, environment: str) -> None:
    web = shell(real, environment, "trap '' TERM; while :; do sleep 1; done", settle=0.2)
    await real.runtime.start(web, silent)
    await real.runtime.promote(web)
    begun = time.monotonic()
    await real.runtime.stop(web.ref, grace=1)
    assert 1 <= time.monotonic() - begun < 8
    state = (await inspected(real, web))["State"]
    assert (state["Status"], state["ExitCode"]) == ("exited", 137)


async def test_a_stopped_workload_stays_stopped_though_promoted(real: EngineBench, environment: str) -> None:
    web = shell(real, environment, "trap 'exit 0' TERM; while :; do sleep 0.1; done", settle=0.2)
    await real.runtime.start(web, silent)
    await real.runtime.promote(web)
    await real.runtime.stop(web.ref, grace=5)
    [seen] = await real.runtime.observe(environment)
    assert (seen.running, seen.promoted) == (0, True)
    assert seen.details["1"]["restarts"] == 0


async def test_a_crash_loop_is_told_when_a_promoted_workload_is_resumed(real: EngineBench, environment: str) -> None:
    await real.runtime.ensure_volume(environment, "data")
    script = "test ! -e /data/broken || { sleep 0.4; echo broken; exit 9; }; sleep 60"
    web = shell(real, environment, script, settle=2, mounts=(("data", "/data"),))
    await real.runtime.start(web, silent)
    await real.runtime.promote(web)
    await real.runtime.stop(web.ref, grace=0)
    await real.runtime.run_once(web, ["touch", "/data/broken"], silent, timeout=20)
    with pytest.raises(Unhealthy) as caught:
        await real.runtime.resume(web)
    assert caught.value.code in ("restarted", "exited")
    assert "broken" in caught.value.lines
    assert len(await real.runtime.observe(environment)) == 1
    await real.runtime.remove(web.ref)


async def test_promote_heals_a_container_that_is_in_no_network(real: EngineBench, environment: str) -> None:
    web = shell(real, environment, "exec httpd -f -p 8000", port=8000)
    await real.runtime.start(web, silent)
    name = naming.container_name(environment, "web", web.ref.workload, 1)
    before = await real.runtime.endpoints(web.ref, 8000)
    await asyncio.to_thread(real.client.api.disconnect_container_from_network, name, naming.network_name(environment))
    assert not await real.runtime.healthy(web)
    await real.runtime.promote(web)
    assert await real.runtime.healthy(web)
    assert await real.runtime.endpoints(web.ref, 8000) == before


ECHO = """
import socketserver
class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(line)
socketserver.ThreadingTCPServer(("", 8000), Echo).serve_forever()
"""


async def test_a_connection_outlives_the_promotion(real: EngineBench, environment: str) -> None:
    image = (await real.runtime.resolve("python:3.11-slim", pull=False)).id
    web = replace(launch(real, environment, "busybox"), image=image, command=("python", "-c", ECHO), memory=128 << 20)
    await real.runtime.start(web, silent)
    [url] = await real.runtime.endpoints(web.ref, 8000)
    reader, writer = await asyncio.open_connection(url.removeprefix("http://").partition(":")[0], 8000)
    writer.write(b"before\n")
    assert await reader.readline() == b"before\n"
    await real.runtime.promote(web)
    writer.write(b"after\n")
    async with asyncio.timeout(5):
        assert await reader.readline() == b"after\n"
    writer.close()
    assert len(await real.resolves(environment, "web")) == 1


async def test_a_program_that_is_not_there(real: EngineBench, environment: str) -> None:
    web = launch(real, environment, "busybox", command=("no-such-program",))
    with pytest.raises(Unhealthy) as caught:
        await real.runtime.start(web, silent)
    assert caught.value.code == "exited"
    assert caught.value.facts["exit_code"] == 127
    assert any("no-such-program" in line for line in caught.value.lines)
    lines: list[str] = []
    assert await real.runtime.run_once(web, ["no-such-program"], lines.append, timeout=20) == 127
    assert any("no-such-program" in line for line in lines)
    assert await real.runtime.observe(environment) == []


async def test_a_run_out_of_memory_says_so(real: EngineBench, environment: str) -> None:
    lines: list[str] = []
    hungry = "sleep 0.3; exec tail /dev/zero"  # the engine may miss what happens in a container's first moments
    code = await real.runtime.run_once(shell(real, environment, ""), ["sh", "-c", hungry], lines.append, timeout=30)
    assert code == 137
    assert any("out of memory, the limit is 32M" in line for line in lines)


async def test_a_run_is_followed_live(real: EngineBench, environment: str) -> None:
    lines: list[tuple[float, str]] = []
    script = "echo one; sleep 1; echo two >&2; sleep 0.2; echo; printf three"
    await real.runtime.run_once(
        shell(real, environment, ""), ["sh", "-c", script], lambda line: lines.append((time.monotonic(), line)), 20
    )
    assert [text for _, text in lines] == ["one", "two", "", "three"]
    assert lines[1][0] - lines[0][0] > 0.5


async def test_long_lines_of_a_log_are_whole_up_to_a_limit(real: EngineBench, environment: str) -> None:
    script = (
        "head -c 16300 /dev/zero | tr '\\0' a; echo; head -c 200000 /dev/zero | tr '\\0' b; echo; echo after; sleep 60"
    )
    web = shell(real, environment, script, settle=0.5)
    await real.runtime.start(web, silent)
    async with aclosing(real.runtime.logs(web.ref, follow=False, tail=100)) as lines:  # type: ignore[type-var]
        held = [text async for _, _, text in lines]
    assert [(text[:1], len(text)) for text in held] == [("a", 16300), ("b", 16384), ("a", 5)]


async def test_closed_streams_leave_no_thread(real: EngineBench, environment: str) -> None:
    web = shell(real, environment, "echo begun; sleep 60", settle=0.2, replicas=2)
    await real.runtime.start(web, silent)

    def streams() -> int:
        return sum(thread.name == "docker-stream" for thread in threading.enumerate())

    async with aclosing(real.runtime.logs(web.ref, follow=True, tail=5)) as lines:  # type: ignore[type-var]
        async for _ in lines:
            break
    listening = asyncio.create_task(anext(real.runtime.events()))  # type: ignore[arg-type]

    async def open_() -> bool:
        return streams() > 0

    await eventually(open_)
    listening.cancel()

    async def none() -> bool:
        return streams() == 0

    await eventually(none)


async def test_calls_leave_no_connection_open(real: EngineBench) -> None:
    def sockets() -> int:
        found = (os.readlink(path) for path in Path("/proc/self/fd").iterdir() if path.is_symlink())
        return sum(name.startswith("socket:") for name in found)

    await real.runtime.images()
    before = sockets()
    await asyncio.gather(*(real.runtime.has_image(f"nobody-has/{number}") for number in range(30)))
    assert sockets() <= before


async def test_an_engine_that_is_down_is_said_at_once(tmp_path: Any) -> None:
    runtime = Engine("nobody", Docker(f"unix://{tmp_path}/no.sock"), Addresses())
    begun = time.monotonic()
    with pytest.raises(RuntimeUnavailable):
        await runtime.observe()
    with pytest.raises(RuntimeUnavailable):
        async with aclosing(runtime.events()) as events:  # type: ignore[type-var]
            await anext(events)
    assert time.monotonic() - begun < 3
    await runtime.close()


async def test_an_engine_that_hangs_is_given_up(tmp_path: Any) -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_unix_server(hang, f"{tmp_path}/hangs.sock")
    runtime = Engine("nobody", Docker(f"unix://{tmp_path}/hangs.sock", timeout=1), Addresses())
    with pytest.raises(RuntimeUnavailable):
        await runtime.has_image("busybox:stable")
    await runtime.close()
    server.close()


async def test_strays_of_an_interrupted_run_are_seen_and_removed(real: EngineBench, environment: str) -> None:
    base = shell(real, environment, "sleep 60")
    run = asyncio.create_task(real.runtime.run_once(base, ["sleep", "60"], silent, timeout=60))
    again = await real.restarted()

    async def seen() -> bool:
        return len(await again.observe()) == 1

    await eventually(seen)
    [stray] = await again.observe()
    assert stray.ref.workload != base.ref.workload
    await again.remove(stray.ref)
    assert await run != 0
    assert await again.observe() == []
