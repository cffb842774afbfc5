"""The fake of Bitbucket: its bodies are held against recorded ones, and our own module asks it over real HTTP."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest
from aiohttp import web
from multidict import CIMultiDict

from godploy.providers.bitbucket import BITBUCKET
from godploy.providers.protocol import (
    CommitStatus,
    Credential,
    Event,
    HookWish,
    Place,
    ProviderError,
    PullRequestChange,
    Push,
    StatusState,
    Talk,
    Trouble,
)
from tests.providers import driver
from tests.providers.fakes.bitbucket import BitbucketFake
from tests.providers.fakes.state import Hook, Moved, NotApproved, Repository, Sent, User

RECORDED = Path(__file__).parent / "payloads" / "bitbucket"
CALLBACK = "https://godploy.example.org/connections/callback"
HOOK_URL = "https://godploy.example.org/hooks/x"
SECRET = "5e" * 32


@pytest.fixture(params=["", "/bit/bucket"])
async def fake(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BitbucketFake]:
    async with BitbucketFake(tmp_path, prefix=request.param) as fake:
        yield fake


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


class Receiver:
    """Answers deliveries with `statuses` in turn, then with 202."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.hosts: list[str] = []
        self.address = ""

    async def answer(self, request: web.Request) -> web.Response:
        self.hosts.append(request.host + request.path)
        return web.Response(status=self.statuses.pop(0) if self.statuses else 202)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    application = web.Application()
    application.router.add_post("/{path:.*}", receiver.answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.address = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield receiver
    await runner.cleanup()


class Asking:
    """A user with a repository, and our talks in their name."""

    def __init__(self, fake: BitbucketFake, session: aiohttp.ClientSession) -> None:
        self.fake, self.session = fake, session
        self.user: User = fake.add_user("ada")
        self.repository: Repository = fake.add_repository(self.user, "acme/shop")
        self.credential = Credential("token", fake.make_token(self.user), self.user.mail)

    async def __call__(self, talk: Talk[Any], credential: Credential | None = None) -> Any:
        return await driver.talk(self.session, BITBUCKET, self.fake.base, credential or self.credential, talk)

    @property
    def place(self) -> Place:
        return Place(self.repository.uuid, self.repository.full_name)

    async def hooked(self, receiver: Receiver) -> Hook:
        self.fake.deliver_to = receiver.address
        await self(BITBUCKET.create_hook(self.fake.base, self.place, HookWish(HOOK_URL, SECRET)))
        return self.fake.hooks(self.repository)[-1]


@pytest.fixture
def ask(fake: BitbucketFake, session: aiohttp.ClientSession) -> Asking:
    return Asking(fake, session)


def told(sent: Sent) -> list[Event]:
    """What an authentic delivery tells."""
    headers = CIMultiDict(sent.headers)
    assert BITBUCKET.well_formed(headers, "", 0.0)
    assert BITBUCKET.verify(headers, sent.body, [SECRET], "", 0.0)
    assert not BITBUCKET.verify(headers, sent.body + b" ", [SECRET], "", 0.0)
    return list(BITBUCKET.events(headers, sent.body))


# Against the recordings

# What a reader of today does without: addresses that lead elsewhere, and what Bitbucket stopped telling.
_LEFT_OUT = {
    "links",
    "username",
    "parents",
    "reviewers",
    "participants",
    "task_count",
    "close_source_branch",
    "summary",
}
_LEFT_OUT |= {"created_on", "updated_on"}


def paths(tree: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Where something stands, and of which type it is."""
    if isinstance(tree, dict):
        for name, part in tree.items():
            if name not in _LEFT_OUT:
                yield from paths(part, f"{path}/{name}")
    elif isinstance(tree, list):
        for part in tree[:1]:
            yield from paths(part, f"{path}[]")
    yield path, type(tree).__name__


async def body_like(fake: BitbucketFake, ask: Asking, name: str) -> Any:
    repository = ask.repository
    sha = await fake.commit(repository, {"a": "1"}, deliver=False)
    if name == "push":
        after = await fake.commit(repository, {"a": "2"}, deliver=False)
        return await fake.push_body(repository, [Moved("refs/heads/main", sha, after)])
    if name == "push_branch_create":
        sha = await fake.commit(repository, {"a": "3"}, branch="develop", deliver=False)
        return await fake.push_body(repository, [Moved("refs/heads/develop", None, sha)])
    if name == "push_branch_delete":
        return await fake.push_body(repository, [Moved("refs/heads/develop", sha, None)])
    if name == "push_tag_create":
        return await fake.push_body(repository, [Moved("refs/tags/feature/x", None, sha)])
    number = await fake.open_pull(repository, "develop", {"b": "1"})
    pull = repository.pulls[number]
    action = {"pr_created": "opened", "pr_updated": "pushed", "pr_declined": "closed"}[name]
    pull.open = action != "closed"
    return (await fake.pull_events(repository, pull, action))[0][1]


@pytest.mark.parametrize("name", sorted(file.stem for file in RECORDED.glob("*.json")))
async def test_its_bodies_are_built_like_recorded_ones(fake: BitbucketFake, ask: Asking, name: str) -> None:
    recorded = set(paths(json.loads((RECORDED / f"{name}.json").read_text())))
    made = set(paths(await body_like(fake, ask, name)))
    assert len(recorded) > 30
    assert recorded - made == set()


# Our module, over real HTTP


async def test_a_person_and_their_repositories(fake: BitbucketFake, ask: Asking) -> None:
    base = fake.base
    account = await ask(BITBUCKET.account(base))
    assert (account.id, account.name) == (ask.user.uuid, "ada")
    second = fake.add_repository(ask.user, "beta/site")
    foreign = fake.add_repository(fake.add_user("eve"), "eve/secret")
    fake.longest_page = 1
    listing = await ask(BITBUCKET.repositories(base, "", 10))
    assert [each.id for each in listing.repositories] == [second.uuid, ask.repository.uuid] and listing.complete
    with pytest.raises(ProviderError) as caught:
        await ask(BITBUCKET.repository(base, foreign.full_name))
    assert caught.value.trouble is Trouble.MISSING


async def test_a_repository_is_found_by_its_id_after_it_was_renamed(fake: BitbucketFake, ask: Asking) -> None:
    found = await ask(BITBUCKET.repository(fake.base, "acme/shop"))
    assert found.id == ask.repository.uuid and found.default_branch is None and found.administered
    await fake.commit(ask.repository, {"a": "1"})
    await fake.commit(ask.repository, {"a": "2"}, branch="feature/x-#1")
    place = ask.place
    fake.rename(ask.repository, "acme/store")
    found = await ask(BITBUCKET.located(fake.base, place.id))
    assert (found.full_name, found.default_branch) == ("acme/store", "main")
    assert found.clone_url == f"{fake.base}/acme/store.git"
    fake.longest_page = 1
    assert await ask(BITBUCKET.branches(fake.base, place)) == ("feature/x-#1", "main")


async def test_a_reader_does_not_administer(fake: BitbucketFake, ask: Asking) -> None:
    reader = fake.add_user("bob")
    ask.repository.roles[reader.id] = "read"
    credential = Credential("token", fake.make_token(reader), reader.mail)
    found = await ask(BITBUCKET.located(fake.base, ask.place.id), credential)
    assert not found.administered
    assert (await ask(BITBUCKET.repositories(fake.base, "", 10), credential)).repositories == ()
    with pytest.raises(ProviderError) as caught:
        await ask(BITBUCKET.create_hook(fake.base, ask.place, HookWish(HOOK_URL, SECRET)), credential)
    assert caught.value.trouble is Trouble.FORBIDDEN


async def test_tokens_of_no_user(fake: BitbucketFake, ask: Asking) -> None:
    of_one = Credential("token", fake.make_access_token(ask.repository))
    assert (await ask(BITBUCKET.account(fake.base), of_one)).id == f"repository:{ask.repository.uuid}"
    second = fake.add_repository(ask.user, "acme/site")
    of_all = Credential("token", fake.make_access_token(ask.repository, second))
    assert (await ask(BITBUCKET.account(fake.base), of_all)).name == "acme"
    fake.access_tokens_list = False
    with pytest.raises(ProviderError) as caught:
        await ask(BITBUCKET.account(fake.base), of_one)
    assert caught.value.trouble is Trouble.FORBIDDEN and "e-mail" in caught.value.next_step
    assert (await ask(BITBUCKET.repository(fake.base, "acme/shop"), of_one)).administered


async def test_credentials_that_are_no_good(fake: BitbucketFake, ask: Asking) -> None:
    good = ask.credential
    bad = [
        Credential("token", good.token),
        Credential("token", good.token, "eve@example.org"),
        Credential("oauth", "x"),
    ]
    for credential in bad:
        with pytest.raises(ProviderError) as caught:
            await ask(BITBUCKET.located(fake.base, ask.place.id), credential)
        assert caught.value.trouble is Trouble.CREDENTIAL
    fake.revoke(good.token)
    with pytest.raises(ProviderError) as caught:
        await ask(BITBUCKET.account(fake.base))
    assert caught.value.trouble is Trouble.CREDENTIAL


@pytest.mark.parametrize("missing", BITBUCKET.token_scopes)
async def test_each_scope_that_we_name_is_needed_and_no_other(fake: BitbucketFake, ask: Asking, missing: str) -> None:
    base, wish = fake.base, HookWish(HOOK_URL, SECRET)
    sha = await fake.commit(ask.repository, {"a": "1"})

    async def everything(credential: Credential) -> None:
        await ask(BITBUCKET.account(base), credential)
        await ask(BITBUCKET.repositories(base, "", 10), credential)
        hook = await ask(BITBUCKET.create_hook(base, ask.place, wish), credential)
        await ask(BITBUCKET.hooks(base, ask.place), credential)
        await ask(BITBUCKET.delete_hook(base, ask.place, hook.id), credential)
        await ask(BITBUCKET.pull_requests(base, ask.place), credential)
        status = CommitStatus(sha, "godploy/x", StatusState.SUCCESS, "fine", "https://godploy.example.org/d/1")
        await ask(BITBUCKET.set_status(base, ask.place, status), credential)

    scopes = BITBUCKET.token_scopes
    await everything(Credential("token", fake.make_token(ask.user, scopes), ask.user.mail))
    fewer = tuple(scope for scope in scopes if scope != missing)
    with pytest.raises(ProviderError) as caught:
        await everything(Credential("token", fake.make_token(ask.user, fewer), ask.user.mail))
    assert caught.value.trouble is Trouble.FORBIDDEN
    assert missing in caught.value.next_step


async def test_hooks_tell_of_pushes_with_the_secret_of_the_moment(
    fake: BitbucketFake, ask: Asking, receiver: Receiver
) -> None:
    hook = await ask.hooked(receiver)
    (listed,) = await ask(BITBUCKET.hooks(fake.base, ask.place))
    assert (listed.id, listed.url, listed.active, listed.wanted) == (hook.uuid, HOOK_URL, True, True)
    sha = await fake.commit(ask.repository, {"a": "1"}, "A first\n\nwith more")
    await fake.tag(ask.repository, "v1", sha, annotated=True)
    await fake.commit(ask.repository, {"a": "2"}, branch="feature/ü")
    await fake.delete_branch(ask.repository, "feature/ü")
    await fake.delete_tag(ask.repository, "v1")
    found = [event for sent in fake.deliveries for event in told(sent)]
    pushes = [(each.ref, each.commit) for each in found if isinstance(each, Push)]
    assert pushes[:2] == [("refs/heads/main", sha), ("refs/tags/v1", sha)]
    assert [ref for ref, _ in pushes[2:]] == ["refs/heads/feature/ü", "refs/heads/feature/ü", "refs/tags/v1"]
    assert [commit for _, commit in pushes[3:]] == [None, None]
    assert isinstance(found[0], Push) and found[0].message == "A first\n\nwith more\n" and found[0].pusher == "ada"
    assert receiver.hosts[0] == "godploy.example.org/hooks/x"
    await ask(BITBUCKET.update_hook(fake.base, ask.place, hook.uuid, HookWish(HOOK_URL, "0d" * 32)))
    await fake.commit(ask.repository, {"a": "3"})
    newest = fake.deliveries[-1]
    assert not BITBUCKET.verify(CIMultiDict(newest.headers), newest.body, [SECRET], "", 0.0)
    assert BITBUCKET.verify(CIMultiDict(newest.headers), newest.body, ["0d" * 32], "", 0.0)
    for _ in range(2):  # the second time there is none
        await ask(BITBUCKET.delete_hook(fake.base, ask.place, hook.uuid))
    assert fake.hooks(ask.repository) == []


async def test_a_repository_of_sha256_and_a_forced_push(fake: BitbucketFake, ask: Asking, receiver: Receiver) -> None:
    ask.repository = fake.add_repository(ask.user, "acme/newer", object_format="sha256")
    await ask.hooked(receiver)
    first = await fake.commit(ask.repository, {"a": "1"})
    await fake.commit(ask.repository, {"a": "2"})
    forced = await fake.commit(ask.repository, {"a": "3"}, "Forced", parent=first)
    (event,) = told(fake.deliveries[-1])
    assert isinstance(event, Push) and event.commit == forced and len(forced) == 64 and event.message == "Forced\n"
    again = await fake.redeliver(fake.deliveries[-1])
    assert told(again) == [event]
    status = CommitStatus(forced, "godploy/x", StatusState.SUCCESS, "", "https://godploy.example.org/d/1")
    await ask(BITBUCKET.set_status(fake.base, ask.place, status))
    assert fake.statuses(ask.repository, forced)[0]["state"] == "SUCCESSFUL"


async def test_a_hook_that_leads_inside_is_refused(fake: BitbucketFake, ask: Asking) -> None:
    for url in ("http://127.0.0.1:1/x", "http://10.0.0.5/x", "https://godploy/x"):
        with pytest.raises(ProviderError) as caught:
            await ask(BITBUCKET.create_hook(fake.base, ask.place, HookWish(url, SECRET)))
        assert caught.value.trouble is Trouble.INVALID and "publicly" in str(caught.value)


@pytest.mark.parametrize(("statuses", "attempts"), [([], 1), ([500], 2), ([503, 500], 3), ([500] * 9, 3), ([404], 1)])
async def test_a_server_in_trouble_gets_it_again(
    fake: BitbucketFake, ask: Asking, receiver: Receiver, statuses: list[int], attempts: int
) -> None:
    await ask.hooked(receiver)
    receiver.statuses = list(statuses)
    await fake.commit(ask.repository, {"a": "1"})
    assert [sent.headers["X-Attempt-Number"] for sent in fake.deliveries] == ["1", "2", "3"][:attempts]
    assert len({BITBUCKET.key(CIMultiDict(sent.headers), sent.body) for sent in fake.deliveries}) == 1


async def test_what_is_too_large_is_never_sent(fake: BitbucketFake, ask: Asking, receiver: Receiver) -> None:
    await ask.hooked(receiver)
    await fake.commit(ask.repository, {"a": "1"}, "x" * 300_000)
    assert fake.deliveries == [] and receiver.hosts == []


async def test_pull_requests_and_what_is_told_of_them(fake: BitbucketFake, ask: Asking, receiver: Receiver) -> None:
    await fake.commit(ask.repository, {"a": "1"})
    await ask.hooked(receiver)
    own = await fake.open_pull(ask.repository, "feature/x", {"b": "1"})
    foreign = await fake.open_pull(ask.repository, "theirs", {"c": "1"}, fork=True)
    listed = await ask(BITBUCKET.pull_requests(fake.base, ask.place))
    assert [(each.number, each.fork) for each in listed] == [(foreign, True), (own, False)]
    assert listed[0].source_url == f"{fake.base}/stranger/shop.git" and listed[1].source_url == ""
    head = await fake.push_pull(ask.repository, own, {"b": "2"})
    await fake.commit(ask.repository, {"d": "1"}, branch="release")
    await fake.retarget_pull(ask.repository, own, "release")
    await fake.close_pull(ask.repository, foreign)
    await fake.close_pull(ask.repository, own, merged=True)
    events = [event for sent in fake.deliveries for event in told(sent)]
    changes = [event for event in events if isinstance(event, PullRequestChange)]
    assert [(each.action, each.pull.number, each.pull.base) for each in changes] == [
        ("opened", own, "main"),
        ("opened", foreign, "main"),
        ("updated", own, "main"),
        ("updated", own, "release"),
        ("closed", foreign, "main"),
        ("closed", own, "release"),
    ]
    assert changes[1].pull.source_url == f"{fake.base}/stranger/shop.git"
    assert changes[2].pull.commit == head[:12]
    assert await ask(BITBUCKET.pull_requests(fake.base, ask.place)) == ()


async def test_statuses(fake: BitbucketFake, ask: Asking) -> None:
    sha = await fake.commit(ask.repository, {"a": "1"})
    url = "https://godploy.example.org/deployments/{1}"
    for state in StatusState:
        status = CommitStatus(sha, "godploy/shop/" + "x" * 40, state, "live in 12 s", url, "main")
        await ask(BITBUCKET.set_status(fake.base, ask.place, status))
    found = fake.statuses(ask.repository, sha)
    assert len(found) == len(StatusState) and found[-1]["state"] == "STOPPED"
    assert found[-1]["url"] == "https://godploy.example.org/deployments/%7B1%7D"
    with pytest.raises(ProviderError) as caught:
        await ask(BITBUCKET.set_status(fake.base, ask.place, CommitStatus("f" * 40, "x", state, "", "https://g.de/")))
    assert caught.value.trouble is Trouble.MISSING


async def test_oauth(fake: BitbucketFake, ask: Asking) -> None:
    base, client = fake.base, fake.register_client(CALLBACK)
    page = BITBUCKET.authorize_url(base, client, CALLBACK, "the-state", "")
    query = parse_qs(urlsplit(fake.approve(page, ask.user)).query)
    assert query["state"] == ["the-state"]
    assert "error=access_denied" in fake.deny(page)
    with pytest.raises(NotApproved):
        fake.approve(BITBUCKET.authorize_url(base, client, CALLBACK + "/x", "s", ""), ask.user)
    grant = await ask(BITBUCKET.exchange(base, client, CALLBACK, query["code"][0], ""))
    assert grant.scopes == BITBUCKET.oauth_scopes and grant.lifetime == 7200.0
    assert (await ask(BITBUCKET.account(base), Credential("oauth", grant.token))).name == "ada"
    with pytest.raises(ProviderError) as caught:
        await ask(BITBUCKET.exchange(base, client, CALLBACK, query["code"][0], ""))
    assert caught.value.trouble is Trouble.CREDENTIAL
    newer = await ask(BITBUCKET.refresh(base, client, CALLBACK, grant.refresh))
    assert newer.refresh != grant.refresh
    with pytest.raises(ProviderError) as caught:
        await ask(BITBUCKET.refresh(base, client, CALLBACK, grant.refresh))
    assert caught.value.trouble is Trouble.CREDENTIAL
    fake.expire(newer.token)
    with pytest.raises(ProviderError):
        await ask(BITBUCKET.account(base), Credential("oauth", newer.token))


async def test_trouble(fake: BitbucketFake, ask: Asking) -> None:
    cases = [(429, Trouble.BUSY), (503, Trouble.DOWN), (410, Trouble.INVALID), (301, Trouble.MISSING)]
    for status, trouble in cases:
        fake.trouble(status, match="/hooks")
        with pytest.raises(ProviderError) as caught:
            await ask(BITBUCKET.hooks(fake.base, ask.place))
        assert caught.value.trouble is trouble
    assert await ask(BITBUCKET.hooks(fake.base, ask.place)) == ()


@pytest.mark.parametrize(
    ("kind", "name", "good"),
    [
        ("api", "x-bitbucket-api-token-auth", True),
        ("api", "ada@example.org", False),
        ("api", "x-token-auth", False),
        ("access", "x-token-auth", True),
        ("access", "x-bitbucket-api-token-auth", False),
    ],
)
async def test_git_wants_the_right_name_with_each_token(
    fake: BitbucketFake, ask: Asking, session: aiohttp.ClientSession, kind: str, name: str, good: bool
) -> None:
    sha = await fake.commit(ask.repository, {"a": "1"})
    token = ask.credential.token if kind == "api" else fake.make_access_token(ask.repository)
    credential = Credential("token", token, ask.user.mail if kind == "api" else "")
    assert (BITBUCKET.git_login(credential) == (name, token)) is good
    url = f"{fake.base}/acme/shop.git/info/refs?service=git-upload-pack"
    login = base64.b64encode(f"{name}:{token}".encode()).decode()
    async with session.get(url, headers={"Authorization": f"Basic {login}"}) as answer:
        assert answer.status == (200 if good else 401)
        assert (sha.encode() in await answer.read()) is good
