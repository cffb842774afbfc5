"""What GitHub's API is asked, and what is made of answers that nobody would expect of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from godploy.providers import github_app
from godploy.providers.github import GITHUB
from godploy.providers.github_app import App
from godploy.providers.protocol import (
    CommitStatus,
    Credential,
    HookWish,
    Place,
    ProviderError,
    Request,
    Response,
    StatusState,
    Talk,
    Trouble,
)

_PUBLIC, _OWN = "https://github.com", "https://git.example.org"
_PLACE = Place("7", "ada/shop")
_WISH = HookWish("https://godploy.example.org/hooks/github/h1", "5a" * 32)
_APP = App("5", "godploy", "Iv1", "hush", "no key")
_STATUS = CommitStatus("0a" * 20, "godploy/shop", StatusState.SUCCESS, "", "https://godploy.example.org/d/1")
_SHOP = {"id": 7, "full_name": "ada/shop", "default_branch": "main", "size": 1, "permissions": {"admin": True}}


def answer(tree: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(status, headers or {}, tree if isinstance(tree, bytes) else json.dumps(tree).encode())


@dataclass
class Carried:
    """`asked` is what the talk asked for, `learnt` what it learnt."""

    asked: list[Request] = field(default_factory=list)
    learnt: Any = None


def carry(talk: Talk[Any], *given: Response) -> Carried:
    """The last answer is given for as long as it asks; a talk without end is a failure."""
    carried = Carried()
    try:
        carried.asked.append(next(talk))
        for number in range(100):
            carried.asked.append(talk.send(given[min(number, len(given) - 1)]))
    except StopIteration as end:
        carried.learnt = end.value
        return carried
    raise AssertionError("it asks and asks")


@pytest.mark.parametrize(
    ("base", "api"), [(_PUBLIC, "https://api.github.com"), (_OWN, "https://git.example.org/api/v3")]
)
def test_where_the_api_is(base: str, api: str) -> None:
    carried = carry(GITHUB.repository(base, "ada/shop"), answer(_SHOP))
    assert [each.url for each in carried.asked] == [f"{api}/repos/ada/shop"]
    sent = carried.asked[0].headers
    assert (sent["Accept"], sent["X-GitHub-Api-Version"]) == ("application/vnd.github+json", "2022-11-28")
    assert carried.learnt.clone_url == f"{base}/ada/shop.git"


def test_the_credential() -> None:
    held = Credential("token", "ghp_1")
    assert GITHUB.authorization(held) == {"Authorization": "Bearer ghp_1"}
    assert GITHUB.git_login(held) == ("x-access-token", "ghp_1")
    assert "ghp_1" not in repr(held)


def test_names_are_one_segment_each() -> None:
    carried = carry(GITHUB.hooks(_OWN, Place("7", "ada/../../x?y#z")), answer([]))
    assert carried.asked[0].url.startswith("https://git.example.org/api/v3/repos/ada/..%2F..%2Fx%3Fy%23z/hooks?")
    carried = carry(GITHUB.delete_hook(_OWN, _PLACE, "1/../2"), answer(b"", 204))
    assert carried.asked[0].url == "https://git.example.org/api/v3/repos/ada/shop/hooks/1%2F..%2F2"


@pytest.mark.parametrize(
    "following",
    [
        "https://evil.example/api/v3/repositories/7/branches?page=2",
        "http://git.example.org/api/v3/repositories/7/branches?page=2",
        "https://git.example.org:8443/api/v3/repositories/7/branches?page=2",
        "https://git.example.org/api/v33/branches",
        "https://git.example.org/login",
        "https://git.example.org/api/v3/../../login",
        "https://git.example.org/api/v3/%2e%2e/login",
        "https://git.example.org@evil.example/api/v3/x",
        "//evil.example/api/v3/x",
    ],
)
@pytest.mark.parametrize("make", [GITHUB.branches, GITHUB.hooks])
def test_the_next_page_is_not_outside_the_api(make: Callable[[str, Place], Talk[Any]], following: str) -> None:
    led = answer([], headers={"link": f'<{following}>; rel="next"'})
    with pytest.raises(ProviderError) as refused:
        carry(make(_OWN, _PLACE), led)
    assert refused.value.trouble is Trouble.DOWN


def test_pages_without_end_are_given_up() -> None:
    following = "https://git.example.org/api/v3/repositories/7/branches?page=2"
    led = answer([{"name": "main"}], headers={"link": f'<{following}>; rel="next"'})
    assert len(carry(GITHUB.branches(_OWN, _PLACE), led).asked) == 20
    listed = answer([_SHOP], headers={"link": f'<{following}>; rel="next"'})
    listing = carry(GITHUB.repositories(_OWN, "", 1000), listed).learnt
    assert not listing.complete


def test_branches_that_cannot_be_read_are_left_out() -> None:
    names = ["main", "feature/x", "a#b", "50%", "zweig-ä", "-x", "a b", "a..b", "", None, 7]
    found = carry(GITHUB.branches(_OWN, _PLACE), answer([*({"name": name} for name in names), None, "x"])).learnt
    assert found == ("main", "feature/x", "a#b", "50%", "zweig-ä")


_TALKS: dict[str, Callable[[], Talk[Any]]] = {
    "account": lambda: GITHUB.account(_OWN),
    "repositories": lambda: GITHUB.repositories(_OWN, "", 5),
    "repository": lambda: GITHUB.repository(_OWN, "ada/shop"),
    "located": lambda: GITHUB.located(_OWN, "7"),
    "branches": lambda: GITHUB.branches(_OWN, _PLACE),
    "hooks": lambda: GITHUB.hooks(_OWN, _PLACE),
    "create_hook": lambda: GITHUB.create_hook(_OWN, _PLACE, _WISH),
    "update_hook": lambda: GITHUB.update_hook(_OWN, _PLACE, "1", _WISH),
    "pull_requests": lambda: GITHUB.pull_requests(_OWN, _PLACE),
    "convert": lambda: github_app.convert(_OWN, "code"),
}
_DEEP = b"[" * 100_000


@pytest.mark.parametrize("body", [b"", b"<html>", b"null", b"7", b'"x"', b"\xff", _DEEP, b"{}", b"[]", b"[[]]"])
@pytest.mark.parametrize("status", [200, 403, 422])
@pytest.mark.parametrize("name", _TALKS)
def test_no_answer_breaks_a_talk(name: str, status: int, body: bytes) -> None:
    """It learns something, or says what is wrong."""
    try:
        carry(_TALKS[name](), answer(body, status))
    except ProviderError as error:
        assert error.message
        return
    assert (name, status) in {(each, 200) for each in ("branches", "hooks", "pull_requests", "repositories")}


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_of_a_name_says_that_it_is_another_now(status: int) -> None:
    moved = answer({}, status, {"location": "https://git.example.org/api/v3/repositories/7"})
    for talk in (
        GITHUB.repository(_OWN, "ada/shop"),
        GITHUB.set_status(_OWN, _PLACE, _STATUS),
        GITHUB.delete_hook(_OWN, _PLACE, "1"),
    ):
        with pytest.raises(ProviderError) as refused:
            carry(talk, moved)
        assert refused.value.trouble is Trouble.MISSING
    with pytest.raises(ProviderError) as refused:
        carry(GITHUB.account(_OWN), moved)
    assert refused.value.trouble is Trouble.INVALID


_DATE = "Tue, 01 Dec 2026 00:00:00 GMT"
_AT = 1796083200  # the same, in seconds since 1970


def used_up(reset: str, date: str = _DATE) -> dict[str, str]:
    return {"x-ratelimit-remaining": "0", "x-ratelimit-reset": reset, "date": date}


@pytest.mark.parametrize(
    ("status", "headers", "said", "trouble", "wait"),
    [
        (403, {"retry-after": "30"}, "", Trouble.BUSY, 30.0),
        (429, {"retry-after": "30"}, "", Trouble.BUSY, 30.0),
        (
            403,
            used_up(str(_AT + 90)),
            "",
            Trouble.BUSY,
            90.0,
        ),
        (403, used_up(str(_AT - 9)), "", Trouble.BUSY, 1.0),
        (403, used_up("9" * 12), "", Trouble.BUSY, 3600.0),
        (403, used_up("soon"), "", Trouble.BUSY, 60.0),
        (403, used_up("1", "today"), "", Trouble.BUSY, 60.0),
        (403, {}, "You have exceeded a secondary rate limit.", Trouble.BUSY, 60.0),
        (403, {"x-ratelimit-remaining": "17"}, "Not allowed", Trouble.FORBIDDEN, None),
        (410, {}, "", Trouble.MISSING, None),
        (503, {}, "", Trouble.DOWN, None),
    ],
)
def test_when_it_wants_to_be_left_alone(
    status: int, headers: dict[str, str], said: str, trouble: Trouble, wait: float | None
) -> None:
    with pytest.raises(ProviderError) as refused:
        carry(GITHUB.set_status(_OWN, _PLACE, _STATUS), answer({"message": said}, status, headers))
    assert (refused.value.trouble, refused.value.wait) == (trouble, wait)


@pytest.mark.parametrize(
    ("status", "headers", "said"),
    [
        (401, {}, "https://git.example.org/settings/tokens"),
        (404, {"x-oauth-scopes": "read:org", "x-accepted-oauth-scopes": "repo, repo:status"}, "repo, repo:status"),
        (403, {"x-accepted-github-permissions": "statuses=write"}, "statuses=write"),
        (403, {"x-github-sso": "required; url=https://git.example.org/orgs/a/sso?x=1"}, "/orgs/a/sso?x=1"),
    ],
)
def test_what_a_person_can_do(status: int, headers: dict[str, str], said: str) -> None:
    with pytest.raises(ProviderError) as refused:
        carry(GITHUB.set_status(_OWN, _PLACE, _STATUS), answer({}, status, headers))
    assert said in refused.value.next_step


@pytest.mark.parametrize(
    "headers",
    [
        {"x-github-sso": "required; url=https://evil.example/sso"},
        {"x-accepted-github-permissions": "<b>everything</b>"},
        {"x-oauth-scopes": "repo", "x-accepted-oauth-scopes": "repo, repo:status"},
        {"x-oauth-scopes": "", "x-accepted-oauth-scopes": "<b>all</b>"},
    ],
)
def test_nothing_doubtful_is_advised(headers: dict[str, str]) -> None:
    with pytest.raises(ProviderError) as refused:
        carry(GITHUB.set_status(_OWN, _PLACE, _STATUS), answer({}, 403, headers))
    assert refused.value.next_step == ""


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-12-01 00:00:00 UTC", float(_AT)),
        ("2026-12-01 01:00:00 +0100", float(_AT)),
        ("", None),
        ("never", None),
        ("9999-99-99 00:00:00 UTC", None),
    ],
)
def test_when_a_token_ends(text: str, at: float | None) -> None:
    headers = {"github-authentication-token-expiration": text, "x-oauth-scopes": ""}
    account = carry(GITHUB.account(_OWN), answer({"id": 1, "login": "ada"}, headers=headers)).learnt
    assert (account.expires_at, account.scopes) == (at, ())


def test_a_hook_is_asked_for_as_json_and_with_our_certificate_checked() -> None:
    made = {"id": 1, "active": True, "events": ["push", "pull_request"], "config": {"url": _WISH.url}}
    carried = carry(GITHUB.create_hook(_OWN, _PLACE, _WISH), answer(made, 201))
    told = json.loads(carried.asked[0].body)
    assert told["config"] == {"url": _WISH.url, "content_type": "json", "secret": _WISH.secret, "insecure_ssl": "0"}
    assert (told["active"], set(told["events"])) == (True, {"push", "pull_request"})
    assert _WISH.secret not in carried.asked[0].url + repr(_WISH)


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        ({"content_type": "json", "insecure_ssl": "0"}, True),
        ({"content_type": "json", "insecure_ssl": 0}, True),
        ({"content_type": "json", "insecure_ssl": "1"}, False),
        ({"content_type": "json", "insecure_ssl": 1}, False),
    ],
)
def test_a_hook_that_does_not_check_our_certificate_is_to_be_mended(config: dict[str, Any], wanted: bool) -> None:
    item = {"id": 1, "active": True, "events": ["push", "pull_request"], "config": config}
    (found,) = carry(GITHUB.hooks(_OWN, _PLACE), answer([item])).learnt
    assert found.wanted is wanted


def test_archived_repositories_and_those_of_others_are_not_offered() -> None:
    archived = {**_SHOP, "id": 8, "full_name": "ada/old", "archived": True}
    read = {**_SHOP, "id": 9, "full_name": "grace/notes", "permissions": {"admin": False, "pull": True}}
    odd = {**_SHOP, "id": 10, "full_name": "../shop"}
    user = answer({"id": 1, "login": "ada"})
    listing = carry(GITHUB.repositories(_OWN, "", 9), user, answer([archived, read, odd, None, _SHOP])).learnt
    assert [each.full_name for each in listing.repositories] == ["ada/shop"]


@pytest.mark.parametrize(
    ("owner", "address"),
    [
        (None, "https://github.com/settings/apps/new?state=s+1"),
        ("", "https://github.com/settings/apps/new?state=s+1"),
        ("a/b", "https://github.com/organizations/a%2Fb/settings/apps/new?state=s+1"),
    ],
)
def test_where_an_app_is_made(owner: str | None, address: str) -> None:
    assert github_app.creation_url(_PUBLIC, owner, "s 1") == address


@pytest.mark.parametrize(
    ("base", "address"),
    [
        (_PUBLIC, "https://github.com/apps/godploy/installations/new?state=s1"),
        (_OWN, "https://git.example.org/github-apps/godploy/installations/new?state=s1"),
    ],
)
def test_where_an_app_is_installed(base: str, address: str) -> None:
    assert github_app.installation_url(base, _APP, "s1") == address


def test_an_app_asks_for_no_more_than_it_needs_and_has_no_hook() -> None:
    told = github_app.manifest("https://g.example", "Godploy", "https://g.example/c", "https://g.example/i")
    assert told["default_permissions"] == {
        "contents": "read",
        "metadata": "read",
        "pull_requests": "read",
        "repository_hooks": "write",
        "statuses": "write",
    }
    assert told["hook_attributes"]["active"] is False
    assert told["public"] is False


def test_the_conversion_of_a_code_goes_without_a_credential() -> None:
    owner = {"id": 3, "login": "ada"}
    made = {"id": 5, "slug": "godploy", "client_id": "Iv1", "client_secret": "hush", "pem": "key", "owner": owner}
    carried = carry(github_app.convert(_PUBLIC, "a/b"), answer(made, 201))
    assert carried.asked[0].url == "https://api.github.com/app-manifests/a%2Fb/conversions"
    assert carried.asked[0].anonymous
    app, account = carried.learnt
    assert (app.id, account.name) == ("5", "ada")
    assert (app.client_secret, app.pem) == ("hush", "key")
    assert "hush" not in repr(app)
    assert "key" not in repr(app)
