"""The runtime protocol, told for one Docker engine; each method reads as its promise in `runtimes.protocol`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterable, Sequence
from contextlib import aclosing, suppress
from dataclasses import replace
from itertools import groupby
from typing import Any, TypeVar

from godploy.core import naming
from godploy.core.command import Command
from godploy.core.plan import ResolvedImage
from godploy.core.specification import Health
from godploy.drivers.docker import Docker, Refused
from godploy.outlast import outlast
from godploy.runtimes.engine import networks, probing, runs, settings, streams
from godploy.runtimes.engine.daemon import Daemon
from godploy.runtimes.engine.images import Images
from godploy.runtimes.engine.settings import Found, Place
from godploy.runtimes.protocol import (
    AddressBook,
    Launch,
    Log,
    Observed,
    Ref,
    Runtime,
    RuntimeUnavailable,
    Stats,
    Unhealthy,
)

T = TypeVar("T")

_SURVIVES = "unless-stopped"


class Engine(Runtime):
    """The `Runtime` of one machine. `instance` keeps apart several Godploys on one engine."""

    def __init__(
        self,
        instance: str,
        docker: Docker,
        addresses: AddressBook,
        *,
        capabilities: Sequence[str] = settings.CAPABILITIES,
        docker_programs: Sequence[str] | None = None,
    ) -> None:
        self._daemon = Daemon(docker, instance)
        self._addresses = addresses
        self._capabilities = tuple(capabilities)
        self._images = Images(self._daemon, docker_programs)
        self._figures = streams.Figures(self._daemon)
        self._runs: set[str] = set()  # one-off runs under way
        self._unhealthy: dict[str, frozenset[int]] = {}  # workload → replicas that get no traffic

    async def open(self) -> None:
        """Nothing to do: an engine that is down now is asked again with the first call."""

    async def close(self) -> None:
        await self._daemon.close()

    # Images

    async def build(self, commands: Sequence[Command], tag: str, timeout: float, log: Log) -> ResolvedImage:
        """A command whose program is `docker` is run with one that has BuildKit here (`find_builder`)."""
        return await self._images.build(commands, tag, timeout, log)

    async def find_builder(self) -> str:
        """The path of a `docker` program that builds with BuildKit on this machine. Raises BuildFailed."""
        return await self._images.find_builder()

    async def resolve(self, reference: str, pull: bool = True, *, environment: str | None = None) -> ResolvedImage:
        return await self._images.resolve(reference, pull, environment)

    async def has_image(self, image: str) -> bool:
        return await self._images.has(image)

    async def remove_image(self, image: str) -> None:
        await self._images.remove(image)

    async def images(self) -> list[str]:
        return await self._images.ours()

    # Environments

    async def occupied(self) -> list[str]:
        return await networks.occupied(self._daemon)

    async def ensure_network(self, environment: str, subnet: str) -> None:
        await networks.ensure_network(self._daemon, environment, subnet)

    async def remove_network(self, environment: str) -> None:
        await networks.remove_network(self._daemon, environment)

    async def ensure_volume(self, environment: str, volume: str) -> None:
        await networks.ensure_volume(self._daemon, environment, volume)

    async def remove_volume(self, environment: str, volume: str) -> None:
        await networks.remove_volume(self._daemon, environment, volume)

    # Workloads

    async def start(self, launch: Launch, log: Log) -> None:
        try:
            await self._remove(await self._find(launch.ref))  # what an interrupted start left
            await self._launch(launch, range(1, launch.replicas + 1), log)
        except BaseException:
            with suppress(RuntimeUnavailable):  # what is left then shows as a stray
                await _to_the_end(self.remove(launch.ref))
            raise

    async def promote(self, launch: Launch) -> None:
        for found in await self._find(launch.ref):  # one after the other: each is away from the network for a moment
            if launch.port is not None:
                if not found.named:
                    await self._daemon.rename(found, named=True)
                await probing.until_healthy(self._daemon, found.id, launch, successes=1)
            await self._daemon.set_policy(found, _SURVIVES)

    async def demote(self, ref: Ref) -> None:
        for found in await self._find(ref):
            await self._demote(found)

    async def stop(self, ref: Ref, grace: float) -> None:
        await _together(self._daemon.stop(found, grace) for found in await self._find(ref))

    async def resume(self, launch: Launch) -> None:
        there = await self._find(launch.ref)
        await _together(self._restart(found, launch) for found in there)
        missing = set(range(1, launch.replicas + 1)) - {found.replica for found in there}
        await self._launch(launch, sorted(missing), log=lambda line: None)

    async def scale(self, launch: Launch, log: Log) -> None:
        there = await self._find(launch.ref)
        missing = sorted(set(range(1, launch.replicas + 1)) - {found.replica for found in there})
        try:
            await self._launch(launch, missing, log)
            if missing:
                await self.promote(launch)
        except BaseException:
            await _to_the_end(
                self._remove([found for found in await self._find(launch.ref) if found.replica in missing])
            )
            raise
        for found in sorted(there, key=lambda found: -found.replica):
            if found.replica > launch.replicas:
                await self._demote(found)
                await self._daemon.stop(found, launch.stop_grace)
                await self._daemon.remove(found.id)

    async def remove(self, ref: Ref) -> None:
        await self._remove(await self._find(ref))
        await self._addresses.release(ref.workload)
        self._unhealthy.pop(ref.workload, None)

    async def endpoints(self, ref: Ref, port: int) -> list[str]:
        unhealthy = self._unhealthy.get(ref.workload, frozenset())
        running = [found for found in await self._find(ref) if found.running]
        chosen = [found for found in running if found.replica not in unhealthy] or running
        return [f"http://{found.address}:{port}" for found in chosen]

    async def healthy(self, launch: Launch) -> bool:
        there = await self._find(launch.ref)
        if not set(range(1, launch.replicas + 1)) <= {found.replica for found in there if found.running}:
            return False
        if launch.port is None:
            return True
        answers = await asyncio.gather(
            *(probing.ask(found.address, launch.port, launch.health, launch.host) for found in there if found.running)
        )
        return all(probing.is_good(answer, launch.health) for answer in answers)

    async def check(self, ref: Ref, replica: int, port: int, health: Health, host: str | None) -> bool:
        for found in await self._find(ref):
            if found.replica == replica and found.running:
                return probing.is_good(await probing.ask(found.address, port, health, host), health)
        return False

    async def mark(self, ref: Ref, unhealthy: frozenset[int]) -> None:
        self._unhealthy[ref.workload] = unhealthy

    async def observe(self, environment: str | None = None) -> list[Observed]:
        labels = {} if environment is None else {settings.ENVIRONMENT: environment}
        there = await self._daemon.find(labels)  # Traefik's container, too, which is no workload's
        found = [each for each in there if each.ref.workload and each.ref.workload not in self._runs]
        found.sort(key=lambda each: (each.ref.workload, each.replica))
        return [self._observed(ref, list(of_it)) for ref, of_it in groupby(found, key=lambda each: each.ref)]

    async def run_once(self, launch: Launch, argv: Sequence[str], log: Log, timeout: float) -> int:
        ref = replace(launch.ref, workload=naming.new_id())
        self._runs.add(ref.workload)
        try:
            async with asyncio.timeout(timeout):
                address = (await self._addresses.allocate(ref.environment, ref.workload, 1))[0]
                return await runs.run(self._daemon, launch, Place(ref, 1, address, run=True), argv, log)
        finally:
            with suppress(RuntimeUnavailable):
                await _to_the_end(self.remove(ref))
            self._runs.discard(ref.workload)

    # What they say and use

    async def logs(self, ref: Ref, follow: bool, tail: int) -> AsyncIterator[tuple[float, int, str]]:
        async with aclosing(streams.logs(self._daemon, await self._find(ref), follow, tail)) as lines:
            async for line in lines:
                yield line

    async def stats(self, refs: Sequence[Ref]) -> dict[str, Stats]:
        return await self._figures.stats(refs)

    async def events(self) -> AsyncIterator[Ref]:
        async with aclosing(streams.events(self._daemon)) as refs:
            async for ref in refs:
                yield ref

    # Parts of the above

    async def _find(self, ref: Ref) -> list[Found]:
        return await self._daemon.find({settings.WORKLOAD: ref.workload})

    async def _launch(self, launch: Launch, replicas: Sequence[int], log: Log) -> None:
        """Makes, starts and probes these replicas, all at the same time."""
        if not replicas:
            return
        addresses = await self._addresses.allocate(launch.ref.environment, launch.ref.workload, max(replicas))
        await _together(self._launch_one(launch, replica, addresses[replica - 1], log) for replica in replicas)

    async def _launch_one(self, launch: Launch, replica: int, address: str, log: Log) -> None:
        clock = asyncio.get_running_loop().time
        begun = clock()
        place = Place(launch.ref, replica, address, named=launch.alone and launch.port is not None)
        config = settings.container(
            launch,
            place,
            self._daemon.instance,
            processors=await self._daemon.processors(),
            capabilities=self._capabilities,
        )
        container = await self._daemon.create(config, place.name)
        await self._start(container, launch)
        await probing.until_healthy(self._daemon, container, launch, successes=launch.health.successes)
        waited = "up" if launch.port is None else f"answers on port {launch.port}"
        log(f"{launch.ref.service} {replica} of {launch.replicas}: {waited} after {clock() - begun:.1f} s")

    async def _start(self, container: str, launch: Launch) -> None:
        try:
            await self._daemon.start(container)
        except Refused as error:
            found = await self._daemon.look(container)
            code = found.exit_code if found is not None else "unknown"
            facts = {"service": launch.ref.service, "exit_code": code, "seconds": 0}
            raise Unhealthy("exited", facts, [error.message]) from error

    async def _restart(self, found: Found, launch: Launch) -> None:
        if not found.running:
            await self._start(found.id, launch)
        await probing.until_healthy(self._daemon, found.id, launch, successes=launch.health.successes)

    async def _demote(self, found: Found) -> None:
        await self._daemon.set_policy(found, "no")
        if found.named:
            await self._daemon.rename(found, named=False)

    async def _remove_replicas(self, ref: Ref, replicas: Sequence[int]) -> None:
        await self._remove([found for found in await self._find(ref) if found.replica in replicas])

    async def _remove(self, containers: Sequence[Found]) -> None:
        await _together(self._daemon.remove(found.id) for found in containers)

    def _observed(self, ref: Ref, found: Sequence[Found]) -> Observed:
        unhealthy = self._unhealthy.get(ref.workload, frozenset())
        running = [each for each in found if each.running]
        return Observed(
            ref=ref,
            running=len(running),
            total=len(found),
            promoted=all(each.promoted for each in found),
            healthy=sum(1 for each in running if each.replica not in unhealthy),
            details={
                str(each.replica): {
                    "state": each.state,
                    "exit_code": each.exit_code,
                    "oom": each.oom,
                    "restarts": each.restarts,
                }
                for each in found
            },
        )


async def _together(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """All results, or the first failure once the others have been cancelled and have ended."""
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await _to_the_end(_ended(tasks))
        raise


async def _ended(tasks: Sequence[asyncio.Future[Any]]) -> None:
    await asyncio.gather(*tasks, return_exceptions=True)


async def _to_the_end(work: Coroutine[Any, Any, None]) -> None:
    """Cleaning up, which no further cancellation interrupts; that is raised afterwards."""
    task = asyncio.ensure_future(work)
    cancelled = await outlast(task)
    task.result()
    if cancelled:
        raise asyncio.CancelledError
