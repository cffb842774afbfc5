"""One-off runs, logs, figures and events."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from .bench import Bench, eventually, launch


async def test_a_run_gives_its_output_and_exit_code_and_leaves_nothing(bench: Bench, environment: str) -> None:
    lines: list[str] = []
    words = bench.expects_run(7, "migrating")
    code = await bench.runtime.run_once(launch(bench, environment), words, lines.append, timeout=20)
    assert (code, lines) == (7, ["migrating"])
    assert await bench.runtime.observe(environment) == []
    assert bench.addresses.held() == set()


async def test_a_run_under_way_is_not_observed_and_a_cancelled_one_is_gone(bench: Bench, environment: str) -> None:
    never = asyncio.Event()
    if bench.kind == "fake":
        bench.world.on_call = lambda call: never.wait() if call == "after run_once.create" else None  # type: ignore[attr-defined]
    web = launch(bench, environment)
    again = await bench.restarted()
    run = asyncio.create_task(bench.runtime.run_once(web, ["sleep", "60"], lambda line: None, timeout=60))

    async def under_way() -> bool:
        return [seen.running for seen in await again.observe(environment)] == [1]

    await eventually(under_way)  # another process would take it for a stray
    assert await bench.runtime.observe(environment) == []
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert await again.observe(environment) == []
    assert bench.addresses.held() == set()


async def test_a_run_has_a_time_limit(bench: Bench, environment: str) -> None:
    if bench.kind == "fake":
        never = asyncio.Event()
        bench.world.on_call = lambda call: never.wait() if call == "after run_once.create" else None  # type: ignore[attr-defined]
    with pytest.raises(TimeoutError):
        await bench.runtime.run_once(launch(bench, environment), ["sleep", "60"], lambda line: None, timeout=1)
    assert await bench.runtime.observe(environment) == []


async def test_logs_are_followed_until_the_containers_end(bench: Bench, environment: str) -> None:
    web = launch(bench, environment)
    await bench.runtime.start(web, lambda line: None)
    for line in ("one", "two", "three"):
        await bench.says(web.ref, line)
    async with aclosing(bench.runtime.logs(web.ref, follow=False, tail=2)) as held:  # type: ignore[type-var]
        assert [(replica, text) async for _, replica, text in held] == [(1, "two"), (1, "three")]

    seen: list[str] = []

    async def follow() -> None:
        async with aclosing(bench.runtime.logs(web.ref, follow=True, tail=1)) as lines:  # type: ignore[type-var]
            async for _, _, text in lines:
                seen.append(text)

    following = asyncio.create_task(follow())

    async def begun() -> bool:
        return seen == ["three"]

    await eventually(begun)
    await bench.says(web.ref, "four")

    async def arrived() -> bool:
        return seen == ["three", "four"]

    await eventually(arrived)
    await bench.runtime.stop(web.ref, grace=1)
    async with asyncio.timeout(10):
        await following
    assert seen == ["three", "four"]


async def test_figures_of_what_runs(bench: Bench, environment: str) -> None:
    web = launch(bench, environment, replicas=2)
    gone = launch(bench, environment)
    await bench.runtime.start(web, lambda line: None)
    stats = await bench.runtime.stats([web.ref, gone.ref])
    assert set(stats) == {web.ref.workload}
    figures = stats[web.ref.workload]
    assert figures.replicas == 2
    assert 0 < figures.memory < figures.memory_limit
    assert figures.received > 0


async def test_events_name_the_workload(bench: Bench, environment: str) -> None:
    seen: list[str] = []

    async def listen() -> None:
        async with aclosing(bench.runtime.events()) as events:  # type: ignore[type-var]
            async for ref in events:
                seen.append(ref.workload)

    listening = asyncio.create_task(listen())
    first = launch(bench, environment)

    async def heard() -> bool:
        if first.ref.workload not in seen:
            await bench.runtime.start(first, lambda line: None)  # until the subscription stands
        return first.ref.workload in seen

    await eventually(heard)
    listening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await listening
