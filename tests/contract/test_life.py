"""A workload's life between its start and its removal: names, addresses, stop and resume, replicas."""

from __future__ import annotations

from dataclasses import replace

import pytest

from godploy.errors import Conflict
from godploy.runtimes.protocol import Launch, Unhealthy

from .bench import HASTY, QUICK, Bench, eventually, launch, new_environment


async def started(
    bench: Bench, environment: str, behaviour: str = "healthy", *, promoted: bool = True, **changes: object
) -> Launch:
    web = launch(bench, environment, behaviour, **changes)
    await bench.runtime.start(web, lambda line: None)
    if promoted:
        await bench.runtime.promote(web)
    return web


def address(url: str) -> str:
    return url.removeprefix("http://").partition(":")[0]


async def test_a_name_leads_only_to_promoted_workloads(bench: Bench, environment: str) -> None:
    old = await started(bench, environment)
    new = await started(bench, environment, promoted=False)
    [old_url], [new_url] = [await bench.runtime.endpoints(each.ref, 8000) for each in (old, new)]
    assert await bench.resolves(environment, "web") == {address(old_url)}

    await bench.runtime.promote(new)
    assert await bench.resolves(environment, "web") == {address(old_url), address(new_url)}
    assert await bench.reaches(environment, new_url)
    assert all(seen.promoted for seen in await bench.runtime.observe(environment))

    await bench.runtime.demote(old.ref)
    assert await bench.resolves(environment, "web") == {address(new_url)}
    assert await bench.reaches(environment, old_url)  # it still finishes what it has

    await bench.runtime.promote(new)  # again: nothing changes
    await bench.runtime.demote(old.ref)
    assert await bench.resolves(environment, "web") == {address(new_url)}


async def test_alone_it_has_its_name_from_the_start(bench: Bench, environment: str) -> None:
    web = await started(bench, environment, promoted=False, alone=True)
    [url] = await bench.runtime.endpoints(web.ref, 8000)
    assert await bench.resolves(environment, "web") == {address(url)}
    [seen] = await bench.runtime.observe(environment)
    assert not seen.promoted
    await bench.runtime.promote(web)
    [seen] = await bench.runtime.observe(environment)
    assert seen.promoted


async def test_two_releases_side_by_side_have_different_addresses(bench: Bench, environment: str) -> None:
    old, new = await started(bench, environment), await started(bench, environment)
    urls = [url for each in (old, new) for url in await bench.runtime.endpoints(each.ref, 8000)]
    assert len(set(urls)) == 2
    await bench.runtime.remove(old.ref)
    assert await bench.reaches(environment, urls[1])
    assert [seen.ref for seen in await bench.runtime.observe(environment)] == [new.ref]


async def test_the_address_outlives_stop_and_resume(bench: Bench, environment: str) -> None:
    web = await started(bench, environment)
    before = await bench.runtime.endpoints(web.ref, 8000)
    await bench.runtime.stop(web.ref, grace=2)
    assert await bench.runtime.endpoints(web.ref, 8000) == []
    assert not await bench.runtime.healthy(web)
    [seen] = await bench.runtime.observe(environment)
    assert (seen.running, seen.total) == (0, 1)
    other = await started(bench, environment, service="other")  # must not take the free-looking address
    assert not set(before) & set(await bench.runtime.endpoints(other.ref, 8000))
    await bench.runtime.resume(web)
    assert await bench.runtime.endpoints(web.ref, 8000) == before
    assert await bench.runtime.healthy(web)
    assert await bench.resolves(environment, "web") == {address(before[0])}


async def test_the_engine_restarts_what_is_promoted(bench: Bench, environment: str) -> None:
    web = await started(bench, environment)
    before = await bench.runtime.endpoints(web.ref, 8000)
    await bench.dies(web.ref)

    async def restarted() -> bool:
        [seen] = await bench.runtime.observe(environment)
        return seen.running == 1 and seen.details["1"]["restarts"] == 1

    await eventually(restarted)
    assert await bench.runtime.endpoints(web.ref, 8000) == before


async def test_what_is_not_promoted_stays_dead(bench: Bench, environment: str) -> None:
    web = await started(bench, environment, promoted=False)
    await bench.dies(web.ref)

    async def dead() -> bool:
        [seen] = await bench.runtime.observe(environment)
        return seen.running == 0 and seen.total == 1

    await eventually(dead)
    assert await bench.runtime.endpoints(web.ref, 8000) == []


async def test_resume_makes_a_missing_replica_anew(bench: Bench, environment: str) -> None:
    web = await started(bench, environment, replicas=2)
    before = await bench.runtime.endpoints(web.ref, 8000)
    await bench.runtime.scale(replace(web, replicas=1), lambda line: None)
    await bench.runtime.resume(web)
    assert await bench.runtime.endpoints(web.ref, 8000) == before


async def test_scaling_up_and_down(bench: Bench, environment: str) -> None:
    web = await started(bench, environment)
    [first] = await bench.runtime.endpoints(web.ref, 8000)
    await bench.runtime.scale(replace(web, replicas=3), lambda line: None)
    urls = await bench.runtime.endpoints(web.ref, 8000)
    assert urls[0] == first
    assert len(set(urls)) == 3
    assert await bench.resolves(environment, "web") == {address(url) for url in urls}
    await bench.runtime.scale(replace(web, replicas=1), lambda line: None)
    assert await bench.runtime.endpoints(web.ref, 8000) == [first]
    [seen] = await bench.runtime.observe(environment)
    assert (seen.running, seen.total, seen.promoted) == (1, 1, True)


async def test_scaling_that_fails_keeps_what_was(bench: Bench, environment: str) -> None:
    web = await started(bench, environment)
    before = await bench.runtime.endpoints(web.ref, 8000)
    broken = replace(web, replicas=2, image=bench.images["never_listens"], health=HASTY)
    with pytest.raises(Unhealthy):
        await bench.runtime.scale(broken, lambda line: None)
    assert await bench.runtime.endpoints(web.ref, 8000) == before
    [seen] = await bench.runtime.observe(environment)
    assert (seen.running, seen.total, seen.promoted) == (1, 1, True)


async def test_what_is_marked_unhealthy_gets_no_traffic(bench: Bench, environment: str) -> None:
    web = await started(bench, environment, replicas=2)
    first, second = await bench.runtime.endpoints(web.ref, 8000)
    await bench.runtime.mark(web.ref, frozenset({1}))
    assert await bench.runtime.endpoints(web.ref, 8000) == [second]
    [seen] = await bench.runtime.observe(environment)
    assert (seen.running, seen.healthy) == (2, 1)
    await bench.runtime.mark(web.ref, frozenset({1, 2}))
    assert await bench.runtime.endpoints(web.ref, 8000) == [first, second]  # better an answer of its own than none
    [seen] = await bench.runtime.observe(environment)
    assert (seen.running, seen.healthy) == (2, 0)
    await bench.runtime.mark(web.ref, frozenset())
    assert await bench.runtime.endpoints(web.ref, 8000) == [first, second]


async def test_removed_gives_its_address_back(bench: Bench, environment: str) -> None:
    web = await started(bench, environment)
    await bench.runtime.remove(web.ref)
    await bench.runtime.remove(web.ref)
    assert await bench.runtime.observe(environment) == []
    assert web.ref.workload not in bench.addresses.held()
    assert await bench.runtime.endpoints(web.ref, 8000) == []
    await bench.runtime.demote(web.ref)
    await bench.runtime.stop(web.ref, grace=1)


async def test_environments_do_not_reach_each_other(bench: Bench, environment: str) -> None:
    other = await new_environment(bench.runtime)
    web = await started(bench, environment)
    [url] = await bench.runtime.endpoints(web.ref, 8000)
    assert await bench.reaches(environment, url)
    assert not await bench.reaches(other, url)
    assert await bench.resolves(other, "web") == set()
    assert await bench.runtime.observe(other) == []
    assert len(await bench.runtime.observe()) == 1


async def test_a_godploy_started_anew_sees_what_runs(bench: Bench, environment: str) -> None:
    web = await started(bench, environment)
    again = await bench.restarted()
    assert [(seen.ref, seen.promoted) for seen in await again.observe()] == [(web.ref, True)]
    assert await again.endpoints(web.ref, 8000) == await bench.runtime.endpoints(web.ref, 8000)


async def test_networks_and_volumes_are_removed_when_unused(bench: Bench, environment: str) -> None:
    await bench.runtime.ensure_volume(environment, "data")
    await bench.runtime.ensure_volume(environment, "data")
    web = await started(bench, environment, mounts=(("data", "/data"),))
    with pytest.raises(Conflict):
        await bench.runtime.remove_network(environment)
    with pytest.raises(Conflict):
        await bench.runtime.remove_volume(environment, "data")
    await bench.runtime.remove(web.ref)
    for _ in range(2):
        await bench.runtime.remove_volume(environment, "data")
        await bench.runtime.remove_network(environment)


async def test_a_network_keeps_its_subnet(bench: Bench, environment: str) -> None:
    with pytest.raises(Conflict):
        await bench.runtime.ensure_network(environment, "10.214.0.0/26")
    assert QUICK.path is None
