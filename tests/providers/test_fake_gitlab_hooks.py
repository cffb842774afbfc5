"""Hooks of the GitLab that is played: made by our talks, and read by our sender and by other people's models."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from godploy.providers import gitlab_events
from godploy.providers.gitlab import GITLAB
from godploy.providers.protocol import Credential, HookWish, PullRequestChange, Push, Trouble
from tests.providers.gitlab_stage import SECRET, Stage, playing, read, valid

_OTHER = "77" * 32


@pytest.fixture(params=[True, False], ids=["signs", "older"])
async def stage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stage]:
    async with playing(tmp_path, signs=request.param) as made:
        yield made


def _scheme(stage: Stage) -> str:
    return "signature" if stage.fake.signs else "token"


async def test_a_hook_proves_itself_in_one_way_only(stage: Stage) -> None:
    made = await stage.ask(GITLAB.create_hook(stage.fake.base, stage.place, stage.wish))
    assert (made.url, made.scheme, made.active, made.wanted) == (stage.url, _scheme(stage), True, True)
    (hook,) = stage.fake.hooks(stage.repository)
    signing, plain = gitlab_events.signing_token(SECRET), gitlab_events.plain_token(SECRET)
    assert (hook.signing_token, hook.secret) == ((signing, "") if stage.fake.signs else ("", plain))
    assert await stage.ask(GITLAB.hooks(stage.fake.base, stage.place)) == (made,)


async def test_another_address_and_another_secret(stage: Stage) -> None:
    """GitLab forgets the secrets with the address."""
    base, place = stage.fake.base, stage.place
    await stage.fake.commit(stage.repository, {"a": "1"})
    made = await stage.ask(GITLAB.create_hook(base, place, HookWish("https://old.example.org/x", SECRET)))
    stage.fake.hooks(stage.repository)[0].events.remove("tag_push_events")
    (found,) = await stage.ask(GITLAB.hooks(base, place))
    assert not found.wanted
    changed = await stage.ask(GITLAB.update_hook(base, place, made.id, HookWish(stage.url, _OTHER)))
    assert changed == replace(made, url=stage.url)
    assert await stage.ask(GITLAB.test_hook(base, place, made.id, "main"))
    assert isinstance(read(stage.fake.deliveries[-1], _scheme(stage), _OTHER), Push)


async def test_a_filtered_hook_is_not_what_is_wanted_until_it_is_mended(stage: Stage) -> None:
    base, place = stage.fake.base, stage.place
    made = await stage.ask(GITLAB.create_hook(base, place, stage.wish))
    (hook,) = stage.fake.hooks(stage.repository)
    hook.settings |= {"push_events_branch_filter": "main", "branch_filter_strategy": "wildcard"}
    (found,) = await stage.ask(GITLAB.hooks(base, place))
    assert not found.wanted
    assert (await stage.ask(GITLAB.update_hook(base, place, made.id, stage.wish))).wanted


async def test_a_hook_is_deleted_once_or_twice(stage: Stage) -> None:
    base, place = stage.fake.base, stage.place
    made = await stage.ask(GITLAB.create_hook(base, place, stage.wish))
    await stage.ask(GITLAB.delete_hook(base, place, made.id))
    assert stage.fake.hooks(stage.repository) == []
    await stage.ask(GITLAB.delete_hook(base, place, made.id))
    assert not await stage.ask(GITLAB.test_hook(base, place, made.id, "main"))
    assert (await stage.trouble(GITLAB.update_hook(base, place, made.id, stage.wish))).trouble is Trouble.MISSING


async def test_a_test_of_a_hook(stage: Stage) -> None:
    base, place = stage.fake.base, stage.place
    made = await stage.ask(GITLAB.create_hook(base, place, stage.wish))
    assert not await stage.ask(GITLAB.test_hook(base, place, made.id, "main"))  # there is nothing to send
    assert stage.fake.deliveries == []
    sha = await stage.fake.commit(stage.repository, {"a": "1"}, "First", deliver=False)
    assert await stage.ask(GITLAB.test_hook(base, place, made.id, "main"))
    assert read(stage.fake.deliveries[-1], made.scheme) == Push("refs/heads/main", sha, "First\n", "ada")
    stage.status = 500
    assert not await stage.ask(GITLAB.test_hook(base, place, made.id, "main"))
    for status in (404, 422, 500):
        stage.fake.trouble(status, match="/test/")
        assert not await stage.ask(GITLAB.test_hook(base, place, made.id, "main"))
    stage.fake.trouble(429, match="/test/", headers={"Retry-After": "60"})
    trouble = await stage.trouble(GITLAB.test_hook(base, place, made.id, "main"))
    assert (trouble.trouble, trouble.wait) == (Trouble.BUSY, 60.0)


async def test_a_hook_that_was_switched_off_comes_back_when_it_is_mended(stage: Stage) -> None:
    base, place = stage.fake.base, stage.place
    made = await stage.ask(GITLAB.create_hook(base, place, stage.wish))
    stage.status = 500
    for number in range(4):
        await stage.fake.commit(stage.repository, {"a": str(number)})
    (found,) = await stage.ask(GITLAB.hooks(base, place))
    assert (found.active, found.wanted) == (False, True)
    assert not (await stage.ask(GITLAB.update_hook(base, place, made.id, stage.wish))).active
    stage.status = 202
    assert (await stage.ask(GITLAB.update_hook(base, place, made.id, stage.wish))).active
    assert (await stage.ask(GITLAB.hooks(base, place)))[0].active


async def test_everything_that_is_told_is_understood_here_and_elsewhere(stage: Stage) -> None:
    fake, repository = stage.fake, stage.repository
    made = await stage.ask(GITLAB.create_hook(fake.base, stage.place, stage.wish))
    first = await fake.commit(repository, {"a": "1"}, "First")
    branch = await fake.commit(repository, {"a": "2"}, "Größe\n\n[skip ci]", branch="feature/x#1")
    await fake.delete_branch(repository, "feature/x#1")
    again = await fake.commit(repository, {"a": "3"}, "Again", branch="feature/x#1")
    forced = await fake.commit(repository, {"a": "4"}, "Forced", branch="feature/x#1", parent=first)
    await fake.tag(repository, "v1", first)
    await fake.tag(repository, "v2", first, annotated=True)
    await fake.delete_tag(repository, "v1")
    for each in fake.deliveries:
        valid(each)
    ref = "refs/heads/feature/x#1"
    assert [read(each, made.scheme) for each in fake.deliveries] == [
        Push("refs/heads/main", first, "First\n", "ada"),
        Push(ref, branch, "Größe\n\n[skip ci]\n", "ada"),
        Push(ref, None, "", "ada"),
        Push(ref, again, "Again\n", "ada"),
        Push(ref, forced, "Forced\n", "ada"),
        Push("refs/tags/v1", first, "First\n", "ada"),
        Push("refs/tags/v2", first, "First\n", "ada"),
        Push("refs/tags/v1", None, "", "ada"),
    ]


async def test_the_life_of_merge_requests(stage: Stage) -> None:
    fake, repository = stage.fake, stage.repository
    await fake.commit(repository, {"a": "1"})
    made = await stage.ask(GITLAB.create_hook(fake.base, stage.place, stage.wish))
    one = await fake.open_pull(repository, "change", {"b": "1"}, "A change")
    head = await fake.push_pull(repository, one, {"b": "2"})
    await fake.retarget_pull(repository, one, "other")
    two = await fake.open_pull(repository, "theirs", {"c": "1"}, "Of a fork", fork=True)
    listed = await stage.ask(GITLAB.pull_requests(fake.base, stage.place))
    assert [(each.number, each.commit, each.base, each.fork) for each in listed] == [
        (two, repository.pulls[two].head, "main", True),
        (one, head, "other", False),
    ]
    await fake.close_pull(repository, one)
    await fake.close_pull(repository, two, merged=True)
    assert await stage.ask(GITLAB.pull_requests(fake.base, stage.place)) == ()
    for each in fake.deliveries:
        valid(each)
    read_all = [read(each, made.scheme) for each in fake.deliveries]
    changes = [each for each in read_all if isinstance(each, PullRequestChange)]
    assert [(each.pull.number, each.action, each.pull.base) for each in changes] == [
        (one, "opened", "main"),
        (one, "updated", "main"),
        (one, "updated", "other"),
        (two, "opened", "main"),
        (one, "closed", "other"),
        (two, "closed", "main"),
    ]
    assert (changes[1].pull.commit, changes[1].pull.author) == (head, "ada")
    assert changes[3].pull == replace(listed[0], source_url=f"{fake.base}/stranger/shop.git")
    assert listed[1] == replace(changes[2].pull, source_url="")


async def test_a_delivery_that_is_sent_again_has_the_same_key_and_a_new_proof(stage: Stage) -> None:
    made = await stage.ask(GITLAB.create_hook(stage.fake.base, stage.place, stage.wish))
    await stage.fake.commit(stage.repository, {"a": "1"})
    (sent,) = stage.fake.deliveries
    again = await stage.fake.redeliver(sent)
    assert read(again, made.scheme) == read(sent, made.scheme)
    assert GITLAB.key(again.headers, again.body) == GITLAB.key(sent.headers, sent.body)
    await stage.fake.commit(stage.repository, {"a": "2"})
    other = stage.fake.deliveries[-1]
    assert GITLAB.key(other.headers, other.body) != GITLAB.key(sent.headers, sent.body)


async def test_who_may_not_make_hooks_is_told_what_is_missing(stage: Stage) -> None:
    base, place = stage.fake.base, stage.place
    narrow = Credential("token", stage.fake.make_token(stage.ada, ("read_api",)))
    trouble = await stage.trouble(GITLAB.create_hook(base, place, stage.wish), narrow)
    assert (trouble.trouble, "api and read_repository" in trouble.next_step) == (Trouble.FORBIDDEN, True)
    bob = stage.fake.add_user("bob")
    stage.repository.roles[bob.id] = "write"
    developer = Credential("token", stage.fake.make_token(bob))
    trouble = await stage.trouble(GITLAB.create_hook(base, place, stage.wish), developer)
    assert (trouble.trouble, "Maintainer" in trouble.next_step) == (Trouble.FORBIDDEN, True)
    assert not (await stage.ask(GITLAB.located(base, place.id), developer)).administered
    stranger = Credential("token", stage.fake.make_token(stage.fake.add_user("eve")))
    assert (await stage.trouble(GITLAB.hooks(base, place), stranger)).trouble is Trouble.MISSING
    trouble = await stage.trouble(GITLAB.create_hook(base, place, HookWish("ftp://x", SECRET)))
    assert (trouble.trouble, "Outbound requests" in trouble.next_step) == (Trouble.INVALID, True)
    assert stage.fake.hooks(stage.repository) == []
