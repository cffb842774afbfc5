"""What GitLab is asked, and what it answers: statuses and OAuth at one that is played, trouble by single answers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from godploy.providers import oauth
from godploy.providers.gitlab import GITLAB
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
from tests.providers.fakes.state import NotApproved
from tests.providers.gitlab_stage import SECRET, Stage, playing

_BASE = "https://git.example.org/code"
_PLACE = Place("7", "ada/shop")
_WISH = HookWish("https://deploy.example.org/hooks/gitlab/one", SECRET)
_SHA = "ab" * 20
_CALLBACK = "https://deploy.example.org/connections/callback"


@pytest.fixture(params=[True, False], ids=["signs", "older"])
async def stage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stage]:
    async with playing(tmp_path, signs=request.param) as made:
        yield made


# Statuses


@pytest.mark.parametrize(
    ("state", "word"),
    [
        (StatusState.PENDING, "pending"),
        (StatusState.RUNNING, "running"),
        (StatusState.SUCCESS, "success"),
        (StatusState.FAILURE, "failed"),
        (StatusState.ERROR, "failed"),
        (StatusState.SUPERSEDED, "canceled"),
        (StatusState.CANCELLED, "canceled"),
    ],
)
async def test_each_state_has_a_word_and_may_be_said_twice(stage: Stage, state: StatusState, word: str) -> None:
    sha = await stage.fake.commit(stage.repository, {"a": "1"}, branch="feature/x#1")
    status = CommitStatus(sha, "godploy/a/production", state, "how it goes", "https://d.example.org/1", "feature/x#1")
    for _ in range(2):
        await stage.ask(GITLAB.set_status(stage.fake.base, stage.place, status))
    told = stage.fake.statuses(stage.repository, sha)
    assert told[0] == {
        "state": word,
        "context": "godploy/a/production",
        "description": "how it goes",
        "url": "https://d.example.org/1",
        "ref": "feature/x#1",
    }
    assert {each["state"] for each in told} == {word}


async def test_a_late_word_does_not_change_the_last_one(stage: Stage) -> None:
    sha = await stage.fake.commit(stage.repository, {"a": "1"})
    for state in (
        StatusState.PENDING,
        StatusState.RUNNING,
        StatusState.PENDING,
        StatusState.SUCCESS,
        StatusState.RUNNING,
    ):
        status = CommitStatus(sha, "godploy/a", state, "", "")
        await stage.ask(GITLAB.set_status(stage.fake.base, stage.place, status))
    assert [each["state"] for each in stage.fake.statuses(stage.repository, sha)] == ["pending", "running", "success"]


async def test_texts_are_cut_to_what_is_taken(stage: Stage) -> None:
    sha, long = await stage.fake.commit(stage.repository, {"a": "1"}), "\U0001f600" * 300
    status = CommitStatus(sha, long, StatusState.SUCCESS, long, "https://x/" + "y" * 300, "b" * 256)
    await stage.ask(GITLAB.set_status(stage.fake.base, stage.place, status))
    (told,) = stage.fake.statuses(stage.repository, sha)
    assert (told["context"], told["description"]) == (long[:255], long[:255])
    assert (told["url"], told["ref"]) == ("", None)
    half = CommitStatus(sha, "x", StatusState.SUCCESS, "a\ud83d", "")
    await stage.ask(GITLAB.set_status(stage.fake.base, stage.place, half))
    assert stage.fake.statuses(stage.repository, sha)[-1]["description"] == "a?"


async def test_statuses_that_are_refused(stage: Stage) -> None:
    base = stage.fake.base
    sha = await stage.fake.commit(stage.repository, {"a": "1"})
    talk = GITLAB.set_status(base, stage.place, CommitStatus("cd" * 20, "x", StatusState.SUCCESS, "", ""))
    assert (await stage.trouble(talk)).trouble is Trouble.MISSING
    reader = stage.fake.add_user("bob")
    stage.repository.roles[reader.id] = "read"
    credential = Credential("token", stage.fake.make_token(reader))
    talk = GITLAB.set_status(base, stage.place, CommitStatus(sha, "x", StatusState.SUCCESS, "", ""))
    assert (await stage.trouble(talk, credential)).trouble is Trouble.FORBIDDEN
    stage.fake.trouble(400, match="/statuses/")
    talk = GITLAB.set_status(base, stage.place, CommitStatus(sha, "x", StatusState.SUCCESS, "", ""))
    assert (await stage.trouble(talk)).trouble is Trouble.INVALID
    assert stage.fake.statuses(stage.repository, sha) == []


# OAuth


async def test_a_person_authorizes_and_the_grant_is_renewed(stage: Stage) -> None:
    fake, base = stage.fake, stage.fake.base
    client, verifier = fake.register_client(_CALLBACK), oauth.new_verifier()
    url = GITLAB.authorize_url(base, client, _CALLBACK, "state1", oauth.challenge(verifier))
    back = fake.approve(url, stage.ada)
    assert back.startswith(f"{_CALLBACK}?")
    query = parse_qs(urlsplit(back).query)
    assert query["state"] == ["state1"]
    code = query["code"][0]
    first = await stage.ask(GITLAB.exchange(base, client, _CALLBACK, code, verifier))
    assert (first.lifetime, first.scopes) == (7200.0, ("api", "read_repository"))
    held = Credential("oauth", first.token)
    account = await stage.ask(GITLAB.account(base), held)
    assert (account.name, account.scopes, account.expires_at) == ("ada", None, None)
    await stage.client(lambda theirs: theirs.auth(), oauth_token=first.token)
    assert await stage.ask(GITLAB.create_hook(base, stage.place, stage.wish), held)
    again = await stage.trouble(GITLAB.exchange(base, client, _CALLBACK, code, verifier))
    assert again.trouble is Trouble.CREDENTIAL
    second = await stage.ask(GITLAB.refresh(base, client, _CALLBACK, first.refresh))
    assert second.token != first.token
    assert second.refresh != first.refresh
    assert (await stage.trouble(GITLAB.account(base), held)).trouble is Trouble.CREDENTIAL
    assert (await stage.ask(GITLAB.account(base), Credential("oauth", second.token))).name == "ada"
    used = await stage.trouble(GITLAB.refresh(base, client, _CALLBACK, first.refresh))
    assert used.trouble is Trouble.CREDENTIAL


async def test_a_code_is_worth_nothing_without_its_verifier(stage: Stage) -> None:
    fake, base = stage.fake, stage.fake.base
    client = fake.register_client(_CALLBACK)
    url = GITLAB.authorize_url(base, client, _CALLBACK, "state1", oauth.challenge(oauth.new_verifier()))
    code = parse_qs(urlsplit(fake.approve(url, stage.ada)).query)["code"][0]
    trouble = await stage.trouble(GITLAB.exchange(base, client, _CALLBACK, code, oauth.new_verifier()))
    assert trouble.trouble is Trouble.CREDENTIAL
    elsewhere = GITLAB.authorize_url(base, client, "https://evil.example.org/", "s", oauth.challenge("v"))
    with pytest.raises(NotApproved):
        fake.approve(elsewhere, stage.ada)
    assert "error=access_denied" in fake.deny(url)


@pytest.mark.parametrize("end", ["revoke", "expire"])
async def test_a_token_that_has_ended_says_where_to_renew_it(stage: Stage, end: str) -> None:
    getattr(stage.fake, end)(stage.credential.token)
    trouble = await stage.trouble(GITLAB.branches(stage.fake.base, stage.place))
    assert trouble.trouble is Trouble.CREDENTIAL
    assert f"{stage.fake.base}/-/user_settings/personal_access_tokens" in trouble.next_step
    assert stage.credential.token not in f"{trouble.message} {trouble.next_step}"


# Single answers


def _answer(talk: Talk[Any], *given: Response) -> tuple[list[Request], Any]:
    """What is asked, and what is learnt from these answers (the last one again and again)."""
    asked, answers = [next(talk)], list(given)
    try:
        while True:
            asked.append(talk.send(answers.pop(0) if len(answers) > 1 else answers[0]))
    except StopIteration as end:
        return asked, end.value


def _response(status: int, tree: Any = None, headers: Mapping[str, str] | None = None) -> Response:
    return Response(status, headers or {}, b"" if tree is None else json.dumps(tree).encode())


_TALKS: dict[str, Callable[[], Talk[Any]]] = {
    "account": lambda: GITLAB.account(_BASE),
    "repositories": lambda: GITLAB.repositories(_BASE, "", 20),
    "repository": lambda: GITLAB.repository(_BASE, "ada/shop"),
    "located": lambda: GITLAB.located(_BASE, "7"),
    "branches": lambda: GITLAB.branches(_BASE, _PLACE),
    "hooks": lambda: GITLAB.hooks(_BASE, _PLACE),
    "create_hook": lambda: GITLAB.create_hook(_BASE, _PLACE, _WISH),
    "update_hook": lambda: GITLAB.update_hook(_BASE, _PLACE, "5", _WISH),
    "set_status": lambda: GITLAB.set_status(_BASE, _PLACE, CommitStatus(_SHA, "x", StatusState.SUCCESS, "", "")),
    "pull_requests": lambda: GITLAB.pull_requests(_BASE, _PLACE),
}
_AND_MORE = {
    **_TALKS,
    "delete_hook": lambda: GITLAB.delete_hook(_BASE, _PLACE, "5"),
    "test_hook": lambda: GITLAB.test_hook(_BASE, _PLACE, "5", "main"),
}


@pytest.mark.parametrize(
    ("response", "trouble", "wait"),
    [
        (
            _response(401, {"error": "invalid_token", "error_description": "It is expired."}),
            Trouble.CREDENTIAL,
            None,
        ),
        (_response(403, {"message": "403 Forbidden"}), Trouble.FORBIDDEN, None),
        (_response(403, {"message": "403 Forbidden"}, {"retry-after": "900"}), Trouble.BUSY, 900.0),
        (Response(429, {"retry-after": "60", "content-type": "text/plain"}, b"Retry later\n"), Trouble.BUSY, 60.0),
        (Response(429, {}, b"Retry later\n"), Trouble.BUSY, None),
        (_response(301, {"message": "moved"}, {"location": f"{_BASE}/api/v4/projects/7"}), Trouble.MISSING, None),
        (Response(302, {"location": "https://evil.example.org/"}, b""), Trouble.MISSING, None),
        (Response(307, {}, b""), Trouble.MISSING, None),
        (Response(308, {}, b""), Trouble.MISSING, None),
        (Response(502, {}, b"<html>Bad gateway</html>"), Trouble.DOWN, None),
        (Response(503, {"retry-after": "30"}, b""), Trouble.DOWN, 30.0),
    ],
    ids=lambda value: str(getattr(value, "status", value)),
)
@pytest.mark.parametrize("name", _AND_MORE)
def test_what_a_refusal_means(name: str, response: Response, trouble: Trouble, wait: float | None) -> None:
    with pytest.raises(ProviderError) as caught:
        _answer(_AND_MORE[name](), response)
    assert (caught.value.trouble, caught.value.wait) == (trouble, wait)


@pytest.mark.parametrize("name", _TALKS)
def test_what_is_not_there_is_missing(name: str) -> None:
    with pytest.raises(ProviderError) as caught:
        _answer(_TALKS[name](), _response(404, {"message": "404 Project Not Found"}))
    assert caught.value.trouble is Trouble.MISSING
    assert "404 Project Not Found" in caught.value.message


@pytest.mark.parametrize(
    "body",
    [
        b"<html>Sign in</html>", b"", b"null", b"[]", b"{}", b"1", b'"x"', b"[null, 1, [], {}]", b'{"id": true}',
        b'{"id": 1e400}', b'{"id": "7", "username": 1}', b'[{"id": 7, "iid": 7, "url": [], "name": {}}]',
        b'{"id": 99999999999999999999, "url": "x"}', b"[" * 100_000, b'{"permissions": [1], "id": 7}', b"\xff\xfe",
    ],
    ids=lambda body: body[:20].decode(errors="replace"),
)  # fmt: skip
@pytest.mark.parametrize("name", _AND_MORE)
def test_an_answer_may_be_anything(name: str, body: bytes) -> None:
    """It is understood, or it is refused in words; and nobody is sent round in circles."""
    try:
        asked, _ = _answer(_AND_MORE[name](), Response(200, {"x-next-page": "2"}, body))
    except ProviderError as error:
        assert error.trouble is Trouble.DOWN
        assert "is the address right?" in error.message
    else:
        assert len(asked) <= 3


@pytest.mark.parametrize("following", ["2", "999999999"])
@pytest.mark.parametrize("name", ["repositories", "branches", "hooks"])
def test_pages_never_lead_elsewhere_and_have_an_end(name: str, following: str) -> None:
    """The token goes with each request, so no address is taken from an answer."""
    link = '<https://evil.example.org/api/v4/projects?page=2>; rel="next"'

    def pages(page: int) -> Response:
        next_page = str(page + 1) if following == "2" else following
        return _response(200, [{"id": page}], {"link": link, "x-next-page": next_page})

    asked, found = _answer(_TALKS[name](), *[pages(page) for page in range(1, 40)])
    assert all(request.url.startswith(f"{_BASE}/api/v4/projects") for request in asked)
    assert len(asked) == (20 if following == "2" else 1)
    if name == "repositories":
        assert not found.complete


def _project(**changes: Any) -> dict[str, Any]:
    return {"id": 7, "path_with_namespace": "ada/shop", "default_branch": "main", "visibility": "private", **changes}


def test_a_project_that_only_its_description_finds_is_not_listed() -> None:
    items = [
        _project(name_with_namespace="Ada / Shop"),
        _project(id=8, path_with_namespace="ada/other", name_with_namespace="Ada / Other"),
        _project(id=9, path_with_namespace="ada/web", name_with_namespace="Ada / The Shop"),
    ]
    _, found = _answer(GITLAB.repositories(_BASE, "shop", 20), _response(200, items))
    assert [each.id for each in found.repositories] == ["7", "9"]


@pytest.mark.parametrize(
    "name",
    ["", "shop", "ada/", "/shop", "ada//shop", "ada/..", "../shop", "ada/-x", "ada/a b", "ada/x?y", "ada@b/x", "a/é"],
)
def test_a_project_whose_name_would_not_be_its_address_is_not_used(name: str) -> None:
    with pytest.raises(ProviderError) as caught:
        _answer(GITLAB.located(_BASE, "7"), _response(200, _project(path_with_namespace=name)))
    assert caught.value.trouble is Trouble.DOWN


def test_addresses_are_made_of_the_base_and_the_name() -> None:
    """What the server behind a proxy tells of itself may be inner, or another's."""
    hostile = {"http_url_to_repo": "http://10.0.0.1/x.git", "web_url": "javascript:alert(1)"}
    _, found = _answer(GITLAB.located(_BASE, "7"), _response(200, _project(path_with_namespace="a/.b/c_d", **hostile)))
    assert (found.clone_url, found.web_url) == (f"{_BASE}/a/.b/c_d.git", f"{_BASE}/a/.b/c_d")


@pytest.mark.parametrize(
    ("changes", "branch"),
    [({}, "main"), ({"empty_repo": True}, None), ({"default_branch": None}, None), ({"default_branch": "-x"}, None)],
)
def test_an_empty_project_has_no_default_branch(changes: dict[str, Any], branch: str | None) -> None:
    _, found = _answer(GITLAB.located(_BASE, "7"), _response(200, _project(**changes)))
    assert found.default_branch == branch


def test_branches_whose_names_git_does_not_take_are_left_out() -> None:
    names = ["main", "feature/x", "-x", "a..b", "", "a\x1b[31m", "größe"]
    _, found = _answer(GITLAB.branches(_BASE, _PLACE), _response(200, [{"name": name} for name in names]))
    assert found == ("main", "feature/x", "größe")


@pytest.mark.parametrize(
    "changes",
    [{"iid": 0}, {"iid": -1}, {"sha": None}, {"sha": "ab"}, {"source_branch": "-x"}, {"target_branch": None}],
    ids=repr,
)
def test_a_merge_request_that_cannot_be_used_is_left_out(changes: dict[str, Any]) -> None:
    good = {"iid": 1, "sha": _SHA, "source_branch": "x", "target_branch": "main", "web_url": "https://evil.example.org"}
    _, found = _answer(GITLAB.pull_requests(_BASE, _PLACE), _response(200, [{**good, **changes}, good]))
    assert [(each.number, each.commit, each.url) for each in found] == [(1, _SHA, "")]
