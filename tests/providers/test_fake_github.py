"""GitHub as it is played: an independent client finds in it what it finds at GitHub, and so do our own talks."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import gidgethub
import gidgethub.apps
import pytest
from aiohttp import web
from gidgethub.aiohttp import GitHubAPI
from gidgethub.sansio import Event

from godploy.providers import github_app, oauth
from godploy.providers.github import GITHUB
from godploy.providers.protocol import (
    CommitStatus,
    Credential,
    HookWish,
    OAuthClient,
    Ping,
    Place,
    ProviderError,
    PullRequestChange,
    Push,
    StatusState,
    Talk,
    Trouble,
)
from tests.drivers.git_http import basic
from tests.providers import driver
from tests.providers.fakes import bare
from tests.providers.fakes.github import GitHubFake
from tests.providers.fakes.state import NotApproved, Repository, User

_SECRET = "5a" * 32
_CALLBACK = "https://godploy.example.org/oauth/github/callback"

Ask = Callable[..., Awaitable[Any]]


@pytest.fixture
async def fake(tmp_path: Path) -> AsyncIterator[GitHubFake]:
    async with GitHubFake(tmp_path / "github") as fake:
        yield fake


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
def ada(fake: GitHubFake) -> User:
    return fake.add_user("ada")


@pytest.fixture
def shop(fake: GitHubFake, ada: User) -> Repository:
    return fake.add_repository(ada, "ada/shop")


@pytest.fixture
def ask(fake: GitHubFake, session: aiohttp.ClientSession, ada: User) -> Ask:
    """Has a talk carried out, by ada's token unless another credential is given; None for none."""
    usual = Credential("token", fake.make_token(ada))

    async def ask(talk: Talk[Any], credential: Credential | None = usual) -> Any:
        return await driver.talk(session, GITHUB, fake.base, credential, talk)

    return ask


@pytest.fixture
async def inbox(fake: GitHubFake) -> AsyncIterator[asyncio.Queue[tuple[Any, bytes]]]:
    """Where deliveries come to: headers and body."""
    came: asyncio.Queue[tuple[Any, bytes]] = asyncio.Queue()

    async def take(request: web.Request) -> web.Response:
        came.put_nowait((request.headers, await request.read()))
        return web.Response(status=202, text="taken")

    app = web.Application()
    app.router.add_post("/{path:.*}", take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    fake.deliver_to = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield came
    await runner.cleanup()


def client(fake: GitHubFake, session: aiohttp.ClientSession, token: str | None) -> GitHubAPI:
    return GitHubAPI(session, "tests", oauth_token=token, base_url=f"{fake.base}/api/v3")


def wish(path: str = "/hooks/github/h1") -> HookWish:
    return HookWish(f"https://godploy.example.org{path}", _SECRET)


def place(repository: Repository) -> Place:
    return Place(str(repository.id), repository.full_name)


async def many_branches(repository: Repository, sha: str, count: int) -> list[str]:
    names = [f"b{number:03}" for number in range(count)]
    refs = "".join(f"create refs/heads/{name} {sha}\n" for name in names)
    await bare.git(repository.directory, "update-ref", "--stdin", given=refs.encode())
    return names


# An independent client


async def test_gidgethub_reads_makes_hooks_and_sets_statuses(
    fake: GitHubFake, session: aiohttp.ClientSession, ada: User, shop: Repository, inbox: asyncio.Queue[Any]
) -> None:
    gh = client(fake, session, fake.make_token(ada))
    assert (await gh.getitem("/user"))["login"] == "ada"
    sha = await fake.commit(shop, {"a": "1"})
    names = await many_branches(shop, sha, 31)
    assert [each["name"] async for each in gh.getiter("/repos/ada/shop/branches")] == [*names, "main"]  # two pages
    config = {"url": "https://godploy.example.org/h", "content_type": "json", "secret": "hush"}
    made = await gh.post("/repos/ada/shop/hooks", data={"name": "web", "events": ["push"], "config": config})
    assert made["config"]["secret"] == "********"
    headers, body = await inbox.get()
    assert Event.from_http(headers, body, secret="hush").event == "ping"
    with pytest.raises(gidgethub.ValidationError, match="already exists"):
        await gh.post("/repos/ada/shop/hooks", data={"name": "web", "events": ["push"], "config": config})
    await gh.post(f"/repos/ada/shop/statuses/{sha}", data={"state": "success", "context": "ci"})
    with pytest.raises(gidgethub.ValidationError, match="not included in the list"):
        await gh.post(f"/repos/ada/shop/statuses/{sha}", data={"state": "running", "context": "ci"})
    assert [each["state"] async for each in gh.getiter(f"/repos/ada/shop/commits/{sha}/statuses")] == ["success"]
    await gh.delete(f"/repos/ada/shop/hooks/{made['id']}")
    assert fake.hooks(shop) == []
    with pytest.raises(gidgethub.BadRequest, match="Not Found"):
        await gh.getitem("/repos/ada/nothing")
    with pytest.raises(gidgethub.BadRequest, match="Bad credentials"):
        await client(fake, session, "ghp_wrong").getitem("/user")


async def test_gidgethub_accepts_every_delivery(
    fake: GitHubFake, session: aiohttp.ClientSession, shop: Repository, ask: Ask, inbox: asyncio.Queue[Any]
) -> None:
    await ask(GITHUB.create_hook(fake.base, place(shop), wish()))
    sha = await fake.commit(shop, {"a": "1"}, branch="main")
    number = await fake.open_pull(shop, "feature/x", {"b": "1"})
    await fake.push_pull(shop, number, {"b": "2"})
    await fake.retarget_pull(shop, number, "main")
    await fake.close_pull(shop, number, merged=True)
    await fake.tag(shop, "v1", sha)
    await fake.settled()
    told = []
    while not inbox.empty():
        headers, body = inbox.get_nowait()
        event = Event.from_http(headers, body, secret=_SECRET)
        told.append((event.event, event.data.get("action")))
        with pytest.raises(gidgethub.ValidationFailure):
            Event.from_http(headers, body + b" ", secret=_SECRET)
    pulls = [("pull_request", action) for action in ("opened", "synchronize", "edited", "closed")]
    assert [each for each in told if each[0] == "pull_request"] == pulls
    assert told.count(("push", None)) == 5  # main, the head of the pull request twice, the merge, the tag
    assert ("ping", None) in told


async def test_gidgethub_proves_to_be_an_app(
    fake: GitHubFake, session: aiohttp.ClientSession, ada: User, shop: Repository, ask: Ask
) -> None:
    app = await _made_app(fake, ada, ask)
    fake.install_app(app.slug, ada, [shop])
    token = gidgethub.apps.get_jwt(app_id=app.id, private_key=app.pem)
    gh = client(fake, session, None)
    there = [each async for each in gh.getiter("/app/installations", jwt=token)]
    assert [each["account"]["login"] for each in there] == ["ada"]
    given = await gidgethub.apps.get_installation_access_token(
        gh, installation_id=str(there[0]["id"]), app_id=app.id, private_key=app.pem
    )
    seen = await client(fake, session, given["token"]).getitem("/installation/repositories")
    assert [each["full_name"] for each in seen["repositories"]] == ["ada/shop"]


# Our own talks


async def test_what_is_there(fake: GitHubFake, ada: User, shop: Repository, ask: Ask) -> None:
    other = fake.add_user("grace")
    readable, mine = fake.add_repository(other, "grace/notes"), fake.add_repository(other, "grace/board")
    readable.roles[ada.id], mine.roles[ada.id] = "read", "admin"
    account = await ask(GITHUB.account(fake.base))
    assert (account.id, account.name, account.scopes) == (str(ada.id), "ada", ("admin:repo_hook", "read:org", "repo"))
    listing = await ask(GITHUB.repositories(fake.base, "", 10))
    assert [each.full_name for each in listing.repositories] == ["grace/board", "ada/shop"]
    assert listing.complete
    few = await ask(GITHUB.repositories(fake.base, "A", 1))
    assert len(few.repositories) == 1
    assert not few.complete
    assert [each.full_name for each in (await ask(GITHUB.repositories(fake.base, "SHOP", 9))).repositories] == [
        "ada/shop"
    ]
    assert not (await ask(GITHUB.repository(fake.base, "grace/notes"))).administered
    assert (await ask(GITHUB.repository(fake.base, "ada/shop"))).default_branch is None
    await fake.commit(shop, {"a": "1"})
    await fake.commit(shop, {"a": "2"}, branch="feature/x#1")
    found = await ask(GITHUB.repository(fake.base, "ada/shop"))
    assert (found.default_branch, found.private, found.administered) == ("main", True, True)
    assert found.clone_url == f"{fake.base}/ada/shop.git"
    assert await ask(GITHUB.branches(fake.base, found.place)) == ("feature/x#1", "main")


async def test_many_branches_come_on_pages(fake: GitHubFake, shop: Repository, ask: Ask) -> None:
    sha = await fake.commit(shop, {"a": "1"})
    await many_branches(shop, sha, 130)
    assert len(await ask(GITHUB.branches(fake.base, place(shop)))) == 131


async def test_a_renamed_repository_is_located_by_its_id(
    fake: GitHubFake, ada: User, shop: Repository, ask: Ask
) -> None:
    sha, before = await fake.commit(shop, {"a": "1"}), place(shop)
    fake.rename(shop, "ada/store")
    status = CommitStatus(sha, "godploy/shop", StatusState.PENDING, "", "https://godploy.example.org/d/1")
    for talk in (
        GITHUB.repository(fake.base, before.full_name),
        GITHUB.set_status(fake.base, before, status),
        GITHUB.create_hook(fake.base, before, wish()),
        GITHUB.delete_hook(fake.base, before, "1"),
    ):
        with pytest.raises(ProviderError) as refused:
            await ask(talk)
        assert refused.value.trouble is Trouble.MISSING
    found = await ask(GITHUB.located(fake.base, before.id))
    assert found.full_name == "ada/store"
    await ask(GITHUB.set_status(fake.base, found.place, status))


async def test_a_hook_is_made_mended_pinged_and_removed(
    fake: GitHubFake, shop: Repository, ask: Ask, inbox: asyncio.Queue[Any]
) -> None:
    made = await ask(GITHUB.create_hook(fake.base, place(shop), wish()))
    assert (made.url, made.active, made.wanted) == (wish().url, True, True)
    headers, body = await inbox.get()
    assert headers["Host"] == "godploy.example.org"
    assert GITHUB.verify(headers, body, [_SECRET], "", 0.0)
    assert GITHUB.events(headers, body) == (Ping(),)
    again = await ask(GITHUB.create_hook(fake.base, place(shop), wish()))  # the answer to the first was lost
    assert again.id == made.id
    kept = fake.hooks(shop)[0]
    kept.active, kept.events = False, ["push"]
    seen = await ask(GITHUB.hooks(fake.base, place(shop)))
    assert [(each.id, each.active, each.wanted) for each in seen] == [(made.id, False, False)]
    moved = replace(wish("/hooks/github/h2"), secret="6b" * 32)
    mended = await ask(GITHUB.update_hook(fake.base, place(shop), made.id, moved))
    assert (mended.id, mended.url, mended.active, mended.wanted) == (made.id, moved.url, True, True)
    assert await ask(GITHUB.test_hook(fake.base, place(shop), made.id, "main"))
    headers, body = await inbox.get()
    assert GITHUB.verify(headers, body, ["6b" * 32], "", 0.0)
    await ask(GITHUB.delete_hook(fake.base, place(shop), made.id))
    await ask(GITHUB.delete_hook(fake.base, place(shop), made.id))
    assert fake.hooks(shop) == []


async def test_what_happens_is_told(fake: GitHubFake, shop: Repository, ask: Ask, inbox: asyncio.Queue[Any]) -> None:
    await ask(GITHUB.create_hook(fake.base, place(shop), wish()))
    await fake.settled()
    sha = await fake.commit(shop, {"a": "1"}, message="first\n\nwhy")
    other = await fake.commit(shop, {"a": "2"}, branch="feature/x")
    await fake.delete_branch(shop, "feature/x")
    tag = await fake.tag(shop, "v1", sha, annotated=True)
    await fake.delete_tag(shop, "v1")
    number = await fake.open_pull(shop, "patch", {"b": "1"}, title="From afar", fork=True)
    head = await fake.push_pull(shop, number, {"b": "2"})
    await fake.close_pull(shop, number)
    told: list[Any] = []
    while not inbox.empty():
        headers, body = inbox.get_nowait()
        assert GITHUB.well_formed(headers, "", 0.0)
        assert GITHUB.verify(headers, body, [_SECRET], "", 0.0)
        told += GITHUB.events(headers, body)
    assert tag != sha
    assert told[:6] == [
        Ping(),
        Push("refs/heads/main", sha, "first\n\nwhy", "ada"),
        Push("refs/heads/feature/x", other, "A commit", "ada"),
        Push("refs/heads/feature/x", None, "", "ada"),
        Push("refs/tags/v1", sha, "first\n\nwhy", "ada"),
        Push("refs/tags/v1", None, "", "ada"),
    ]
    changes = [each for each in told[6:] if isinstance(each, PullRequestChange)]
    assert [each.action for each in changes] == ["opened", "updated", "closed"]
    pull = changes[-1].pull
    assert (pull.number, pull.title, pull.commit, pull.branch, pull.base) == (
        number,
        "From afar",
        head,
        "patch",
        "main",
    )
    assert (pull.fork, pull.source_url, pull.author) == (True, f"{fake.base}/stranger/shop.git", "stranger")
    assert len(changes) == len(told) - 6
    redelivered = await fake.redeliver(fake.deliveries[-1])
    assert GITHUB.key(redelivered.headers, redelivered.body) == GITHUB.key(headers, body)


async def test_open_pull_requests_are_listed(fake: GitHubFake, shop: Repository, ask: Ask) -> None:
    await fake.commit(shop, {"a": "1"})
    first = await fake.open_pull(shop, "one", {"b": "1"})
    second = await fake.open_pull(shop, "two", {"b": "1"}, fork=True)
    closed = await fake.open_pull(shop, "three", {"b": "1"})
    await fake.close_pull(shop, closed)
    found = await ask(GITHUB.pull_requests(fake.base, place(shop)))
    assert [(each.number, each.branch, each.fork) for each in found] == [(second, "two", True), (first, "one", False)]


@pytest.mark.parametrize(
    ("state", "word"),
    [
        (StatusState.PENDING, "pending"),
        (StatusState.RUNNING, "pending"),
        (StatusState.SUCCESS, "success"),
        (StatusState.FAILURE, "failure"),
        (StatusState.ERROR, "error"),
        (StatusState.SUPERSEDED, "error"),
        (StatusState.CANCELLED, "error"),
    ],
)
async def test_statuses_in_githubs_words(
    fake: GitHubFake, shop: Repository, ask: Ask, state: StatusState, word: str
) -> None:
    sha = await fake.commit(shop, {"a": "1"})
    status = CommitStatus(sha, "godploy/shop/production", state, "é" * 200, "https://godploy.example.org/d/1", "main")
    await ask(GITHUB.set_status(fake.base, place(shop), status))
    told = {"state": word, "context": "godploy/shop/production", "description": "é" * 140, "url": status.url}
    assert fake.statuses(shop, sha) == [told]


async def test_a_status_of_a_commit_that_is_gone_is_not_tried_again(
    fake: GitHubFake, shop: Repository, ask: Ask
) -> None:
    status = CommitStatus("0a" * 20, "godploy/shop", StatusState.SUCCESS, "", "https://godploy.example.org/d/1")
    with pytest.raises(ProviderError, match="No commit found") as refused:
        await ask(GITHUB.set_status(fake.base, place(shop), status))
    assert refused.value.trouble is Trouble.INVALID


# Credentials


async def test_what_a_token_may_not_do(fake: GitHubFake, ada: User, shop: Repository, ask: Ask) -> None:
    sha = await fake.commit(shop, {"a": "1"})
    status = CommitStatus(sha, "godploy/shop", StatusState.SUCCESS, "", "https://godploy.example.org/d/1")
    blind = Credential("token", fake.make_token(ada, ("read:org",)))
    public = fake.add_repository(ada, "ada/open", private=False)
    with pytest.raises(ProviderError) as refused:
        await ask(GITHUB.set_status(fake.base, place(shop), status), blind)
    assert refused.value.trouble is Trouble.MISSING
    with pytest.raises(ProviderError) as refused:
        await ask(GITHUB.hooks(fake.base, place(public)), blind)
    assert refused.value.trouble is Trouble.MISSING
    assert "repo" in refused.value.next_step
    assert f"{fake.base}/settings/tokens" in refused.value.next_step
    ended = Credential("token", fake.make_token(ada))
    fake.expire(ended.token)
    with pytest.raises(ProviderError, match="Bad credentials") as refused:
        await ask(GITHUB.account(fake.base), ended)
    assert refused.value.trouble is Trouble.CREDENTIAL
    assert ended.token not in str(refused.value) + refused.value.next_step


@pytest.mark.parametrize(
    ("status", "headers", "trouble", "wait"),
    [
        (401, {}, Trouble.CREDENTIAL, None),
        (403, {}, Trouble.FORBIDDEN, None),
        (403, {"Retry-After": "7"}, Trouble.BUSY, 7.0),
        (403, {"X-RateLimit-Remaining": "0"}, Trouble.BUSY, 60.0),
        (404, {}, Trouble.MISSING, None),
        (422, {}, Trouble.INVALID, None),
        (429, {}, Trouble.BUSY, 60.0),
        (500, {}, Trouble.DOWN, None),
        (502, {}, Trouble.DOWN, None),
    ],
)
async def test_trouble(
    fake: GitHubFake,
    shop: Repository,
    ask: Ask,
    status: int,
    headers: dict[str, str],
    trouble: Trouble,
    wait: float | None,
) -> None:
    fake.trouble(status, headers=headers, match="/branches")
    with pytest.raises(ProviderError) as refused:
        await ask(GITHUB.branches(fake.base, place(shop)))
    assert (refused.value.trouble, refused.value.wait) == (trouble, wait)
    assert await ask(GITHUB.branches(fake.base, place(shop))) == ()


async def test_git_wants_the_credential(
    fake: GitHubFake, ada: User, shop: Repository, session: aiohttp.ClientSession
) -> None:
    await fake.commit(shop, {"a": "1"})
    url = f"{fake.base}/ada/shop.git/info/refs?service=git-upload-pack"
    good = GITHUB.git_login(Credential("token", fake.make_token(ada)))
    wrong = GITHUB.git_login(Credential("token", "ghp_wrong"))
    for login, status in ((None, 401), (wrong, 401), (good, 200)):
        headers = {"Authorization": basic(*login)} if login else {}
        async with session.get(url, headers=headers) as answer:
            assert answer.status == status


# OAuth


async def _granted(fake: GitHubFake, ada: User, ask: Ask) -> tuple[OAuthClient, Any]:
    registered, verifier = fake.register_client(_CALLBACK), oauth.new_verifier()
    url = GITHUB.authorize_url(fake.base, registered, _CALLBACK, "s1", oauth.challenge(verifier))
    came = parse_qs(urlsplit(fake.approve(url, ada)).query)
    assert came["state"] == ["s1"]
    talk = GITHUB.exchange(fake.base, registered, _CALLBACK, came["code"][0], verifier)
    return registered, await ask(talk, None)


async def test_oauth_with_tokens_that_do_not_end(fake: GitHubFake, ada: User, ask: Ask) -> None:
    _, grant = await _granted(fake, ada, ask)
    assert (grant.lifetime, grant.refresh) == (None, "")
    assert grant.scopes == GITHUB.oauth_scopes
    assert (await ask(GITHUB.account(fake.base), Credential("oauth", grant.token))).name == "ada"


async def test_oauth_with_tokens_that_end_is_refreshed_once(fake: GitHubFake, ada: User, ask: Ask) -> None:
    fake.token_lifetime = 28800.0
    registered, grant = await _granted(fake, ada, ask)
    assert grant.lifetime == 28800.0
    renewed = await ask(GITHUB.refresh(fake.base, registered, _CALLBACK, grant.refresh), None)
    assert renewed.refresh not in ("", grant.refresh)
    assert (await ask(GITHUB.account(fake.base), Credential("oauth", renewed.token))).name == "ada"
    for talk, credential in (
        (GITHUB.refresh(fake.base, registered, _CALLBACK, grant.refresh), None),
        (GITHUB.account(fake.base), Credential("oauth", grant.token)),
    ):
        with pytest.raises(ProviderError) as refused:
            await ask(talk, credential)
        assert refused.value.trouble is Trouble.CREDENTIAL


async def test_a_code_is_good_once_and_for_who_asked(fake: GitHubFake, ada: User, ask: Ask) -> None:
    registered, verifier = fake.register_client(_CALLBACK), oauth.new_verifier()
    other = fake.register_client(_CALLBACK)
    url = GITHUB.authorize_url(fake.base, registered, _CALLBACK, "s1", oauth.challenge(verifier))

    def code() -> str:
        return parse_qs(urlsplit(fake.approve(url, ada)).query)["code"][0]

    once = code()
    await ask(GITHUB.exchange(fake.base, registered, _CALLBACK, once, verifier), None)
    late = code()
    fake.clock_ahead = 601.0
    for talk in (
        GITHUB.exchange(fake.base, registered, _CALLBACK, once, verifier),
        GITHUB.exchange(fake.base, registered, _CALLBACK, late, verifier),
        GITHUB.exchange(fake.base, other, _CALLBACK, code(), verifier),
        GITHUB.exchange(fake.base, registered, _CALLBACK, code(), oauth.new_verifier()),
        GITHUB.exchange(fake.base, registered, f"{_CALLBACK}/x", code(), verifier),
    ):
        with pytest.raises(ProviderError) as refused:
            await ask(talk, None)
        assert refused.value.trouble is Trouble.CREDENTIAL
    with pytest.raises(ProviderError, match="incorrect"):
        wrong = OAuthClient(registered.id, "wrong")
        await ask(GITHUB.exchange(fake.base, wrong, _CALLBACK, code(), verifier), None)


async def test_the_authorize_page_looks_at_everything(fake: GitHubFake, ada: User) -> None:
    registered = fake.register_client(_CALLBACK)
    challenge = oauth.challenge(oauth.new_verifier())
    good = GITHUB.authorize_url(fake.base, registered, _CALLBACK, "s1", challenge)
    assert parse_qs(urlsplit(fake.deny(good)).query)["error"] == ["access_denied"]
    for bad in (
        GITHUB.authorize_url(fake.base, OAuthClient("nobody", ""), _CALLBACK, "s1", challenge),
        GITHUB.authorize_url(fake.base, registered, f"{_CALLBACK}/x", "s1", challenge),
        GITHUB.authorize_url(fake.base, registered, _CALLBACK, "", challenge),
        GITHUB.authorize_url(fake.base, registered, _CALLBACK, "s1", "short"),
        good.replace("repo+", "root+"),
    ):
        with pytest.raises(NotApproved):
            fake.approve(bad, ada)


# Apps


async def _made_app(fake: GitHubFake, ada: User, ask: Ask) -> github_app.App:
    manifest = github_app.manifest(
        "https://godploy.example.org",
        "Godploy example",
        _CALLBACK,
        "https://godploy.example.org/oauth/github/installed",
    )
    url = github_app.creation_url(fake.base, None, "s1")
    came = parse_qs(urlsplit(fake.create_app(url, json.dumps(manifest), ada)).query)
    assert came["state"] == ["s1"]
    app, account = await ask(github_app.convert(fake.base, came["code"][0]), None)
    assert account.name == "ada"
    with pytest.raises(ProviderError):  # once
        await ask(github_app.convert(fake.base, came["code"][0]), None)
    found: github_app.App = app
    return found


async def test_an_app_is_made_installed_used_and_removed(
    fake: GitHubFake, ada: User, shop: Repository, ask: Ask
) -> None:
    sha, hidden = await fake.commit(shop, {"a": "1"}), fake.add_repository(ada, "ada/hidden")
    app, now = await _made_app(fake, ada, ask), time.time()
    assert app.pem not in repr(app)
    assert app.client_secret not in repr(app)
    assert await ask(github_app.installations(fake.base, app, now), None) == ()
    fake.install_app(app.slug, ada, [shop])
    (installation,) = await ask(github_app.installations(fake.base, app, now), None)
    assert installation.account.name == "ada"
    grant = await ask(github_app.installation_token(fake.base, app, installation.id, now), None)
    assert grant.lifetime == pytest.approx(3600.0, abs=30.0)
    held = Credential("installation", grant.token)
    assert (await ask(GITHUB.account(fake.base), held)).name == "ada"
    listing = await ask(GITHUB.repositories(fake.base, "", 10), held)
    assert [(each.full_name, each.administered) for each in listing.repositories] == [("ada/shop", True)]
    assert (await ask(GITHUB.located(fake.base, str(shop.id)), held)).administered
    await ask(GITHUB.create_hook(fake.base, place(shop), wish()), held)
    status = CommitStatus(sha, "godploy/shop", StatusState.SUCCESS, "", "https://godploy.example.org/d/1")
    await ask(GITHUB.set_status(fake.base, place(shop), status), held)
    with pytest.raises(ProviderError) as refused:
        await ask(GITHUB.hooks(fake.base, place(hidden)), held)
    assert refused.value.trouble is Trouble.MISSING
    fake.uninstall_app(app.slug)
    for talk, credential in (
        (GITHUB.account(fake.base), held),
        (github_app.installation_token(fake.base, app, installation.id, now), None),
    ):
        with pytest.raises(ProviderError) as refused:
            await ask(talk, credential)
        assert refused.value.trouble is Trouble.CREDENTIAL


async def test_an_app_without_the_permission_is_told_which(
    fake: GitHubFake, ada: User, shop: Repository, ask: Ask
) -> None:
    app = await _made_app(fake, ada, ask)
    fake.apps[app.slug].permissions.pop("repository_hooks")
    fake.install_app(app.slug, ada, [shop])
    (installation,) = await ask(github_app.installations(fake.base, app, time.time()), None)
    grant = await ask(github_app.installation_token(fake.base, app, installation.id, time.time()), None)
    with pytest.raises(ProviderError) as refused:
        await ask(GITHUB.create_hook(fake.base, place(shop), wish()), Credential("installation", grant.token))
    assert refused.value.trouble is Trouble.FORBIDDEN
    assert "repository_hooks=write" in refused.value.next_step


async def test_a_proof_of_an_app_is_short_lived_and_its_own(
    fake: GitHubFake, ada: User, ask: Ask, session: aiohttp.ClientSession
) -> None:
    app = await _made_app(fake, ada, ask)
    for bad in (
        github_app.installations(fake.base, app, time.time() - 1000),
        github_app.installations(fake.base, app, time.time() + 1000),
        github_app.installations(fake.base, replace(app, id="1"), time.time()),
    ):
        with pytest.raises(ProviderError) as refused:
            await ask(bad, None)
        assert refused.value.trouble is Trouble.CREDENTIAL
    with pytest.raises(ProviderError):
        github_app.jwt(replace(app, pem="no key"), time.time())


async def test_the_app_page_looks_at_the_manifest(fake: GitHubFake, ada: User) -> None:
    manifest = github_app.manifest("https://g.example", "Godploy", _CALLBACK, "https://g.example/installed")
    page = github_app.creation_url(fake.base, None, "s1")
    for url, bad in (
        (page, {**manifest, "name": "x" * 35}),
        (page, {**manifest, "redirect_url": ""}),
        (github_app.creation_url(fake.base, None, ""), manifest),
        (github_app.creation_url(fake.base, "no-such-organization", "s1"), manifest),
    ):
        with pytest.raises(NotApproved):
            fake.create_app(url, json.dumps(bad), ada)


async def test_a_hook_that_sends_forms_is_refused_by_its_content(
    fake: GitHubFake, shop: Repository, ask: Ask, inbox: asyncio.Queue[Any]
) -> None:
    """The signature is of the form, and good; what is told is no JSON."""
    await ask(GITHUB.create_hook(fake.base, place(shop), wish()))
    fake.hooks(shop)[0].settings["content_type"] = "form"
    (seen,) = await ask(GITHUB.hooks(fake.base, place(shop)))
    assert not seen.wanted
    await fake.settled()
    while not inbox.empty():
        inbox.get_nowait()
    await fake.commit(shop, {"a": "1"})
    headers, body = inbox.get_nowait()
    assert GITHUB.verify(headers, body, [_SECRET], "", 0.0)
    assert body.startswith(b"payload=")
    assert GITHUB.key(headers, body) != f"sha256:{hashlib.sha256(body).hexdigest()}"
