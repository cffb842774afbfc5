"""What a git provider is asked and what it tells, as values: nothing here or in its modules touches the network.

A *talk* is a generator that yields a `Request`, is sent the `Response`, and returns what it has learnt, so that a
question of several steps reads as one. Who holds it adds the credential, keeps it to the provider's own addresses, and
bounds sizes and times. A *sender* is the other direction: it says whether a delivery is authentic, and what it tells.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol, TypeAlias, TypeVar

from godploy.errors import GodployError

T = TypeVar("T")

_LONGEST_NAME = 255
_MOST_PARTS = 400_000  # of an answer; a list of a hundred pull requests has a tenth of it


def parts(body: bytes) -> int:
    """At least how many values JSON has: in memory each takes up to a hundred bytes, in the text as few as two."""
    return sum(body.count(mark) for mark in (b",", b"[", b"{"))


@dataclass(frozen=True, slots=True)
class Request:
    """`url` is whole, with its query encoded. `anonymous`: without the connection's credential."""

    method: str
    url: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    anonymous: bool = False


@dataclass(frozen=True, slots=True)
class Response:
    """`headers` by lower-case name. A redirect is an answer like any other; nobody follows it unasked."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def tree(self) -> Any:
        """The body as JSON; None where it is none, or one of so many parts that it was written to be expensive."""
        try:
            return json.loads(self.body) if parts(self.body) <= _MOST_PARTS else None
        except (ValueError, RecursionError):
            return None


Talk: TypeAlias = Generator[Request, Response, T]


class Trouble(StrEnum):
    """What a provider's refusal means for who asked."""

    CREDENTIAL = "credential"  # it is unknown, expired or revoked: a person must renew it
    FORBIDDEN = "forbidden"  # known, but it may not do this
    MISSING = "missing"  # there is no such thing, or none that the credential may see
    INVALID = "invalid"  # what was sent is not accepted; sending it again does not help
    BUSY = "busy"  # too many requests: later
    DOWN = "down"  # no answer, or one of a server in trouble: later


class ProviderError(GodployError):
    """A provider did not do what it was asked; `wait` is how many seconds it wants to be left alone, None if it did
    not say."""

    code = "provider_error"
    status = 502

    def __init__(self, trouble: Trouble, message: str, *, wait: float | None = None, next_step: str = "") -> None:
        super().__init__(message, next_step=next_step, fields={"trouble": str(trouble)})
        self.trouble = trouble
        self.wait = wait
        self.retry = trouble in (Trouble.BUSY, Trouble.DOWN)


# Who asks


@dataclass(frozen=True, slots=True)
class Credential:
    """`kind`: "token" (made by a person), "oauth" (a grant's access token) or "installation" (of a GitHub App).
    `username` is what a provider wants beside the token (Bitbucket's API tokens: the account's e-mail), else ""."""

    kind: str
    token: str = field(repr=False)
    username: str = ""


@dataclass(frozen=True, slots=True)
class OAuthClient:
    """What a server administrator registered at a provider."""

    id: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Grant:
    """What an authorization gave. `lifetime` in seconds from now, None where it does not end; `refresh` "" where there
    is nothing to renew it with; `scopes` as granted, None where the provider does not say."""

    token: str = field(repr=False)
    refresh: str = field(default="", repr=False)
    lifetime: float | None = None
    scopes: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Account:
    """`id` is stable, `name` is what people call it, in one line however it was written. `expires_at` of the token that
    asked, in seconds since 1970, where the provider tells."""

    id: str
    name: str
    scopes: tuple[str, ...] | None = None
    expires_at: float | None = None

    def __post_init__(self) -> None:
        name = "".join(each if each.isprintable() else "?" for each in self.name[:_LONGEST_NAME])
        object.__setattr__(self, "name", name)


# What is there


@dataclass(frozen=True, slots=True)
class Place:
    """A repository as it is addressed: `id` survives a rename, `full_name` ("owner/name") is as last seen."""

    id: str
    full_name: str


@dataclass(frozen=True, slots=True)
class HostedRepository:
    """`default_branch` is None while it is empty. `administered`: the credential may make hooks there."""

    id: str
    full_name: str
    clone_url: str
    web_url: str
    default_branch: str | None
    private: bool
    administered: bool

    @property
    def place(self) -> Place:
        return Place(self.id, self.full_name)


@dataclass(frozen=True, slots=True)
class Listing:
    """`complete` is False where there are more than were asked for."""

    repositories: tuple[HostedRepository, ...]
    complete: bool


@dataclass(frozen=True, slots=True)
class HookWish:
    """What a hook should be: it posts to `url`, and proves itself with `secret` (64 hexadecimal digits)."""

    url: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class HostedHook:
    """`scheme` is how its deliveries will prove themselves, as `Sender.verify` takes it. `active` is False where the
    provider has switched it off. `wanted`: it subscribes to everything that we need."""

    id: str
    url: str
    scheme: str = ""
    active: bool = True
    wanted: bool = True


class StatusState(StrEnum):
    """Of a commit status; each provider has words of its own for them."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCESS = "success"
    FAILURE = "failure"  # what was pushed is at fault
    ERROR = "error"  # something else is
    SUPERSEDED = "superseded"  # ended by something newer
    CANCELLED = "cancelled"  # ended by a person


@dataclass(frozen=True, slots=True)
class CommitStatus:
    """`context` names what is reported on ("godploy/shop/production"), `url` leads to it, `branch` is the short name of
    the branch or tag that it came by, "" where there is none. Each provider cuts the texts to its own limits."""

    commit: str
    context: str
    state: StatusState
    description: str
    url: str
    branch: str = ""


@dataclass(frozen=True, slots=True)
class PullRequest:
    """`commit` is the head, of which Bitbucket's hooks tell twelve digits only. `fork`: the head is in another
    repository; `source_url` is where that is cloned from, "" where it is not known or it is the same repository."""

    number: int
    title: str
    commit: str
    branch: str
    base: str
    url: str
    author: str = ""
    fork: bool = False
    source_url: str = ""


class Host(Protocol):
    """The provider's API, OAuth and git. `base` is always the web address without a trailing slash."""

    @property
    def name(self) -> str:
        """`github`."""

    @property
    def title(self) -> str:
        """`GitHub`, as it is written."""

    @property
    def usual_base(self) -> str:
        """`https://github.com`; empty where each server has its own."""

    @property
    def single(self) -> bool:
        """There is no other server of it."""

    @property
    def token_page(self) -> str:
        """Path below the base where a person makes an access token."""

    @property
    def token_scopes(self) -> tuple[str, ...]:
        """What it needs, in the provider's words."""

    @property
    def token_username(self) -> str:
        """What it takes beside a token, in words; "" for nothing."""

    @property
    def oauth_scopes(self) -> tuple[str, ...]: ...

    @property
    def oauth_page(self) -> str:
        """Path below the base where an OAuth client is registered."""

    @property
    def pkce(self) -> bool: ...

    @property
    def tests_hooks(self) -> bool:
        """Whether it can be asked to send something to a hook."""

    def api(self, base: str) -> str:
        """Where the API of that server is, without a trailing slash."""

    def authorization(self, credential: Credential) -> Mapping[str, str]:
        """The headers that a request carries for it."""

    def git_login(self, credential: Credential) -> tuple[str, str]:
        """(user name, password) for git over https."""

    # Every talk raises ProviderError.

    def account(self, base: str) -> Talk[Account]:
        """Whose credential it is. Some tokens are of no user: then of what they are, by the best name there is."""
        ...

    def repositories(self, base: str, search: str, limit: int) -> Talk[Listing]:
        """Those that the credential may administer and whose name contains `search`, lately used first."""
        ...

    def repository(self, base: str, full_name: str) -> Talk[HostedRepository]: ...

    def located(self, base: str, id: str) -> Talk[HostedRepository]:
        """By its id, whatever it is called now."""
        ...

    def branches(self, base: str, place: Place) -> Talk[tuple[str, ...]]: ...

    def hooks(self, base: str, place: Place) -> Talk[tuple[HostedHook, ...]]: ...

    def create_hook(self, base: str, place: Place, wish: HookWish) -> Talk[HostedHook]: ...

    def update_hook(self, base: str, place: Place, hook: str, wish: HookWish) -> Talk[HostedHook]:
        """Makes it what is wished, secret and subscriptions included, and switches it on."""
        ...

    def delete_hook(self, base: str, place: Place, hook: str) -> Talk[None]:
        """Fine where there is none."""
        ...

    def test_hook(self, base: str, place: Place, hook: str, branch: str) -> Talk[bool]:
        """Has the provider send something now; False where it cannot be asked to."""
        ...

    def set_status(self, base: str, place: Place, status: CommitStatus) -> Talk[None]: ...

    def pull_requests(self, base: str, place: Place) -> Talk[tuple[PullRequest, ...]]:
        """The open ones, lately changed first, a hundred at most."""
        ...

    def pull_ref(self, number: int, branch: str) -> str:
        """The full name of the ref under which git finds the head: `refs/pull/7/head`."""

    # OAuth: https://www.rfc-editor.org/rfc/rfc6749 and, for `challenge` (S256), https://www.rfc-editor.org/rfc/rfc7636

    def authorize_url(self, base: str, client: OAuthClient, callback: str, state: str, challenge: str) -> str: ...

    def exchange(self, base: str, client: OAuthClient, callback: str, code: str, verifier: str) -> Talk[Grant]: ...

    def refresh(self, base: str, client: OAuthClient, callback: str, refresh: str) -> Talk[Grant]: ...


# What its deliveries tell


@dataclass(frozen=True, slots=True)
class Ping:
    """The hook works."""


@dataclass(frozen=True, slots=True)
class Push:
    """`ref` is whole (`refs/heads/main`, `refs/tags/v1`); `commit` is None where it was deleted or is not told (by a
    generic hook), and for an annotated tag the commit that it leads to or, where the provider does not tell, the tag
    itself. `message` is the head commit's, "" where it is not told."""

    ref: str
    commit: str | None
    message: str = ""
    pusher: str = ""


@dataclass(frozen=True, slots=True)
class PullRequestChange:
    action: str  # "opened", "updated" or "closed"
    pull: PullRequest


@dataclass(frozen=True, slots=True)
class Uninteresting:
    """Authentic, and nothing to do; `reason` is a clause for people."""

    reason: str


Event: TypeAlias = Ping | Push | PullRequestChange | Uninteresting


class Sender(Protocol):
    """What comes to a hook. `headers` finds names in whatever case they are asked for. Pure, and in constant time where
    secrets are compared."""

    @property
    def signature_headers(self) -> tuple[str, ...]:
        """What no log of a delivery keeps."""

    def well_formed(self, headers: Mapping[str, str], scheme: str, now: float) -> bool:
        """Whether the headers could belong to an authentic delivery: what can be said before the body is read."""

    def verify(self, headers: Mapping[str, str], body: bytes, secrets: Iterable[str], scheme: str, now: float) -> bool:
        """Whether one of `secrets` vouches for the raw bytes, by the hook's own `scheme` and no other. Without any
        secret nothing is authentic, and that takes as long to say."""

    def key(self, headers: Mapping[str, str], body: bytes) -> str:
        """What a repeat of the same delivery has in common with it: 1 to 128 printable characters."""

    def events(self, headers: Mapping[str, str], body: bytes) -> Sequence[Event]:
        """What an authentic delivery tells, at least one thing. Raises Invalid for a body that is not as documented."""
