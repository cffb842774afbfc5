"""What GitLab's hooks send, and how that proves itself: https://docs.gitlab.com/user/project/integrations/webhooks/

Since 19.0 a hook may have a *signing token*: its deliveries carry a signature of the raw body and the time, in the form
of https://www.standardwebhooks.com. Older servers know a plain token only, which is sent along as it is. A hook's one
secret serves for both: the plain token is derived from it, so that who reads that one can sign nothing. Pure.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from godploy.core.remote import is_branch, is_commit
from godploy.errors import Invalid
from godploy.providers import answers
from godploy.providers.protocol import Event, PullRequest, PullRequestChange, Push, Uninteresting

SIGNATURE_SCHEME, TOKEN_SCHEME = "signature", "token"

_EVENT, _TOKEN = "X-Gitlab-Event", "X-Gitlab-Token"
_ID, _TIMESTAMP, _SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"
_KEYS = (_ID, "Idempotency-Key")  # the same in deliveries that have both, but only the first one is signed

_SKEW = 300.0  # seconds that the sender's clock may be off, either way
_SECRET_FORM = re.compile(r"[0-9a-f]{64}")
_KEY_FORM = re.compile(r"[!-~]{1,128}")
_TIMESTAMP_FORM = re.compile(r"[0-9]{1,12}")
_SIGNATURE_FORM = re.compile(r"v1,[A-Za-z0-9+/]{43}=")
_NOBODYS = b"a secret that signs nothing, so that no secret takes as long as a wrong one"

_HEADS, _TAGS = "refs/heads/", "refs/tags/"
_ACTIONS = {"open": "opened", "reopen": "opened", "close": "closed", "merge": "closed"}


def signing_token(secret: str) -> str:
    """What a server of 19.0 or later signs with. `secret` has 64 hexadecimal digits."""
    return "whsec_" + base64.b64encode(bytes.fromhex(secret)).decode()


def plain_token(secret: str) -> str:
    """What any server sends along as it is; tells nothing of the secret."""
    return _plain_token(bytes.fromhex(secret))


class GitLabSender:
    """The half that is told things."""

    signature_headers: tuple[str, ...] = (_TOKEN, _SIGNATURE)

    def well_formed(self, headers: Mapping[str, str], scheme: str, now: float) -> bool:
        if scheme == TOKEN_SCHEME:
            return _SECRET_FORM.fullmatch(headers.get(_TOKEN, "")) is not None
        timestamp = headers.get(_TIMESTAMP, "")
        return (
            scheme == SIGNATURE_SCHEME
            and _KEY_FORM.fullmatch(headers.get(_ID, "")) is not None
            and _TIMESTAMP_FORM.fullmatch(timestamp) is not None
            and abs(now - int(timestamp)) <= _SKEW
            and any(_SIGNATURE_FORM.fullmatch(each) for each in headers.get(_SIGNATURE, "").split(" "))
        )

    def verify(self, headers: Mapping[str, str], body: bytes, secrets: Iterable[str], scheme: str, now: float) -> bool:
        """Both proofs are tried, whatever counts, so that the time tells nothing of the hook either."""
        known = [bytes.fromhex(secret) for secret in secrets if _SECRET_FORM.fullmatch(secret)]
        proofs = [_proofs(key, headers, body) for key in known or [_NOBODYS]]
        vouched = [proof.get(scheme, False) for proof in proofs]
        return bool(known) and any(vouched) and self.well_formed(headers, scheme, now)

    def key(self, headers: Mapping[str, str], body: bytes) -> str:
        """`X-Gitlab-Event-UUID` is none: it is shared by all that one change has caused."""
        for name in _KEYS:
            if _KEY_FORM.fullmatch(headers.get(name, "")):
                return headers[name]
        return "sha256:" + hashlib.sha256(body).hexdigest()

    def events(self, headers: Mapping[str, str], body: bytes) -> Sequence[Event]:
        """There is no ping; a test sends the last push again, or what looks like one."""
        match headers.get(_EVENT, ""):
            case "Push Hook" | "Tag Push Hook":
                return (_push(answers.payload(body)),)
            case "Merge Request Hook":
                return (_merge_request(answers.payload(body)),)
            case _:
                return (Uninteresting("nothing is done for events of this kind"),)


def _plain_token(key: bytes) -> str:
    return hmac.new(key, _TOKEN.encode(), "sha256").hexdigest()


def _proofs(key: bytes, headers: Mapping[str, str], body: bytes) -> Mapping[str, bool]:
    """By scheme, whether the headers hold what only someone who has the key can give."""
    signed = hmac.new(key, f"{headers.get(_ID, '')}.{headers.get(_TIMESTAMP, '')}.".encode(errors="replace"), "sha256")
    signed.update(body)
    expected = b"v1," + base64.b64encode(signed.digest())
    given = [each.encode(errors="replace") for each in headers.get(_SIGNATURE, "").split(" ")]
    equal = [hmac.compare_digest(expected, each) for each in given]
    token = headers.get(_TOKEN, "").encode(errors="replace")
    return {
        SIGNATURE_SCHEME: any(equal),
        TOKEN_SCHEME: hmac.compare_digest(_plain_token(key).encode(), token),
    }


def _push(told: Mapping[str, Any]) -> Event:
    """Of an annotated tag, `after` is the tag itself and `checkout_sha` the commit that it leads to."""
    ref, after, checkout = told.get("ref"), told.get("after"), answers.text(told, "checkout_sha")
    if not isinstance(ref, str) or not isinstance(after, str) or not after:
        raise Invalid("the delivery tells of a push without its ref or its commit")
    if not ref.startswith((_HEADS, _TAGS)):
        return Uninteresting("a ref moved that is neither a branch nor a tag")
    if not is_branch(ref.removeprefix(_HEADS).removeprefix(_TAGS)):
        return Uninteresting("the name of the branch or tag cannot be used")
    pusher = answers.text(told, "user_username") or answers.text(told, "user_name")
    if set(after) == {"0"}:
        return Push(ref, None, pusher=pusher)
    commit = checkout if ref.startswith(_TAGS) and is_commit(checkout) else after
    if not is_commit(commit):
        return Uninteresting("the name of the commit cannot be used")
    return Push(ref, commit, _message(told, commit), pusher)


def _message(told: Mapping[str, Any], commit: str) -> str:
    """The head's is found by its id: the order of the commits is not documented."""
    commits = told.get("commits")
    found = commits if isinstance(commits, list) else []
    return next((answers.text(each, "message") for each in found if answers.text(each, "id") == commit), "")


def _merge_request(told: Mapping[str, Any]) -> Event:
    """An update that brought commits has `oldrev`; one that went to another target tells that among its changes."""
    attributes = told.get("object_attributes")
    number = answers.number(attributes, "iid")
    if number < 1:
        raise Invalid("the delivery tells of a merge request without its number")
    action = _ACTIONS.get(answers.text(attributes, "action"), "")
    retargeted = answers.at(told, "changes", "target_branch") is not None
    if answers.text(attributes, "action") == "update" and (answers.text(attributes, "oldrev") or retargeted):
        action = "updated"
    if not action:
        return Uninteresting("the merge request changed in nothing that concerns its code")
    commit = answers.text(attributes, "last_commit", "id")
    pull = PullRequest(
        number=number,
        title=answers.text(attributes, "title"),
        commit=commit if is_commit(commit) else "",
        branch=answers.text(attributes, "source_branch"),
        base=answers.text(attributes, "target_branch"),
        url=_link(answers.text(attributes, "url")),
        author=_author(told, attributes),
        fork=is_fork(attributes),
        source_url=_link(answers.text(attributes, "source", "git_http_url")) if is_fork(attributes) else "",
    )
    if not is_branch(pull.branch) or not is_branch(pull.base):
        return Uninteresting("the name of a branch of the merge request cannot be used")
    if not pull.commit and action != "closed":  # one whose fork is gone has none, and is over
        return Uninteresting("the merge request has no commit that can be used")
    return PullRequestChange(action, pull)


def is_fork(merge_request: Any) -> bool:
    """Whether its head is in another project; GitLab's API and hooks tell it in the same words."""
    return answers.number(merge_request, "source_project_id") != answers.number(merge_request, "target_project_id")


def _author(told: Mapping[str, Any], attributes: Any) -> str:
    """`user` is who has done what is told; the author has a number only."""
    acted = answers.number(told, "user", "id")
    return answers.text(told, "user", "username") if acted == answers.number(attributes, "author_id") else ""


def _link(url: str) -> str:
    """People follow it."""
    return url if url.startswith(("https://", "http://")) else ""
