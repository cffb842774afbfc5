"""What must be done is done, however often its caller is cancelled; loops end in the opposite order of their start."""

from __future__ import annotations

import asyncio

import pytest

from godploy.deploy.supervise import Supervisor, to_the_end


@pytest.mark.parametrize("cancels", [0, 1, 2, 3])
async def test_to_the_end(cancels: int) -> None:
    goes_on, done = asyncio.Event(), []

    async def work() -> int:
        await goes_on.wait()
        done.append(True)
        return 7

    task = asyncio.create_task(to_the_end(work()))
    await asyncio.sleep(0)
    for _ in range(cancels):
        task.cancel()
        await asyncio.sleep(0)
    goes_on.set()
    if cancels:
        with pytest.raises(asyncio.CancelledError):
            await task
    else:
        assert await task == 7
    assert done == [True]


async def test_a_cancellation_in_the_last_moment_is_not_lost() -> None:
    async def work() -> int:
        task.cancel()
        await asyncio.sleep(0)
        return 7

    task = asyncio.create_task(to_the_end(work()))
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_error_goes_through() -> None:
    async def work() -> None:
        raise LookupError("why")

    with pytest.raises(LookupError, match="why"):
        await to_the_end(work())


async def test_loops_end_in_the_opposite_order() -> None:
    ended: list[str] = []

    async def loop(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(name)

    supervisor = Supervisor()
    for name in ("first", "second", "third"):
        supervisor.start(name, loop(name))
    await asyncio.sleep(0)
    await supervisor.stop()
    assert ended == ["third", "second", "first"]
    assert not supervisor.died.is_set()
