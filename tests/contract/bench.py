"""A runtime on a test bench: the same questions asked of the fake's world and of a real engine."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from typing import Any, Protocol

import docker

from godploy.core import naming
from godploy.core.specification import Health
from godploy.drivers.docker import Docker
from godploy.runtimes.engine import Engine
from godploy.runtimes.fake import Addresses, Fake, World
from godploy.runtimes.protocol import Launch, Ref, Runtime

PORT = 8000
QUICK = Health(start_timeout=15, timeout=1)
HASTY = replace(QUICK, start_timeout=1.5)  # for what is never going to answer

# What an image of each behaviour does when it runs on the real engine; the fake knows them by name.
PROGRAMS: Mapping[str, list[str]] = {
    "healthy": ["httpd", "-f", "-p", "8000", "-h", "/www"],
    "exits": ["sh", "-c", "echo it ended; exit 3"],
    "oom": ["sh", "-c", "sleep 0.3; tail /dev/zero; exit 137"],
    "wrong_port": ["httpd", "-f", "-p", "3000", "-h", "/www"],
    "loopback_only": ["httpd", "-f", "-p", "127.0.0.1:8000", "-h", "/www"],
    "never_listens": ["sleep", "600"],
    "health_status": ["httpd", "-f", "-p", "8000", "-h", "/www"],
}


class Bench(Protocol):
    runtime: Runtime
    addresses: Addresses
    images: Mapping[str, str]  # behaviour → image
    kind: str

    async def restarted(self) -> Runtime:
        """The runtime of a Godploy that was started anew on the same machine."""
        ...

    async def resolves(self, environment: str, name: str) -> set[str]:
        """The addresses that a name leads to inside an environment."""
        ...

    async def reaches(self, environment: str, url: str) -> bool:
        """Whether a container in an environment gets an answer there."""
        ...

    async def dies(self, ref: Ref) -> None:
        """Its first replica ends by itself."""
        ...

    async def says(self, ref: Ref, line: str) -> None: ...
    def expects_run(self, code: int, line: str) -> list[str]:
        """Words for a one-off run that says `line` and ends with `code`."""
        ...


def launch(bench: Bench, environment: str, behaviour: str = "healthy", **changes: Any) -> Launch:
    """A new workload of the service `web`, which answers on port 8000 if it is healthy."""
    service = changes.pop("service", "web")
    base = Launch(
        Ref(naming.new_id(), environment, "stack01", service),
        bench.images[behaviour],
        port=PORT,
        health=QUICK,
        memory=32 << 20,
        cpus=0.5,
        settle=0.5,
        stop_grace=2,
    )
    return replace(base, **changes)


async def eventually(condition: Callable[[], Coroutine[Any, Any, bool]], seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.05)


async def new_environment(runtime: Runtime) -> str:
    """The id of an environment that has its network, on a subnet that is free here."""
    environment = naming.new_id()
    taken = [ip_network(subnet) for subnet in await runtime.occupied()]
    while True:
        subnet = ip_network(f"10.213.{random.randrange(256)}.{random.choice((0, 64, 128, 192))}/26")
        if not any(subnet.overlaps(other) for other in taken):
            break
    await runtime.ensure_network(environment, str(subnet))
    return environment


@dataclass
class FakeBench:
    world: World
    kind: str = "fake"
    images: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.runtime: Runtime = Fake(self.world)
        self.addresses = self.world.addresses
        self.images = {behaviour: self.world.add_image(f"image:{behaviour}", behaviour) for behaviour in PROGRAMS}

    async def restarted(self) -> Runtime:
        return Fake(self.world)

    def subnet(self, environment: str, subnet: str) -> None:
        self.world.addresses.subnets[environment] = subnet

    async def resolves(self, environment: str, name: str) -> set[str]:
        return self.world.resolve_name(environment, name)

    async def reaches(self, environment: str, url: str) -> bool:
        there = self.world.serving(url)
        return there is not None and there.ref.environment == environment

    async def dies(self, ref: Ref) -> None:
        self.world.die(ref.workload)

    async def says(self, ref: Ref, line: str) -> None:
        self.world.say(ref.workload, line)

    def expects_run(self, code: int, line: str) -> list[str]:
        def run(launch: Launch, argv: Sequence[str], log: Callable[[str], None]) -> int:
            log(line)
            return code

        self.world.on_run = run
        return ["sh", "-c", f"echo {line}; exit {code}"]


class _Told(Addresses):
    """Learns each environment's subnet from the engine, as the store knows it from its table."""

    def __init__(self, client: docker.DockerClient) -> None:
        super().__init__()
        self._client = client

    async def allocate(self, environment: str, owner: str, count: int) -> list[str]:
        if environment not in self.subnets:
            network = await asyncio.to_thread(self._client.networks.get, naming.network_name(environment))
            self.subnets[environment] = network.attrs["IPAM"]["Config"][0]["Subnet"]
        return await super().allocate(environment, owner, count)


class EngineBench:
    kind = "engine"

    def __init__(self, client: docker.DockerClient, instance: str, images: Mapping[str, str]) -> None:
        self.client, self.instance, self.images = client, instance, images
        self.addresses: Addresses = _Told(client)
        self._docker = Docker()
        self.runtime: Runtime = Engine(instance, self._docker, self.addresses)
        self._neighbours: dict[str, Any] = {}

    async def restarted(self) -> Runtime:
        return Engine(self.instance, self._docker, self.addresses)

    async def resolves(self, environment: str, name: str) -> set[str]:
        # A name with a dot at its end is asked for as it is, without the machine's search domains.
        _, output = await self._inside(environment, ["nslookup", "-type=a", f"{name}.", "127.0.0.11"])
        lines = output.split("Name:", 1)[1].splitlines() if "Name:" in output else []
        return {line.split(":", 1)[1].strip() for line in lines if line.startswith("Address")}

    async def reaches(self, environment: str, url: str) -> bool:
        host, _, port = url.removeprefix("http://").partition(":")
        question = f"printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 2 {host} {port}"
        _, output = await self._inside(environment, ["sh", "-c", question])
        return output.startswith("HTTP/1.")

    async def dies(self, ref: Ref) -> None:
        """By a signal to its process from inside, which the engine knows nothing of."""
        await asyncio.to_thread(self._container(ref).exec_run, ["sh", "-c", "kill -9 $(pidof httpd)"])

    async def says(self, ref: Ref, line: str) -> None:
        container = self._container(ref)
        await asyncio.to_thread(container.exec_run, ["sh", "-c", f"echo '{line}' > /proc/1/fd/1"])

    def expects_run(self, code: int, line: str) -> list[str]:
        return ["sh", "-c", f"echo {line}; exit {code}"]

    def _container(self, ref: Ref) -> Any:
        return self.client.containers.get(naming.container_name(ref.environment, ref.service, ref.workload, 1))

    async def _inside(self, environment: str, words: list[str]) -> tuple[int, str]:
        """Runs words in a container that is in the environment's network and is none of ours."""

        def work() -> tuple[int, str]:
            if environment not in self._neighbours:
                self._neighbours[environment] = self._neighbour(environment)
            code, output = self._neighbours[environment].exec_run(words)
            return code, output.decode(errors="replace")

        return await asyncio.to_thread(work)

    def _neighbour(self, environment: str) -> Any:
        network = self.client.networks.get(naming.network_name(environment))
        last = str(list(ip_network(network.attrs["IPAM"]["Config"][0]["Subnet"]).hosts())[-1])
        joined = {network.name: docker.types.EndpointConfig(self.client.api.api_version, ipv4_address=last)}
        return self.client.containers.run(
            "busybox:stable",
            ["sleep", "600"],
            name=f"neighbour-{uuid.uuid4().hex[:10]}",
            detach=True,
            init=True,
            network=network.name,
            networking_config=joined,
        )

    async def close(self) -> None:
        await self.runtime.close()
        for neighbour in self._neighbours.values():
            await asyncio.to_thread(neighbour.remove, force=True)
