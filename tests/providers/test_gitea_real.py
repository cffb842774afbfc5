"""Our talks, and what it really sends, with a real Gitea: only with `--gitea`."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from godploy.providers import oauth
from godploy.providers.gitea import GITEA
from godploy.providers.protocol import (
    CommitStatus,
    Credential,
    Event,
    HookWish,
    Ping,
    Place,
    ProviderError,
    PullRequestChange,
    Push,
    StatusState,
    Trouble,
    Uninteresting,
)
from tests.providers import driver
from tests.providers.gitea_server import Delivered, GiteaServer, Listener, Made, Person, git, listening

CALLBACK = "https://godploy.example.org/connections/callback"
SECRET = "5e" * 32


def asking(gitea: GiteaServer, token: str, kind: str = "token") -> Callable[[Any], Awaitable[Any]]:
    async def ask(talk: Any) -> Any:
        return await driver.talk(gitea.session, GITEA, gitea.base, Credential(kind, token), talk)

    return ask


def place(repository: Made) -> Place:
    return Place(str(repository.id), repository.full_name)


def told(delivery: Delivered, secret: str = SECRET) -> Event:
    """The one thing that an authentic delivery tells."""
    assert GITEA.well_formed(delivery.headers, "", 0.0)
    assert GITEA.verify(delivery.headers, delivery.body, [secret], "", 0.0)
    assert not GITEA.verify(delivery.headers, delivery.body + b" ", [secret], "", 0.0)
    assert GITEA.key(delivery.headers, delivery.body) == delivery.headers["X-Gitea-Delivery"]
    (event,) = GITEA.events(delivery.headers, delivery.body)
    return event


async def trouble(talk: Awaitable[Any]) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await talk
    return caught.value


async def test_account_and_repositories(gitea: GiteaServer) -> None:
    ada, bob = await gitea.make_user(), await gitea.make_user()
    empty, shop = await gitea.make_repository(ada), await gitea.make_repository(ada, "shop")
    await gitea.make_repository(bob, "shop")  # not hers
    await gitea.commit(shop, {"a.txt": "one"})
    ask = asking(gitea, await gitea.make_token(ada))
    account = await ask(GITEA.account(gitea.base))
    assert account.name == ada.name
    listing = await ask(GITEA.repositories(gitea.base, "", 10))
    assert {found.full_name for found in listing.repositories} == {empty.full_name, shop.full_name}
    assert listing.complete
    assert not (await ask(GITEA.repositories(gitea.base, "", 1))).complete
    for search in ("sho", "SHOP", shop.full_name, f"{ada.name}/s"):
        (found,) = (await ask(GITEA.repositories(gitea.base, search, 10))).repositories
        assert found == await ask(GITEA.repository(gitea.base, shop.full_name))
        assert (found.id, found.default_branch, found.private) == (str(shop.id), "main", True)
        assert found.administered and found.clone_url == gitea.clone_url(shop)
    assert (await ask(GITEA.repository(gitea.base, empty.full_name))).default_branch is None


async def test_a_renamed_repository_is_located(gitea: GiteaServer) -> None:
    ada = await gitea.make_user()
    before = await gitea.make_repository(ada)
    await gitea.commit(before, {"a.txt": "one"})
    ask = asking(gitea, await gitea.make_token(ada))
    after = await gitea.rename(before, "other")
    located = await ask(GITEA.located(gitea.base, str(before.id)))
    assert located.full_name == after.full_name
    old = place(before)
    status = CommitStatus("a" * 40, "godploy/x", StatusState.PENDING, "", "")
    for talk in (GITEA.branches(gitea.base, old), GITEA.hooks(gitea.base, old)):
        assert (await trouble(ask(talk))).trouble is Trouble.MISSING
    assert (await trouble(ask(GITEA.set_status(gitea.base, old, status)))).trouble is Trouble.MISSING
    assert await ask(GITEA.branches(gitea.base, located.place)) == ("main",)


async def test_branches_of_all_names_on_several_pages(gitea: GiteaServer) -> None:
    ada = await gitea.make_user()
    repository = await gitea.make_repository(ada)
    await gitea.commit(repository, {"a.txt": "one"})
    names = ["feature/x", "fix-#7", "50%", "grün", *(f"b{number}" for number in range(55))]
    for name in names:
        tree = {"new_branch_name": name, "old_branch_name": "main"}
        await gitea.ask(ada, "POST", f"/repos/{repository.full_name}/branches", tree)
    found = await asking(gitea, await gitea.make_token(ada))(GITEA.branches(gitea.base, place(repository)))
    assert set(found) == {"main", *names} and len(found) == len(names) + 1


async def test_statuses(gitea: GiteaServer) -> None:
    ada = await gitea.make_user()
    repository = await gitea.make_repository(ada)
    sha = await gitea.commit(repository, {"a.txt": "one"})
    ask = asking(gitea, await gitea.make_token(ada))
    for state in StatusState:
        status = CommitStatus(sha, "godploy/shop", state, "é" * 300, "https://godploy.example.org/deployments/7")
        await ask(GITEA.set_status(gitea.base, place(repository), status))
    kept = await gitea.statuses(repository, sha)
    words = ["pending", "pending", "success", "failure", "error", "error", "error"]
    assert [status["status"] for status in kept] == words
    assert kept[0]["context"] == "godploy/shop" and kept[0]["description"] == "é" * 140
    gone = CommitStatus("0a" * (len(sha) // 2), "godploy/shop", StatusState.PENDING, "", "")
    refused = await trouble(ask(GITEA.set_status(gitea.base, place(repository), gone)))
    assert refused.trouble in (Trouble.MISSING, Trouble.DOWN)  # it is an internal error there


async def test_refusals(gitea: GiteaServer) -> None:
    ada, bob = await gitea.make_user(), await gitea.make_user()
    repository = await gitea.make_repository(ada)
    for scopes in (["read:user"], ["read:user", "read:repository"]):
        poor = asking(gitea, await gitea.make_token(ada, scopes))
        refused = await trouble(poor(GITEA.create_hook(gitea.base, place(repository), HookWish("https://x.y/h", "s"))))
        assert refused.trouble is Trouble.FORBIDDEN
        assert "write:repository" in refused.next_step and gitea.base in refused.next_step
    strange = asking(gitea, await gitea.make_token(bob))
    assert (await trouble(strange(GITEA.branches(gitea.base, place(repository))))).trouble is Trouble.MISSING
    token = await gitea.make_token(ada)
    await gitea.revoke_tokens(ada)
    refused = await trouble(asking(gitea, token)(GITEA.account(gitea.base)))
    assert refused.trouble is Trouble.CREDENTIAL and gitea.base in refused.next_step


async def test_git_takes_a_token_for_a_password(gitea: GiteaServer) -> None:
    ada = await gitea.make_user()
    repository = await gitea.make_repository(ada)
    sha = await gitea.commit(repository, {"a.txt": "one"})
    login = GITEA.git_login(Credential("token", await gitea.make_token(ada)))
    listed = await git(*login, "ls-remote", gitea.clone_url(repository), "refs/heads/main")
    assert listed.split() == [sha, "refs/heads/main"]
    with pytest.raises(RuntimeError):
        await git(login[0], "0" * 40, "ls-remote", gitea.clone_url(repository))


async def test_hooks(gitea: GiteaServer) -> None:
    ada = await gitea.make_user()
    repository = await gitea.make_repository(ada)
    ask, where = asking(gitea, await gitea.make_token(ada)), place(repository)
    async with listening() as listener:
        wish = HookWish(f"{listener.address}/hooks/abc", SECRET)
        made = await ask(GITEA.create_hook(gitea.base, where, wish))
        assert made.active and made.wanted and made.url == wish.url
        assert await ask(GITEA.hooks(gitea.base, where)) == (made,)
        assert not await ask(GITEA.test_hook(gitea.base, where, made.id, "main"))  # nothing to send
        sha = await gitea.commit(repository, {"a.txt": "one"}, branch="main")
        (push, created) = await listener.wait(2)
        pushed = {told(delivery) for delivery in (push, created)}
        assert Push("refs/heads/main", sha, "One\n", ada.name) in pushed
        assert await ask(GITEA.test_hook(gitea.base, where, made.id, "main"))
        assert told((await listener.wait(3))[2]) == Ping()

        old = listener.came[0]
        await gitea.redeliver(repository, made.id, old.headers["X-Gitea-Delivery"])
        again = (await listener.wait(4))[3]
        assert again.body == old.body and told(again) == told(old)
        assert again.headers["X-Gitea-Delivery"] != old.headers["X-Gitea-Delivery"]

        # Another secret, and switched on again.
        await gitea.ask(ada, "PATCH", f"/repos/{where.full_name}/hooks/{made.id}", {"active": False})
        (off,) = await ask(GITEA.hooks(gitea.base, where))
        assert not off.active and not off.wanted  # what is not said is lost
        rotated = await ask(GITEA.update_hook(gitea.base, where, made.id, HookWish(wish.url, "ab" * 32)))
        assert await ask(GITEA.hooks(gitea.base, where)) == (rotated,)
        assert rotated.active and rotated.wanted
        assert await ask(GITEA.test_hook(gitea.base, where, rotated.id, "main"))
        assert told((await listener.wait(5))[4], "ab" * 32) == Ping()

        await ask(GITEA.delete_hook(gitea.base, where, rotated.id))
        await ask(GITEA.delete_hook(gitea.base, where, rotated.id))
        assert await ask(GITEA.hooks(gitea.base, where)) == ()
        assert not await ask(GITEA.test_hook(gitea.base, where, rotated.id, "main"))


async def _hooked(gitea: GiteaServer, listener: Listener, repository: Made) -> Callable[[Any], Awaitable[Any]]:
    ask = asking(gitea, await gitea.make_token(repository.owner))
    await ask(GITEA.create_hook(gitea.base, place(repository), HookWish(f"{listener.address}/h", SECRET)))
    return ask


async def _next(listener: Listener, count: int) -> list[Event]:
    """What the next deliveries tell, the interesting first; then none is kept."""
    events = [told(delivery) for delivery in await listener.wait(count)]
    listener.came.clear()
    return sorted(events, key=lambda event: isinstance(event, Uninteresting))


async def test_branches_and_tags_are_told(gitea: GiteaServer) -> None:
    repository = await gitea.make_repository(await gitea.make_user())
    owner = repository.owner.name
    async with listening() as listener:
        await _hooked(gitea, listener, repository)
        first = await gitea.commit(repository, {"a.txt": "one"}, "One")
        assert (await _next(listener, 2))[0] == Push("refs/heads/main", first, "One\n", owner)
        second = await gitea.commit(repository, {"a.txt": "two"}, "Two [skip ci]")
        assert await _next(listener, 1) == [Push("refs/heads/main", second, "Two [skip ci]\n", owner)]
        for branch in ("feature/x", "fix-#7", "50%", "grün"):
            third = await gitea.commit(repository, {"b.txt": branch}, "B", branch=branch, start="main")
            assert (await _next(listener, 2))[0] == Push(f"refs/heads/{branch}", third, "B\n", owner)
            await gitea.delete_ref(repository, f"refs/heads/{branch}")
            assert await _next(listener, 1) == [Push(f"refs/heads/{branch}", None, "", owner)]
        for tag, message in (("v1", ""), ("v2", "annotated")):
            await gitea.tag(repository, tag, message=message)
            assert (await _next(listener, 2))[0] == Push(f"refs/tags/{tag}", second, "Two [skip ci]\n", owner)
            await gitea.delete_ref(repository, f"refs/tags/{tag}")
            assert await _next(listener, 2) == [Push(f"refs/tags/{tag}", None, "", owner)] * 2


async def test_pull_requests_are_told(gitea: GiteaServer) -> None:
    repository = await gitea.make_repository(await gitea.make_user(), private=False)
    async with listening() as listener:
        ask = await _hooked(gitea, listener, repository)
        await gitea.commit(repository, {"a.txt": "one"})
        await gitea.commit(repository, {"a.txt": "two"}, branch="stable", start="main")
        head = await gitea.commit(repository, {"b.txt": "one"}, branch="feature/x", start="main")
        await _next(listener, 6)
        number = await gitea.open_pull(repository, "feature/x", title="Add b")
        (opened,) = await _next(listener, 1)
        assert isinstance(opened, PullRequestChange) and opened.action == "opened"
        assert (opened.pull.number, opened.pull.commit, opened.pull.branch) == (number, head, "feature/x")
        assert (opened.pull.base, opened.pull.title, opened.pull.author) == ("main", "Add b", repository.owner.name)
        assert not opened.pull.fork and opened.pull.source_url == ""
        assert await ask(GITEA.pull_requests(gitea.base, place(repository))) == (opened.pull,)
        ref = GITEA.pull_ref(number, "feature/x")
        listed = await git(
            repository.owner.name, repository.owner.password, "ls-remote", gitea.clone_url(repository), ref
        )
        assert listed.split() == [head, ref]

        head = await gitea.commit(repository, {"b.txt": "two"}, branch="feature/x")
        changes = [event for event in await _next(listener, 2) if isinstance(event, PullRequestChange)]
        assert [(change.action, change.pull.commit) for change in changes] == [("updated", head)]
        await gitea.edit_pull(repository, number, title="Add more")
        (retitled,) = await _next(listener, 1)
        assert isinstance(retitled, Uninteresting)
        await gitea.edit_pull(repository, number, base="stable")
        (moved,) = await _next(listener, 1)
        assert isinstance(moved, PullRequestChange) and (moved.action, moved.pull.base) == ("updated", "stable")
        for state, action in (("closed", "closed"), ("open", "opened")):
            await gitea.edit_pull(repository, number, state=state)
            (change,) = await _next(listener, 1)
            assert isinstance(change, PullRequestChange) and change.action == action
        await gitea.merge(repository, number)
        merged = await _next(listener, 2)
        assert {getattr(event, "action", "") for event in merged} == {"closed", ""}
        assert await ask(GITEA.pull_requests(gitea.base, place(repository))) == ()


async def test_a_pull_request_of_a_fork(gitea: GiteaServer) -> None:
    repository = await gitea.make_repository(await gitea.make_user(), private=False)
    async with listening() as listener:
        ask = await _hooked(gitea, listener, repository)
        await gitea.commit(repository, {"a.txt": "one"})
        await _next(listener, 2)
        fork = await gitea.fork(repository, await gitea.make_user())
        head = await gitea.commit(fork, {"b.txt": "one"}, branch="theirs", start="main")
        await gitea.open_pull(repository, f"{fork.owner.name}:theirs")
        (opened,) = await _next(listener, 1)
        assert isinstance(opened, PullRequestChange) and opened.pull.fork and opened.pull.commit == head
        assert opened.pull.source_url == gitea.clone_url(fork)
        assert await ask(GITEA.pull_requests(gitea.base, place(repository))) == (opened.pull,)


async def test_oauth(gitea: GiteaServer) -> None:
    ada = await gitea.make_user()
    repository = await gitea.make_repository(ada)
    client, anonymous = await gitea.make_client(ada, CALLBACK), asking(gitea, "")

    async def code(person: Person, verifier: str) -> str:
        url = GITEA.authorize_url(gitea.base, client, CALLBACK, "state-1", oauth.challenge(verifier))
        answer = await gitea.approve(url, person)
        query = parse_qs(urlsplit(answer).query)
        assert answer.startswith(f"{CALLBACK}?") and query["state"] == ["state-1"]
        return query["code"][0]

    verifier = oauth.new_verifier()
    first = await code(ada, verifier)
    grant = await anonymous(GITEA.exchange(gitea.base, client, CALLBACK, first, verifier))
    assert grant.token and grant.refresh and grant.lifetime == 3600
    again = await trouble(anonymous(GITEA.exchange(gitea.base, client, CALLBACK, first, verifier)))
    assert again.trouble is Trouble.CREDENTIAL
    ask = asking(gitea, grant.token, "oauth")
    assert (await ask(GITEA.account(gitea.base))).name == ada.name
    assert (await ask(GITEA.repositories(gitea.base, "", 5))).repositories[0].id == str(repository.id)
    wish = HookWish("https://godploy.example.org/hooks/x", SECRET)
    made = await ask(GITEA.create_hook(gitea.base, place(repository), wish))
    await ask(GITEA.delete_hook(gitea.base, place(repository), made.id))
    sha = await gitea.commit(repository, {"a.txt": "one"})
    login = GITEA.git_login(Credential("oauth", grant.token))
    assert sha in await git(*login, "ls-remote", gitea.clone_url(repository))
    # The scopes are honoured: an issue may not be made.
    tree = {"title": "x"}
    async with gitea.session.post(
        f"{gitea.base}/api/v1/repos/{repository.full_name}/issues",
        json=tree,
        headers=GITEA.authorization(Credential("oauth", grant.token)),
    ) as answer:
        assert answer.status == 403

    second = await anonymous(GITEA.refresh(gitea.base, client, CALLBACK, grant.refresh))
    assert (await asking(gitea, second.token)(GITEA.account(gitea.base))).name == ada.name
    refused = await trouble(anonymous(GITEA.refresh(gitea.base, client, CALLBACK, uuid.uuid4().hex)))
    assert refused.trouble is Trouble.CREDENTIAL
    # Granted before, the browser is sent back at once, and PKCE is kept to.
    refused = await trouble(
        anonymous(GITEA.exchange(gitea.base, client, CALLBACK, await code(ada, verifier), "x" * 43))
    )
    assert refused.trouble is Trouble.CREDENTIAL


async def test_a_refused_consent(gitea: GiteaServer) -> None:
    ada = await gitea.make_user()
    client = await gitea.make_client(ada, CALLBACK)
    url = GITEA.authorize_url(gitea.base, client, CALLBACK, "state-2", oauth.challenge(oauth.new_verifier()))
    query = parse_qs(urlsplit(await gitea.approve(url, ada, granted=False)).query)
    assert query["error"] == ["access_denied"] and query["state"] == ["state-2"]
