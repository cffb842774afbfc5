"""What Bitbucket's deliveries prove and tell; the bodies in `payloads/bitbucket` are recorded ones."""

from __future__ import annotations

import copy
import hashlib
import hmac
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from multidict import CIMultiDict

from godploy.errors import Invalid
from godploy.providers import proofs
from godploy.providers.bitbucket import BITBUCKET
from godploy.providers.protocol import Event, PullRequest, PullRequestChange, Push, Uninteresting

RECORDED = Path(__file__).parent / "payloads" / "bitbucket"
SECRET, OLD_SECRET = "5e" * 32, "0d" * 32
BODY = b'{"push": {"changes": []}}'
NEWEST = "141977fedf5cf35aa290ac87d4b5177ac4cd9de1"


def recorded(name: str) -> Any:
    return json.loads((RECORDED / f"{name}.json").read_text())


def events(event: str, tree: Any) -> list[Event]:
    return list(BITBUCKET.events(CIMultiDict({"x-event-key": event}), json.dumps(tree).encode()))


def signature(secret: str = SECRET, body: bytes = BODY, digest: str = "sha256") -> str:
    return f"{digest}={hmac.new(secret.encode(), body, digest).hexdigest()}"


def pull(**other: Any) -> PullRequest:
    usual: dict[str, Any] = {
        "number": 1,
        "title": "Awesome new feature",
        "commit": "507a576e59b3",
        "branch": "develop",
        "base": "master",
        "url": "https://bitbucket.org/brydzewski/foo/pull-requests/1",
        "author": "brydzewski",
    }
    return PullRequest(**{**usual, **other})


DECLINED = pull(
    number=2,
    title="update README",
    commit="6ca9fe26898a",
    url="https://bitbucket.org/brydzewski/foo/pull-requests/2",
)


@pytest.mark.parametrize(
    ("name", "event", "expected"),
    [
        ("push", "repo:push", Push("refs/heads/master", NEWEST, "Update README\n", "brydzewski")),
        ("push_branch_create", "repo:push", Push("refs/heads/develop", NEWEST, "Update README\n", "brydzewski")),
        ("push_branch_delete", "repo:push", Push("refs/heads/develop", None, "", "brydzewski")),
        ("push_tag_create", "repo:push", Push("refs/tags/feature/x", NEWEST, "Update README\n", "brydzewski")),
        ("pr_created", "pullrequest:created", PullRequestChange("opened", pull())),
        ("pr_updated", "pullrequest:updated", PullRequestChange("updated", pull(commit="0704fc5beccc"))),
        ("pr_updated", "pullrequest:push", PullRequestChange("updated", pull(commit="0704fc5beccc"))),
        ("pr_declined", "pullrequest:rejected", PullRequestChange("closed", DECLINED)),
        ("pr_declined", "pullrequest:fulfilled", PullRequestChange("closed", DECLINED)),
    ],
)
def test_recorded_deliveries_are_understood(name: str, event: str, expected: Event) -> None:
    assert events(event, recorded(name)) == [expected]


def test_each_ref_that_one_push_moved_is_an_event() -> None:
    several = recorded("push")
    for other in ("push_branch_delete", "push_tag_create"):
        several["push"]["changes"] += recorded(other)["push"]["changes"]
    assert [(each.ref, each.commit) for each in events("repo:push", several) if isinstance(each, Push)] == [
        ("refs/heads/master", NEWEST),
        ("refs/heads/develop", None),
        ("refs/tags/feature/x", NEWEST),
    ]


def test_one_change_that_cannot_be_read_does_not_hide_the_others() -> None:
    several = recorded("push")
    several["push"]["changes"].insert(0, {"new": {"type": "branch", "name": "-x", "target": {"hash": NEWEST}}})
    first, second = events("repo:push", several)
    assert isinstance(first, Uninteresting) and "-x" not in first.reason
    assert isinstance(second, Push) and second.commit == NEWEST


Change = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda c: c["new"].update(name="feature/x"), Push("refs/heads/feature/x", NEWEST, "Update README\n")),
        (lambda c: c["new"].update(name="fix-#7-100%"), Push("refs/heads/fix-#7-100%", NEWEST, "Update README\n")),
        (lambda c: c["new"].update(name="prüfung/ü"), Push("refs/heads/prüfung/ü", NEWEST, "Update README\n")),
        (lambda c: c.update(forced=True), Push("refs/heads/master", NEWEST, "Update README\n")),
        (lambda c: c.pop("commits"), Push("refs/heads/master", NEWEST, "Update README\n")),
        (lambda c: c.update(commits=[]), Push("refs/heads/master", NEWEST, "Update README\n")),
        (lambda c: c["new"]["target"].pop("message"), Push("refs/heads/master", NEWEST, "Update README\n")),
        (lambda c: c["new"]["target"].update(hash="a" * 64, message="m"), Push("refs/heads/master", "a" * 64, "m")),
        (lambda c: c["new"]["target"].update(hash="0" * 40), Push("refs/heads/master", None)),
        (lambda c: c["new"]["target"].update(hash="0" * 64), Push("refs/heads/master", None)),
    ],
)
def test_pushes_of_all_kinds(change: Change, expected: Push) -> None:
    told = recorded("push")
    told["actor"] = None
    change(told["push"]["changes"][0])
    assert events("repo:push", told) == [expected]


def test_the_message_is_found_by_the_commits_hash_and_not_by_its_place() -> None:
    told = recorded("push")
    (change,) = told["push"]["changes"]
    change["new"]["target"].pop("message")
    older = {"hash": "b" * 40, "message": "older"}
    change["commits"] = [older, {"hash": NEWEST, "message": "newest"}, older]
    (found,) = events("repo:push", told)
    assert isinstance(found, Push) and found.message == "newest"


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c["new"].update(name="../../etc"),
        lambda c: c["new"].update(name="-upload-pack=x"),
        lambda c: c["new"].update(name="a\nb"),
        lambda c: c["new"].update(name=7),
        lambda c: c["new"].update(type="bookmark"),
        lambda c: c["new"].update(type=["branch"]),
        lambda c: c["new"]["target"].update(hash="141977f"),
        lambda c: c["new"]["target"].update(hash=NEWEST.upper()),
        lambda c: c["new"]["target"].update(hash=None),
        lambda c: c["new"].update(target=[]),
        lambda c: c.update(new="main"),
        lambda c: c.update(new=None, old=None),
    ],
)
def test_what_cannot_be_read_of_a_push_is_uninteresting(change: Change) -> None:
    told = recorded("push")
    change(told["push"]["changes"][0])
    (found,) = events("repo:push", told)
    assert isinstance(found, Uninteresting) and "etc" not in found.reason and "upload" not in found.reason


STRANGER = {"full_name": "stranger/foo", "uuid": "{00000000-0000-4000-8000-000000000001}"}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            lambda p: p["source"].update(repository=STRANGER),
            {"fork": True, "source_url": "https://bitbucket.org/stranger/foo.git"},
        ),
        (lambda p: p["source"].update(repository=None), {"fork": True}),
        (
            lambda p: p["source"].update(repository={**STRANGER, "full_name": "../x"}),
            {"fork": True},
        ),
        (lambda p: p["destination"]["branch"].update(name="release/2"), {"base": "release/2"}),
        (lambda p: p["links"]["html"].update(href="javascript:alert(1)"), {"url": ""}),
        (lambda p: p.update(author=None), {"author": ""}),
        (lambda p: p["author"].update(nickname="brad"), {"author": "brad"}),
        (lambda p: p["source"]["commit"].update(hash="c" * 40), {"commit": "c" * 40}),
    ],
)
def test_pull_requests_of_all_kinds(change: Change, expected: dict[str, Any]) -> None:
    told = recorded("pr_created")
    change(told["pullrequest"])
    assert events("pullrequest:updated", told) == [PullRequestChange("updated", pull(**expected))]


@pytest.mark.parametrize(
    "page", [None, "", "https://evil.example/", "javascript:/brydzewski/foo", "https://evil.example/ /brydzewski/foo"]
)
def test_a_page_that_is_not_the_repositorys_does_not_say_where_a_fork_is(page: str | None) -> None:
    told = recorded("pr_created")
    told["pullrequest"]["source"]["repository"] = STRANGER
    told["repository"]["links"]["html"]["href"] = page
    (found,) = events("pullrequest:created", told)
    assert isinstance(found, PullRequestChange) and found.pull.source_url == "https://bitbucket.org/stranger/foo.git"


@pytest.mark.parametrize(
    "change",
    [
        lambda p: p.update(id="1"),
        lambda p: p.update(id=0),
        lambda p: p.update(id=2**70),
        lambda p: p.update(source=None),
        lambda p: p["source"]["commit"].update(hash="--x"),
        lambda p: p["source"]["branch"].update(name="-x"),
        lambda p: p["source"].update(branch=None),
        lambda p: p["destination"]["branch"].update(name="a b"),
    ],
)
def test_what_cannot_be_read_of_a_pull_request_is_uninteresting(change: Change) -> None:
    told = recorded("pr_updated")
    change(told["pullrequest"])
    (found,) = events("pullrequest:updated", told)
    assert isinstance(found, Uninteresting)


@pytest.mark.parametrize(
    ("event", "tree"),
    [
        ("repo:push", {"push": {"changes": []}}),
        ("repo:fork", {}),
        ("pullrequest:approved", {}),
        ("REPO:PUSH", {}),
        ("pullrequest:created", {"pullrequest": 7}),
    ],
)
def test_what_changes_nothing_is_uninteresting(event: str, tree: Any) -> None:
    (found,) = events(event, tree)
    assert isinstance(found, Uninteresting)


@pytest.mark.parametrize(
    ("event", "body"),
    [
        ("", b"{}"),
        ("repo:push", b""),
        ("repo:push", b"{}"),
        ("repo:push", b'{"push": {"changes": {"new": null}}}'),
        ("repo:push", b"[]"),
        ("repo:push", b'{"push": "\xff"}'),
        ("repo:push", b"payload=%7B%7D"),
        ("repo:push", b"[" * 100_000),
    ],
)
def test_a_body_that_is_not_as_documented_is_refused(event: str, body: bytes) -> None:
    with pytest.raises(Invalid):
        BITBUCKET.events(CIMultiDict({"X-Event-Key": event} if event else {}), body)


def _broken(tree: Any) -> list[Any]:
    """The tree with each of its parts replaced by something else in turn."""
    found: list[Any] = [7]
    parts = list(tree.items()) if isinstance(tree, dict) else list(enumerate(tree)) if isinstance(tree, list) else []
    for name, part in parts:
        for other in (None, [], {}, "x", *_broken(part)[1:]):
            changed = copy.copy(tree)
            changed[name] = other
            found.append(changed)
    return found


@pytest.mark.parametrize(
    ("name", "event"),
    [("push", "repo:push"), ("push_branch_delete", "repo:push"), ("pr_created", "pullrequest:created")],
)
def test_no_shape_of_a_body_does_harm(name: str, event: str) -> None:
    shapes = _broken(recorded(name))
    assert len(shapes) > 100
    for shape in shapes:
        try:
            assert events(event, shape)
        except Invalid:
            continue


# What proves a delivery


@pytest.mark.parametrize(
    ("value", "secrets", "formed", "good"),
    [
        (signature(), [SECRET], True, True),
        (signature(OLD_SECRET), [SECRET, OLD_SECRET], True, True),
        (signature(), ["", SECRET], True, True),
        (signature(OLD_SECRET), [SECRET], True, False),
        (signature(), [], True, False),
        (signature(""), [""], True, False),
        (signature(proofs._NOBODYS.decode()), [], True, False),
        (signature(proofs._NOBODYS.decode()), [""], True, False),
        (signature(body=BODY + b" "), [SECRET], True, False),
        (None, [SECRET], False, False),
        ("", [SECRET], False, False),
        ("sha256=", [SECRET], False, False),
        (signature(digest="sha1"), [SECRET], False, False),
        (signature().removeprefix("sha256="), [SECRET], False, False),
        (signature().replace("sha256", "SHA256"), [SECRET], False, False),
        (signature().replace("sha256", "sha1"), [SECRET], False, False),
        (signature().upper(), [SECRET], False, False),
        ("sha256=" + signature()[7:].upper(), [SECRET], False, False),
        (signature() + "0", [SECRET], False, False),
        (signature() + "\n", [SECRET], False, False),
        ("sha256=" + "é" * 64, [SECRET], False, False),
        ("sha256=" + "٣" * 64, [SECRET], False, False),
        ("sha256=\udcff" + "0" * 63, [SECRET], False, False),
    ],
)
def test_only_its_own_signature_vouches_for_a_delivery(
    value: str | None, secrets: list[str], formed: bool, good: bool
) -> None:
    headers = CIMultiDict({} if value is None else {"x-hub-signature": value})
    assert BITBUCKET.well_formed(headers, "", 0.0) is formed
    assert BITBUCKET.verify(headers, BODY, secrets, "", 0.0) is good


def test_another_providers_header_proves_nothing() -> None:
    headers = CIMultiDict({"X-Hub-Signature-256": signature(), "X-Gitea-Signature": signature()[7:]})
    assert not BITBUCKET.well_formed(headers, "", 0.0)
    assert not BITBUCKET.verify(headers, BODY, [SECRET], "", 0.0)


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ({"x-request-uuid": "2bdf7e0c", "X-Attempt-Number": "1"}, "2bdf7e0c"),
        ({"X-Request-UUID": "2bdf7e0c", "X-Attempt-Number": "3"}, "2bdf7e0c"),
        ({"X-Request-UUID": "x" * 128}, "x" * 128),
        *(
            ({"X-Request-UUID": text} if text is not None else {}, f"sha256:{hashlib.sha256(BODY).hexdigest()}")
            for text in (None, "", "x" * 129, "a b", "é", "a\n")
        ),
    ],
)
def test_repeats_have_one_key(headers: dict[str, str], key: str) -> None:
    assert BITBUCKET.key(CIMultiDict(headers), BODY) == key
