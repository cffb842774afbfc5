"""What a delivery told, as it is kept: plain JSON, cut to what is used, whoever sent it."""

from __future__ import annotations

from typing import Any

from godploy.providers.protocol import Event, Ping, PullRequestChange, Push

_LONGEST_TEXT = 500
_LONGEST_MESSAGE = 4000  # of a commit: "[skip ci]" may stand anywhere in it


def to_json(event: Event) -> dict[str, Any]:
    match event:
        case Ping():
            return {"event": "ping"}
        case Push():
            return {
                "event": "push",
                "ref": event.ref,
                "commit": event.commit,
                "message": _cut(event.message, _LONGEST_MESSAGE),
                "pusher": _cut(event.pusher),
            }
        case PullRequestChange():
            pull = event.pull
            return {
                "event": "pull_request",
                "action": event.action,
                "number": pull.number,
                "title": _cut(pull.title),
                "commit": pull.commit,
                "branch": pull.branch,
                "base": pull.base,
                "url": _cut(pull.url),
                "author": _cut(pull.author),
                "fork": pull.fork,
                "source_url": _cut(pull.source_url),
            }
        case _:
            return {"event": "other", "reason": _cut(event.reason)}


def _cut(text: str, longest: int = _LONGEST_TEXT) -> str:
    """A lone surrogate cannot be kept in a database, and is no character."""
    return text[:longest].encode(errors="replace").decode()
