"""Pushes that are not the usual one, at every provider: odd names, tags, deletions, replaced history, marks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from godploy.deploy import poller
from tests.api.conftest import until
from tests.providers.fakes import bare
from tests.providers.fakes.state import Moved
from tests.providers.whole import FAKES, WORDS, Whole, manifest, whole

PREVIEW = "refs/heads/preview"
FED = "environments:\n  production: {branch: main}\n  preview: {branch: '%s'}\n"
BY_TAG = "environments:\n  production: {branch: main}\n  released: {tag: 'v*'}\n"


@pytest.fixture(params=sorted(FAKES))
async def it(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Whole]:
    async with whole(tmp_path, request.param) as made:
        yield made


async def begun(it: Whole, more: str = "") -> str:
    """The first commit, live; `more` of its manifest."""
    first = await it.fake.commit(it.shop, {"godploy.yaml": manifest(1)["godploy.yaml"] + more})
    await it.attach((await it.connect())["name"])
    await it.status(first, WORDS[it.provider][1])
    return first


async def verdicts(it: Whole) -> list[str]:
    """Newest first."""
    return [each["verdict"] for each in await it.deliveries()]


async def commits(it: Whole) -> list[str]:
    """What was deployed, newest first."""
    return [each["commit"] for each in await it.deployments()]


@pytest.mark.parametrize("branch", ["feature/x", "fix#12", "100%", "50%25off", "zweig-ü-日本", "a&b=c", "plus+1"])
async def test_names_of_branches(it: Whole, branch: str) -> None:
    await begun(it, FED % branch)
    head = await it.fake.commit(it.shop, manifest(2), branch=branch)
    deployed = await it.deployed(head)
    assert (deployed["environment"], deployed["branch"]) == ("preview", branch)
    await it.status(head, WORDS[it.provider][1], "godploy/shop/preview")


async def test_a_pattern_of_branches(it: Whole) -> None:
    await begun(it, FED % "feature/*")
    other = await it.fake.commit(it.shop, manifest(3), branch="other")
    head = await it.fake.commit(it.shop, manifest(2), branch="feature/one/two")
    assert (await it.deployed(head))["environment"] == "preview"
    assert any(text == f"{other[:7]} on other: the branch feeds no environment" for text in await verdicts(it))
    assert other not in await commits(it)


async def test_a_tag_where_branches_feed(it: Whole) -> None:
    first = await begun(it)
    await it.fake.tag(it.shop, "v1", first)
    assert "the tag v1 feeds no environment" in await verdicts(it)
    assert await commits(it) == [first]


@pytest.mark.parametrize("annotated", [False, True])
async def test_a_tag_that_feeds(it: Whole, annotated: bool) -> None:
    first = await begun(it, BY_TAG)
    await it.fake.tag(it.shop, "v1", first, annotated=annotated)
    await it.deliveries()
    found = [each for each in await it.deployments() if each["environment"] == "released"]
    assert [each["commit"] for each in found] == [first]
    await it.fake.delete_tag(it.shop, "v1")
    assert "the tag v1 was deleted: nothing to deploy" in await verdicts(it)
    assert len(await it.deployments()) == 2


async def test_a_branch_that_is_deleted_and_made_again(it: Whole) -> None:
    await begun(it, FED % "preview")
    head = await it.fake.commit(it.shop, manifest(2), branch="preview")
    await it.deployed(head)
    await it.fake.delete_branch(it.shop, "preview")
    gone = "the branch preview is not in the repository any more: nothing to deploy"
    assert gone in await verdicts(it)
    count = len(await it.deployments())
    again = await it.fake.commit(it.shop, manifest(3), branch="preview")
    assert (await it.deployed(again))["environment"] == "preview"
    assert len(await it.deployments()) == count + 1


async def test_history_that_was_replaced(it: Whole) -> None:
    """The newest push counts, also where it goes back to what the history was before."""
    first = await begun(it)
    second = await it.fake.commit(it.shop, manifest(2))
    await it.deployed(second)
    forced = await it.fake.commit(it.shop, manifest(3), parent=first)
    deployed = await it.deployed(forced)
    assert deployed["kind"] == "push"
    assert (await commits(it))[0] == forced
    old = next(each for each in it.fake.deliveries if second.encode() in each.body and forced.encode() not in each.body)
    assert (await it.fake.redeliver(old)).status in (200, 202)
    await it.deliveries()
    assert await commits(it) == [forced, second, first]


@pytest.mark.parametrize("mark", ["[skip ci]", "[CI SKIP]", "[skip deploy]"])
async def test_a_commit_that_asks_not_to_be_deployed(it: Whole, mark: str) -> None:
    first = await begun(it)
    skipped = await it.fake.commit(it.shop, manifest(2), message=f"Only words {mark}")
    verdict = f"{skipped[:7]} on main: its message says {mark}, so it is not deployed"
    assert verdict in await verdicts(it)
    await poller.catch_up(it.site.services, await it.row())
    await it.deliveries()
    assert await commits(it) == [first]
    third = await it.fake.commit(it.shop, manifest(3))
    await it.deployed(third)


async def test_a_skipped_commit_that_no_delivery_told(it: Whole) -> None:
    first = await begun(it)
    skipped = await it.fake.commit(it.shop, manifest(2), message="Only words [skip ci]", deliver=False)
    await poller.catch_up(it.site.services, await it.row())
    assert f"{skipped[:7]} on main: its message says [skip ci], so it is not deployed" in await verdicts(it)
    assert await commits(it) == [first]


async def test_a_push_that_tells_no_commits(it: Whole) -> None:
    """As a branch that is made at a known commit is told."""
    first = await begun(it, FED % "preview")
    await it.fake.commit(it.shop, {}, branch="preview", parent=first, message="Nothing [skip ci]", deliver=False)
    event, tree = (
        await it.fake.push_events(it.shop, Moved(PREVIEW, first, await bare.resolve(it.shop.directory, PREVIEW)))
    )[0]
    for emptied in (tree, *tree.get("push", {}).get("changes", ())):
        for name in ("commits", "head_commit"):
            if name in emptied:
                emptied[name] = [] if name == "commits" else None
    sent = await it.fake.send(it.shop, it.fake.hooks(it.shop)[0], event, tree)
    assert sent.status == 202
    newest, *_ = await verdicts(it)
    assert "its message says [skip ci]" in newest  # read in git, since nobody told it


async def test_two_changes_in_one_delivery(tmp_path: Path) -> None:
    """Bitbucket tells of all refs of a push at once: each is decided by itself."""
    async with whole(tmp_path, "bitbucket") as it:
        first = await begun(it, FED % "preview")
        second = await it.fake.commit(it.shop, manifest(2), deliver=False)
        other = await it.fake.commit(it.shop, manifest(3), branch="preview", deliver=False)
        trees = [
            await it.fake.push_events(it.shop, Moved(ref, before, after))
            for ref, before, after in (("refs/heads/main", first, second), (PREVIEW, None, other))
        ]
        (event, tree), (_, more) = trees[0][0], trees[1][0]
        tree["push"]["changes"] += more["push"]["changes"]
        before = len(await it.deliveries())
        sent = await it.fake.send(it.shop, it.fake.hooks(it.shop)[0], event, tree)
        assert sent.status == 202
        await it.deployed(second)
        assert (await it.deployed(other))["environment"] == "preview"
        kept = (await it.deliveries())[:-before]
        assert {each["commit"] for each in kept} == {second, other}
        assert len({each["key"] for each in kept}) == 2
        assert (await it.fake.redeliver(sent)).status == 200
        assert len(await it.deliveries()) == before + 2


async def test_a_pull_request_that_goes_elsewhere(it: Whole) -> None:
    first = await begun(it, FED % "preview")
    await it.fake.commit(it.shop, manifest(3), branch="preview", parent=first)
    number = await it.fake.open_pull(it.shop, "topic", manifest(2))
    head = it.shop.pulls[number].head
    assert (await it.status(head, WORDS[it.provider][1], "godploy/plan"))["description"] == "updates web"
    await it.fake.commit(it.shop, {}, branch="elsewhere", parent=first)
    await it.fake.retarget_pull(it.shop, number, "elsewhere")
    newest, *_ = await verdicts(it)
    assert newest == f"pull request {number} at {head[:7]}: elsewhere feeds no environment"

    async def told() -> bool:
        return any(each["description"] == "elsewhere feeds no environment" for each in it.fake.statuses(it.shop, head))

    await until(told)
    assert head not in await commits(it)


async def test_a_pull_request_whose_fork_is_gone(it: Whole) -> None:
    """It has a head where the provider keeps that, and is harmless where it does not."""
    first = await begun(it)
    number = await it.fake.open_pull(it.shop, "topic", manifest(2), fork=True)
    pull = it.shop.pulls[number]
    event, tree = (await it.fake.pull_events(it.shop, pull, "opened"))[0]
    about = tree.get("pull_request") or tree.get("pullrequest") or tree
    match it.provider:
        case "github" | "gitea":
            about["head"]["repo"] = None
        case "bitbucket":
            about["source"]["repository"] = None
        case "gitlab":
            about["object_attributes"]["source"] = None
            about["object_attributes"]["source_project_id"] = None
    assert (await it.fake.send(it.shop, it.fake.hooks(it.shop)[0], event, tree)).status == 202
    newest, *_ = await verdicts(it)
    gone = "its head is in another repository, which is not there any more"
    assert gone in newest if it.provider == "bitbucket" else f"pull request {number} at {pull.head[:7]}" in newest
    assert await commits(it) == [first]


@pytest.mark.parametrize("provider", sorted(FAKES))
async def test_a_repository_with_longer_hashes(tmp_path: Path, provider: str) -> None:
    """Its commits have 64 digits, and are like others."""
    async with whole(tmp_path, provider) as it:
        it.shop = it.fake.add_repository(it.ada, "ada/long", object_format="sha256")
        await it.fake.commit(it.shop, manifest(1))
        await it.attach((await it.connect())["name"])
        second = await it.fake.commit(it.shop, manifest(2))
        assert len(second) == 64
        await it.deployed(second)
        await it.status(second, WORDS[provider][1])
        number = await it.fake.open_pull(it.shop, "feature/x", manifest(3), title="Newer")
        await it.status(it.shop.pulls[number].head, WORDS[provider][1], "godploy/plan")
