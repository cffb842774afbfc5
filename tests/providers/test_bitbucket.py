"""What Bitbucket is asked, and what its answers mean."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

import pytest

from godploy.providers.bitbucket import BITBUCKET
from godploy.providers.protocol import (
    Account,
    CommitStatus,
    Credential,
    HookWish,
    OAuthClient,
    Place,
    ProviderError,
    Request,
    Response,
    StatusState,
    Talk,
    Trouble,
)

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


def status(**other: Any) -> CommitStatus:
    usual: dict[str, Any] = {
        "commit": SHA,
        "context": "godploy/shop/production",
        "state": StatusState.SUCCESS,
        "description": "live in 12 s",
        "url": "https://godploy.example.org/deployments/1",
    }
    return CommitStatus(**{**usual, **other})


# Addresses and credentials


@pytest.mark.parametrize(("base", "api"), [(BASE, API), ("http://127.0.0.1:8000/bit", "http://127.0.0.1:8000/bit/2.0")])
def test_where_the_api_is(base: str, api: str) -> None:
    assert BITBUCKET.api(base) == api


@pytest.mark.parametrize(
    ("credential", "header", "login"),
    [
        (Credential("oauth", "T"), "Bearer T", "x-token-auth"),
        (Credential("oauth", "T", "ada@example.org"), "Bearer T", "x-token-auth"),
        (Credential("token", "T"), "Bearer T", "x-token-auth"),
        (
            Credential("token", "T", "ada@example.org"),
            "Basic " + base64.b64encode(b"ada@example.org:T").decode(),
            "x-bitbucket-api-token-auth",
        ),
    ],
)
def test_each_kind_of_credential_is_shown_as_it_must_be(credential: Credential, header: str, login: str) -> None:
    assert BITBUCKET.authorization(credential) == {"Authorization": header}
    assert BITBUCKET.git_login(credential) == (login, "T")


# Who it is


def test_a_users_account() -> None:
    user = {"uuid": OTHER, "nickname": "ada", "display_name": "Ada L."}
    assert hold(BITBUCKET.account(BASE), [(200, user)]) == Account(OTHER, "ada")


WORKSPACE = {"workspace": {"uuid": OTHER, "slug": "acme"}}


@pytest.mark.parametrize("refused", [401, 403])
@pytest.mark.parametrize(
    ("workspaces", "repositories", "expected"),
    [
        ([WORKSPACE], [repository()], Account(f"repository:{UUID}", "acme/shop")),
        ([WORKSPACE], [repository(), repository(uuid=OTHER)], Account(f"workspace:{OTHER}", "acme")),
        ([WORKSPACE], [], Account(f"workspace:{OTHER}", "acme")),
        ([{"slug": "acme"}], [], Account("workspace:acme", "acme")),
        ([{"slug": "acme"}, {"slug": "beta"}], [repository()], Account("workspace:acme", "acme")),
        ([{"slug": "acme"}], [repository(full_name="../x")], Account("workspace:acme", "acme")),
    ],
)
def test_a_token_of_no_user_is_named_by_what_it_sees(
    refused: int, workspaces: list[Any], repositories: list[Any], expected: Account
) -> None:
    assert hold(BITBUCKET.account(BASE), [error(refused), listed(*workspaces), listed(*repositories)]) == expected


@pytest.mark.parametrize(
    ("answers", "trouble"),
    [
        ([error(401), error(401)], Trouble.CREDENTIAL),
        ([error(403), error(403)], Trouble.FORBIDDEN),
        ([error(403), error(404)], Trouble.FORBIDDEN),
        ([error(401), listed()], Trouble.CREDENTIAL),
        ([error(401), listed({"slug": "a/b"}, {"slug": ".."})], Trouble.CREDENTIAL),
        ([error(401), listed(WORKSPACE), error(404)], Trouble.CREDENTIAL),
    ],
)
def test_a_token_that_sees_nothing_is_refused_with_what_to_do(answers: list[Answer], trouble: Trouble) -> None:
    with pytest.raises(ProviderError) as caught:
        hold(BITBUCKET.account(BASE), answers)
    assert caught.value.trouble is trouble
    assert "e-mail" in caught.value.next_step and "id.atlassian.com" in caught.value.next_step


@pytest.mark.parametrize(
    ("answers", "trouble"),
    [
        ([error(403, headers={"retry-after": "7"})], Trouble.BUSY),
        ([error(401), error(429)], Trouble.BUSY),
        ([error(401), error(503)], Trouble.DOWN),
    ],
)
def test_trouble_that_passes_is_not_taken_for_a_bad_token(answers: list[Answer], trouble: Trouble) -> None:
    with pytest.raises(ProviderError) as caught:
        hold(BITBUCKET.account(BASE), answers)
    assert caught.value.trouble is trouble and caught.value.retry


# Repositories


def test_a_repository_is_read_and_its_id_serves_for_everything_else() -> None:
    asked: list[Request] = []
    found = hold(BITBUCKET.located(BASE, UUID), [(200, repository()), listed()], asked)
    assert [request.url for request in asked] == [BELOW, f"{BELOW}/hooks?pagelen=1"]
    assert (found.id, found.full_name, found.default_branch) == (UUID, "acme/shop", "main")
    assert (found.clone_url, found.web_url) == (
        "https://bitbucket.org/acme/shop.git",
        "https://bitbucket.org/acme/shop",
    )
    assert found.private and found.administered


@pytest.mark.parametrize("refused", [403, 404])
def test_whoever_does_not_see_the_hooks_does_not_administer(refused: int) -> None:
    found = hold(BITBUCKET.repository(BASE, "acme/shop"), [(200, repository()), error(refused)])
    assert not found.administered


@pytest.mark.parametrize("answer", [error(403, headers={"retry-after": "7"}), error(429), error(503), error(401)])
def test_trouble_is_not_taken_for_somebody_who_does_not_administer(answer: Answer) -> None:
    with pytest.raises(ProviderError):
        hold(BITBUCKET.located(BASE, UUID), [(200, repository()), answer])


@pytest.mark.parametrize(
    "links",
    [
        None,
        {},
        {"clone": "x", "html": 7},
        {"clone": [{"name": "https", "href": "https://evil.example/acme/shop.git"}]},
        {"clone": [{"name": "https", "href": "https://bitbucket.org@evil.example/acme/shop.git"}]},
        {"clone": [{"name": "https", "href": "https://bitbucket.org/../x"}], "html": {"href": "javascript:x"}},
    ],
)
def test_addresses_that_are_not_bitbuckets_are_made_anew(links: Any) -> None:
    found = hold(BITBUCKET.located(BASE, UUID), [(200, repository(links=links, mainbranch=None)), listed()])
    assert (found.clone_url, found.web_url) == (
        "https://bitbucket.org/acme/shop.git",
        "https://bitbucket.org/acme/shop",
    )
    assert found.default_branch is None


def test_names_are_one_segment_of_an_address_each() -> None:
    asked: list[Request] = []
    with pytest.raises(ProviderError):
        hold(BITBUCKET.repository(BASE, "acme/../user?x#y"), [error(404)], asked)
    assert asked[0].url == f"{API}/repositories/acme/..%2Fuser%3Fx%23y"


def test_repositories_of_all_workspaces_lately_used_first() -> None:
    one, two = repository(full_name="acme/shop"), repository(full_name="beta/shop", uuid=OTHER, updated_on="2026-02-01")
    other = repository(full_name="beta/site", uuid="{00000000-0000-4000-8000-000000000001}")
    asked: list[Request] = []
    answers = [listed({"workspace": {"slug": "acme"}}, {"slug": "beta"}, 7, {}), listed(one), listed(two, other, None)]
    found = hold(BITBUCKET.repositories(BASE, "SHOP", 10), answers, asked)
    assert [each.full_name for each in found.repositories] == ["beta/shop", "acme/shop"] and found.complete
    assert all(each.administered for each in found.repositories)
    assert all("role=admin" in request.url for request in asked[1:])


def test_a_listing_says_when_it_is_cut() -> None:
    many = [repository(uuid=f"{{00000000-0000-4000-8000-{number:012}}}") for number in range(3)]
    found = hold(BITBUCKET.repositories(BASE, "", 2), [listed({"slug": "acme"}), listed(*many)])
    assert len(found.repositories) == 2 and not found.complete


def test_all_workspaces_together_have_a_bound() -> None:
    endless = [listed(repository(), next=f"{API}/repositories/acme?page=2")] * 20
    found = hold(BITBUCKET.repositories(BASE, "", 100), [listed({"slug": "acme"}, {"slug": "beta"}), *endless])
    assert len(found.repositories) == 20 and not found.complete


def test_pages_are_followed_and_bounded() -> None:
    following = f"{BELOW}/refs/branches?pagelen=100&page=2"
    asked: list[Request] = []
    pages = [listed({"name": "main"}, next=following), listed({"name": "feature/x"}, {"name": "-x"}, {"name": 7})]
    assert hold(BITBUCKET.branches(BASE, PLACE), pages, asked) == ("main", "feature/x")
    assert asked[1].url == following
    endless = [listed({"name": "main"}, next=following)] * 20
    assert len(hold(BITBUCKET.branches(BASE, PLACE), endless)) == 20


@pytest.mark.parametrize(
    "following",
    [
        "https://evil.example/2.0/x",
        "https://api.bitbucket.org.evil.example/2.0/x",
        "https://api.bitbucket.org@evil.example/2.0/x",
        "https://ada@api.bitbucket.org/2.0/x",
        "http://api.bitbucket.org/2.0/x",
        "https://api.bitbucket.org:8443/2.0/x",
        "https://api.bitbucket.org/1.0/x",
        "https://api.bitbucket.org/2.0x/y",
        "https://api.bitbucket.org/2.0/../1.0/x",
        "https://api.bitbucket.org/2.0/%2e%2e/1.0/x",
        "https://api.bitbucket.org/2.0/..%2f1.0/x",
        "https://api.bitbucket.org/2.0/x\r\nHost: evil.example",
        "//api.bitbucket.org/2.0/x",
        "/2.0/x",
        "https://api.bitbucket.org/2.0/" + "x" * 5000,
    ],
)
def test_the_credential_goes_to_no_other_address(following: str) -> None:
    asked: list[Request] = []
    with pytest.raises(ProviderError) as caught:
        hold(BITBUCKET.branches(BASE, PLACE), [listed({"name": "main"}, next=following)], asked)
    assert caught.value.trouble is Trouble.DOWN and len(asked) == 1


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
