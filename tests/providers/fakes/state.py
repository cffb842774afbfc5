"""What a provider that is played keeps."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from godploy.providers.protocol import OAuthClient


@dataclass(eq=False)
class User:
    id: int
    name: str
    uuid: str = field(default_factory=lambda: f"{{{uuid.uuid4()}}}")

    @property
    def mail(self) -> str:
        return f"{self.name}@example.org"


@dataclass(eq=False)
class Hook:
    """`settings` is what else the provider keeps of it, in its own words."""

    id: int
    url: str
    secret: str
    events: list[str]
    active: bool = True
    signing_token: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    uuid: str = field(default_factory=lambda: f"{{{uuid.uuid4()}}}")


@dataclass(eq=False)
class Pull:
    """`source` is the repository of its head: that of the pull request itself, unless it is a fork."""

    number: int
    title: str
    author: User
    source: Repository
    branch: str
    base: str
    head: str
    open: bool = True
    merged: bool = False
    merge_commit: str | None = None


@dataclass(eq=False)
class Repository:
    """`roles`: user id → "read", "write" or "admin". `statuses` by commit, oldest first, in the provider's words."""

    id: int
    full_name: str
    owner: User
    private: bool
    directory: Path
    default_branch: str = "main"
    roles: dict[int, str] = field(default_factory=dict)
    hooks: list[Hook] = field(default_factory=list)
    pulls: dict[int, Pull] = field(default_factory=dict)
    statuses: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    fork_of: Repository | None = None
    uuid: str = field(default_factory=lambda: f"{{{uuid.uuid4()}}}")

    @property
    def name(self) -> str:
        return self.full_name.rpartition("/")[2]


@dataclass(eq=False)
class Token:
    """`kind`: "token" (made by a person), "oauth", or what a provider has besides. `scopes` None: every one.
    `repositories` None: every one that its user sees; else the ids of those it is for, as an administrator."""

    text: str = field(repr=False)
    user: User | None
    scopes: tuple[str, ...] | None
    kind: str = "token"
    ends_at: float | None = None
    revoked: bool = False
    repositories: set[int] | None = None


@dataclass(eq=False)
class Client:
    """A registered OAuth client with its one redirect address."""

    id: str
    secret: str = field(repr=False)
    callback: str

    @property
    def value(self) -> OAuthClient:
        return OAuthClient(self.id, self.secret)


@dataclass(eq=False)
class Code:
    client: Client
    callback: str
    challenge: str
    user: User
    scopes: tuple[str, ...]
    until: float


@dataclass(eq=False)
class Refresh:
    client: Client
    user: User
    scopes: tuple[str, ...]
    access: str
    used: bool = False


@dataclass(frozen=True)
class Moved:
    """A ref that moved; `before` or `after` is None where it was made or deleted."""

    ref: str
    before: str | None
    after: str | None
    forced: bool = False

    @property
    def name(self) -> str:
        return self.ref.split("/", 2)[2]

    @property
    def is_tag(self) -> bool:
        return self.ref.startswith("refs/tags/")


@dataclass(frozen=True)
class Commit:
    id: str
    tree: str
    message: str
    added: list[str]
    modified: list[str]
    removed: list[str]


@dataclass(frozen=True)
class Asked:
    """A request that the provider saw; `path` with its query, as it was sent."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(eq=False)
class Sent:
    """A delivery. `status` 0: nobody answered."""

    repository: Repository
    hook: Hook
    event: str
    headers: dict[str, str]
    body: bytes
    status: int = 0
    answer: bytes = b""


class Refused(Exception):
    """Ends a request with this answer."""

    def __init__(self, status: int, tree: Any, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(f"{status}: {tree}")
        self.status = status
        self.tree = tree
        self.headers = dict(headers or {})


class NotApproved(Exception):
    """The authorize page says what is wrong with the address, and sends the browser nowhere."""
