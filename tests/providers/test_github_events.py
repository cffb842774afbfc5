"""What GitHub's deliveries tell, by recorded ones: see payloads/README.md."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from multidict import CIMultiDict

from godploy.errors import Invalid
from godploy.providers.github import GITHUB
from godploy.providers.protocol import Event, Ping, PullRequest, PullRequestChange, Push, Uninteresting

_RECORDED = json.loads((Path(__file__).parent / "payloads" / "github.json").read_text())
_COMMIT, _HEAD = "6113728f27ae82c7b1a177c8d03f9e96e0adf246", "ec26c3e57ca3a959ca5aad62de7213c562f8c821"
_OTHER, _SHA256 = "da" * 20, "ab" * 32
_PULL = PullRequest(
    number=2,
    title="Update the README with new information.",
    commit=_HEAD,
    branch="changes",
    base="master",
    url="https://github.com/Codertocat/Hello-World/pull/2",
    author="Codertocat",
)
_KIND = Uninteresting("deliveries of this kind change nothing")
_NO_REF = Uninteresting("it names neither a branch nor a tag that can be read")
_NO_COMMIT = Uninteresting("it names no commit that can be read")
_NO_PULL = Uninteresting("it names no pull request that can be read")
_UNCHANGED = Uninteresting("neither the commits of the pull request nor where they go have changed")
_PUSH_TELLS = Uninteresting("the push that comes with it tells of a branch or tag made or deleted")

Change = Callable[[dict[str, Any]], object]


def _read(event: str, body: bytes) -> Event:
    (found,) = GITHUB.events(CIMultiDict({"x-github-event": event}), body)
    return found


def _told(name: str, change: Change = lambda tree: None) -> Event:
    tree = copy.deepcopy(_RECORDED[name]["body"])
    change(tree)
    return _read(_RECORDED[name]["event"], json.dumps(tree).encode())


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("ping", Ping()),
        ("push_branch", Push("refs/heads/master", _COMMIT, "Initial commit", "Codertocat")),
        ("push_tag", Push("refs/tags/simple-tag", _COMMIT, "Adding a .gitignore file", "Codertocat")),
        ("push_tag_deleted", Push("refs/tags/simple-tag", None, pusher="Codertocat")),
        ("pull_request_opened", PullRequestChange("opened", _PULL)),
        ("pull_request_reopened", PullRequestChange("opened", _PULL)),
        ("pull_request_synchronize", PullRequestChange("updated", _PULL)),
        ("pull_request_closed", PullRequestChange("closed", _PULL)),
        ("pull_request_labeled", _UNCHANGED),
        ("create_tag", _PUSH_TELLS),
        ("delete_tag", _PUSH_TELLS),
        ("status", _KIND),
    ],
)
def test_a_recorded_delivery_tells(name: str, told: Event) -> None:
    assert _told(name) == told


def _commits(tree: dict[str, Any], head: Any, *ids: str) -> None:
    tree["head_commit"] = head
    tree["commits"] = [{"id": id, "message": f"About {id[:2]}"} for id in ids]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda tree: tree.update(ref="refs/heads/feature/x"), ("refs/heads/feature/x", _COMMIT)),
        (lambda tree: tree.update(ref="refs/heads/a#b"), ("refs/heads/a#b", _COMMIT)),
        (lambda tree: tree.update(ref="refs/heads/100%"), ("refs/heads/100%", _COMMIT)),
        (lambda tree: tree.update(ref="refs/heads/größe-日本"), ("refs/heads/größe-日本", _COMMIT)),
        (lambda tree: tree.update(ref="refs/heads/refs/tags/x"), ("refs/heads/refs/tags/x", _COMMIT)),
        (lambda tree: tree.update(forced=True, before=_OTHER), ("refs/heads/master", _COMMIT)),
        (lambda tree: tree.update(after=_SHA256), ("refs/heads/master", _SHA256)),
        (lambda tree: tree.update(after="0" * 40, deleted=True, head_commit=None), ("refs/heads/master", None)),
        (lambda tree: tree.update(after="0" * 64), ("refs/heads/master", None)),
        (lambda tree: tree.update(after="0" * 48), ("refs/heads/master", None)),
    ],
)
def test_a_push_tells_its_ref_and_commit(change: Change, told: tuple[str, str | None]) -> None:
    found = _told("push_branch", change)
    assert isinstance(found, Push)
    assert (found.ref, found.commit) == told


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tree: _commits(tree, None, _OTHER, _COMMIT), "About 61"),
        (lambda tree: _commits(tree, None, _COMMIT, _OTHER), "About 61"),
        (lambda tree: _commits(tree, {"id": _COMMIT, "message": "[skip ci]"}), "[skip ci]"),
        (lambda tree: _commits(tree, {"id": _OTHER, "message": "[skip ci]"}), ""),
        (lambda tree: _commits(tree, {"id": _COMMIT, "message": 7}), ""),
        (lambda tree: tree.update(head_commit=[], commits="none"), ""),
    ],
)
def test_the_message_is_that_of_the_head_by_its_id(change: Change, message: str) -> None:
    found = _told("push_branch", change)
    assert isinstance(found, Push)
    assert found.message == message


def test_an_annotated_tag_leads_to_its_commit() -> None:
    found = _told("push_tag", lambda tree: tree.update(after=_OTHER))
    assert found == Push("refs/tags/simple-tag", _COMMIT, "Adding a .gitignore file", "Codertocat")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda tree: tree.update(ref="refs/pull/2/head"), _NO_REF),
        (lambda tree: tree.update(ref="master"), _NO_REF),
        (lambda tree: tree.update(ref="refs/heads/-c"), _NO_REF),
        (lambda tree: tree.update(ref="refs/heads/a..b"), _NO_REF),
        (lambda tree: tree.update(ref="refs/heads/\ud800"), _NO_REF),
        (lambda tree: tree.update(ref=["refs/heads/x"]), _NO_REF),
        (lambda tree: tree.pop("ref"), _NO_REF),
        (lambda tree: tree.update(after="--upload-pack=x"), _NO_COMMIT),
        (lambda tree: tree.update(after=_COMMIT.upper()), _NO_COMMIT),
        (lambda tree: tree.update(after=_COMMIT[:12]), _NO_COMMIT),
        (lambda tree: tree.update(after=None), _NO_COMMIT),
        (lambda tree: tree.update(after=""), _NO_COMMIT),
    ],
)
def test_a_push_that_cannot_be_read_is_uninteresting(change: Change, told: Event) -> None:
    assert _told("push_branch", change) == told


def _edited(tree: dict[str, Any], **changes: Any) -> None:
    tree.update(action="edited", changes=changes)


def _from_fork(tree: dict[str, Any], clone_url: Any = "https://github.com/stranger/Hello-World.git") -> None:
    tree["pull_request"]["head"]["repo"].update(id=9, clone_url=clone_url)


@pytest.mark.parametrize(
    ("change", "action", "fork", "source_url"),
    [
        (lambda tree: _edited(tree, base={"ref": {"from": "main"}}), "updated", False, ""),
        (_from_fork, "opened", True, "https://github.com/stranger/Hello-World.git"),
        (lambda tree: _from_fork(tree, 7), "opened", True, ""),
        (lambda tree: tree["pull_request"]["head"].update(repo=None), "opened", True, ""),
        (lambda tree: tree["pull_request"]["base"].update(repo=None), "opened", True, None),
    ],
)
def test_a_pull_request_tells(change: Change, action: str, fork: bool, source_url: str | None) -> None:
    found = _told("pull_request_opened", change)
    assert isinstance(found, PullRequestChange)
    assert (found.action, found.pull.commit, found.pull.fork) == (action, _HEAD, fork)
    assert source_url is None or found.pull.source_url == source_url


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda tree: _edited(tree, title={"from": "Old"}), _UNCHANGED),
        (lambda tree: tree.update(action="ready_for_review"), _UNCHANGED),
        (lambda tree: tree.update(action=["opened"]), _UNCHANGED),
        (lambda tree: tree.update(pull_request=None), _NO_PULL),
        (lambda tree: tree["pull_request"].update(number="2"), _NO_PULL),
        (lambda tree: tree["pull_request"].update(number=2**70), _NO_PULL),
        (lambda tree: tree["pull_request"].update(head=[]), _NO_PULL),
        (lambda tree: tree["pull_request"]["head"].update(sha="HEAD"), _NO_PULL),
        (lambda tree: tree["pull_request"]["head"].update(ref="-x"), _NO_PULL),
        (lambda tree: tree["pull_request"]["base"].update(ref=""), _NO_PULL),
    ],
)
def test_a_pull_request_that_changes_nothing_or_cannot_be_read_is_uninteresting(change: Change, told: Event) -> None:
    assert _told("pull_request_opened", change) == told


@pytest.mark.parametrize("event", ["deployment_status", "PUSH", "größe", "x" * 5000])
def test_another_kind_is_uninteresting_and_not_repeated(event: str) -> None:
    assert _read(event, b"{}") == _KIND


@pytest.mark.parametrize(
    ("event", "body"),
    [
        ("push", b""),
        ("push", b"\xff\xfe{}"),
        ("push", b"payload=%7B%7D"),
        ("ping", b"[]"),
        ("push", b"[" * 100_000),
        ("pull_request", b'{"number": NaN'),
        ("", b"{}"),
    ],
)
def test_a_body_that_is_not_as_documented_is_refused(event: str, body: bytes) -> None:
    with pytest.raises(Invalid):
        _read(event, body)
