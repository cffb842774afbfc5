"""The runtime in deployment words: what the deploy story asks of whatever runs containers.

The algorithm above is the same on one machine and on many: a new specification makes a new workload beside the old one,
the route moves, the old one goes. One contract suite (`tests/contract`) holds for every implementation.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from godploy.core.command import Command
from godploy.core.plan import ResolvedImage
from godploy.core.specification import Health
from godploy.errors import Unavailable

Log = Callable[[str], None]  # one line, without its end


@dataclass(frozen=True, slots=True)
class Ref:
    """Names a workload: ids, and the service's name, which its network knows it by."""

    workload: str
    environment: str
    stack: str
    service: str


@dataclass(frozen=True, slots=True)
class Launch:
    """What a workload (or a one-off run) is started from; secrets are already filled in, so it is never stored."""

    ref: Ref
    image: str
    replicas: int = 1
    command: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[tuple[str, str], ...] = ()  # (volume id, path)
    port: int | None = None
    cpus: float = 1.0
    memory: int = 512 * 1024 * 1024
    pids: int = 512
    health: Health = field(default_factory=Health)
    host: str | None = None  # the Host header of probes: the first route's
    settle: float = 5.0
    stop_grace: float = 30.0
    alone: bool = False  # nobody else holds the service's name, so it is given at creation

    def __repr__(self) -> str:  # env holds secrets
        return f"Launch({self.ref}, image={self.image!r})"


@dataclass(frozen=True, slots=True)
class Observed:
    """What the runtime says of a workload, or of a stray container that carries our instance label."""

    ref: Ref
    running: int  # replicas that run
    total: int
    promoted: bool  # restart policy and name are in place for all
    healthy: int
    details: Mapping[str, Any] = field(default_factory=dict)
    """Replica number, as text → {"state", "exit_code", "oom", "restarts"}."""


@dataclass(frozen=True, slots=True)
class Stats:
    """Of one workload, now, over its replicas. CPU in cores, sizes in bytes; network counted since the start."""

    cpu: float
    memory: int
    memory_limit: int
    received: int
    sent: int
    replicas: int


class Unhealthy(Exception):
    """A workload did not become healthy. `code` names the case in `core.failures`, `facts` fill its sentence,
    `lines` are the last lines of its log. What was started is gone when this is raised."""

    def __init__(self, code: str, facts: Mapping[str, Any], lines: Sequence[str] = ()) -> None:
        super().__init__(f"{code} {dict(facts)}")
        self.code, self.facts, self.lines = code, dict(facts), tuple(lines)


class RuntimeUnavailable(Unavailable):
    """The runtime does not answer (engine down); nothing is known of what it did. Try again later."""


class BuildFailed(Exception):
    """A build ended badly; `code` names the case in `core.failures`: build_failed, build_oom, build_timeout or
    disk_full."""

    def __init__(self, code: str, facts: Mapping[str, Any], lines: Sequence[str] = ()) -> None:
        super().__init__(f"{code} {dict(facts)}")
        self.code, self.facts, self.lines = code, dict(facts), tuple(lines)


class ImageNotFound(Exception):
    """No registry and no local store has the image, or the registry refuses it; the message says which."""


class AddressBook(Protocol):
    """Which address belongs to which container, kept where a crash cannot lose it (the store).

    `owner` is a workload's id or that of a one-off run. An address stays its owner's until it is released, so that no
    route written earlier can ever lead to somebody else's container.
    """

    async def allocate(self, environment: str, owner: str, count: int) -> list[str]:
        """The first `count` addresses of `owner` in its environment's subnet; always the same ones in the same order,
        more of them when `count` has grown. Never the subnet's first host, which is the bridge's own."""
        ...

    async def release(self, owner: str) -> None:
        """All of its addresses are free again; none is fine."""
        ...


class Runtime(Protocol):
    """All calls are idempotent where that makes sense, and safe to cancel: a cancelled call leaves nothing half-made
    that `remove` would not take away. Any call may raise RuntimeUnavailable."""

    async def open(self) -> None: ...
    async def close(self) -> None: ...

    async def build(self, commands: Sequence[Command], tag: str, timeout: float, log: Log) -> ResolvedImage:
        """Runs the commands in order; the last one leaves an image called `tag`. Raises BuildFailed."""
        ...

    async def resolve(self, reference: str, pull: bool = True, *, environment: str | None = None) -> ResolvedImage:
        """Where a tag leads now: its digest at the registry or, where no registry has it, the local image's id.

        `environment` is for whom it is asked: what Godploy built for another one is as good as not there, by whatever
        name. None is Godploy itself. Raises ImageNotFound."""
        ...

    async def has_image(self, image: str) -> bool: ...
    async def remove_image(self, image: str) -> None:
        """One that is missing, or that a container still uses, is left as it is."""
        ...

    async def images(self) -> list[str]:
        """Ids of the images that carry this instance's label."""
        ...

    async def occupied(self) -> list[str]:
        """Subnets (`10.0.0.0/26`) that a new network must keep clear of: those of other networks, and the host's
        routes."""
        ...

    async def ensure_network(self, environment: str, subnet: str) -> None:
        """Raises `errors.Conflict` where the environment has a network with another subnet, or the subnet is taken."""
        ...

    async def remove_network(self, environment: str) -> None:
        """A missing one is fine; raises `errors.Conflict` while containers are in it."""
        ...

    async def ensure_volume(self, environment: str, volume: str) -> None: ...
    async def remove_volume(self, environment: str, volume: str) -> None:
        """Its data is gone. A missing one is fine; raises `errors.Conflict` while a container mounts it."""
        ...

    async def start(self, launch: Launch, log: Log) -> None:
        """New containers beside whatever runs, with restart policy "no"; returns when every replica was healthy
        (`health.successes` times in a row, no restart), or stayed up for `settle` where there is no port.
        Otherwise, and when cancelled, removes what it made; raises Unhealthy or ImageNotFound. What an earlier,
        interrupted start of the same workload left is replaced."""
        ...

    async def promote(self, launch: Launch) -> None:
        """The workload survives reboots, and its service's name resolves to it as well. Idempotent. For a service
        with a port, healthy again afterwards (raises Unhealthy, leaving the containers)."""
        ...

    async def demote(self, ref: Ref) -> None:
        """It no longer survives reboots, and the name does not resolve to it. Idempotent; a missing one is fine."""
        ...

    async def stop(self, ref: Ref, grace: float) -> None:
        """SIGTERM, grace, SIGKILL; the containers, their addresses and their logs stay."""
        ...

    async def resume(self, launch: Launch) -> None:
        """Starts what of it does not run, at the same addresses, and makes anew what of it is missing (not promoted
        yet); healthy, or raises Unhealthy, leaving the containers."""
        ...

    async def scale(self, launch: Launch, log: Log) -> None:
        """Brings a running, promoted workload to `launch.replicas`: further containers are started, probed and
        promoted (removed again on failure, raising Unhealthy); surplus ones are stopped and removed, highest first."""
        ...

    async def remove(self, ref: Ref) -> None:
        """Removes its containers, stopped or running, and gives their addresses back. A missing one is fine."""
        ...

    async def endpoints(self, ref: Ref, port: int) -> list[str]:
        """`http://address:port`, one per running replica that is not marked unhealthy. Where all are marked it is all:
        an answer of the app's own is better than none."""
        ...

    async def healthy(self, launch: Launch) -> bool:
        """Whether every replica runs and answers its probe now, once."""
        ...

    async def check(self, ref: Ref, replica: int, port: int, health: Health, host: str | None) -> bool:
        """One probe of one replica (numbers begin with 1), now."""
        ...

    async def mark(self, ref: Ref, unhealthy: frozenset[int]) -> None:
        """Which replicas count as unhealthy from now on (the health watch decides); `observe` tells it, too."""
        ...

    async def observe(self, environment: str | None = None) -> list[Observed]: ...

    async def run_once(self, launch: Launch, argv: Sequence[str], log: Log, timeout: float) -> int:
        """Runs `argv` in a container of its own with the launch's image, environment, network and mounts; its exit
        code. Nothing of it is left, also when cancelled. argv replaces the command; the entrypoint stays. `observe`
        does not show it while this call is under way; what a crash left of it is shown as a workload of its own.
        Raises ImageNotFound, or TimeoutError after `timeout` seconds."""
        ...

    def logs(self, ref: Ref, follow: bool, tail: int) -> AsyncIterator[tuple[float, int, str]]:
        """(time, replica, line), oldest first; ends with the containers, or at once without `follow`."""
        ...

    async def stats(self, refs: Sequence[Ref]) -> dict[str, Stats]:
        """By workload id."""
        ...

    def events(self) -> AsyncIterator[Ref]:
        """A workload of ours changed (died, started, …): a hint. Ends when the stream ends; subscribe again."""
        ...
