"""Any other git server: no API to ask, and a hook signed by `core.signing`'s own scheme."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from godploy.core import signing
from godploy.core.remote import is_branch, is_commit
from godploy.errors import Invalid
from godploy.providers import answers
from godploy.providers.protocol import Event, Ping, Push

_EXPECTED = 'send {"event": "push", "ref": "refs/heads/BRANCH", "commit": "HASH"}'
_HEADS, _TAGS = "refs/heads/", "refs/tags/"


class Generic:
    """The sender half alone."""

    signature_headers: tuple[str, ...] = (signing.SIGNATURE,)

    def well_formed(self, headers: Mapping[str, str], scheme: str, now: float) -> bool:
        return signing.well_formed(headers, now)

    def verify(self, headers: Mapping[str, str], body: bytes, secrets: Iterable[str], scheme: str, now: float) -> bool:
        return signing.verify(headers, body, secrets, now)

    def key(self, headers: Mapping[str, str], body: bytes) -> str:
        return headers[signing.DELIVERY]

    def events(self, headers: Mapping[str, str], body: bytes) -> Sequence[Event]:
        """`{"event": "ping"}`, or a push with `ref` and, optional, `commit`; other keys are not looked at."""
        told = answers.payload(body)
        if told.get("event") == "ping":
            return (Ping(),)
        problems = list(_problems(told))
        if problems:
            raise Invalid("the body is not as documented", problems, next_step=_EXPECTED)
        commit = told.get("commit")
        return (Push(told["ref"], commit if commit is None or set(commit) != {"0"} else None),)


GENERIC = Generic()


def _problems(told: Mapping[str, object]) -> Iterable[str]:
    if told.get("event") != "push":
        yield 'event: expected "push" or "ping"'
    ref, commit = told.get("ref"), told.get("commit")
    name = ref.removeprefix(_HEADS).removeprefix(_TAGS) if isinstance(ref, str) else ""
    if not isinstance(ref, str) or not ref.startswith((_HEADS, _TAGS)) or not is_branch(name):
        yield "ref: expected refs/heads/BRANCH or refs/tags/TAG"
    if commit is not None and not (isinstance(commit, str) and is_commit(commit)):
        yield "commit: expected the full hash of a commit"
