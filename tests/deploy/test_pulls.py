"""Pull requests: what each would do stands on its head, in one sentence, and nothing is done for it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest

from godploy.core.access import Access
from godploy.core.facts import Policy
from godploy.core.model import PullRequest, Repository, State
from godploy.core.naming import new_id
from godploy.deploy import intake, pulls, remotes
from godploy.drivers.git_program import GitError
from godploy.providers.protocol import ProviderError, Trouble
from godploy.runtimes.fake.world import World
from godploy.store import connections, people, projects, pull_requests, repositories
from tests.deploy import shop
from tests.deploy.harness import Godploy, git, godploy
from tests.deploy.shop import built, manifest, web, worker

NUMBER = 7
BASE = "https://provider.example"
TOO_LONG = "comparing these patterns with the files of the repository takes too long"


class ByNumber:
    """Where GitHub and Gitea keep heads."""

    def pull_ref(self, number: int, branch: str) -> str:
        return f"refs/pull/{number}/head"


class ByBranch:
    """Where Bitbucket does."""

    def pull_ref(self, number: int, branch: str) -> str:
        return f"refs/heads/{branch}"


@pytest.fixture(autouse=True)
def host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two kinds of provider, whose git is our own remote: where a head lies is the only thing that they are asked."""

    async def own(*_: Any) -> Access | None:
        return None

    monkeypatch.setattr(pulls, "HOSTS", {"github": ByNumber(), "bitbucket": ByBranch()})
    monkeypatch.setattr(remotes, "access", own)


async def hosted(it: Godploy, provider: str = "github") -> Repository:
    """The shop's repository as one at a provider: statuses of its commits are queued."""
    found = await shop.repository(it)

    def connect(conn: Any) -> Repository:
        owner = people.first_owner(conn)
        assert owner is not None
        place = people.organizations(conn, owner.id)[0][0].id
        wanted = connections.Wanted(place, provider, BASE, "token", "1", "ada", owner.id)
        made = connections.create(conn, new_id(), wanted, b"sealed")
        conn.execute(
            "UPDATE repository SET provider = ?, url = ?, connection = ?, remote_id = '1', full_name = 'ada/shop'"
            " WHERE id = ?",
            (provider, f"{BASE}/ada/shop.git", made.id, found.id),
        )
        return repositories.get(conn, found.id)

    return await it.services.store.write(connect)


def put(it: Godploy, repository: Repository, files: Mapping[str, str], number: int = NUMBER) -> str:
    """A new head of the pull request, which no branch has."""
    head = it.commit(repository, files)
    git(it.services.git.directory(repository.id), "update-ref", f"refs/pull/{number}/head", head)
    return head


def body(commit: str, action: str = "opened", **more: Any) -> dict[str, Any]:
    return {
        "event": "pull_request",
        "action": action,
        "number": NUMBER,
        "title": "A page",
        "commit": commit,
        "branch": "page",
        "base": "main",
        "url": f"{BASE}/pulls/7",
        "author": "eve",
        "fork": False,
        "source_url": "",
        **more,
    }


async def tell(it: Godploy, repository: Repository, commit: str, action: str = "opened", **more: Any) -> str:
    """The verdict of a delivery."""
    told = body(commit, action, **more)
    delivery, _ = await intake.receive(it.services, repository, "hook", new_id(), told)
    return await it.decided(delivery)


async def propose(it: Godploy, repository: Repository, files: Mapping[str, str], **more: Any) -> str:
    """What the verdict says of a pull request with these files."""
    head = put(it, repository, files)
    verdict = await tell(it, repository, head, **more)
    begin = f"pull request 7 at {head[:7]}: "
    assert verdict.startswith(begin), verdict
    return verdict.removeprefix(begin)


async def statuses(it: Godploy) -> list[dict[str, Any]]:
    """Every status that was queued for a head, oldest first."""
    query = "SELECT body FROM outbox WHERE pull_request IS NOT NULL ORDER BY id"
    return await it.read(lambda conn: [json.loads(row["body"]) for row in conn.execute(query)])


async def kept(it: Godploy, repository: Repository, number: int = NUMBER) -> PullRequest:
    return await it.read(pull_requests.by_number, repository.id, number)


def parts(source: str, **more: Any) -> dict[str, str]:
    return built(
        source,
        web={"build": {}, "port": 8000, "deploy": shop.NOW, **more},
        worker={"image_from": "web", "command": "work", "deploy": {"settle": "0s", "drain": "0s"}},
        cache=web("app:1"),
    )


async def test_a_plan_says_what_the_push_then_does(it: Godploy, world: World) -> None:
    await shop.deploy(it, parts("1"))
    repository = await hosted(it)
    calls: list[str] = []
    before, world.on_call = world.on_call, lambda moment: calls.append(moment)
    head = put(it, repository, parts("2"))
    verdict = await tell(it, repository, head[:12])  # all that Bitbucket's deliveries tell
    world.on_call = before
    assert verdict == f"pull request 7 at {head[:7]}: builds web, updates worker"
    assert {call.split()[1] for call in calls} <= {"images", "observe"}
    (status,) = await statuses(it)
    assert status == {
        "commit": head,
        "context": "godploy/plan",
        "branch": "page",
        "state": "success",
        "description": "builds web, updates worker",
    }
    pull = await kept(it, repository)
    assert (pull.commit, pull.state, pull.title) == (head, "open", "A page")
    assert pull.outcome is not None
    (production,) = pull.outcome["environments"]
    assert production["name"] == "production"
    assert any("~ web: build (context tree" in line for line in production["lines"])

    calls.clear()
    world.on_call = lambda moment: (calls.append(moment), before(moment))[1]
    done = await it.decided(await it.push(repository, head))
    assert "deploys to production" in done
    await it.settled()
    assert (await it.newest()).state is State.SUCCEEDED
    assert "before build" in calls
    assert production["lines"] == [line for line in (await it.log(await it.newest())).split("\n") if line[:2] in _SIGNS]


_SIGNS = ("~ ", "= ", "+ ", "- ")


async def test_what_the_push_would_not_build_is_not_said_to_be(it: Godploy) -> None:
    await shop.deploy(it, parts("1", build={"watch": ["*.py"]}))
    repository = await hosted(it)
    files = parts("1", build={"watch": ["*.py"]})
    assert await propose(it, repository, {**files, "README": "text"}) == "changes nothing"
    assert await propose(it, repository, {**files, "other.py": "text"}) == "builds web, updates worker"


@pytest.mark.parametrize(
    ("services", "told"),
    [
        ({"web": web("app:1")}, "changes nothing"),
        ({"web": web("app:1"), "worker": worker()}, "creates worker"),
        ({"web": web("app:9")}, "updates web"),  # an image that no registry has: nobody is asked
        ({"web": web("app:1", replicas=2)}, "scales web"),
        ({"web": web("app:1", routes=[])}, "removes 1 route"),
        ({"worker": worker()}, "creates worker, removes web, removes 1 route"),
    ],
)
async def test_the_sentence(it: Godploy, services: dict[str, Any], told: str) -> None:
    await shop.deploy(it, manifest(web=web("app:1")))
    assert await propose(it, await hosted(it), manifest(**services)) == told


async def test_before_anything_was_deployed(it: Godploy) -> None:
    repository = await hosted(it)
    assert await propose(it, repository, parts("1")) == "builds and creates web, creates worker, cache, adds 1 route"
    assert await it.read(projects.environments, repository.project) == []


async def test_the_first_error_stands_on_the_commit_with_its_line(it: Godploy) -> None:
    repository = await hosted(it)
    text = "version: 1\nservices:\n  web:\n    image: app:1\n    helth: {path: /}\n    prot: 80\n"
    verdict = await propose(it, repository, {"godploy.yaml": text})
    assert verdict == 'godploy.yaml:5:5: services.web.helth: unknown key; did you mean "health"?'
    (status,) = await statuses(it)
    assert (status["state"], status["description"]) == ("failure", verdict)
    outcome = (await kept(it, repository)).outcome
    assert outcome is not None
    assert [problem.split(": ")[1] for problem in outcome["problems"]] == ["services.web.helth", "services.web.prot"]


async def test_a_plan_that_cannot_be_carried_out(it: Godploy) -> None:
    repository = await hosted(it)
    verdict = await propose(it, repository, manifest(web=web(secrets=["KEY", "OTHER"])))
    assert "the secret KEY has no value in the environment production" in verdict and verdict.startswith("godploy.yaml")
    assert [status["state"] for status in await statuses(it)] == ["failure"]


async def test_a_manifest_that_is_a_link(it: Godploy) -> None:
    repository = await hosted(it)
    directory = it.services.git.directory(repository.id)
    blob = git(directory, "hash-object", "-w", "--stdin", stdin="/etc/passwd")
    tree = git(directory, "mktree", stdin=f"120000 blob {blob}\tgodploy.yaml\n")
    head = git(directory, "commit-tree", tree, "-m", "link")
    git(directory, "update-ref", "refs/pull/7/head", head)
    assert "godploy.yaml is a symbolic link" in await tell(it, repository, head)
    assert [status["state"] for status in await statuses(it)] == ["failure"]


async def test_what_others_keep_is_not_told(tmp_path: Any, world: World) -> None:
    policy = Policy(hosts=("*.allowed.example",), registries=("registry.inner.example", "docker.io"))
    async with godploy(tmp_path, world, policies={"": policy}) as it:
        await shop.deploy(it, manifest(web=web(), db=worker()))
        await shop.deploy(it, manifest(own=web(env={"A": "${services.web.host}"})), name="confidential")
        elsewhere = await it.repository(await it.project("stranger"), "stranger")
        taken = manifest(web=web(routes=["taken.allowed.example"]))
        await it.decided(await it.push(elsewhere, it.commit(elsewhere, taken)))
        await it.settled()
        repository = await hosted(it)
        said = []
        for services in (
            {"own": worker(), "web": web()},
            {"db": worker()},
            {"web": web(routes=["taken.allowed.example"]), "db": worker()},
            {"web": web(routes=["elsewhere.example"]), "db": worker()},
            {"web": web("ghcr.io/a/b:1"), "db": worker()},
        ):
            said.append(await propose(it, repository, manifest(**services)))
        outcome = (await kept(it, repository)).outcome
    endings = (
        "the name own is taken in this environment by another source",
        "web cannot be removed while it is used by another source",
        "taken.allowed.example may not be used here",
        "elsewhere.example may not be used here",
        "this server's policy allows no images from ghcr.io",
    )
    assert [told.endswith(ending) for told, ending in zip(said, endings, strict=True)] == [True] * 5, said
    text = f"{said} {outcome}"
    assert not [word for word in ("confidential", "stranger", "*.allowed", "inner") if word in text]


async def test_a_head_is_planned_once_for_a_base(it: Godploy) -> None:
    await shop.deploy(it, manifest(web=web()))
    repository = await hosted(it)
    head = put(it, repository, manifest(web=web("app:2")))
    first = await tell(it, repository, head)
    assert await tell(it, repository, head, "updated", title="Renamed") == first.replace(": ", " was planned before: ")
    assert (await kept(it, repository)).title == "Renamed"
    assert len(await statuses(it)) == 1
    assert "release feeds no environment" in await tell(it, repository, head, "updated", base="release")
    assert await pulls.consider(it.services, repository, body(head, base="release"), again=True)
    assert len(await statuses(it)) == 3


async def test_a_late_delivery_is_told_of_the_head_that_is_there(it: Godploy) -> None:
    repository = await hosted(it)
    old = put(it, repository, manifest(web=web()))
    new = put(it, repository, manifest(web=web(), worker=worker()))
    assert (await tell(it, repository, old)).startswith(f"pull request 7 at {new[:7]}: ")
    assert [status["commit"] for status in await statuses(it)] == [new]


async def test_a_closed_one_is_not_told_of(it: Godploy) -> None:
    repository = await hosted(it)
    head = put(it, repository, manifest(web=web()))
    assert await tell(it, repository, head, "closed") == "pull request 7 was closed"
    assert (await kept(it, repository)).state == "closed"
    assert await statuses(it) == []


async def test_a_closed_one_is_let_go_of(it: Godploy) -> None:
    """What it alone brought may be removed; opened again, its head is fetched again."""
    repository = await hosted(it)
    head = put(it, repository, manifest(web=web()))
    listing = ("for-each-ref", "--format=%(refname)", "refs/godploy/pulls")
    for action, there in (("opened", ["refs/godploy/pulls/7"]), ("closed", []), ("reopened", ["refs/godploy/pulls/7"])):
        await tell(it, repository, head, action)
        assert git(it.services.git.directory(repository.id), *listing).split() == there


async def test_every_environment_that_the_base_feeds(it: Godploy) -> None:
    environments = {"production": {"branch": "main"}, "beta": {"branch": "main"}, "other": {"branch": "develop"}}
    await shop.deploy(it, manifest(environments, web=web()))
    repository = await hosted(it)
    lost = {name: feed for name, feed in environments.items() if name != "beta"}
    both = await propose(it, repository, manifest(environments, web=web("app:2")))
    assert both == "beta: updates web; production: updates web"
    left = await propose(it, repository, manifest(lost, web=web()))
    assert left == "beta is not fed any more, what runs there stays; production: changes nothing"
    other = await propose(it, repository, manifest(environments, web=web("app:2")), base="develop")
    assert other == "creates web, adds 1 route"
    secret = {**environments, "beta": {"branch": "main", "services": {"web": {"secrets": ["KEY"]}}}}
    assert (await propose(it, repository, manifest(secret, web=web()))).startswith("beta: godploy.yaml:1:")
    # What feeds production is said by the default branch, whatever the pull request says.
    moved = {"production": {"branch": "page"}}
    assert await propose(it, repository, manifest(moved, web=web()), base="page") == "page feeds no environment"


@pytest.mark.parametrize(
    ("trouble", "told"),
    [
        (
            GitError("repository_unreachable", url="http://10.0.0.5/inner.git", detail="refused"),
            "the repository could not be reached",
        ),
        (
            GitError("repository_denied", url="http://10.0.0.5/inner.git", detail="401"),
            "the repository may not be read with the credential that is known for it",
        ),
        (GitError("git_failed", detail="/var/lib/inner"), "git failed on this server's copy of the repository"),
        (ProviderError(Trouble.CREDENTIAL, "the token of inner was revoked"), "the repository may not be read"),
    ],
)
async def test_a_head_that_cannot_be_read(
    it: Godploy, monkeypatch: pytest.MonkeyPatch, trouble: Exception, told: str
) -> None:
    repository = await hosted(it)
    head = put(it, repository, manifest(web=web()))

    async def fail(*_: Any) -> Access | None:
        raise trouble

    with monkeypatch.context() as broken:
        broken.setattr(remotes, "access", fail)
        assert await tell(it, repository, head[:12]) == f"pull request 7: {told}"  # no commit to tell it of
        assert await tell(it, repository, head) == f"pull request 7: {told}"
    (status,) = await statuses(it)
    assert (status["commit"], status["state"], status["description"]) == (head, "error", told)
    assert "inner" not in json.dumps(status)
    # What was only trouble is planned when it is told of again.
    assert "creates web" in await tell(it, repository, head)


async def test_a_head_that_is_gone(it: Godploy) -> None:
    repository = await hosted(it)
    assert await tell(it, repository, "a" * 40) == "pull request 7: its head is not in the repository any more"


@pytest.mark.parametrize(
    ("source_url", "asked"),
    [
        ("https://bitbucket.org/eve/shop.git", True),
        ("https://bitbucket.org:8443/eve/shop.git", False),
        ("http://bitbucket.org/eve/shop.git", False),
        ("https://evil.example/eve/shop.git", False),
        ("https://bitbucket.org@evil.example/eve/shop.git", False),
        ("https://bitbucket.org.evil.example/eve/shop.git", False),
        ("file:///etc", False),
        ("", False),
    ],
)
async def test_the_credential_goes_to_no_other_server(
    it: Godploy, monkeypatch: pytest.MonkeyPatch, source_url: str, asked: bool
) -> None:
    repository = await hosted(it, "bitbucket")
    head = it.commit(repository, manifest(web=web()))
    fetched: list[Access | None] = []

    async def access(*_: Any) -> Access:
        return Access("https://bitbucket.org/ada/shop.git", login=("ada", "password"))

    async def fetch_ref(id: str, access: Access | None, ref: str, kept_as: str) -> str:
        assert (ref, kept_as) == ("refs/heads/page", "7")
        fetched.append(access)
        return head

    monkeypatch.setattr(remotes, "access", access)
    monkeypatch.setattr(it.services.git, "fetch_ref", fetch_ref)
    await tell(it, repository, head, fork=True, source_url=source_url)
    assert fetched == ([Access(source_url, login=("ada", "password"))] if asked else [])
    assert [status["state"] for status in await statuses(it)] == ["success" if asked else "error"]


async def test_patterns_that_are_made_to_take_long_are_refused(it: Godploy) -> None:
    repository = await hosted(it)
    files = parts("1", build={"watch": ["a*" * 12 + "b"]})
    verdict = await propose(it, repository, {**files, "a" * 250: "text"})
    assert verdict.startswith("godploy.yaml:")
    assert verdict.endswith(": services.web.build.watch: " + TOO_LONG)


async def test_pushed_patterns_that_are_made_to_take_long_are_refused(it: Godploy) -> None:
    files = parts("1", build={"watch": ["a*" * 12 + "b"]})
    failed = await shop.deploy(it, {**files, "a" * 250: "text"})
    assert failed.state is State.FAILED
    assert TOO_LONG in str(failed.error)
    assert "godploy.yaml:" in str(failed.error)


async def test_open_ones_are_planned_again_after_their_base_was_deployed(it: Godploy) -> None:
    await shop.deploy(it, manifest(web=web("app:1")))
    repository = await hosted(it)
    assert await propose(it, repository, manifest(web=web("app:2"))) == "updates web"
    head = (await kept(it, repository)).commit
    await pulls.plan_again(it.services, repository)
    assert len(await statuses(it)) == 1
    await shop.deploy(it, manifest(web=web("app:2")))
    await pulls.plan_again(it.services, repository)
    assert [(status["commit"], status["description"]) for status in await statuses(it)] == [
        (head, "updates web"),
        (head, "changes nothing"),
    ]
    await tell(it, repository, head or "", "closed")
    await shop.deploy(it, manifest(web=web("app:3")))
    await pulls.plan_again(it.services, repository)
    assert len(await statuses(it)) == 2


async def test_what_moved_on_while_it_was_planned_is_not_overwritten(
    it: Godploy, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = await hosted(it)
    await propose(it, repository, manifest(web=web()))
    await shop.deploy(it, manifest(web=web("app:2")))
    newer = put(it, repository, manifest(web=web(), worker=worker()))
    plan, ours = pulls._plan, asyncio.current_task()

    async def overtaken(*given: Any) -> Any:
        outcome = await plan(*given)
        if asyncio.current_task() is ours:  # the loops plan, too
            await tell(it, repository, newer, "updated")
        return outcome

    monkeypatch.setattr(pulls, "_plan", overtaken)
    await pulls.plan_again(it.services, repository)
    outcome = (await kept(it, repository)).outcome
    assert outcome is not None and outcome["description"] == (await statuses(it))[-1]["description"]
    assert "creates worker" in outcome["description"]
