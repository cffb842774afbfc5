"""The records that everything speaks of: one word for one thing, as in the tables and on the screen.

Ids are short, immutable and opaque (`naming.new_id`). Times are seconds since 1970 (float, UTC).
Every record here is a row of the store, read-only; a change is a store function.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """Why a deployment exists."""

    PUSH = "push"
    MANUAL = "manual"
    POLL = "poll"
    ROLLBACK = "rollback"
    RESTART = "restart"
    CONFIG = "config"

    @property
    def from_release(self) -> bool:
        """Whether it starts from an existing release and so skips fetch and build."""
        return self in (Kind.ROLLBACK, Kind.RESTART, Kind.CONFIG)


class State(StrEnum):
    """Of a deployment; `lifecycle.may_become` has the arrows."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"

    @property
    def final(self) -> bool:
        return self not in (State.QUEUED, State.RUNNING)


class Stage(StrEnum):
    """How far a running deployment is."""

    FETCH = "fetch"
    PLAN = "plan"
    BUILD = "build"
    START = "start"
    SWITCH = "switch"


class WorkloadState(StrEnum):
    """NEW: made, not yet part of a committed release. LIVE: a current release names it.
    DRAINING: out of the pool, finishing until its deadline. GONE: its containers are removed."""

    NEW = "new"
    LIVE = "live"
    DRAINING = "draining"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Organization:
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class User:
    id: str
    email: str
    administrator: bool  # server administrator


@dataclass(frozen=True, slots=True)
class Project:
    id: str
    organization: str  # id
    name: str


@dataclass(frozen=True, slots=True)
class Environment:
    id: str
    project: str
    name: str


@dataclass(frozen=True, slots=True)
class Feed:
    """What feeds an environment from a repository: the name of a branch, or a tag pattern, or (both None) the
    default branch."""

    branch: str | None = None
    tag: str | None = None


@dataclass(frozen=True, slots=True)
class Repository:
    id: str
    project: str
    name: str
    provider: str  # "godploy" (our own remote), "generic", or where it is hosted: "github", …
    url: str | None  # None for our own remote
    manifest_path: str
    default_branch: str | None  # None until the first push or fetch
    hook_id: str
    mapping: Mapping[str, Feed]  # environment name → what feeds it, as last seen on the default branch
    status_url: str | None = None  # where the state of its deployments is told
    connection: str | None = None  # by which the provider is asked; None: there is none, or none any more
    remote_id: str | None = None  # the provider's own id of it, which survives a rename
    full_name: str | None = None  # "owner/name" at the provider, as last seen
    web_url: str | None = None


@dataclass(frozen=True, slots=True)
class ProviderConnection:
    """An organization's credential at a provider: an access token, an OAuth grant, or a GitHub App."""

    id: str
    organization: str
    name: str
    provider: str
    base: str  # the provider's web address, without a trailing slash
    kind: str  # "token", "oauth" or "app"
    account_id: str
    account_name: str
    state: str  # "usable", "refused" (a person must renew it) or "uninstalled" (a GitHub App, not installed yet)
    trouble: str | None  # why it is not usable
    expires_at: float | None  # where the provider tells, or a person said so
    checked_at: float
    made_by: str
    created_at: float


@dataclass(frozen=True, slots=True)
class Consent:
    """Somebody was sent to a provider to agree to a connection."""

    id: str
    organization: str
    token: str  # of the terminal that began it, and that alone may go on
    provider: str
    base: str
    kind: str  # "oauth" or "app"
    name: str | None
    renews: str | None  # the connection that it renews
    owner: str | None  # the organization there that is to own the GitHub App
    stage: str  # "waiting", "answering", "answered", "failed" or "confirmed"
    account_id: str | None
    account_name: str | None
    trouble: str | None
    created_at: float
    expires_at: float


@dataclass(frozen=True, slots=True)
class HostedHook:
    """The hook that Godploy made at a repository's provider."""

    repository: str
    hook: str  # the provider's id of it
    url: str
    scheme: str  # how its deliveries prove themselves, where the provider has several ways
    state: str  # "unproven", "working", "silent" (nothing came) or "refused"
    trouble: str | None
    made_at: float
    heard_at: float | None


@dataclass(frozen=True, slots=True)
class PullRequest:
    """A pull request of a repository, as last told. `outcome` is what its plan says, None until it is planned."""

    id: str
    repository: str
    number: int
    title: str
    branch: str
    base: str
    url: str
    author: str
    fork: bool
    source_url: str
    state: str  # "open" or "closed"
    commit: str | None  # the head that was planned
    outcome: Mapping[str, Any] | None
    planned_at: float | None
    updated_at: float


@dataclass(frozen=True, slots=True)
class Stack:
    """What one source makes in one environment: a repository or, None, the project's dashboard manifest."""

    id: str
    environment: str
    repository: str | None
    current_release: str | None
    held: bool
    detached: bool


@dataclass(frozen=True, slots=True)
class Delivery:
    id: str
    repository: str
    key: str
    kind: str  # "hook", "push" (our own remote), "poll" or "manual"
    state: str  # "received" or "decided"
    verdict: str | None
    body: Mapping[str, Any]
    received_at: float
    decided_at: float | None
    headers: Mapping[str, str] | None = None  # of a hook's, secrets left out


@dataclass(frozen=True, slots=True)
class Deployment:
    id: str
    number: int  # counted per project, for people
    stack: str
    kind: Kind
    state: State
    stage: Stage | None
    commit: str | None  # full hash; None for a dashboard manifest
    revision: int | None  # of the dashboard manifest
    branch: str | None
    message: str  # the commit's first line, or what the person asked for
    actor: str
    delivery: str | None
    from_release: str | None  # the release to return to (rollback) or to start again (restart, config)
    attempt: int
    options: Mapping[str, Any]  # confirm: digest; update, restart: [service]; secrets: {NAME: former version}
    ending: str | None  # what a person or a newer push asked for: "cancelled" or "superseded", with the reason
    created_at: float
    started_at: float | None
    finished_at: float | None
    stage_times: Mapping[str, float]  # stage → when it began
    error: Mapping[str, Any] | None  # GodployError.to_json()
    result: str | None  # one sentence: "live in 3.1 s", "nothing changed", "superseded by 3f2a91c"


@dataclass(frozen=True, slots=True)
class Release:
    id: str
    number: int  # counted per stack
    stack: str
    deployment: str
    kind: Kind  # of the deployment that made it
    commit: str | None
    revision: int | None
    manifest: str  # the text
    routes: tuple[Mapping[str, Any], ...]  # routing.Route.to_json()
    references: Mapping[str, str]  # "db.url" → sealed value taken from another stack
    secrets_changed: Mapping[str, int]  # for kind config: name → former version
    created_at: float
    services: tuple[ReleaseService, ...] = ()


@dataclass(frozen=True, slots=True)
class ReleaseService:
    """One service of a release; a workload may be shared with the release before."""

    service: str
    workload: str
    replicas: int
    definition: Mapping[str, Any]  # what the manifest said, merged for the environment, no defaults


@dataclass(frozen=True, slots=True)
class Workload:
    """The containers of a service with one exact specification and generation."""

    id: str
    environment: str
    stack: str
    service: str
    specification: Mapping[str, Any]  # Specification.to_json(): resolved once, stored whole
    hash: str
    generation: int
    state: WorkloadState
    commit: str | None  # the value of ${deployment.commit} for it
    made_by: str  # deployment id
    replicas: int  # as last made
    drain_until: float | None
    stopped_by: str | None  # the running deployment that stopped it, to be started again if that fails
    created_at: float


@dataclass(frozen=True, slots=True)
class Volume:
    id: str
    environment: str
    name: str
    stack: str | None  # whose service mounts it now; None: detached
    service: str | None
    made_by: str | None  # the deployment that made it, until a release has been committed with it
    created_at: float


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a service, stack or deployment, for people."""

    id: int
    at: float
    environment: str | None
    stack: str | None
    service: str | None
    deployment: str | None
    kind: str  # "drift", "health", "oom", "stopped", "started", "secret", "state", …
    message: str
    fields: Mapping[str, Any] = field(default_factory=dict)
