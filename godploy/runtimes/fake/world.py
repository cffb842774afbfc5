"""The machine of the fake runtime: what is on it, how it is going to behave, and what tests ask of it.

It outlives the `Fake`: a Godploy that "crashed" is started anew on the same world, and finds what it left there.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_network

from godploy.core.command import Command
from godploy.runtimes.protocol import Launch, Log, Ref

SURVIVES = "unless-stopped"

HEALTHY = "healthy"
ENDINGS = {"exits": ("exited", 3), "oom": ("oom", 137)}  # behaviour of an image → code of the failure, exit code
SILENCES = ("never_listens", "wrong_port", "loopback_only", "health_status")  # behaviours that are codes, too


@dataclass
class Container:
    ref: Ref
    replica: int
    image: str
    address: str
    port: int | None
    mounts: tuple[tuple[str, str], ...]
    env: dict[str, str]
    named: bool
    policy: str = "no"
    state: str = "running"
    exit_code: int = 0
    oom: bool = False
    restarts: int = 0
    lines: list[tuple[float, str]] = field(default_factory=list)

    @property
    def running(self) -> bool:
        return self.state == "running"

    @property
    def promoted(self) -> bool:
        return self.policy == SURVIVES and (self.named or self.port is None)


class Addresses:
    """An address book in memory; it learns an environment's subnet from `subnets`."""

    def __init__(self) -> None:
        self.subnets: dict[str, str] = {}
        self._taken: dict[str, list[str]] = {}  # by owner

    async def allocate(self, environment: str, owner: str, count: int) -> list[str]:
        mine = self._taken.setdefault(owner, [])
        taken = {address for addresses in self._taken.values() for address in addresses}
        hosts = [str(host) for host in ip_network(self.subnets[environment]).hosts()][1:]
        free = (host for host in hosts if host not in taken)
        mine += [next(free) for _ in range(count - len(mine))]
        return mine[:count]

    async def release(self, owner: str) -> None:
        self._taken.pop(owner, None)

    def held(self) -> set[str]:
        """Owners of at least one address."""
        return {owner for owner, addresses in self._taken.items() if addresses}


class World:
    """The machine: what is on it, how it is going to behave, and what tests ask of it."""

    def __init__(self) -> None:
        self.containers: dict[tuple[str, int], Container] = {}
        self.networks: dict[str, str] = {}
        self.volumes: set[tuple[str, str]] = set()
        self.images: dict[str, str] = {}  # id → behaviour
        self.ports: dict[str, tuple[int, ...]] = {}
        self.tags: dict[str, str] = {}  # image text → id
        self.built: dict[str, str] = {}  # ids that carry our label → the environment in it
        self.addresses = Addresses()
        self.history: list[str] = []  # effects in their order: "create web w1 1", "stop web w0 1", …
        self.down = False
        self.on_call: Callable[[str], Awaitable[None] | None] = lambda call: None
        """Called with "before NAME" and "after NAME" around each effect; may raise, or return something to await."""
        self.on_build: Callable[[Sequence[Command], str], str] = lambda commands, tag: HEALTHY
        """Gives the behaviour of the image that is built; may raise BuildFailed."""
        self.on_run: Callable[[Launch, Sequence[str], Log], int] = lambda launch, argv, log: 0
        """Gives the exit code of a one-off run."""
        self.subscribers: list[asyncio.Queue[Ref]] = []

    def add_image(self, text: str, behaviour: str = HEALTHY, ports: tuple[int, ...] = ()) -> str:
        """The id of a new image, called `text`. A behaviour is HEALTHY or one of ENDINGS and SILENCES."""
        image = "sha256:" + hashlib.sha256(f"{text} {behaviour}".encode()).hexdigest()
        self.images[image], self.ports[image], self.tags[text] = behaviour, ports, image
        return image

    def of(self, workload: str) -> list[Container]:
        return [self.containers[key] for key in sorted(self.containers) if key[0] == workload]

    def resolve_name(self, environment: str, service: str) -> set[str]:
        """Addresses that a service's name leads to, inside its environment."""
        inside = (each for each in self.containers.values() if each.ref.environment == environment)
        return {each.address for each in inside if each.running and each.named and each.ref.service == service}

    def serving(self, url: str) -> Container | None:
        """Who answers at `http://address:port`."""
        for each in self.containers.values():
            if url == f"http://{each.address}:{each.port}" and self.answers(each):
                return each
        return None

    def answers(self, container: Container) -> bool:
        behaviour = self.images.get(container.image)
        return container.running and (behaviour == HEALTHY or (container.port is None and behaviour in SILENCES))

    def die(self, workload: str, replica: int = 1, exit_code: int = 1) -> None:
        """It ends by itself; the engine starts it again where its restart policy says so."""
        container = self.containers[workload, replica]
        if container.policy == SURVIVES:
            container.restarts += 1
        else:
            container.state, container.exit_code = "exited", exit_code
        self.tell(container.ref)

    def reboot(self) -> None:
        """Only what was promoted and not stopped runs again."""
        for container in self.containers.values():
            if container.running and container.policy != SURVIVES:
                container.state, container.exit_code = "exited", 255

    def say(self, workload: str, line: str, replica: int = 1) -> None:
        self.containers[workload, replica].lines.append((time.time(), line))

    def tell(self, ref: Ref) -> None:
        for queue in self.subscribers:
            queue.put_nowait(ref)
