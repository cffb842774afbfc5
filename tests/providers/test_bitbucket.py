"""Whom Bitbucket knows, what is there, and what is done with its addresses."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from godploy.providers.bitbucket import BITBUCKET
from godploy.providers.protocol import (
    Account,
    Credential,
    ProviderError,
    Request,
    Trouble,
)
from tests.providers.bitbucket_answers import (
    API,
    BASE,
    BELOW,
    OTHER,
    PLACE,
    UUID,
    Answer,
    error,
    hold,
    listed,
    repository,
)

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
