"""What is changed at Bitbucket, what its refusals mean, and its OAuth."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from godploy.providers.bitbucket import BITBUCKET
from godploy.providers.protocol import (
    CommitStatus,
    ProviderError,
    Request,
    StatusState,
    Talk,
    Trouble,
)
from tests.providers.bitbucket_answers import (
    BASE,
    BELOW,
    CLIENT,
    OTHER,
    PLACE,
    SHA,
    UUID,
    WISH,
    Answer,
    error,
    hold,
    listed,
)


def status(**other: Any) -> CommitStatus:
    usual: dict[str, Any] = {
        "commit": SHA,
        "context": "godploy/shop/production",
        "state": StatusState.SUCCESS,
        "description": "live in 12 s",
        "url": "https://godploy.example.org/deployments/1",
    }
    return CommitStatus(**{**usual, **other})


# Hooks


def hook(**other: Any) -> dict[str, Any]:
    events = [
        "repo:push",
        "pullrequest:created",
        "pullrequest:updated",
        "pullrequest:fulfilled",
        "pullrequest:rejected",
    ]
    return {"uuid": OTHER, "url": WISH.url, "active": True, "events": events, "secret_set": True, **other}


@pytest.mark.parametrize(
    ("change", "active", "wanted"),
    [
        ({}, True, True),
        ({"active": False}, False, True),
        ({"secret_set": False}, True, False),
        ({"events": ["repo:push"]}, True, False),
        ({"events": None}, True, False),
    ],
)
def test_hooks_are_judged(change: dict[str, Any], active: bool, wanted: bool) -> None:
    (found,) = hold(BITBUCKET.hooks(BASE, PLACE), [listed(hook(**change), {"uuid": "x"}, 7)])
    assert (found.id, found.url, found.active, found.wanted) == (OTHER, WISH.url, active, wanted)


def test_a_hook_is_made_mended_and_removed() -> None:
    asked: list[Request] = []
    made = hold(BITBUCKET.create_hook(BASE, PLACE, WISH), [(201, hook())], asked)
    hold(BITBUCKET.update_hook(BASE, PLACE, made.id, WISH), [(200, hook())], asked)
    hold(BITBUCKET.delete_hook(BASE, PLACE, made.id), [(204, b"")], asked)
    hold(BITBUCKET.delete_hook(BASE, PLACE, made.id), [error(404)], asked)
    assert hold(BITBUCKET.test_hook(BASE, PLACE, made.id, "main"), []) is False
    one = f"{BELOW}/hooks/%7B{OTHER[1:-1]}%7D"
    assert [(request.method, request.url) for request in asked] == [
        ("POST", f"{BELOW}/hooks"),
        ("PUT", one),
        ("DELETE", one),
        ("DELETE", one),
    ]
    for request in asked[:2]:
        sent = json.loads(request.body)
        assert sent["secret"] == WISH.secret and sent["active"] is True and sent["url"] == WISH.url
        assert "pullrequest:push" not in sent["events"] and set(sent["events"]) == set(hook()["events"])


# Statuses


@pytest.mark.parametrize(
    ("state", "word"),
    [
        (StatusState.PENDING, "INPROGRESS"),
        (StatusState.RUNNING, "INPROGRESS"),
        (StatusState.SUCCESS, "SUCCESSFUL"),
        (StatusState.FAILURE, "FAILED"),
        (StatusState.ERROR, "FAILED"),
        (StatusState.SUPERSEDED, "STOPPED"),
        (StatusState.CANCELLED, "STOPPED"),
    ],
)
def test_each_state_has_its_word(state: StatusState, word: str) -> None:
    assert sent_status(status(state=state))["state"] == word


def sent_status(status: CommitStatus) -> dict[str, Any]:
    asked: list[Request] = []
    hold(BITBUCKET.set_status(BASE, PLACE, status), [(201, {})], asked)
    assert asked[0].url == f"{BELOW}/commit/{SHA}/statuses/build"
    return json.loads(asked[0].body)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, {"key": "godploy/shop/production", "name": "godploy/shop/production"}),
        ({"context": "c" * 40}, {"key": "c" * 40}),
        ({"context": "c" * 41}, {"key": "gp-2d55900a1d3409d7a599bb69946cbd9a", "name": "c" * 41}),
        ({"context": "c" * 300}, {"name": "c" * 255}),
        ({"description": "ü" * 200}, {"description": "ü" * 140}),
        ({"description": "🙂" * 200}, {"description": "🙂" * 140}),
        ({"branch": "feature/#1"}, {"refname": "feature/#1"}),
        ({"url": "https://h/{repository.full_name}"}, {"url": "https://h/%7Brepository.full_name%7D"}),
    ],
)
def test_a_status_is_cut_to_bitbuckets_limits(change: dict[str, Any], expected: dict[str, Any]) -> None:
    sent = sent_status(status(**change))
    assert {name: sent[name] for name in expected} == expected
    assert ("refname" in sent) == ("branch" in change)


# Refusals


@pytest.mark.parametrize(
    ("answer", "trouble", "wait", "next_step"),
    [
        (error(401), Trouble.CREDENTIAL, None, "connect it anew"),
        (error(402), Trouble.FORBIDDEN, None, "plan"),
        (error(403, detail={"required": ["webhook"], "granted": []}), Trouble.FORBIDDEN, None, "scope webhook"),
        (error(403, detail={"required": ["web\nhook<b>"]}), Trouble.FORBIDDEN, None, "scope webhookb;"),
        (error(403, detail={"required": {"x": 1}}), Trouble.FORBIDDEN, None, "administer"),
        (error(403), Trouble.FORBIDDEN, None, "administer"),
        (error(403, headers={"retry-after": "30"}), Trouble.BUSY, 30.0, ""),
        (error(404), Trouble.MISSING, None, ""),
        (error(410), Trouble.INVALID, None, "update Godploy"),
        (error(400), Trouble.INVALID, None, ""),
        (error(400, fields={"url": ["not public"]}), Trouble.INVALID, None, ""),
        (error(422), Trouble.INVALID, None, ""),
        (error(429), Trouble.BUSY, 60.0, ""),
        (error(429, headers={"retry-after": "5"}), Trouble.BUSY, 5.0, ""),
        (error(500), Trouble.DOWN, None, ""),
        ((503, b"<html>"), Trouble.DOWN, None, ""),
        ((200, b"<html>"), Trouble.DOWN, None, ""),
        *(((status, b""), Trouble.MISSING, None, "") for status in (301, 302, 307, 308)),
    ],
)
def test_what_a_refusal_means(answer: Answer, trouble: Trouble, wait: float | None, next_step: str) -> None:
    with pytest.raises(ProviderError) as caught:
        hold(BITBUCKET.hooks(BASE, PLACE), [answer])
    found = caught.value
    assert (found.trouble, found.wait) == (trouble, wait)
    assert next_step in found.next_step


def test_a_refused_field_is_named() -> None:
    with pytest.raises(ProviderError, match="url: it is not public"):
        hold(BITBUCKET.create_hook(BASE, PLACE, WISH), [error(400, fields={"url": ["it is not public"]})])


DEEP = b'{"values": ' + b"[" * 100_000
TALKS: list[Callable[[], Talk[Any]]] = [
    lambda: BITBUCKET.account(BASE),
    lambda: BITBUCKET.repositories(BASE, "", 10),
    lambda: BITBUCKET.repository(BASE, "acme/shop"),
    lambda: BITBUCKET.located(BASE, UUID),
    lambda: BITBUCKET.branches(BASE, PLACE),
    lambda: BITBUCKET.hooks(BASE, PLACE),
    lambda: BITBUCKET.create_hook(BASE, PLACE, WISH),
    lambda: BITBUCKET.update_hook(BASE, PLACE, OTHER, WISH),
    lambda: BITBUCKET.pull_requests(BASE, PLACE),
    lambda: BITBUCKET.exchange(BASE, CLIENT, "https://g/c", "code", ""),
]


@pytest.mark.parametrize("talk", TALKS)
@pytest.mark.parametrize("body", [b"", b"7", b"null", b'"x"', b"[]", b"{}", b"\xff", DEEP, b'{"values": 7}'])
def test_no_answer_does_harm(talk: Callable[[], Talk[Any]], body: bytes) -> None:
    with pytest.raises(ProviderError):
        hold(talk(), [(200, body)])


@pytest.mark.parametrize("item", [None, 7, "x", [], {}, {"id": {}}, {"name": {}, "uuid": 7, "source": []}])
def test_an_item_that_cannot_be_read_is_left_out(item: Any) -> None:
    for talk in (BITBUCKET.branches, BITBUCKET.hooks, BITBUCKET.pull_requests):
        assert hold(talk(BASE, PLACE), [listed(item)]) == ()


def test_pull_requests_are_a_hundred_at_most() -> None:
    side = {"branch": {"name": "x"}, "commit": {"hash": "a" * 12}, "repository": {"uuid": UUID}}
    items = [{"id": number, "title": "t", "source": side, "destination": side} for number in range(1, 51)]
    following = f"{BELOW}/pullrequests?page=2"
    found = hold(BITBUCKET.pull_requests(BASE, PLACE), [listed(*items, next=following)] * 2)
    assert len(found) == 100 and not found[0].fork
    assert len(hold(BITBUCKET.pull_requests(BASE, PLACE), [listed(*items, *items, *items)])) == 100
    assert BITBUCKET.pull_ref(7, "feature/x") == "refs/heads/feature/x"


# OAuth


def test_the_authorize_address_asks_for_no_scope_and_has_no_challenge() -> None:
    url = BITBUCKET.authorize_url(BASE, CLIENT, "https://g.example.org/callback", "state", "challenge")
    query = parse_qs(urlsplit(url).query)
    assert url.startswith("https://bitbucket.org/site/oauth2/authorize?")
    assert query == {
        "client_id": ["consumer"],
        "response_type": ["code"],
        "state": ["state"],
        "redirect_uri": ["https://g.example.org/callback"],
    }
    assert BITBUCKET.pkce is False


@pytest.mark.parametrize("field", ["scope", "scopes"])
def test_a_grant_is_asked_for_by_basic_and_its_scopes_are_read_by_either_name(field: str) -> None:
    asked: list[Request] = []
    told = {
        "access_token": "A",
        "refresh_token": "R",
        "expires_in": 7200,
        "token_type": "bearer",
        field: "account webhook",
    }
    talks = [
        BITBUCKET.exchange(BASE, CLIENT, "https://g/c", "code", "verifier"),
        BITBUCKET.refresh(BASE, CLIENT, "https://g/c", "old"),
    ]
    for talk in talks:
        grant = hold(talk, [(200, told)], asked)
        assert (grant.token, grant.refresh, grant.lifetime, grant.scopes) == ("A", "R", 7200.0, ("account", "webhook"))
    for request in asked:
        assert request.url == "https://bitbucket.org/site/oauth2/access_token" and request.anonymous
        assert request.headers["Authorization"] == "Basic " + base64.b64encode(b"consumer:hush").decode()
        assert b"verifier" not in request.body and b"hush" not in request.body


@pytest.mark.parametrize(
    ("reason", "trouble"), [("invalid_grant", Trouble.CREDENTIAL), ("invalid_request", Trouble.INVALID)]
)
def test_a_refused_grant(reason: str, trouble: Trouble) -> None:
    with pytest.raises(ProviderError) as caught:
        hold(
            BITBUCKET.refresh(BASE, CLIENT, "https://g/c", "old"), [(400, {"error": reason, "error_description": "no"})]
        )
    assert caught.value.trouble is trouble
