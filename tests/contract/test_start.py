"""Starting: healthy, or a failure that says what was seen and leaves nothing."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from godploy.runtimes.protocol import ImageNotFound, Unhealthy

from .bench import HASTY, QUICK, Bench, launch


async def test_started_is_healthy_and_reachable_from_outside(bench: Bench, environment: str) -> None:
    lines: list[str] = []
    web = launch(bench, environment)
    await bench.runtime.start(web, lines.append)
    [url] = await bench.runtime.endpoints(web.ref, 8000)
    assert await bench.reaches(environment, url)
    assert await bench.runtime.healthy(web)
    assert await bench.runtime.check(web.ref, 1, 8000, QUICK, None)
    [seen] = await bench.runtime.observe(environment)
    assert (seen.ref, seen.running, seen.total, seen.healthy, seen.promoted) == (web.ref, 1, 1, 1, False)
    assert any("web 1 of 1" in line for line in lines)


@pytest.mark.parametrize(
    ("behaviour", "code", "facts"),
    [
        ("exits", "exited", {"exit_code": 3}),
        ("oom", "oom", {"exit_code": 137, "memory": "32M"}),
        ("wrong_port", "wrong_port", {"port": 8000, "seen": [3000]}),
        ("loopback_only", "loopback_only", {"port": 8000}),
        ("never_listens", "never_listens", {"port": 8000}),
    ],
)
async def test_unhealthy_says_why_and_leaves_nothing(
    bench: Bench, environment: str, behaviour: str, code: str, facts: dict[str, Any]
) -> None:
    web = launch(bench, environment, behaviour, health=HASTY)
    with pytest.raises(Unhealthy) as caught:
        await bench.runtime.start(web, lambda line: None)
    assert caught.value.code == code
    assert {"service": "web", **facts}.items() <= caught.value.facts.items()
    assert await bench.runtime.observe(environment) == []
    assert web.ref.workload not in bench.addresses.held()


async def test_a_failure_brings_the_last_lines(bench: Bench, environment: str) -> None:
    with pytest.raises(Unhealthy) as caught:
        await bench.runtime.start(launch(bench, environment, "exits"), lambda line: None)
    assert caught.value.lines == ("it ended",)


async def test_an_exit_is_noticed_long_before_the_timeout(bench: Bench, environment: str) -> None:
    async with asyncio.timeout(8):
        with pytest.raises(Unhealthy):
            await bench.runtime.start(
                launch(bench, environment, "exits", health=replace(QUICK, start_timeout=60)), lambda line: None
            )


async def test_a_wrong_status_is_told_with_its_path(bench: Bench, environment: str) -> None:
    web = launch(bench, environment, "health_status", health=replace(HASTY, path="/healthz"), host="shop.example.com")
    with pytest.raises(Unhealthy) as caught:
        await bench.runtime.start(web, lambda line: None)
    assert caught.value.code == "health_status"
    assert caught.value.facts["path"] == "/healthz"
    assert caught.value.facts["status"] >= 400


async def test_a_service_without_a_port_has_to_stay_up(bench: Bench, environment: str) -> None:
    worker = launch(bench, environment, "never_listens", service="worker", port=None)
    await bench.runtime.start(worker, lambda line: None)
    assert await bench.runtime.healthy(worker)
    with pytest.raises(Unhealthy) as caught:
        await bench.runtime.start(launch(bench, environment, "exits", port=None), lambda line: None)
    assert caught.value.code == "exited"


async def test_an_image_that_is_gone(bench: Bench, environment: str) -> None:
    web = replace(launch(bench, environment), image="sha256:" + "0" * 64)
    with pytest.raises(ImageNotFound):
        await bench.runtime.start(web, lambda line: None)
    assert await bench.runtime.observe(environment) == []


async def test_replicas_have_an_address_each_and_fail_together(bench: Bench, environment: str) -> None:
    web = launch(bench, environment, replicas=3)
    await bench.runtime.start(web, lambda line: None)
    assert len(set(await bench.runtime.endpoints(web.ref, 8000))) == 3
    with pytest.raises(Unhealthy):
        await bench.runtime.start(launch(bench, environment, "exits", replicas=3), lambda line: None)
    assert [seen.ref for seen in await bench.runtime.observe(environment)] == [web.ref]


async def test_several_at_once(bench: Bench, environment: str) -> None:
    several = [launch(bench, environment, service=f"s{n}") for n in range(5)]
    await asyncio.gather(*(bench.runtime.start(one, lambda line: None) for one in several))
    urls = [url for one in several for url in await bench.runtime.endpoints(one.ref, 8000)]
    assert len(set(urls)) == 5


async def test_cancelled_leaves_nothing(bench: Bench, environment: str) -> None:
    web = launch(bench, environment, "never_listens", replicas=2)
    if bench.kind == "fake":
        never = asyncio.Event()
        bench.world.on_call = lambda call: never.wait() if call == "after create" else None  # type: ignore[attr-defined]
    starting = asyncio.create_task(bench.runtime.start(web, lambda line: None))
    await asyncio.sleep(0.7)  # any moment will do
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert await bench.runtime.observe(environment) == []
    assert web.ref.workload not in bench.addresses.held()


async def test_an_interrupted_start_is_replaced(bench: Bench, environment: str) -> None:
    web = launch(bench, environment)
    await bench.runtime.start(web, lambda line: None)
    again = await bench.restarted()
    await again.start(web, lambda line: None)
    [seen] = await again.observe(environment)
    assert (seen.running, seen.total) == (1, 1)
