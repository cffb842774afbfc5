"""The fake of Gitea: driven by an independent client, and asked by our own module over real HTTP."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest
from gitea_api_client import ApiClient, Configuration, CreateHookOption, CreateStatusOption, EditHookOption
from gitea_api_client.api.repository_api import RepositoryApi
from gitea_api_client.api.user_api import UserApi
from gitea_api_client.exceptions import ApiException
from multidict import CIMultiDict

from godploy.providers import oauth
from godploy.providers.gitea import GITEA
from godploy.providers.protocol import (
    CommitStatus,
    Credential,
    Event,
    HookWish,
    Ping,
    ProviderError,
    PullRequestChange,
    Push,
    StatusState,
    Trouble,
    Uninteresting,
)
from tests.providers import driver
from tests.providers.fakes.gitea import GiteaFake
from tests.providers.fakes.state import NotApproved, Repository, Sent, User
from tests.providers.gitea_server import Listener, git, listening

CALLBACK = "https://godploy.example.org/connections/callback"
SECRET = "5e" * 32


@pytest.fixture(params=["", "/git/tea"])
async def fake(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[GiteaFake]:
    async with GiteaFake(tmp_path, prefix=request.param) as fake:
        yield fake


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    async with listening() as listener:
        yield listener


@pytest.fixture
def ada(fake: GiteaFake) -> User:
    return fake.add_user("ada")


@pytest.fixture
def shop(fake: GiteaFake, ada: User) -> Repository:
    return fake.add_repository(ada, "ada/shop")


Ask = Callable[[Any], Awaitable[Any]]


@pytest.fixture
def ask(fake: GiteaFake, session: aiohttp.ClientSession, ada: User) -> Ask:
    token = fake.make_token(ada, GITEA.token_scopes)
    return asking(fake, session, token)


def asking(fake: GiteaFake, session: aiohttp.ClientSession, token: str) -> Ask:
    async def ask(talk: Any) -> Any:
        return await driver.talk(session, GITEA, fake.base, Credential("token", token), talk)

    return ask


async def trouble(talk: Awaitable[Any]) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await talk
    return caught.value


def told(sent: Sent) -> Event:
    headers = CIMultiDict(sent.headers)
    assert GITEA.verify(headers, sent.body, [SECRET], "", 0.0)
    (event,) = GITEA.events(headers, sent.body)
    return event


async def test_an_independent_client(fake: GiteaFake, ada: User, shop: Repository, listener: Listener) -> None:
    sha = await fake.commit(shop, {"a.txt": "one"})
    number = await fake.open_pull(shop, "feature/x", {"b.txt": "b"}, title="Add b")
    settings = Configuration(host=f"{fake.base}/api/v1")
    settings.api_key, settings.api_key_prefix = (
        {"AuthorizationHeaderToken": fake.make_token(ada)},
        {"AuthorizationHeaderToken": "token"},
    )
    async with ApiClient(settings) as client:
        api = RepositoryApi(client)
        assert (await UserApi(client).user_get_current()).login == "ada"
        found = await api.repo_get("ada", "shop")
        assert found.id == shop.id and found.permissions is not None and found.permissions.admin
        assert (await api.repo_get_by_id(shop.id)).full_name == "ada/shop"
        searched = await api.repo_search(q="sho", uid=ada.id)
        assert [each.full_name for each in searched.data or []] == ["ada/shop"]
        assert {branch.name for branch in await api.repo_list_branches("ada", "shop")} == {"main", "feature/x"}
        (pull,) = await api.repo_list_pull_requests("ada", "shop", state="open")
        assert (pull.number, pull.title, pull.head and pull.head.ref) == (number, "Add b", "feature/x")

        status = CreateStatusOption(state="success", context="c", description="d", target_url="https://x.org")
        assert (await api.repo_create_status("ada", "shop", sha, status)).status == "success"
        (kept,) = await api.repo_list_statuses_by_ref("ada", "shop", sha)
        assert (kept.context, kept.description, kept.target_url) == ("c", "d", "https://x.org")

        config = {"url": f"{listener.address}/h", "content_type": "json", "secret": SECRET}
        wish = CreateHookOption(type="gitea", active=True, config=config, events=["push"])
        hook = await api.repo_create_hook("ada", "shop", wish)
        assert hook.active and hook.events == ["push"] and hook.id and "secret" not in (hook.config or {})
        await api.repo_test_hook("ada", "shop", hook.id, ref="main")
        (came,) = await listener.wait(1)
        signature = hmac.new(SECRET.encode(), came.body, hashlib.sha256).hexdigest()
        assert came.headers["X-Gitea-Signature"] == signature and came.event == "push"
        edited = await api.repo_edit_hook("ada", "shop", hook.id, EditHookOption(active=False, events=["create"]))
        assert not edited.active and edited.events == ["create"]
        assert len(await api.repo_list_hooks("ada", "shop")) == 1
        await api.repo_delete_hook("ada", "shop", hook.id)
        with pytest.raises(ApiException) as caught:
            await api.repo_delete_hook("ada", "shop", hook.id)
        assert caught.value.status == 404


async def test_repositories_and_rename(fake: GiteaFake, ada: User, shop: Repository, ask: Ask) -> None:
    bob = fake.add_user("bob")
    fake.add_repository(bob, "bob/shop")
    shared = fake.add_repository(bob, "bob/shared")
    shared.roles[ada.id] = "write"  # may push, makes no hooks
    await fake.commit(shop, {"a.txt": "one"})
    assert await ask(GITEA.account(fake.base)) == (await ask(GITEA.account(fake.base)))
    listing = await ask(GITEA.repositories(fake.base, "SH", 5))
    (found,) = listing.repositories
    assert listing.complete and found == await ask(GITEA.repository(fake.base, "ada/shop"))
    assert (found.default_branch, found.clone_url) == ("main", f"{fake.base}/ada/shop.git")
    fake.rename(shop, "ada/store")
    for talk in (GITEA.branches, GITEA.hooks, GITEA.pull_requests):
        assert (await trouble(ask(talk(fake.base, found.place)))).trouble is Trouble.MISSING
    assert (await trouble(ask(GITEA.repository(fake.base, "ada/shop")))).trouble is Trouble.MISSING
    wish = HookWish("https://godploy.example.org/h", SECRET)
    assert (await trouble(ask(GITEA.create_hook(fake.base, found.place, wish)))).trouble is Trouble.MISSING
    located = await ask(GITEA.located(fake.base, found.id))
    assert located.full_name == "ada/store"
    assert await ask(GITEA.branches(fake.base, located.place)) == ("main",)


async def test_pages(fake: GiteaFake, ada: User, shop: Repository, ask: Ask) -> None:
    place = (await ask(GITEA.located(fake.base, str(shop.id)))).place
    assert await ask(GITEA.branches(fake.base, place)) == ()
    sha = await fake.commit(shop, {"a.txt": "one"})
    names = ["main", "feature/x", "fix-#7", "50%", "grün", *(f"b{number}" for number in range(110))]
    for name in names[1:]:
        await git("x", "x", "-C", str(shop.directory), "update-ref", f"refs/heads/{name}", sha)
    assert sorted(await ask(GITEA.branches(fake.base, place))) == sorted(names)
    pages = [asked.path for asked in fake.requests if "/branches" in asked.path]
    assert [path[-6:] for path in pages[-3:]] == ["page=1", "page=2", "page=3"]


@pytest.mark.parametrize("object_format", ["sha1", "sha256"])
async def test_a_hook_and_what_comes(
    fake: GiteaFake, ada: User, ask: Ask, listener: Listener, object_format: str
) -> None:
    shop = fake.add_repository(ada, "ada/shop2", object_format=object_format)
    place = (await ask(GITEA.located(fake.base, str(shop.id)))).place
    fake.deliver_to = listener.address
    wish = HookWish("https://godploy.example.org/hooks/abc?x=1", SECRET)
    made = await ask(GITEA.create_hook(fake.base, place, wish))
    assert await ask(GITEA.hooks(fake.base, place)) == (made,) and made.wanted and made.active
    assert not await ask(GITEA.test_hook(fake.base, place, made.id, "main"))
    one = await fake.commit(shop, {"a.txt": "one"}, "One")
    two = await fake.commit(shop, {"a.txt": "two"}, "Two")
    tag = await fake.tag(shop, "v1", two, annotated=True)
    assert tag != two
    await fake.delete_tag(shop, "v1")
    await fake.commit(shop, {"b.txt": "b"}, "B", branch="feature/grün#7")
    await fake.delete_branch(shop, "feature/grün#7")
    assert await ask(GITEA.test_hook(fake.base, place, made.id, "main"))
    await fake.settled()
    assert len(one) == (40 if object_format == "sha1" else 64)
    told_all = [event for event in map(told, fake.deliveries) if not isinstance(event, Uninteresting)]
    branch = "refs/heads/feature/grün#7"
    assert [told_all[index] for index in (0, 1, 2, 3, 4, 6, 7)] == [
        Push("refs/heads/main", one, "One\n", "ada"),
        Push("refs/heads/main", two, "Two\n", "ada"),
        Push("refs/tags/v1", two, "Two\n", "ada"),
        Push("refs/tags/v1", None, "", "ada"),
        Push("refs/tags/v1", None, "", "ada"),
        Push(branch, None, "", "ada"),
        Ping(),
    ]
    assert isinstance(told_all[5], Push) and told_all[5].message == "B\n" and told_all[5].ref == branch
    assert {came.path for came in listener.came} == {"/hooks/abc?x=1"}
    again = await fake.redeliver(fake.deliveries[0])
    assert again.body == fake.deliveries[0].body
    assert again.headers["X-Gitea-Delivery"] != fake.deliveries[0].headers["X-Gitea-Delivery"]


async def test_pull_requests(fake: GiteaFake, shop: Repository, ask: Ask, listener: Listener) -> None:
    place = (await ask(GITEA.located(fake.base, str(shop.id)))).place
    await fake.commit(shop, {"a.txt": "one"})
    await fake.commit(shop, {"a.txt": "two"}, branch="stable")
    await ask(GITEA.create_hook(fake.base, place, HookWish(f"{listener.address}/h", SECRET)))
    number = await fake.open_pull(shop, "feature/x", {"b.txt": "b"}, title="Add b", fork=True)
    (opened,) = await ask(GITEA.pull_requests(fake.base, place))
    assert opened.fork and opened.source_url == f"{fake.base}/stranger/shop.git" and opened.author == "stranger"
    head = await fake.push_pull(shop, number, {"b.txt": "c"})
    listed = await git("oauth2", "x", "-C", str(shop.directory), "rev-parse", GITEA.pull_ref(number, "feature/x"))
    assert listed == head
    await fake.retarget_pull(shop, number, "stable")
    await fake.close_pull(shop, number, merged=True)
    changes = [event for event in map(told, fake.deliveries) if isinstance(event, PullRequestChange)]
    assert [change.action for change in changes] == ["opened", "updated", "updated", "closed"]
    assert changes[0].pull == opened and changes[1].pull.commit == head and changes[2].pull.base == "stable"
    assert await ask(GITEA.pull_requests(fake.base, place)) == ()


async def test_a_hook_gets_another_secret_by_being_made_anew(fake: GiteaFake, shop: Repository, ask: Ask) -> None:
    """An edit leaves the secret as it was."""
    place = (await ask(GITEA.located(fake.base, str(shop.id)))).place
    wish = HookWish("https://godploy.example.org/h", SECRET)
    made = await ask(GITEA.create_hook(fake.base, place, wish))
    shop.hooks[0].active = False
    (seen,) = await ask(GITEA.hooks(fake.base, place))
    assert not seen.active
    rotated = await ask(GITEA.update_hook(fake.base, place, made.id, HookWish(wish.url, "ab" * 32)))
    (kept,) = fake.hooks(shop)
    assert (str(kept.id), kept.secret, kept.active) == (rotated.id, "ab" * 32, True)
    for _ in range(2):
        await ask(GITEA.delete_hook(fake.base, place, rotated.id))
    assert fake.hooks(shop) == []


async def test_statuses(fake: GiteaFake, shop: Repository, ask: Ask) -> None:
    place = (await ask(GITEA.located(fake.base, str(shop.id)))).place
    sha = await fake.commit(shop, {"a.txt": "one"})
    for state in StatusState:
        await ask(
            GITEA.set_status(fake.base, place, CommitStatus(sha, "godploy/shop", state, "é" * 300, "https://x.org"))
        )
    kept = fake.statuses(shop, sha)
    words = ["pending", "pending", "success", "failure", "error", "error", "error"]
    assert [status["state"] for status in kept] == words
    assert kept[0] == {"state": "pending", "context": "godploy/shop", "description": "é" * 140, "url": "https://x.org"}
    gone = CommitStatus("a" * 40, "godploy/shop", StatusState.PENDING, "", "")
    assert (await trouble(ask(GITEA.set_status(fake.base, place, gone)))).trouble is Trouble.MISSING


@pytest.mark.parametrize(
    ("status", "headers", "expected", "wait"),
    [
        (401, {}, Trouble.CREDENTIAL, None),
        (403, {}, Trouble.FORBIDDEN, None),
        (403, {"Retry-After": "7"}, Trouble.BUSY, 7.0),
        (404, {}, Trouble.MISSING, None),
        (422, {}, Trouble.INVALID, None),
        (423, {}, Trouble.FORBIDDEN, None),
        (429, {"Retry-After": "30"}, Trouble.BUSY, 30.0),
        (500, {}, Trouble.DOWN, None),
        (503, {"Retry-After": "5"}, Trouble.DOWN, 5.0),
    ],
)
async def test_trouble(
    fake: GiteaFake,
    shop: Repository,
    ask: Ask,
    status: int,
    headers: dict[str, str],
    expected: Trouble,
    wait: float | None,
) -> None:
    place = (await ask(GITEA.located(fake.base, str(shop.id)))).place
    pending = CommitStatus("a" * 40, "godploy/shop", StatusState.PENDING, "", "")
    for talk in (GITEA.set_status(fake.base, place, pending), GITEA.account(fake.base)):
        fake.trouble(status, headers=headers)
        refused = await trouble(ask(talk))
        assert (refused.trouble, refused.wait) == (expected, wait)


async def test_what_a_token_may_not(
    fake: GiteaFake, ada: User, shop: Repository, session: aiohttp.ClientSession, ask: Ask
) -> None:
    place = (await ask(GITEA.located(fake.base, str(shop.id)))).place
    poor = asking(fake, session, fake.make_token(ada, ("read:user", "read:repository")))
    refused = await trouble(poor(GITEA.create_hook(fake.base, place, HookWish("https://x.org/h", SECRET))))
    assert refused.trouble is Trouble.FORBIDDEN
    assert "write:repository" in refused.next_step and f"{fake.base}/user/settings/applications" in refused.next_step
    strange = asking(fake, session, fake.make_token(fake.add_user("bob")))
    assert (await trouble(strange(GITEA.hooks(fake.base, place)))).trouble is Trouble.MISSING
    token = fake.make_token(ada)
    fake.revoke(token)
    refused = await trouble(asking(fake, session, token)(GITEA.account(fake.base)))
    assert refused.trouble is Trouble.CREDENTIAL and fake.base in refused.next_step


async def test_git(fake: GiteaFake, ada: User, shop: Repository) -> None:
    sha = await fake.commit(shop, {"a.txt": "one"})
    login = GITEA.git_login(Credential("token", fake.make_token(ada)))
    assert sha in await git(*login, "ls-remote", f"{fake.base}/ada/shop.git")
    with pytest.raises(RuntimeError):
        await git("oauth2", "0" * 40, "ls-remote", f"{fake.base}/ada/shop.git")


async def test_oauth(fake: GiteaFake, ada: User, session: aiohttp.ClientSession) -> None:
    client, verifier, anonymous = fake.register_client(CALLBACK), oauth.new_verifier(), asking(fake, session, "")

    def consent() -> str:
        url = GITEA.authorize_url(fake.base, client, CALLBACK, "state-1", oauth.challenge(verifier))
        return fake.approve(url, ada)

    query = parse_qs(urlsplit(consent()).query)
    assert query["state"] == ["state-1"]
    grant = await anonymous(GITEA.exchange(fake.base, client, CALLBACK, query["code"][0], verifier))
    assert grant.lifetime == fake.token_lifetime and grant.refresh and len(grant.token) > 255
    assert (await asking(fake, session, grant.token)(GITEA.account(fake.base))).name == "ada"
    again = await trouble(anonymous(GITEA.exchange(fake.base, client, CALLBACK, query["code"][0], verifier)))
    assert again.trouble is Trouble.CREDENTIAL
    (code,) = parse_qs(urlsplit(consent()).query)["code"]
    assert (await trouble(anonymous(GITEA.exchange(fake.base, client, CALLBACK, code, "x" * 43)))).trouble is (
        Trouble.CREDENTIAL
    )
    second = await anonymous(GITEA.refresh(fake.base, client, CALLBACK, grant.refresh))
    assert second.token not in ("", grant.token)
    refused = await trouble(anonymous(GITEA.refresh(fake.base, client, CALLBACK, "old")))
    assert refused.trouble is Trouble.CREDENTIAL
    url = GITEA.authorize_url(fake.base, client, "https://evil.example.org/", "state-1", "")
    with pytest.raises(NotApproved):
        fake.approve(url, ada)
