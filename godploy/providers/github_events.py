"""What GitHub tells: https://docs.github.com/en/webhooks/webhook-events-and-payloads"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from godploy.core.remote import is_branch, is_commit
from godploy.errors import Invalid
from godploy.providers import answers, proofs, pushes
from godploy.providers.protocol import Event, Ping, PullRequest, PullRequestChange, Push, Uninteresting

_EVENT, _DELIVERY, _SIGNATURE = "X-GitHub-Event", "X-GitHub-Delivery", "X-Hub-Signature-256"
_SIGNATURE_FORM = re.compile(r"sha256=[0-9a-f]{64}")
_ACTIONS = {"opened": "opened", "reopened": "opened", "synchronize": "updated", "closed": "closed"}


class GitHubSender:
    """The half that is told."""

    # The second is the first's forerunner, by SHA-1: nothing is believed because of it, and no log needs it.
    signature_headers: tuple[str, ...] = (_SIGNATURE, "X-Hub-Signature")

    def well_formed(self, headers: Mapping[str, str], scheme: str, now: float) -> bool:
        return _SIGNATURE_FORM.fullmatch(headers.get(_SIGNATURE, "")) is not None

    def verify(self, headers: Mapping[str, str], body: bytes, secrets: Iterable[str], scheme: str, now: float) -> bool:
        """The signature is `sha256=` and the HMAC-SHA-256 of the body, without a timestamp."""
        return proofs.signed(headers.get(_SIGNATURE, ""), body, secrets, "sha256=")

    def key(self, headers: Mapping[str, str], body: bytes) -> str:
        """A delivery that is sent again keeps its id."""
        return proofs.key(headers.get(_DELIVERY, ""), body)

    def events(self, headers: Mapping[str, str], body: bytes) -> Sequence[Event]:
        told = answers.payload(body)
        match headers.get(_EVENT, ""):
            case "ping":
                return (Ping(),)
            case "push":
                return (_push(told),)
            case "pull_request":
                return (_pull_request_change(told),)
            case "create" | "delete":
                return (Uninteresting("the push that comes with it tells of a branch or tag made or deleted"),)
            case "":
                raise Invalid("the delivery does not say which event it is", next_step="send it from GitHub")
        return (Uninteresting("deliveries of this kind change nothing"),)


def _push(told: Mapping[str, Any]) -> Event:
    """Of branches and of tags, made, moved and deleted."""
    ref, after = answers.text(told, "ref"), answers.text(told, "after")
    if not pushes.is_ref(ref):
        return Uninteresting("it names neither a branch nor a tag that can be read")
    pusher = answers.text(told, "pusher", "name")
    if after and not after.strip("0"):
        return Push(ref, None, pusher=pusher)
    if not is_commit(after):
        return Uninteresting("it names no commit that can be read")
    commit = pushes.tagged(told, after) if ref.startswith(pushes.TAGS) else after
    return Push(ref, commit, pushes.message(told, commit), pusher)


def _pull_request_change(told: Mapping[str, Any]) -> Event:
    action = _ACTIONS.get(answers.text(told, "action"))
    if action is None and answers.text(told, "action") == "edited" and answers.at(told, "changes", "base"):
        action = "updated"  # it is to be merged into another branch
    if action is None:
        return Uninteresting("neither the commits of the pull request nor where they go have changed")
    pull = pull_request(answers.at(told, "pull_request"))
    if pull is None:
        return Uninteresting("it names no pull request that can be read")
    return PullRequestChange(action, pull)


def pull_request(found: Any) -> PullRequest | None:
    """As a delivery and the API both show it; None for what is none. `head.repo` is null where the fork is deleted."""
    number, head, base = answers.number(found, "number"), answers.at(found, "head"), answers.at(found, "base")
    commit, branch, into = answers.text(head, "sha"), answers.text(head, "ref"), answers.text(base, "ref")
    if number < 1 or not is_commit(commit) or not is_branch(branch) or not is_branch(into):
        return None
    source = answers.number(head, "repo", "id")
    fork = not source or source != answers.number(base, "repo", "id")
    return PullRequest(
        number=number,
        title=answers.text(found, "title"),
        commit=commit,
        branch=branch,
        base=into,
        url=answers.text(found, "html_url"),
        author=answers.text(found, "user", "login"),
        fork=fork,
        source_url=answers.text(head, "repo", "clone_url") if fork else "",
    )
