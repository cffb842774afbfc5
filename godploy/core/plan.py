"""The difference between the current release and what the manifest wants, with its reasons. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from godploy.core.routing import Route
from godploy.core.specification import Specification


@dataclass(frozen=True, slots=True)
class ResolvedImage:
    """What an image text leads to. `id` is what the runtime runs; `digest` is the registry's, where there is one."""

    id: str
    digest: str | None = None
    ports: tuple[int, ...] = ()  # EXPOSE, TCP only


@dataclass(frozen=True, slots=True)
class Context:
    """What git says of a build context at the commit."""

    tree: str  # hash over the files that count (context narrowed by watch, without the manifest), Dockerfile included
    dockerfile: bool  # whether the Dockerfile is there, as a regular file
    files: int = 0


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A service of another stack in the same environment."""

    stack: str
    source: str  # "repository shop" or "the dashboard manifest", for sentences
    offers: Mapping[str, str]  # key → sealed value


@dataclass(frozen=True, slots=True)
class HostFact:
    owner: str  # "free", "project" (this one), "other" or "reserved" (the dashboard's own)
    environment: str | None = None  # name of the environment of this project whose routes hold it now


@dataclass(frozen=True, slots=True)
class Policy:
    """The server's limits; None: no limit. Hosts and registries are names or `*.suffix` patterns."""

    memory: int | None = None
    cpus: float | None = None
    replicas: int | None = None
    hosts: tuple[str, ...] | None = None
    registries: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Current:
    """What runs now for one service of this stack."""

    workload: str  # id
    definition: Mapping[str, Any]
    specification: Specification
    generation: int
    replicas: int


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that the plan must know of the world, gathered beforehand."""

    project: str  # name
    environment: str  # name
    environment_class: str  # id that keeps build caches and keys apart
    apps_domain: str
    commit: str | None
    contexts: Mapping[str, Context] = field(default_factory=dict)  # service → its context; missing: no such folder
    images: Mapping[str, ResolvedImage] = field(default_factory=dict)  # image text → where it leads
    built: Mapping[str, ResolvedImage] = field(default_factory=dict)  # build key → the image that is there
    secrets: Mapping[str, int] = field(default_factory=dict)  # name → current version in the environment
    volumes: Mapping[str, str | None] = field(default_factory=dict)  # existing volume → who mounts it ("stack/service")
    neighbours: Mapping[str, Neighbour] = field(default_factory=dict)  # service name → who has it
    users_of: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # our service → who in other stacks refers to it
    hosts: Mapping[str, HostFact] = field(default_factory=dict)
    taken_names: frozenset[str] = frozenset()  # generated hosts that belong to somebody else
    short_id: str = ""  # appended to a generated name that is taken
    policy: Policy = Policy()
    stopped: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class BuildPlan:
    """A build that has no image yet for its key."""

    key: str
    context: str  # folder in the repository, "" for its root
    dockerfile: str  # path in the repository
    target: str | None
    args: Mapping[str, str]  # resolved; never a secret
    secrets: Mapping[str, int]  # name → version
    pull: bool


@dataclass(frozen=True, slots=True)
class ServicePlan:
    service: str
    action: str  # unchanged | build | update | restart | scale | create | remove
    reasons: tuple[str, ...]
    definition: Mapping[str, Any]
    specification: Specification | None  # None for remove; its image is "" where `build` or `image_from` is to give it
    replicas: int
    generation: int = 1
    workload: str | None = None  # the running workload: carried over (unchanged, scale) or replaced or removed
    build: BuildPlan | None = None
    image_from: str | None = None
    strategy_reason: str = ""
    destructive: tuple[str, ...] = ()

    @property
    def new(self) -> bool:
        """Whether a new workload is made."""
        return self.action in ("build", "update", "restart", "create")


@dataclass(frozen=True, slots=True)
class Plan:
    services: tuple[ServicePlan, ...]  # in the order in which they start: dependencies first
    routes: tuple[Route, ...] = ()
    routes_added: tuple[str, ...] = ()  # "shop.example.com/ → web"
    routes_removed: tuple[str, ...] = ()
    volumes_created: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # name → generated secrets it keeps
    volumes_detached: tuple[str, ...] = ()
    references: Mapping[str, str] = field(default_factory=dict)  # "db.url" → sealed value taken from another stack
    release_commands: bool = True  # False for rollback
    notes: tuple[str, ...] = ()

    @property
    def destructive(self) -> tuple[str, ...]:
        return tuple(text for service in self.services for text in service.destructive)

    @property
    def timeout(self) -> float:
        return max([s.specification.timeout for s in self.services if s.specification is not None], default=600.0)
