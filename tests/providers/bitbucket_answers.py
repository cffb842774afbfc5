"""A provider's answers written by hand, for talks with Bitbucket."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from godploy.providers.protocol import HookWish, OAuthClient, Place, Request, Response, Talk

T = TypeVar("T")
BASE, API = "https://bitbucket.org", "https://api.bitbucket.org/2.0"
UUID, OTHER = "{bc771cbf-829e-4c4b-b71f-a0eb3ac2b860}", "{87bb15eb-47c1-49b3-9f16-ca824a2979a4}"
PLACE = Place(UUID, "acme/shop")
BELOW = f"{API}/repositories/%7B%7D/%7B{UUID[1:-1]}%7D"
SHA = "1" * 40
WISH = HookWish("https://godploy.example.org/hooks/x", "5e" * 32)
CLIENT = OAuthClient("consumer", "hush")
Answer = tuple[int, Any] | tuple[int, Any, Mapping[str, str]]


def hold(talk: Talk[T], answers: Sequence[Answer], asked: list[Request] | None = None) -> T:
    """The talk's result with these answers in turn; one question too many is a failure."""
    waiting = list(answers)
    try:
        request = next(talk)
        while True:
            if asked is not None:
                asked.append(request)
            assert waiting, f"{request.method} {request.url} was not expected"
            status, tree, *more = waiting.pop(0)
            body = tree if isinstance(tree, bytes) else json.dumps(tree).encode()
            request = talk.send(Response(status, dict(more[0]) if more else {}, body))
    except StopIteration as end:
        assert not waiting, "not everything was asked for"
        return end.value  # type: ignore[no-any-return]


def error(status: int, message: str = "no", headers: Mapping[str, str] | None = None, **more: Any) -> Answer:
    return status, {"type": "error", "error": {"message": message, **more}}, headers or {}


def listed(*items: Any, next: str = "") -> Answer:
    return 200, {"values": list(items), "pagelen": 100, **({"next": next} if next else {})}


def repository(**other: Any) -> dict[str, Any]:
    clone = [
        {"name": "ssh", "href": "git@bitbucket.org:acme/shop.git"},
        {"name": "https", "href": "https://ada@bitbucket.org/acme/shop.git"},
    ]
    usual = {
        "uuid": UUID,
        "full_name": "acme/shop",
        "is_private": True,
        "mainbranch": {"name": "main"},
        "updated_on": "2026-01-01T00:00:00+00:00",
        "links": {"clone": clone, "html": {"href": "https://bitbucket.org/acme/shop"}},
    }
    return {**usual, **other}
