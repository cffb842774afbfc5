"""The runtime protocol on a `World`: the engine's semantics in memory, with a fault at any call."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import suppress
from typing import Any

from godploy.core import naming
from godploy.core.command import Command
from godploy.core.plan import ResolvedImage
from godploy.core.specification import Health
from godploy.errors import Conflict
from godploy.runtimes.fake.world import ENDINGS, SILENCES, SURVIVES, Container, World
from godploy.runtimes.protocol import (
    AddressBook,
    ImageNotFound,
    Launch,
    Log,
    Observed,
    Ref,
    Runtime,
    RuntimeUnavailable,
    Stats,
    Unhealthy,
)


class Fake(Runtime):
    """The `Runtime` on a `World`; marks of health and runs under way are lost with it, as with a real process."""

    def __init__(self, world: World, addresses: AddressBook | None = None) -> None:
        self.world = world
        self._addresses = addresses or world.addresses
        self._unhealthy: dict[str, frozenset[int]] = {}
        self._runs: set[str] = set()

    async def open(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Nothing to do."""

    # Images

    async def build(self, commands: Sequence[Command], tag: str, timeout: float, log: Log) -> ResolvedImage:
        await self._before("build")
        log(f"building {tag}")
        image = self.world.add_image(tag, self.world.on_build(commands, tag))
        self.world.built[image] = _labelled(commands[-1])
        await self._after("build")
        return ResolvedImage(image, ports=self.world.ports[image])

    async def find_builder(self) -> str:
        return "docker"

    async def resolve(self, reference: str, pull: bool = True, *, environment: str | None = None) -> ResolvedImage:
        await self._before("resolve")
        image = self.world.tags.get(reference, reference)
        foreign = environment is not None and self.world.built.get(image, environment) != environment
        if foreign or image not in self.world.images:
            raise ImageNotFound(f"{reference}: this world has no such image")
        await self._after("resolve")
        return ResolvedImage(image, ports=self.world.ports[image])

    async def has_image(self, image: str) -> bool:
        await self._before("has_image")
        return self.world.tags.get(image, image) in self.world.images

    async def remove_image(self, image: str) -> None:
        await self._before("remove_image")
        image = self.world.tags.get(image, image)
        if not any(each.image == image for each in self.world.containers.values()):
            self.world.images.pop(image, None)
            self.world.built.pop(image, None)
        await self._after("remove_image")

    async def images(self) -> list[str]:
        await self._before("images")
        return sorted(self.world.built)

    # Environments

    async def occupied(self) -> list[str]:
        await self._before("occupied")
        return sorted(self.world.networks.values())

    async def ensure_network(self, environment: str, subnet: str) -> None:
        await self._before("ensure_network")
        if self.world.networks.setdefault(environment, subnet) != subnet:
            raise Conflict(f"the network of {environment} has the subnet {self.world.networks[environment]}")
        self.world.addresses.subnets[environment] = subnet
        await self._after("ensure_network")

    async def remove_network(self, environment: str) -> None:
        await self._before("remove_network")
        if any(each.ref.environment == environment for each in self.world.containers.values()):
            raise Conflict(f"the network of {environment} has containers")
        self.world.networks.pop(environment, None)
        await self._after("remove_network")

    async def ensure_volume(self, environment: str, volume: str) -> None:
        await self._before("ensure_volume")
        self.world.volumes.add((environment, volume))
        await self._after("ensure_volume")

    async def remove_volume(self, environment: str, volume: str) -> None:
        await self._before("remove_volume")
        for each in self.world.containers.values():
            if each.ref.environment == environment and volume in {name for name, _ in each.mounts}:
                raise Conflict(f"the volume {volume} is in use by {each.ref.service}")
        self.world.volumes.discard((environment, volume))
        await self._after("remove_volume")

    # Workloads

    async def start(self, launch: Launch, log: Log) -> None:
        await self._before("start")
        try:
            self._drop(self.world.of(launch.ref.workload))
            await self._launch(launch, range(1, launch.replicas + 1), log)
        except (Unhealthy, ImageNotFound, asyncio.CancelledError):
            self._drop(self.world.of(launch.ref.workload))
            await self._addresses.release(launch.ref.workload)
            raise
        await self._after("start")

    async def promote(self, launch: Launch) -> None:
        await self._before("promote")
        for container in self.world.of(launch.ref.workload):
            container.named = container.port is not None
            self._judge(container, launch)
            container.policy = SURVIVES
        self._note("promote", launch.ref)
        await self._after("promote")

    async def demote(self, ref: Ref) -> None:
        await self._before("demote")
        for container in self.world.of(ref.workload):
            container.named, container.policy = False, "no"
        self._note("demote", ref)
        await self._after("demote")

    async def stop(self, ref: Ref, grace: float) -> None:
        await self._before("stop")
        for container in self.world.of(ref.workload):
            container.state = "exited"
        self._note("stop", ref)
        await self._after("stop")

    async def resume(self, launch: Launch) -> None:
        await self._before("resume")
        there = self.world.of(launch.ref.workload)
        for container in there:
            container.state = "running"
            self._judge(container, launch)
        self._note("resume", launch.ref)
        missing = set(range(1, launch.replicas + 1)) - {each.replica for each in there}
        await self._launch(launch, sorted(missing), lambda line: None)
        await self._after("resume")

    async def scale(self, launch: Launch, log: Log) -> None:
        await self._before("scale")
        there = self.world.of(launch.ref.workload)
        missing = sorted(set(range(1, launch.replicas + 1)) - {each.replica for each in there})
        try:
            await self._launch(launch, missing, log)
        except (Unhealthy, asyncio.CancelledError):
            self._drop([each for each in self.world.of(launch.ref.workload) if each.replica in missing])
            raise
        for container in self.world.of(launch.ref.workload):
            if container.replica in missing:
                container.named, container.policy = container.port is not None, SURVIVES
        self._drop([each for each in there if each.replica > launch.replicas])
        await self._after("scale")

    async def remove(self, ref: Ref) -> None:
        await self._before("remove")
        self._drop(self.world.of(ref.workload))
        await self._addresses.release(ref.workload)
        self._unhealthy.pop(ref.workload, None)
        await self._after("remove")

    async def endpoints(self, ref: Ref, port: int) -> list[str]:
        await self._before("endpoints")
        unhealthy = self._unhealthy.get(ref.workload, frozenset())
        running = [each for each in self.world.of(ref.workload) if each.running]
        chosen = [each for each in running if each.replica not in unhealthy] or running
        return [f"http://{each.address}:{port}" for each in chosen]

    async def healthy(self, launch: Launch) -> bool:
        await self._before("healthy")
        there = {each.replica: each for each in self.world.of(launch.ref.workload)}
        return all(n in there and self.world.answers(there[n]) for n in range(1, launch.replicas + 1))

    async def check(self, ref: Ref, replica: int, port: int, health: Health, host: str | None) -> bool:
        await self._before("check")
        container = self.world.containers.get((ref.workload, replica))
        return container is not None and self.world.answers(container)

    async def mark(self, ref: Ref, unhealthy: frozenset[int]) -> None:
        self._unhealthy[ref.workload] = unhealthy

    async def observe(self, environment: str | None = None) -> list[Observed]:
        await self._before("observe")
        refs = {each.ref: None for each in self.world.containers.values()}
        wanted = [ref for ref in refs if environment in (None, ref.environment) and ref.workload not in self._runs]
        return [self._observed(ref, self.world.of(ref.workload)) for ref in wanted]

    async def run_once(self, launch: Launch, argv: Sequence[str], log: Log, timeout: float) -> int:
        await self._before("run_once")
        ref = Ref(naming.new_id(), launch.ref.environment, launch.ref.stack, launch.ref.service)
        self._runs.add(ref.workload)
        await self._create(launch, ref, 1, named=False)
        try:
            async with asyncio.timeout(timeout):
                await self._after("run_once.create")
                code = self.world.on_run(launch, argv, log)
        except (asyncio.CancelledError, TimeoutError):
            self._drop(self.world.of(ref.workload))
            await self._addresses.release(ref.workload)
            raise
        self._drop(self.world.of(ref.workload))
        await self._addresses.release(ref.workload)
        self._runs.discard(ref.workload)
        await self._after("run_once")
        return code

    # What they say and use

    async def logs(self, ref: Ref, follow: bool, tail: int) -> AsyncIterator[tuple[float, int, str]]:
        await self._before("logs")
        said = {each.replica: len(each.lines) for each in self.world.of(ref.workload)}
        held = [(at, each.replica, text) for each in self.world.of(ref.workload) for at, text in each.lines[-tail:]]
        for line in sorted(held, key=lambda line: line[0]) if tail else ():
            yield line
        while follow and any(each.running for each in self.world.of(ref.workload)):
            for each in self.world.of(ref.workload):
                for at, text in each.lines[said.get(each.replica, 0) :]:
                    yield at, each.replica, text
                said[each.replica] = len(each.lines)
            await asyncio.sleep(0.01)

    async def stats(self, refs: Sequence[Ref]) -> dict[str, Stats]:
        await self._before("stats")
        counts = {ref.workload: sum(each.running for each in self.world.of(ref.workload)) for ref in refs}
        return {workload: Stats(0.01 * n, n << 20, n << 29, n << 10, n << 10, n) for workload, n in counts.items() if n}

    async def events(self) -> AsyncIterator[Ref]:
        await self._before("events")
        queue: asyncio.Queue[Ref] = asyncio.Queue()
        self.world.subscribers.append(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self.world.subscribers.remove(queue)

    # Parts of the above

    async def _before(self, call: str) -> None:
        await self._hook(f"before {call}")
        if self.world.down:
            raise RuntimeUnavailable("the engine is down")

    async def _after(self, call: str) -> None:
        await self._hook(f"after {call}")

    async def _hook(self, moment: str) -> None:
        waiting = self.world.on_call(moment)
        if inspect.isawaitable(waiting):
            await waiting
        await asyncio.sleep(0)  # every call gives way, as a real one does

    async def _launch(self, launch: Launch, replicas: Iterable[int], log: Log) -> None:
        for replica in replicas:
            container = await self._create(launch, launch.ref, replica, launch.alone and launch.port is not None)
            await self._after("create")
            self._judge(container, launch)
            log(f"{launch.ref.service} {replica} of {launch.replicas}: healthy")

    async def _create(self, launch: Launch, ref: Ref, replica: int, named: bool) -> Container:
        if launch.image not in self.world.images:
            raise ImageNotFound(f"the engine does not have the image {launch.image} any more")
        address = (await self._addresses.allocate(ref.environment, ref.workload, replica))[replica - 1]
        container = Container(ref, replica, launch.image, address, launch.port, launch.mounts, dict(launch.env), named)
        self.world.containers[ref.workload, replica] = container
        self._note("create", ref, replica)
        return container

    def _judge(self, container: Container, launch: Launch) -> None:
        """What a probe would find; raises Unhealthy."""
        behaviour = self.world.images[container.image]
        facts: dict[str, Any] = {
            "service": launch.ref.service,
            "port": launch.port,
            "memory": f"{launch.memory >> 20}M",
        }
        if behaviour in ENDINGS:
            code, container.exit_code = ENDINGS[behaviour]
            container.state, container.oom = "exited", behaviour == "oom"
            raise Unhealthy(code, facts | {"exit_code": container.exit_code, "seconds": 0.1}, ["it ended"])
        if behaviour in SILENCES and launch.port is not None:
            seen = {"wrong_port": [3000], "loopback_only": [launch.port]}.get(behaviour, [])
            facts |= {"seconds": launch.health.start_timeout, "seen": seen}
            if behaviour == "health_status":
                facts |= {"status": 500, "path": launch.health.path, "expected": "200-399"}
            raise Unhealthy(behaviour, facts)
        self.world.tell(container.ref)

    def _drop(self, containers: Sequence[Container]) -> None:
        for container in containers:
            with suppress(KeyError):
                del self.world.containers[container.ref.workload, container.replica]
                self._note("remove", container.ref, container.replica)
                self.world.tell(container.ref)

    def _note(self, effect: str, ref: Ref, replica: int | None = None) -> None:
        self.world.history.append(f"{effect} {ref.service} {ref.workload}" + (f" {replica}" if replica else ""))

    def _observed(self, ref: Ref, containers: Sequence[Container]) -> Observed:
        unhealthy = self._unhealthy.get(ref.workload, frozenset())
        running = [each for each in containers if each.running]
        return Observed(
            ref=ref,
            running=len(running),
            total=len(containers),
            promoted=all(each.promoted for each in containers),
            healthy=sum(each.replica not in unhealthy for each in running),
            details={
                str(each.replica): {
                    "state": each.state,
                    "exit_code": each.exit_code,
                    "oom": each.oom,
                    "restarts": each.restarts,
                }
                for each in containers
            },
        )


def _labelled(build: Command) -> str:
    """The environment for which an image is built, by its label."""
    prefix = "godploy.environment="
    return next((word.removeprefix(prefix) for word in build.argv if word.startswith(prefix)), "")
