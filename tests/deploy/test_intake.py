"""What each kind of delivery leads to, in words and in deployments; and what an environment is fed by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from godploy.core.model import Kind, Repository, State
from godploy.core.naming import new_id
from godploy.deploy import acts, considering, intake
from godploy.store import deliveries, projects, repositories, stacks
from tests.deploy.harness import Godploy, git

NOBODY = "0" * 40


def app(image: str = "app:1", environments: str = "") -> dict[str, str]:
    """The files of a repository with one small service; the image tells its versions apart."""
    text = f"version: 1\nservices:\n  web: {{image: '{image}', port: 8000, deploy: {{drain: 0s}}}}\n"
    return {"godploy.yaml": text + environments}


def fed(**environments: str) -> str:
    lines = [f"  {name}: {{{feed}}}\n" for name, feed in environments.items()]
    return "environments:\n" + "".join(lines)


async def deliver(it: Godploy, repository: Repository, key: str = "", kind: str = "hook", **body: Any) -> Any:
    return (await intake.receive(it.services, repository, kind, key or new_id(), {"event": "push", **body}))[0]


async def shop(it: Godploy) -> Repository:
    return await it.repository(await it.project())


async def states(it: Godploy) -> dict[str, list[State]]:
    """environment → states of its deployments, oldest first."""
    found: dict[str, list[State]] = {}
    for each in reversed(await it.deployments()):
        stack = await it.read(stacks.get, each.stack)
        environment = await it.read(projects.environment, stack.environment)
        found.setdefault(environment.name, []).append(each.state)
    return found


async def test_a_push_is_told_and_deployed(it: Godploy) -> None:
    repository = await shop(it)
    sha = it.commit(repository, app())
    verdict = await it.decided(await it.push(repository, sha))
    assert verdict == f"{sha[:7]} on main: deploys to production"
    await it.settled()
    assert await states(it) == {"production": [State.SUCCEEDED]}
    assert (await it.newest()).kind is Kind.PUSH and (await it.newest()).actor == "tester"
    remembered = await it.read(repositories.get, repository.id)
    assert remembered.default_branch == "main"


@pytest.mark.parametrize(
    ("body", "verdict"),
    [
        ({"event": "ping"}, "a ping: the hook works"),
        ({"ref": "refs/heads/gone", "commit": NOBODY}, "the branch gone is not in the repository any more"),
        ({"ref": "refs/heads/main"}, "on main was considered before: nothing new"),
        ({"ref": "refs/heads/topic"}, "on topic: the branch feeds no environment"),
        ({"ref": "refs/tags/v1", "commit": "1" * 40}, "the tag v1 feeds no environment"),
        ({"ref": "refs/tags/v1", "commit": NOBODY}, "the tag v1 was deleted: nothing to deploy"),
        ({}, "is not in the repository any more"),
    ],
)
async def test_what_causes_nothing_says_why(it: Godploy, body: Mapping[str, Any], verdict: str) -> None:
    repository = await shop(it)
    sha = it.commit(repository, app())
    await it.push(repository, sha)
    git(it.services.git.directory(repository.id), "update-ref", "refs/heads/topic", sha)
    await it.settled()
    assert verdict in await it.decided(await deliver(it, repository, **body))
    assert len(await it.deployments()) == 1


async def test_a_repeated_key_gives_the_first_answer(it: Godploy) -> None:
    repository = await shop(it)
    first = await intake.receive(it.services, repository, "hook", "same", {"event": "ping"})
    second = await intake.receive(it.services, repository, "hook", "same", {"event": "push", "ref": "refs/heads/main"})
    assert (first[1], second[1]) == (True, False)
    assert first[0].id == second[0].id


async def test_the_head_is_considered_instead_of_an_older_commit(it: Godploy) -> None:
    """A delivery that comes late cannot downgrade."""
    repository = await shop(it)
    old, new = it.commit(repository, app("app:1")), it.commit(repository, app("app:2"))
    git(it.services.git.directory(repository.id), "update-ref", "refs/heads/main", new)
    verdict = await it.decided(await deliver(it, repository, ref="refs/heads/main", commit=old))
    assert verdict == f"{new[:7]} on main (main has moved on from {old[:7]}): deploys to production"
    await it.settled()
    assert (await it.newest()).commit == new
    assert "considered before" in await it.decided(await deliver(it, repository, ref="refs/heads/main", commit=old))


async def test_a_branch_that_comes_back_is_new(it: Godploy) -> None:
    repository = await shop(it)
    sha = it.commit(repository, app())
    await it.push(repository, sha)
    await it.settled()
    git(it.services.git.directory(repository.id), "update-ref", "-d", "refs/heads/main")
    await it.decided(await deliver(it, repository, ref="refs/heads/main", commit=NOBODY))
    assert "deploys to production" in await it.decided(await it.push(repository, sha))


async def test_of_a_burst_only_the_newest_is_deployed(it: Godploy, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = await shop(it)
    shas = [it.commit(repository, app(f"app:{n}")) for n in (1, 2, 3)]
    git(it.services.git.directory(repository.id), "update-ref", "refs/heads/main", shas[2])
    monkeypatch.setattr(it.services.changes, "ring", lambda *_: None)  # all three are received before any is decided
    received = [await deliver(it, repository, ref="refs/heads/main", commit=sha) for sha in shas]
    monkeypatch.undo()
    it.services.changes.ring("intake")
    verdicts = [await it.decided(each) for each in received]
    assert verdicts[2].endswith("deploys to production")
    assert verdicts[:2] == [f"superseded by {shas[2][:7]} (delivery {received[2].id})"] * 2
    await it.settled()
    assert [each.commit for each in await it.deployments()] == [shas[2]]


async def test_a_replay_is_considered_although_it_was_before(it: Godploy) -> None:
    repository = await shop(it)
    first = await it.push(repository, it.commit(repository, app()))
    await it.settled()
    again = await acts.replay(it.services, await it.read(deliveries.get, first.id), "somebody")
    assert "deploys to production" in await it.decided(again)
    await it.settled()
    newest = await it.newest()
    assert (newest.state, newest.actor, newest.result) == (State.SUCCEEDED, "somebody", "nothing changed")


@pytest.mark.parametrize("refused", [False, True])
async def test_a_repository_that_cannot_be_asked_is_told_by_a_deployment(
    it: Godploy, monkeypatch: pytest.MonkeyPatch, refused: bool
) -> None:
    """It does not answer, or, since the settings were changed, Godploy may not ask it."""
    monkeypatch.setattr(considering, "_UNREACHABLE_TRIES", 1)
    monkeypatch.setattr(it.services.git, "_private", () if refused else ("https://127.0.0.1:9/",))
    project, url = await it.project(), "https://127.0.0.1:9/far.git"
    made = await it.services.store.write(lambda conn: repositories.create(conn, project.id, "far", url=url))
    verdict = await it.decided(await deliver(it, made, ref="refs/heads/main", commit="1" * 40))
    assert verdict.startswith("the repository could not be asked for main")
    failed = await it.ended(await it.newest())
    assert failed.state is State.FAILED
    assert failed.error is not None and failed.error["message"] in await it.log(failed)


async def test_a_branch_cannot_promote_itself(it: Godploy) -> None:
    repository = await shop(it)
    await it.push(
        repository, it.commit(repository, app("app:1", fed(production="branch: main", staging="branch: develop")))
    )
    await it.settled()
    sly = it.commit(repository, app("app:2", fed(production="branch: develop", secret="branch: develop")))
    assert await it.decided(await it.push(repository, sly, "develop")) == f"{sly[:7]} on develop: deploys to staging"
    await it.settled()
    mapping = (await it.read(repositories.get, repository.id)).mapping
    assert {name: feed.branch for name, feed in mapping.items()} == {"production": "main", "staging": "develop"}
    assert set(await states(it)) == {"production", "staging"}
    served = it.edge.serves("web-shop.localhost")
    assert served is not None and it.world.of(served[1])[0].image == it.world.tags["app:1"]


async def test_an_invalid_manifest_leaves_the_mapping_and_fails_a_deployment(it: Godploy) -> None:
    repository = await shop(it)
    await it.push(repository, it.commit(repository, app("app:1", fed(staging="branch: main"))))
    await it.settled()
    await it.push(repository, it.commit(repository, {"godploy.yaml": "version: 1\nservices: {web: {prot: 8000}}\n"}))
    await it.settled()
    assert await states(it) == {"staging": [State.SUCCEEDED, State.FAILED]}
    assert "prot" in await it.log(await it.newest())


async def test_an_environment_that_leaves_the_file_is_detached_and_comes_back(it: Godploy) -> None:
    repository = await shop(it)
    both, one = fed(production="", staging=""), fed(production="")
    await it.push(repository, it.commit(repository, app("app:1", both)))
    await it.settled()
    assert await states(it) == {"production": [State.SUCCEEDED], "staging": [State.SUCCEEDED]}
    await it.push(repository, it.commit(repository, app("app:2", one)))
    await it.settled()
    assert (await it.stack(repository, "staging")).detached
    assert it.edge.serves("web-shop-staging.localhost") is not None  # what runs there keeps running
    assert await it.told("detached") == [
        "the manifest no longer names staging: what runs there keeps running, nothing feeds it"
    ]
    await it.push(repository, it.commit(repository, app("app:3", both)))
    await it.settled()
    assert not (await it.stack(repository, "staging")).detached


async def test_tags_deploy_by_pattern_and_the_newest_wins(it: Godploy, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = await shop(it)
    await it.push(repository, it.commit(repository, app("app:1", fed(production="tag: 'v*'"))))
    await it.settled()
    assert await it.deployments() == []
    old, new = it.commit(repository, app("app:2")), it.commit(repository, app("app:3"))
    directory = it.services.git.directory(repository.id)
    for name, sha in (("v1", old), ("v2", new)):
        git(directory, "update-ref", f"refs/tags/{name}", sha)
    monkeypatch.setattr(it.services.changes, "ring", lambda *_: None)  # both wait together, as after `git push --tags`
    received = [
        await deliver(it, repository, ref=f"refs/tags/{name}", commit=sha) for name, sha in (("v1", old), ("v2", new))
    ]
    monkeypatch.undo()
    it.services.changes.ring("intake")
    verdicts = [await it.decided(each) for each in received]
    assert verdicts[1] == f"{new[:7]} tagged v2: deploys to production"
    assert verdicts[0] == f"superseded by {new[:7]} (delivery {received[1].id})"
    await it.settled()
    assert (await it.newest()).commit == new


async def test_a_delivery_that_breaks_the_decision_does_not_stop_the_others(
    it: Godploy, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = await shop(it)
    heads = it.services.git.heads

    async def breaks(*_: Any) -> Any:
        raise RuntimeError("a bug")

    monkeypatch.setattr(it.services.git, "heads", breaks)
    assert "an error in Godploy: a bug" in await it.decided(await deliver(it, repository, ref="refs/heads/main"))
    monkeypatch.setattr(it.services.git, "heads", heads)
    await it.push(repository, it.commit(repository, app()))
    await it.settled()
    assert (await it.newest()).state is State.SUCCEEDED


async def test_a_stack_of_a_topic_branch_is_never_made(it: Godploy) -> None:
    repository = await shop(it)
    await it.push(repository, it.commit(repository, app()))
    await it.push(repository, it.commit(repository, app("app:2")), "topic")
    await it.settled()
    assert len(await it.read(stacks.every)) == 1
