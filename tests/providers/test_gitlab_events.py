"""What GitLab's deliveries tell, by recorded ones: see payloads/README.md."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from multidict import CIMultiDict

from godploy.errors import Invalid
from godploy.providers.gitlab import GITLAB
from godploy.providers.protocol import Event, PullRequest, PullRequestChange, Push, Uninteresting

_RECORDED = json.loads((Path(__file__).parent / "payloads" / "gitlab.json").read_text())
_HEAD = "da1560886d4f094c3e6c9ef40349f7d38b5d27d7"
_TAG_OBJECT = "82b3d5ae55f7080f1e6022629cdb57bfae7cccc7"
_SHA256 = "ab" * 32
_BOTH = "Merge branch 'some-feature' into 'master'\n\nRelease v1.0.0\n\nSee merge request jsmith/example!1"

Change = Callable[[dict[str, Any]], object]


def _read(event: str, body: bytes) -> Event:
    (found,) = GITLAB.events(CIMultiDict({"X-Gitlab-Event": event}), body)
    return found


def _told(name: str, event: str, change: Change = lambda tree: None) -> Event:
    tree = copy.deepcopy(_RECORDED[f"webhooks/{name}"])
    change(tree)
    return _read(event, json.dumps(tree).encode())


def _push(**changes: Any) -> Event:
    return _told("push", "Push Hook", lambda tree: tree.update(changes))


def _tag(**changes: Any) -> Event:
    return _told("tag_push", "Tag Push Hook", lambda tree: tree.update(changes))


def _merge_request(changed: dict[str, Any] | None = None, **attributes: Any) -> Event:
    def change(tree: dict[str, Any]) -> None:
        tree["object_attributes"].update(attributes)
        tree["changes"] = changed or {}

    return _told("merge_request", "Merge Request Hook", change)


def test_a_recorded_push_tells_its_head_by_its_id() -> None:
    assert _push() == Push("refs/heads/master", _HEAD, "fixed readme\n", "jsmith")
    commits = _RECORDED["webhooks/push"]["commits"]
    assert _push(commits=commits[::-1]) == _push()
    assert _push(after=commits[0]["id"], checkout_sha=commits[0]["id"]).message == _BOTH  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "name", ["feature/x", "fix-#12", "50%", "größe", "日本", "a.b_c-d", "x" * 255], ids=lambda name: name[:10]
)
def test_a_branch_may_be_called_so(name: str) -> None:
    assert _push(ref=f"refs/heads/{name}") == Push(f"refs/heads/{name}", _HEAD, "fixed readme\n", "jsmith")


@pytest.mark.parametrize("zeros", [40, 64, 7])
def test_all_zeros_is_a_deletion(zeros: int) -> None:
    gone = {"after": "0" * zeros, "checkout_sha": None, "commits": [], "total_commits_count": 0}
    assert _push(**gone) == Push("refs/heads/master", None, "", "jsmith")
    assert _tag(**gone) == Push("refs/tags/v1.0.0", None, "", "jsmith")


def test_a_recorded_tag() -> None:
    assert _tag() == Push("refs/tags/v1.0.0", _TAG_OBJECT, _BOTH, "jsmith")


def test_an_annotated_tag_tells_the_commit_that_it_leads_to() -> None:
    commits = [{"id": _HEAD, "message": "fixed"}]
    assert _tag(checkout_sha=_HEAD, commits=commits) == Push("refs/tags/v1.0.0", _HEAD, "fixed", "jsmith")
    assert _tag(checkout_sha=None, commits=[]) == Push("refs/tags/v1.0.0", _TAG_OBJECT, "", "jsmith")


def test_a_repository_of_sha256_and_a_push_without_commits() -> None:
    assert _push(before="0" * 64, after=_SHA256, checkout_sha=_SHA256, commits=[]) == Push(
        "refs/heads/master", _SHA256, "", "jsmith"
    )


def test_a_forced_push_is_one_like_any_other() -> None:
    assert _push(before="cd" * 20, commits=[]) == Push("refs/heads/master", _HEAD, "", "jsmith")


_PULL = PullRequest(
    number=1,
    title="MS-Viewport",
    commit=_HEAD,
    branch="ms-viewport",
    base="master",
    url="http://example.com/diaspora/merge_requests/1",
)


@pytest.mark.parametrize(
    ("action", "attributes", "changed", "told"),
    [
        ("open", {}, {}, "opened"),
        ("reopen", {}, {}, "opened"),
        ("close", {}, {}, "closed"),
        ("merge", {}, {}, "closed"),
        ("update", {"oldrev": "ab" * 20}, {}, "updated"),
        ("update", {}, {"target_branch": {"previous": "old", "current": "master"}}, "updated"),
        ("update", {}, {"title": {"previous": "a", "current": "b"}}, None),
        ("update", {"oldrev": None}, {}, None),
        ("open", {"oldrev": ""}, {}, "opened"),
        ("approved", {}, {}, None),
        ("approved", {"oldrev": "ab" * 20}, {"target_branch": {}}, None),
        ("unapproval", {}, {}, None),
        ("something new", {}, {}, None),
        (None, {}, {}, None),
    ],
)
def test_actions_of_merge_requests(
    action: str | None, attributes: dict[str, Any], changed: dict[str, Any], told: str | None
) -> None:
    found = _merge_request(changed, action=action, **attributes)
    if told is None:
        assert found == Uninteresting("the merge request changed in nothing that concerns its code")
    else:
        assert found == PullRequestChange(told, _PULL)


def test_a_merge_request_of_its_author() -> None:
    found = _merge_request(author_id=42)
    assert isinstance(found, PullRequestChange)
    assert found.pull.author == "user1"


def test_a_merge_request_of_a_fork_and_one_whose_fork_is_gone() -> None:
    found = _merge_request(source_project_id=99)
    assert isinstance(found, PullRequestChange)
    assert (found.pull.fork, found.pull.source_url) == (True, "http://example.com/awesome_space/awesome_project.git")
    gone = {"source_project_id": None, "source": None, "last_commit": None}
    closed = _merge_request(action="close", **gone)
    assert isinstance(closed, PullRequestChange)
    assert (closed.action, closed.pull.fork, closed.pull.source_url, closed.pull.commit) == ("closed", True, "", "")
    assert isinstance(_merge_request(action="open", **gone), Uninteresting)


def test_an_address_that_is_no_web_address_is_not_passed_on() -> None:
    found = _merge_request(url="javascript:alert(1)", source_project_id=99, source={"git_http_url": "file:///etc"})
    assert isinstance(found, PullRequestChange)
    assert (found.pull.url, found.pull.source_url) == ("", "")


_HOSTILE = "..\x1b[31m evil"


@pytest.mark.parametrize(
    "found",
    [
        lambda: _push(ref="refs/merge-requests/1/head"),
        lambda: _push(ref="master"),
        lambda: _push(ref=""),
        lambda: _push(ref="refs/heads/"),
        lambda: _push(ref="refs/heads/-x"),
        lambda: _push(ref=f"refs/heads/{_HOSTILE}"),
        lambda: _push(ref="refs/heads/a\u202eb"),
        lambda: _push(after=_HOSTILE),
        lambda: _push(after=_HEAD.upper()),
        lambda: _push(after=_HEAD[:12]),
        lambda: _tag(after=_HOSTILE, checkout_sha=_HOSTILE),
        lambda: _merge_request(source_branch=_HOSTILE),
        lambda: _merge_request(target_branch=None),
        lambda: _merge_request(last_commit={"id": _HOSTILE}),
        lambda: _merge_request(last_commit=[]),
        lambda: _merge_request(action=_HOSTILE),
        lambda: _told("pipeline", "Pipeline Hook"),
        lambda: _told("note_merge_request", "Note Hook"),
        lambda: _told("push", "System Hook"),
        lambda: _told("push", "push hook"),
        lambda: _told("push", ""),
        lambda: _told("push", _HOSTILE),
    ],
)
def test_what_is_authentic_and_of_no_use_is_told_so_in_own_words(found: Callable[[], Event]) -> None:
    event = found()
    assert isinstance(event, Uninteresting)
    assert event.reason
    assert "evil" not in event.reason
    assert "\x1b" not in event.reason


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"push"',
        b"{}",
        b"payload=%7B%7D",
        b'{"ref": "refs/heads/main", "message": "\xff"}',
        b'{"ref": 1, "after": "' + _HEAD.encode() + b'"}',
        b'{"ref": "refs/heads/main"}',
        b'{"ref": "refs/heads/main", "after": ""}',
        b'{"ref": "refs/heads/main", "after": [1]}',
        b'{"object_attributes": {"iid": 0}}',
        b'{"object_attributes": {"iid": true}}',
        b'{"object_attributes": {"iid": -1, "action": "open"}}',
        b'{"object_attributes": {"iid": 99999999999999999999}}',
        b'{"object_attributes": [1]}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
    ids=lambda body: body[:30].decode(errors="replace"),
)
@pytest.mark.parametrize("event", ["Push Hook", "Tag Push Hook", "Merge Request Hook"])
def test_a_body_that_is_not_as_documented_is_invalid(event: str, body: bytes) -> None:
    with pytest.raises(Invalid):
        _read(event, body)


@pytest.mark.parametrize("junk", [None, 1, True, "x", [], {}, [None], {"id": []}, [[[]]]])
@pytest.mark.parametrize("name", sorted({*_RECORDED["webhooks/push"]} - {"ref", "after"}))
def test_any_other_part_of_a_push_may_be_anything(name: str, junk: Any) -> None:
    found = _push(**{name: junk})
    assert isinstance(found, Push)
    assert (found.ref, found.commit) == ("refs/heads/master", _HEAD)


@pytest.mark.parametrize("junk", [None, 1, True, "x", [], {}, [None], {"id": []}, [[[]]]])
@pytest.mark.parametrize("name", sorted({*_RECORDED["webhooks/merge_request"]["object_attributes"]}))
def test_a_merge_request_with_anything_in_a_part_of_it_breaks_nothing(name: str, junk: Any) -> None:
    try:
        assert isinstance(_merge_request(**{name: junk}), PullRequestChange | Uninteresting)
    except Invalid:
        assert name == "iid"
