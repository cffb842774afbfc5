"""What GitLab tells: https://docs.gitlab.com/user/project/integrations/webhook_events/

A hook proves its deliveries in one of two ways, and by that alone: "signature", by Standard Webhooks, from GitLab 19 on
(https://www.standardwebhooks.com); "token", a secret that comes with each, before. Both are made of the hook's one
secret, and neither tells it: who overhears a token on plain http has no key to sign with.
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

SIGNATURE, TOKEN = "signature", "token"

_SKEW = 300.0  # seconds that the sender's clock may be off, either way
_KEY_FORM = re.compile(r"[!-~]{1,128}")
_TIMESTAMP_FORM = re.compile(r"[0-9]{1,12}")
_SIGNATURES_FORM = re.compile(r"v1,[A-Za-z0-9+/]{43}=(?: v[0-9a-z]{1,4},[A-Za-z0-9+/=]{1,200}){0,9}")
_TOKEN_FORM = re.compile(r"[0-9a-f]{64}")
_NOBODYS = "00" * 32
_HEADS, _TAGS = "refs/heads/", "refs/tags/"
_ACTIONS = {"open": "opened", "reopen": "opened", "close": "closed", "merge": "closed"}


def signing_token(secret: str) -> str:
    """What GitLab is given to sign with; `secret` is 64 hexadecimal digits."""
    return f"whsec_{base64.b64encode(bytes.fromhex(secret)).decode()}"


def plain_token(secret: str) -> str:
    """What GitLab is given to send."""
    return hmac.new(bytes.fromhex(secret), b"X-Gitlab-Token", "sha256").hexdigest()


class GitLabSender:
    """The half that is told."""

    signature_headers: tuple[str, ...] = ("X-Gitlab-Token", "webhook-signature", "Authorization")

    def well_formed(self, headers: Mapping[str, str], scheme: str, now: float) -> bool:
        if scheme == TOKEN:
            return _TOKEN_FORM.fullmatch(headers.get("X-Gitlab-Token", "")) is not None
        if scheme != SIGNATURE:
            return False
        timestamp = headers.get("webhook-timestamp", "")
        return (
            _KEY_FORM.fullmatch(headers.get("webhook-id", "")) is not None
            and _TIMESTAMP_FORM.fullmatch(timestamp) is not None
            and abs(now - int(timestamp)) <= _SKEW
            and _SIGNATURES_FORM.fullmatch(headers.get("webhook-signature", "")) is not None
        )

    def verify(self, headers: Mapping[str, str], body: bytes, secrets: Iterable[str], scheme: str, now: float) -> bool:
        known = [secret for secret in secrets if secret]
        matches = [
            any(hmac.compare_digest(each, given) for each in _expected(headers, body, secret, scheme))
            for secret in known or [_NOBODYS]
            for given in _given(headers, scheme)
        ]
        return bool(known) and any(matches) and self.well_formed(headers, scheme, now)

    def key(self, headers: Mapping[str, str], body: bytes) -> str:
        """Both names are of one value, which repeats of a delivery have in common."""
        for name in ("webhook-id", "Idempotency-Key"):
            if _KEY_FORM.fullmatch(headers.get(name, "")):
                return headers[name]
        return f"sha256:{hashlib.sha256(body).hexdigest()}"

    def events(self, headers: Mapping[str, str], body: bytes) -> Sequence[Event]:
        told = answers.payload(body)
        match headers.get("X-Gitlab-Event", ""):
            case "Push Hook" | "Tag Push Hook":
                return (_push(told),)
            case "Merge Request Hook":
                return (_merge_request_change(told),)
            case "":
                raise Invalid("the delivery does not say which event it is", next_step="send it from GitLab")
        return (Uninteresting("deliveries of this kind change nothing"),)


def _given(headers: Mapping[str, str], scheme: str) -> list[bytes]:
    if scheme == TOKEN:
        return [headers.get("X-Gitlab-Token", "").encode(errors="replace")]
    signatures = headers.get("webhook-signature", "").split(" ")[:10]
    return [each.removeprefix("v1,").encode(errors="replace") for each in signatures if each.startswith("v1,")] or [b""]


def _expected(headers: Mapping[str, str], body: bytes, secret: str, scheme: str) -> list[bytes]:
    if scheme == TOKEN:
        hmac.new(b"-", body, "sha256").digest()  # no delivery is cheaper to refuse than another
        return [plain_token(secret).encode()]
    begin = f"{headers.get('webhook-id', '')}.{headers.get('webhook-timestamp', '')}."
    signed = hmac.new(bytes.fromhex(secret), begin.encode(errors="replace"), "sha256")
    signed.update(body)
    return [base64.b64encode(signed.digest())]


def _push(told: Mapping[str, Any]) -> Event:
    ref, after = answers.text(told, "ref"), answers.text(told, "after")
    if not ref.startswith((_HEADS, _TAGS)) or not is_branch(ref.removeprefix(_HEADS).removeprefix(_TAGS)):
        return Uninteresting("it names neither a branch nor a tag that can be read")
    if not is_commit(after):
        return Uninteresting("it names no commit that can be read")
    pusher = answers.text(told, "user_username")
    if not after.strip("0"):
        return Push(ref, None, pusher=pusher)
    # Of an annotated tag `after` is the tag itself.
    checkout = answers.text(told, "checkout_sha")
    commit = checkout if is_commit(checkout) else after
    return Push(ref, commit, _message(told, commit), pusher)


def _message(told: Mapping[str, Any], commit: str) -> str:
    listed = answers.at(told, "commits")
    for found in listed if isinstance(listed, list) else ():
        if answers.text(found, "id") == commit:
            return answers.text(found, "message")
    return ""


def _merge_request_change(told: Mapping[str, Any]) -> Event:
    request = answers.at(told, "object_attributes")
    action = _ACTIONS.get(answers.text(request, "action"))
    moved = answers.text(request, "oldrev") or answers.text(told, "changes", "target_branch", "current")
    if answers.text(request, "action") == "update" and moved:
        action = "updated"
    if action is None:
        return Uninteresting("neither the commits of the merge request nor where they go have changed")
    pull = _merge_request(told, request)
    if pull is None:
        return Uninteresting("it names no merge request that can be read")
    return PullRequestChange(action, pull)


def _merge_request(told: Mapping[str, Any], request: Any) -> PullRequest | None:
    number, commit = answers.number(request, "iid"), answers.text(request, "last_commit", "id")
    branch, into = answers.text(request, "source_branch"), answers.text(request, "target_branch")
    if number < 1 or not is_commit(commit) or not is_branch(branch) or not is_branch(into):
        return None
    fork = answers.number(request, "source_project_id") != answers.number(request, "target_project_id")
    return PullRequest(
        number=number,
        title=answers.text(request, "title"),
        commit=commit,
        branch=branch,
        base=into,
        url=answers.text(request, "url"),
        author=answers.text(told, "user", "username"),
        fork=fork,
        source_url=answers.text(request, "source", "git_http_url") if fork else "",
    )
