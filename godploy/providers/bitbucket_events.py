"""What Bitbucket Cloud tells: https://support.atlassian.com/bitbucket-cloud/docs/event-payloads/

It has no ping and no button for a test; what happened is in the name of the event.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from godploy.core.remote import is_branch, is_commit
from godploy.errors import Invalid
from godploy.providers import answers, proofs
from godploy.providers.protocol import Event, PullRequest, PullRequestChange, Push, Uninteresting

# The name is that of GitHub's SHA-1 header; here it is SHA-256 and nothing else.
_SIGNATURE, _SIGNATURE_FORM = "X-Hub-Signature", re.compile(r"sha256=[0-9a-f]{64}")
_REF_TYPES = {"branch": "refs/heads/", "tag": "refs/tags/"}
_HEAD = re.compile(r"[0-9a-f]{12,64}")
_WEB = re.compile(r"https?://[!-~]{1,2000}")
_NAME = re.compile(r"[A-Za-z0-9._-]{1,255}")
_ACTIONS = {
    "pullrequest:created": "opened",
    "pullrequest:updated": "updated",
    "pullrequest:push": "updated",  # newer than the others, and not subscribed to: `updated` comes with it
    "pullrequest:fulfilled": "closed",
    "pullrequest:rejected": "closed",
}


class BitbucketSender:
    """The half that is told."""

    usual_base = "https://bitbucket.org"
    signature_headers: tuple[str, ...] = (_SIGNATURE,)

    def well_formed(self, headers: Mapping[str, str], scheme: str, now: float) -> bool:
        return _SIGNATURE_FORM.fullmatch(headers.get(_SIGNATURE, "")) is not None

    def verify(self, headers: Mapping[str, str], body: bytes, secrets: Iterable[str], scheme: str, now: float) -> bool:
        """The signature is the HMAC-SHA-256 of the body, without a timestamp."""
        return proofs.signed(headers.get(_SIGNATURE, ""), body, secrets, "sha256=")

    def key(self, headers: Mapping[str, str], body: bytes) -> str:
        """An attempt after a failed one has the same, and another X-Attempt-Number."""
        return proofs.key(headers.get("X-Request-UUID", ""), body)

    def events(self, headers: Mapping[str, str], body: bytes) -> Sequence[Event]:
        """One for each ref that a push moved."""
        told = answers.payload(body)
        event = headers.get("X-Event-Key", "")
        if event == "repo:push":
            return _pushes(told)
        if event in _ACTIONS:
            return (_pull_request_change(_web_base(told) or self.usual_base, told, _ACTIONS[event]),)
        if not event:
            raise Invalid("the delivery does not say which event it is", next_step="send it from Bitbucket")
        return (Uninteresting("deliveries of this kind change nothing"),)


def _pushes(told: Mapping[str, Any]) -> Sequence[Event]:
    changes = answers.at(told, "push", "changes")
    if not isinstance(changes, list):
        raise Invalid("the delivery holds no list of changes", next_step="send it from Bitbucket")
    pusher = person(answers.at(told, "actor"))
    return tuple(_push(change, pusher) for change in changes) or (Uninteresting("it moved no ref"),)


def _push(change: Any, pusher: str) -> Event:
    """`new` is null where the ref is gone, `old` where it is new. A name is short, and a tag's target is a commit."""
    there = answers.at(change, "new")
    named = there if there is not None else answers.at(change, "old")
    prefix, name = _REF_TYPES.get(answers.text(named, "type")), answers.text(named, "name")
    if prefix is None or not is_branch(name):
        return Uninteresting("it names neither a branch nor a tag that can be read")
    if there is None:
        return Push(prefix + name, None, pusher=pusher)
    commit = answers.text(there, "target", "hash")
    if not is_commit(commit):
        return Uninteresting("it names no commit that can be read")
    if not commit.strip("0"):
        return Push(prefix + name, None, pusher=pusher)
    return Push(prefix + name, commit, _message(change, commit), pusher)


def _message(change: Any, commit: str) -> str:
    listed = answers.at(change, "commits")
    for found in (answers.at(change, "new", "target"), *(listed if isinstance(listed, list) else ())):
        if answers.text(found, "hash") == commit and (message := answers.text(found, "message")):
            return message
    return ""


def person(found: Any) -> str:
    """What people call whoever it is; the oldest bodies have a `username`, the newest none."""
    names = (answers.text(found, name) for name in ("nickname", "username", "display_name"))
    return next((name for name in names if name), "")


def _web_base(told: Mapping[str, Any]) -> str:
    """The web address of the server, as the page of the repository itself has it; "" where it is not told."""
    page, full_name = (
        answers.text(told, "repository", "links", "html", "href"),
        answers.text(told, "repository", "full_name"),
    )
    readable = _WEB.fullmatch(page) and is_full_name(full_name) and page.endswith(f"/{full_name}")
    return page.removesuffix(f"/{full_name}") if readable else ""


def _pull_request_change(base: str, told: Mapping[str, Any], action: str) -> Event:
    pull = pull_request(base, answers.at(told, "pullrequest"))
    if pull is None:
        return Uninteresting("it names no pull request that can be read")
    return PullRequestChange(action, pull)


def pull_request(base: str, found: Any) -> PullRequest | None:
    """As a delivery and the API both show it; None for what is none. Of the head's hash there are twelve digits. The
    source repository is null where the fork is gone."""
    number, commit = answers.number(found, "id"), answers.text(found, "source", "commit", "hash")
    branch, into = (answers.text(found, side, "branch", "name") for side in ("source", "destination"))
    if number < 1 or not _HEAD.fullmatch(commit) or not is_branch(branch) or not is_branch(into):
        return None
    source, destination = (answers.text(found, side, "repository", "uuid") for side in ("source", "destination"))
    fork = not source or source != destination
    full_name = answers.text(found, "source", "repository", "full_name")
    url = answers.text(found, "links", "html", "href")
    return PullRequest(
        number=number,
        title=answers.text(found, "title"),
        commit=commit,
        branch=branch,
        base=into,
        url=url if _WEB.fullmatch(url) else "",
        author=person(answers.at(found, "author")),
        fork=fork,
        source_url=f"{base}/{full_name}.git" if fork and is_full_name(full_name) else "",
    )


def is_full_name(full_name: str) -> bool:
    """Whether this is `workspace/repository` as it may stand in an address."""
    parts = full_name.split("/")
    return len(parts) == 2 and all(_NAME.fullmatch(part) and part.strip(".") for part in parts)
