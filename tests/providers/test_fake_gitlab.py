"""The GitLab that is played: by python-gitlab, so that it cannot drift towards our own mistakes, and by our talks."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path

import gitlab
import pytest

from godploy.providers import gitlab_events
from godploy.providers.gitlab import GITLAB
from godploy.providers.protocol import CommitStatus, StatusState, Trouble
from tests.providers.fakes import bare
from tests.providers.fakes.state import Repository
from tests.providers.gitlab_stage import SECRET, Stage, playing


@pytest.fixture(params=[True, False], ids=["signs", "older"])
async def stage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stage]:
    async with playing(tmp_path, signs=request.param) as made:
        yield made


async def test_another_client_finds_the_project_and_its_branches(stage: Stage) -> None:
    sha = await stage.fake.commit(stage.repository, {"a": "1"}, "First")
    await stage.fake.commit(stage.repository, {"a": "2"}, branch="feature/x#1")

    def work(client: gitlab.Gitlab) -> None:
        client.auth()
        assert client.user is not None
        assert client.user.username == "ada"
        project = client.projects.get("ada/shop")
        assert client.projects.get(project.id).path_with_namespace == "ada/shop"
        assert project.permissions["project_access"]["access_level"] == 40
        assert sorted(each.name for each in project.branches.list(get_all=True)) == ["feature/x#1", "main"]
        assert project.branches.get("feature/x#1").commit["id"] != sha
        assert [each.id for each in client.projects.list(membership=True, min_access_level=40)] == [project.id]
        with pytest.raises(gitlab.GitlabGetError):
            client.projects.get("ada/none")

    await stage.client(work)
    with pytest.raises(gitlab.GitlabAuthenticationError):
        await stage.client(lambda client: client.auth(), private_token="wrong")


async def test_another_client_makes_hooks_statuses_and_reads_merge_requests(stage: Stage) -> None:
    sha = await stage.fake.commit(stage.repository, {"a": "1"})
    number = await stage.fake.open_pull(stage.repository, "change", {"b": "1"}, "A change")

    def work(client: gitlab.Gitlab) -> None:
        project = client.projects.get(stage.repository.id)
        token = gitlab_events.signing_token(SECRET)
        hook = project.hooks.create({"url": stage.url, "token": "t", "signing_token": token, "tag_push_events": True})
        assert (hook.push_events, hook.tag_push_events, hook.merge_requests_events) == (True, True, False)
        assert getattr(hook, "signing_token_present", False) is stage.fake.signs
        assert "whsec_" not in json.dumps(hook.asdict())
        hook.test("push_events")
        hook.merge_requests_events = True
        hook.save()
        assert project.hooks.get(hook.id).merge_requests_events is True
        hook.delete()
        assert project.hooks.list(get_all=True) == []
        commit = project.commits.get(sha, lazy=True)
        made = commit.statuses.create({"state": "running", "name": "godploy/a", "ref": "main"})
        assert (made.status, made.name, made.sha) == ("running", "godploy/a", sha)
        assert [each.status for each in commit.statuses.list(get_all=True)] == ["running"]
        (found,) = project.mergerequests.list(state="opened", get_all=True)
        assert (found.iid, found.title, found.source_branch) == (number, "A change", "change")

    await stage.client(work)


async def test_lists_of_several_pages_are_the_same_for_both(stage: Stage) -> None:
    for number in range(103):
        id, folder = 2000 + number, stage.repository.directory
        stage.fake.repositories[id] = Repository(id, f"ada/p{number}", stage.ada, True, folder)
    stage.fake.add_repository(stage.fake.add_user("eve"), "eve/shop")
    theirs = await stage.client(lambda client: client.projects.list(membership=True, get_all=True, per_page=50))
    ours = await stage.ask(GITLAB.repositories(stage.fake.base, "", 200))
    assert [str(each.id) for each in theirs] == [each.id for each in ours.repositories]
    assert (len(ours.repositories), ours.complete) == (104, True)
    first = await stage.ask(GITLAB.repositories(stage.fake.base, "", 100))
    assert (len(first.repositories), first.complete) == (100, False)
    found = await stage.ask(GITLAB.repositories(stage.fake.base, "SHOP", 20))
    assert [each.full_name for each in found.repositories] == ["ada/shop"]


async def test_the_account_and_the_project(stage: Stage) -> None:
    base = stage.fake.base
    account = await stage.ask(GITLAB.account(base))
    assert (account.id, account.name, account.scopes) == (str(stage.ada.id), "ada", ("api",))
    assert account.expires_at == 1_801_440_000.0  # 2027-02-01
    empty = await stage.ask(GITLAB.repository(base, "ada/shop"))
    assert (empty.id, empty.default_branch, empty.private, empty.administered) == (stage.place.id, None, True, True)
    await stage.fake.commit(stage.repository, {"a": "1"})
    await stage.fake.commit(stage.repository, {"a": "2"}, branch="größe/50%#1")
    found = await stage.ask(GITLAB.located(base, stage.place.id))
    assert (found.default_branch, found.clone_url) == ("main", f"{base}/ada/shop.git")
    assert set(await stage.ask(GITLAB.branches(base, stage.place))) == {"main", "größe/50%#1"}


async def test_git_takes_the_login_that_is_given_for_it(stage: Stage, tmp_path: Path) -> None:
    sha = await stage.fake.commit(stage.repository, {"a": "1"})
    number = await stage.fake.open_pull(stage.repository, "change", {"b": "1"}, fork=True)
    found = await stage.ask(GITLAB.repository(stage.fake.base, "ada/shop"))
    user, password = GITLAB.git_login(stage.credential)
    login = base64.b64encode(f"{user}:{password}".encode()).decode()
    option = ("-c", f"http.extraHeader=Authorization: Basic {login}")
    listed = await bare.git(tmp_path, *option, "ls-remote", found.clone_url)
    refs = {ref: commit for commit, _, ref in (line.partition("\t") for line in listed.splitlines())}
    assert refs["refs/heads/main"] == sha
    assert refs[GITLAB.pull_ref(number, "change")] == stage.repository.pulls[number].head


async def test_a_rename_breaks_nothing(stage: Stage) -> None:
    base, place = stage.fake.base, stage.place
    sha = await stage.fake.commit(stage.repository, {"a": "1"})
    hook = await stage.ask(GITLAB.create_hook(base, place, stage.wish))
    stage.fake.rename(stage.repository, "ada/store")
    assert (await stage.trouble(GITLAB.repository(base, "ada/shop"))).trouble is Trouble.MISSING
    assert (await stage.ask(GITLAB.located(base, place.id))).full_name == "ada/store"
    assert await stage.ask(GITLAB.hooks(base, place)) == (hook,)
    await stage.ask(GITLAB.set_status(base, place, CommitStatus(sha, "godploy/a", StatusState.SUCCESS, "", "")))
    assert [each["state"] for each in stage.fake.statuses(stage.repository, sha)] == ["success"]
