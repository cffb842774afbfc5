"""How GitHub's answers are read: accounts, repositories, hooks and grants. For the rest see `test_github_talks`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from godploy.providers.github import GITHUB
from godploy.providers.protocol import (
    Account,
    HookWish,
    Host,
    OAuthClient,
    Place,
    ProviderError,
    Request,
    Response,
    Talk,
    Trouble,
)

WEB, API = "https://github.com", "https://api.github.com"
OWN = "https://git.example.org/hub"
PLACE = Place("7", "ada/shop")
WISH = HookWish("https://godploy.example.org/hooks/github/h1", "5e" * 32)
SHOP = {
    "id": 7,
    "full_name": "ada/shop",
    "default_branch": "main",
    "private": True,
    "size": 3,
    "permissions": {"admin": True, "pull": True},
}
APP_REFUSED = {"message": "Resource not accessible by integration"}

host: Host = GITHUB


def answer(tree: Any = None, status: int = 200, **headers: str) -> Response:
    body = tree if isinstance(tree, bytes) else json.dumps(tree).encode()
    return Response(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


def play(talk: Talk[Any], *responses: Response) -> tuple[Any, list[Request]]:
    """What the talk learns of these answers, and what it asked; all of them are wanted."""
    asked = [next(talk)]
    for index, response in enumerate(responses):
        try:
            asked.append(talk.send(response))
        except StopIteration as end:
            assert index == len(responses) - 1, "not every answer was wanted"
            return end.value, asked
    raise AssertionError(f"it asks for more: {asked[-1].url}")


def refused(talk: Talk[Any], *responses: Response) -> ProviderError:
    with pytest.raises(ProviderError) as error:
        play(talk, *responses)
    return error.value


# Whose credential it is


@pytest.mark.parametrize(
    ("headers", "scopes", "expires_at"),
    [
        ({}, None, None),
        ({"x_oauth_scopes": ""}, (), None),
        ({"x_oauth_scopes": "repo, read:org"}, ("repo", "read:org"), None),
        ({"github_authentication_token_expiration": "2026-12-31 23:59:59 UTC"}, None, 1798761599.0),
        ({"github_authentication_token_expiration": "2026-12-31 23:59:59 +0100"}, None, 1798757999.0),
        ({"github_authentication_token_expiration": "soon"}, None, None),
    ],
)
def test_an_account_and_its_token(headers: dict[str, str], scopes: Any, expires_at: float | None) -> None:
    found, _ = play(host.account(WEB), answer({"id": 1, "login": "ada"}, 200, **headers))
    assert found == Account("1", "ada", scopes, expires_at)


def test_an_installation_is_called_after_who_owns_its_repositories() -> None:
    owner = {"id": 9, "login": "acme"}
    there = answer({"total_count": 1, "repositories": [{**SHOP, "owner": owner}]})
    found, asked = play(host.account(WEB), answer(APP_REFUSED, 403), there)
    assert found == Account("9", "acme")
    assert asked[1].url.startswith(f"{API}/installation/repositories?")


def test_an_installation_without_repositories_says_what_to_do() -> None:
    error = refused(host.account(WEB), answer(APP_REFUSED, 403), answer({"total_count": 0, "repositories": []}))
    assert error.trouble is Trouble.FORBIDDEN
    assert "choose repositories" in error.next_step


@pytest.mark.parametrize("ask", [lambda: host.account(WEB), lambda: host.repositories(WEB, "", 5)])
def test_a_person_who_is_refused_is_no_installation(ask: Callable[[], Talk[Any]]) -> None:
    assert refused(ask(), answer({"message": "Sorry. Your account was suspended"}, 403)).trouble is Trouble.FORBIDDEN
    limited = answer({"message": "API rate limit exceeded"}, 403, x_ratelimit_remaining="0")
    assert refused(ask(), limited).trouble is Trouble.BUSY


# Repositories


def test_an_installation_may_make_hooks_in_all_that_it_lists() -> None:
    """GitHub tells no role of it, not even that of a reader."""
    given = {**SHOP, "permissions": {"admin": False, "push": False, "pull": False}}
    there = answer({"total_count": 1, "repositories": [given]})
    listing, asked = play(host.repositories(WEB, "", 5), answer(APP_REFUSED, 403), there)
    assert [each.full_name for each in listing.repositories] == ["ada/shop"]
    assert listing.repositories[0].administered
    assert asked[1].url.startswith(f"{API}/installation/repositories?")


@pytest.mark.parametrize(
    ("change", "administered"),
    [
        ({"permissions": {"admin": True, "pull": True}}, True),
        ({"permissions": {"admin": False, "push": True, "pull": True}}, False),
        ({"permissions": None}, False),
        ({"permissions": {"admin": "true", "pull": "false"}}, False),
    ],
)
def test_who_administers_a_repository(change: Mapping[str, Any], administered: bool) -> None:
    found, _ = play(host.repository(WEB, "ada/shop"), answer({**SHOP, **change}))
    assert found.administered is administered


@pytest.mark.parametrize(("branches", "default"), [([], None), ([{"name": "main"}], "main")])
def test_an_empty_repository_has_no_default_branch(branches: list[Any], default: str | None) -> None:
    found, asked = play(host.located(WEB, "7"), answer({**SHOP, "size": 0}), answer(branches))
    assert found.default_branch == default
    assert [each.url for each in asked] == [f"{API}/repositories/7", f"{API}/repos/ada/shop/branches?per_page=1"]


def test_addresses_are_made_of_the_base() -> None:
    foreign = {**SHOP, "clone_url": "https://evil.example/x.git", "html_url": "javascript:x"}
    found, _ = play(host.repository(OWN, "ada/shop"), answer(foreign))
    assert (found.clone_url, found.web_url) == (f"{OWN}/ada/shop.git", f"{OWN}/ada/shop")


@pytest.mark.parametrize(
    "tree",
    [
        None,
        [],
        "x",
        {},
        {**SHOP, "id": "7"},
        {**SHOP, "full_name": "shop"},
        {**SHOP, "full_name": "a/../b"},
        {**SHOP, "full_name": "ada/.."},
        {**SHOP, "full_name": "ada/shop\n"},
        {**SHOP, "full_name": ["ada", "shop"]},
        b"<html>",
        b"[" * 100_000,
    ],
)
def test_what_is_no_repository_is_refused(tree: Any) -> None:
    assert refused(host.repository(WEB, "ada/shop"), answer(tree)).trouble is Trouble.DOWN


# Hooks


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({}, True),
        ({"events": ["*"]}, True),
        ({"events": ["pull_request", "push", "create"]}, True),
        ({"events": ["push"]}, False),
        ({"events": "push pull_request"}, False),
        ({"events": None}, False),
        ({"config": {"url": WISH.url, "content_type": "form"}}, False),
        ({"config": None}, False),
    ],
)
def test_whether_a_hook_is_as_it_should_be(change: Mapping[str, Any], wanted: bool) -> None:
    whole = {"id": 3, "active": True, "events": ["push", "pull_request"], "config": {"content_type": "json"}}
    found, _ = play(host.hooks(WEB, PLACE), answer([{**whole, **change}, {"id": "x"}, 7, None]))
    assert [each.wanted for each in found] == [wanted]


def test_a_hook_that_is_refused_and_is_not_there_stays_refused() -> None:
    errors = {"message": "Validation Failed", "errors": [{"code": "custom", "message": "url is not supported"}]}
    error = refused(host.create_hook(WEB, PLACE, WISH), answer(errors, 422), answer([]))
    assert error.trouble is Trouble.INVALID
    assert "url is not supported" in error.message


# OAuth


def test_what_the_authorize_page_is_asked() -> None:
    url = host.authorize_url(WEB, OAuthClient("id1", "hush"), "https://godploy.example.org/cb", "S", "C")
    assert url.startswith(f"{WEB}/login/oauth/authorize?")
    asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    assert asked["scope"].split() == ["repo", "admin:repo_hook", "read:org"]
    assert (asked["client_id"], asked["state"], asked["redirect_uri"]) == ("id1", "S", "https://godploy.example.org/cb")
    assert (asked["code_challenge"], asked["code_challenge_method"]) == ("C", "S256")
    assert "hush" not in url


def test_an_error_with_a_good_status_is_an_error() -> None:
    client = OAuthClient("id1", "hush")
    for error, trouble in (("bad_verification_code", Trouble.CREDENTIAL), ("redirect_uri_mismatch", Trouble.INVALID)):
        told = refused(host.exchange(WEB, client, "https://x.example", "C", "V"), answer({"error": error}))
        assert told.trouble is trouble
    told = refused(host.refresh(WEB, client, "https://x.example", "R"), answer({"error": "bad_refresh_token"}))
    assert told.trouble is Trouble.CREDENTIAL


def test_a_grant_is_asked_for_without_the_credential() -> None:
    told = answer({"access_token": "T", "token_type": "bearer", "scope": "repo,read:org"})
    found, (request,) = play(host.exchange(WEB, OAuthClient("id1", "hush"), "https://x.example", "C", "V"), told)
    assert (found.token, found.refresh, found.lifetime, found.scopes) == ("T", "", None, ("repo", "read:org"))
    assert (request.url, request.anonymous) == (f"{WEB}/login/oauth/access_token", True)
    assert request.headers["Accept"] == "application/json"
