"""The process is stopped at every step of every kind of deployment, and started again: exactly one release serves,
nothing is left over, every deployment has one final state, and nothing that was accepted is lost."""

from __future__ import annotations

import asyncio
import copy
import shutil
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from godploy.core.model import State, WorkloadState
from godploy.deploy import acts, trial
from godploy.runtimes.fake.world import World
from godploy.store import addresses, database, events, projects, releases, stacks, volumes
from tests.deploy.harness import Crash, Edge, Godploy, Steps, godploy

DOCKERFILE = "FROM scratch\n"


def manifest(*, cache: str = "one", replicas: int = 1, worker: bool = True, secret: bool = False) -> str:
    """A rolling web with a release command, a worker that is replaced, and a cache with a volume of its own."""
    worker_text = "  worker: {image_from: web, command: work, deploy: {settle: 0s, drain: 0s}}\n" if worker else ""
    secrets = "    secrets: [KEY]\n" if secret else ""
    return (
        "version: 1\n"
        "services:\n"
        "  web:\n"
        "    build: {}\n"
        "    port: 8000\n"
        f"    replicas: {replicas}\n"
        "    release_command: migrate\n"
        "    deploy: {drain: 0s}\n"
        f"{secrets}"
        f"{worker_text}"
        f"  cache: {{image: 'cache:1', port: 6379, volumes: ['data:/data'], env: {{MODE: '{cache}'}},\n"
        "    deploy: {drain: 0s}}\n"
    )


def files(app: str = "one", **choices: Any) -> dict[str, str]:
    return {"Dockerfile": DOCKERFILE, "app.py": app, "godploy.yaml": manifest(**choices)}


@dataclass(frozen=True)
class Kind:
    """A kind of deployment: what is pushed before (in order), and the act during which the process dies."""

    act: Callable[[Godploy], Awaitable[Any]]
    before: tuple[Mapping[str, str], ...] = ()
    secrets: Mapping[str, str] = field(default_factory=dict)


def pushes(after: Mapping[str, str]) -> Callable[[Godploy], Awaitable[Any]]:
    async def act(it: Godploy) -> None:
        repository = await it.repository(await it.project())
        await it.push(repository, it.commit(repository, after))

    return act


async def rolls_back(it: Godploy) -> None:
    await acts.rollback(it.services, await it.stack(await it.repository(await it.project())), "tester")


async def restarts(it: Godploy) -> None:
    await acts.restart(it.services, await it.stack(await it.repository(await it.project())), "tester")


async def changes_a_secret(it: Godploy) -> None:
    stack = await it.stack(await it.repository(await it.project()))
    environment = await it.services.store.read(lambda conn: projects.environment(conn, stack.environment))
    await acts.set_secrets(it.services, environment, {"KEY": "second-value"}, "tester")


KINDS: dict[str, Kind] = {
    "first push": Kind(pushes(files())),
    "push of changed code: rolling and replaced": Kind(pushes(files("two")), (files("one"),)),
    "push that replaces what has a volume": Kind(pushes(files(cache="two")), (files(),)),
    "push that scales up": Kind(pushes(files(replicas=3)), (files(),)),
    "push that scales down": Kind(pushes(files(replicas=1)), (files(replicas=3),)),
    "push that removes a service": Kind(pushes(files(worker=False)), (files(),)),
    "rollback": Kind(rolls_back, (files("one"), files("two", cache="two"))),
    "restart": Kind(restarts, (files(),)),
    "config": Kind(changes_a_secret, (files(secret=True),), {"KEY": "first-value"}),
}


Meanwhile = Callable[[Path, Edge], Awaitable[None]]  # what happens to the data between the crash and the next start


async def _nothing(data: Path, edge: Edge) -> None:
    """It is started again at once."""


@pytest.mark.parametrize("kind", KINDS)
async def test_a_crash_at_every_step(kind: str, tmp_path: Path) -> None:
    await _at_every_step(tmp_path, KINDS[kind], _nothing)


async def test_an_upgrade_that_is_taken_back_at_every_step(tmp_path: Path) -> None:
    """Another version recovers on trial, and goes with the database that it wrote: the version before recovers from
    the same rows once more, whatever was done to the containers meanwhile."""
    await _at_every_step(tmp_path, KINDS["push of changed code: rolling and replaced"], _try_another_version)


async def _try_another_version(data: Path, edge: Edge) -> None:
    kept = data.parent / "kept.db"
    await asyncio.to_thread(database.copy, data / "godploy.db", kept)
    (data / trial.MARK).touch()
    async with godploy(data, edge.world, edge) as it:
        await it.until(lambda: it.services.trial.proven)
        assert not it.services.ready.is_set()
    for name in (trial.MARK, "godploy.db-wal", "godploy.db-shm"):
        (data / name).unlink(missing_ok=True)
    kept.rename(data / "godploy.db")


async def _at_every_step(tmp_path: Path, kind: Kind, meanwhile: Meanwhile) -> None:
    world, edge = await _before(tmp_path / "before", kind)
    number, tried = 0, []
    while True:
        number += 1
        where = await _one(tmp_path, number, world, edge, kind, meanwhile)
        if not where:
            break
        tried.append(where)
    assert len(tried) > 12, tried  # the act really has that many steps, so the loop did not end early


async def _before(data: Path, kind: Kind) -> tuple[World, Edge]:
    """The state in which the act begins: a data directory, a world, and what the edge serves."""
    world = World()
    world.add_image("cache:1")
    edge = Edge(world)
    async with godploy(data, world, edge) as it:
        repository = await it.repository(await it.project())
        if kind.secrets:
            await _set_first_secrets(it, kind.secrets)
        for each in kind.before:
            await it.push(repository, it.commit(repository, each))
            await it.settled()
            assert (await it.newest()).state is State.SUCCEEDED, (await it.newest()).error
    return world, edge


async def _set_first_secrets(it: Godploy, values: Mapping[str, str]) -> None:
    project = await it.project()
    pool = it.services.settings.pool
    environment = await it.services.store.write(
        lambda conn: projects.ensure_environment(conn, project.id, "production", pool)
    )
    await acts.set_secrets(it.services, environment, values, "tester", deploy=False)


async def _one(tmp_path: Path, number: int, world: World, edge: Edge, kind: Kind, meanwhile: Meanwhile) -> str:
    """Dies at effect `number` of the act, recovers, and checks; where it died, or "" when the act ended before."""
    data = tmp_path / f"at-{number}"
    shutil.copytree(tmp_path / "before", data)
    copied = copy.deepcopy(edge)
    steps = Steps()
    accepted = True  # an act that died within its own call was promised to nobody, though it may have been kept
    async with godploy(data, copied.world, copied, steps) as it:
        await it.settled()
        steps.count, steps.crash_at = 0, number
        try:
            await kind.act(it)
            done = asyncio.ensure_future(it.settled())
            died = asyncio.ensure_future(steps.dead.wait())
            await asyncio.wait({done, died}, return_when=asyncio.FIRST_COMPLETED)
            for task in (done, died):
                task.cancel()
            await asyncio.gather(done, died, return_exceptions=True)
        except Crash:
            accepted = False
        steps.dead.set()
    await meanwhile(data, copied)
    async with godploy(data, copied.world, copied) as it:
        await it.settled()
        await _check(it, accepted, steps.where)
    shutil.rmtree(data)
    return steps.where


async def _check(it: Godploy, accepted: bool, where: str) -> None:
    found = await it.deployments()
    assert all(each.state.final for each in found), where
    if accepted:
        assert found and found[0].state is State.SUCCEEDED, (where, found[0].error if found else None)
    for each in found:
        await _one_final_state(it, each.id, where)
    if not found:
        assert not it.world.containers and not it.edge.files, where
        return
    stack = await it.stack(await it.repository(await it.project()))
    release = await it.services.store.read(lambda conn: releases.current(conn, stacks.get(conn, stack.id)))
    if release is None:
        assert not it.world.containers and not it.edge.files, where
        return
    served = it.edge.serves("web-shop.localhost")
    web = next(service.workload for service in release.services if service.service == "web")
    assert served == (release.id, web), where
    await _nothing_left_over(it, {service.workload: service.replicas for service in release.services}, where)


async def _one_final_state(it: Godploy, deployment: str, where: str) -> None:
    def told(conn: Any) -> int:
        found = events.of_project(conn, conn.execute("SELECT id FROM project").fetchone()[0])
        return sum(e.kind == "state" and e.deployment == deployment and State(e.fields["state"]).final for e in found)

    assert await it.services.store.read(told) == 1, where


async def _nothing_left_over(it: Godploy, wanted: Mapping[str, int], where: str) -> None:
    there: dict[str, int] = {}
    for container in it.world.containers.values():
        assert container.running and container.promoted, where
        there[container.ref.workload] = there.get(container.ref.workload, 0) + 1
    assert there == wanted, where

    def rows(conn: Any) -> None:
        assert {w.id for w in releases.present(conn)} == set(wanted), where
        assert all(w.state is WorkloadState.LIVE and w.stopped_by is None for w in releases.present(conn)), where
        assert addresses.owners(conn) == set(wanted), where
        made = "SELECT count(*) FROM release JOIN deployment ON deployment.id = release.deployment"
        drafts = f"{made} WHERE state != 'succeeded'"
        assert conn.execute(drafts).fetchone()[0] == 0, where
        assert conn.execute("SELECT count(*) FROM host WHERE claimed_by IS NOT NULL").fetchone()[0] == 0, where
        environment = conn.execute("SELECT id FROM environment").fetchone()[0]
        kept = volumes.of_environment(conn, environment)
        assert {(environment, volume.id) for volume in kept.values()} == it.world.volumes, where
        assert set(kept) == {"data"} and all(volume.made_by is None for volume in kept.values()), where
        assert set(it.edge.files) == {stack.id for stack in stacks.every(conn) if stack.current_release}, where

    await it.services.store.read(rows)
