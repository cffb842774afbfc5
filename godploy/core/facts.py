"""What the plan must know of the world, and what it asks to be told. Gathered beforehand, so that planning is pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from godploy.core.specification import Specification


@dataclass(frozen=True, slots=True)
class ResolvedImage:
    """What an image text leads to. `id` is what the runtime runs; `digest` is the registry's, where there is one."""

    id: str
    digest: str | None = None
    ports: tuple[int, ...] = ()  # EXPOSE, TCP only


@dataclass(frozen=True, slots=True)
class ContextQuery:
    """Which files of the commit count for a build: paths and patterns from the repository's root, "" being the root
    itself. Without `watch` the whole context counts; the Dockerfile always does, the manifest never."""

    context: str
    dockerfile: str
    watch: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Inputs:
    """What must be looked up before planning: contexts in git, image texts at their registries, hosts in the store."""

    contexts: Mapping[str, ContextQuery]  # service → its context
    images: frozenset[str]
    hosts: frozenset[str]  # written hosts


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
    """Whose a host is. `paths` are what other stacks of our own environment serve on it: path → service."""

    owner: str  # "free", "project" (this one), "other", "reserved" (the dashboard's own) or "refused" (untold why)
    environment: str | None = None  # name of the environment of this project whose routes hold it now
    paths: Mapping[str, str] = field(default_factory=dict)


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
    """What runs now for one service of this stack, or what a kept release had for it."""

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
    folder: str = ""  # the manifest's, in the repository
    contexts: Mapping[str, Context] = field(default_factory=dict)  # service → its context; missing: no such folder
    images: Mapping[str, ResolvedImage] = field(default_factory=dict)  # image text → where it leads
    built: Mapping[str, ResolvedImage] = field(default_factory=dict)  # build key → the image that is there
    secrets: Mapping[str, int] = field(default_factory=dict)  # name → current version in the environment
    volumes: Mapping[str, str | None] = field(default_factory=dict)  # existing volume → who mounts it ("stack/service")
    neighbours: Mapping[str, Neighbour] = field(default_factory=dict)  # service name → who has it
    users_of: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # our service → who elsewhere refers to it
    hosts: Mapping[str, HostFact] = field(default_factory=dict)  # missing: free
    taken_names: frozenset[str] = frozenset()  # generated hosts that belong to somebody else
    short_id: str = ""  # appended to a generated name that is taken
    policy: Policy = Policy()
    policy_told: bool = True  # whether complaints may list what it allows
    stopped: frozenset[str] = frozenset()
