"""What Gitea and Forgejo tell: https://docs.gitea.com/usage/webhooks

A delivery of theirs also carries the headers of GitHub and Gogs; only its own are looked at. Forgejo sends both names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from godploy.core.remote import is_branch, is_commit
from godploy.errors import Invalid
from godploy.providers import answers, proofs, pushes
from godploy.providers.protocol import Event, Ping, PullRequest, PullRequestChange, Push, Uninteresting

_OURS = ("X-Gitea-", "X-Forgejo-")  # in this order
_SIGNATURE_FORM = re.compile(r"[0-9a-f]{64}")
_REF_TYPES = {"branch": pushes.HEADS, "tag": pushes.TAGS}
_ACTIONS = {"opened": "opened", "reopened": "opened", "synchronized": "updated", "closed": "closed"}


class GiteaSender:
    """The half that is told."""

    signature_headers: tuple[str, ...] = (
        "X-Gitea-Signature",
        "X-Forgejo-Signature",
        "X-Gogs-Signature",
        "X-Hub-Signature",
        "X-Hub-Signature-256",
        "Authorization",
    )

    def well_formed(self, headers: Mapping[str, str], scheme: str, now: float) -> bool:
        """Where a hook has no secret its signature is there, and empty."""
        return _SIGNATURE_FORM.fullmatch(_header(headers, "Signature")) is not None

    def verify(self, headers: Mapping[str, str], body: bytes, secrets: Iterable[str], scheme: str, now: float) -> bool:
        """The signature is the bare HMAC-SHA-256 of the body, without a timestamp."""
        return proofs.signed(_header(headers, "Signature"), body, secrets)

    def key(self, headers: Mapping[str, str], body: bytes) -> str:
        return proofs.key(_header(headers, "Delivery"), body)

    def events(self, headers: Mapping[str, str], body: bytes) -> Sequence[Event]:
        told = answers.payload(body)
        match _header(headers, "Event"):
            case "push":
                return (_push(told),)
            case "delete":
                return (_deleted(told),)
            case "pull_request":
                return (_pull_request_change(told),)
            case "create":
                return (Uninteresting("the push that comes with it tells of a new branch or tag"),)
            case "":
                raise Invalid("the delivery does not say which event it is", next_step="send it from Gitea or Forgejo")
        return (Uninteresting("deliveries of this kind change nothing"),)


def _header(headers: Mapping[str, str], name: str) -> str:
    return next((headers[prefix + name] for prefix in _OURS if prefix + name in headers), "")


def _push(told: Mapping[str, Any]) -> Event:
    """The button for a test sends a push that moves nothing, and names the branch as it likes."""
    ref, after, before = (answers.text(told, name) for name in ("ref", "after", "before"))
    if not is_commit(after):
        return Uninteresting("it names no commit that can be read")
    if before == after:
        return Ping()
    if not pushes.is_ref(ref):
        return Uninteresting("it names neither a branch nor a tag that can be read")
    pusher = answers.text(told, "pusher", "login")
    if not after.strip("0"):
        return Push(ref, None, pusher=pusher)
    commit = pushes.tagged(told, after) if ref.startswith(pushes.TAGS) else after
    return Push(ref, commit, pushes.message(told, commit), pusher)


def _deleted(told: Mapping[str, Any]) -> Event:
    """The only news of a branch that is gone; of a tag a push tells the same."""
    ref = _REF_TYPES.get(answers.text(told, "ref_type"), "") + answers.text(told, "ref")
    if not pushes.is_ref(ref):
        return Uninteresting("it names neither a branch nor a tag that can be read")
    return Push(ref, None, pusher=answers.text(told, "sender", "login"))


def _pull_request_change(told: Mapping[str, Any]) -> Event:
    action = _ACTIONS.get(answers.text(told, "action"))
    if action is None and answers.text(told, "action") == "edited" and answers.text(told, "changes", "ref", "from"):
        action = "updated"  # it is to be merged into another branch
    if action is None:
        return Uninteresting("neither the commits of the pull request nor where they go have changed")
    pull = pull_request(answers.at(told, "pull_request"))
    if pull is None:
        return Uninteresting("it names no pull request that can be read")
    return PullRequestChange(action, pull)


def pull_request(found: Any) -> PullRequest | None:
    """As a delivery and the API both show it; None for what is none. Where its branch is deleted `head.ref` is
    `refs/pull/7/head`, where the fork is `head.repo` is null."""
    number, head, base = answers.number(found, "number"), answers.at(found, "head"), answers.at(found, "base")
    commit, branch, into = answers.text(head, "sha"), answers.text(head, "ref"), answers.text(base, "ref")
    if number < 1 or not is_commit(commit) or not is_branch(branch) or not is_branch(into):
        return None
    fork = answers.at(head, "repo") is None or answers.number(head, "repo_id") != answers.number(base, "repo_id")
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
