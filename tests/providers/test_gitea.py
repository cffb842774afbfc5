"""What Gitea's deliveries tell and how its answers are read, as tables; over real HTTP see `test_fake_gitea`."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from multidict import CIMultiDict

from godploy.errors import Invalid
from godploy.providers import proofs
from godploy.providers.gitea import GITEA
from godploy.providers.protocol import (
    CommitStatus,
    Event,
    HookWish,
    Host,
    OAuthClient,
    Place,
    ProviderError,
    PullRequest,
    PullRequestChange,
    Push,
    Request,
    Response,
    Sender,
    StatusState,
    Trouble,
    Uninteresting,
)

RECORDED = Path(__file__).parent / "payloads" / "gitea"
HEADERS: Mapping[str, Mapping[str, str]] = json.loads((RECORDED / "headers.json").read_text())
SECRET = "5e" * 32  # it was the recorded hook's
BASE = "https://git.example.org/tea"
PLACE = Place("7", "ada/shop")
ONE, TWO = "95bd1a8212984f2693c155e212292a3c33cc5838", "dc45fb804dea09b89e426700dec77239ae6a3634"

host: Host = GITEA
sender: Sender = GITEA


def recorded(name: str) -> tuple[Mapping[str, str], bytes]:
    return CIMultiDict(HEADERS[name]), (RECORDED / f"{name}.json").read_bytes()


def events(event: str, tree: Any) -> Event:
    body = tree if isinstance(tree, bytes) else json.dumps(tree).encode()
    (found,) = GITEA.events({"X-Gitea-Event": event}, body)
    return found


def shown(event: Event) -> tuple[Any, ...]:
    match event:
        case Push():
            return ("push", event.ref, event.commit, event.message)
        case PullRequestChange(action, pull):
            return (action, pull.number, pull.commit[:7], pull.branch, pull.base, pull.fork)
    return (type(event).__name__,)


TOLD = "Two\n\nwith [skip ci] below\n"
GREEN = "feature/grün#7"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("push_new_branch", ("push", "refs/heads/main", ONE, "One\n")),
        ("push", ("push", "refs/heads/main", TWO, TOLD)),
        ("push_test", ("Ping",)),
        ("push_tag", ("push", "refs/tags/v1", TWO, TOLD)),
        ("push_annotated_tag", ("push", "refs/tags/v2", TWO, TOLD)),
        ("push_tag_deleted", ("push", "refs/tags/v1", None, "")),
        ("delete_tag", ("push", "refs/tags/v1", None, "")),
        ("delete_branch", ("push", f"refs/heads/{GREEN}", None, "")),
        ("create_branch", ("Uninteresting",)),
        ("create_tag", ("Uninteresting",)),
        ("pull_request_retitled", ("Uninteresting",)),
        ("pull_request_opened", ("opened", 1, "", GREEN, "main", False)),
        ("pull_request_synchronized", ("updated", 1, "", GREEN, "main", False)),
        ("pull_request_retargeted", ("updated", 1, "", GREEN, "stable", False)),
        ("pull_request_closed", ("closed", 1, "", GREEN, "stable", False)),
        ("pull_request_reopened", ("opened", 1, "", GREEN, "stable", False)),
        ("pull_request_merged", ("closed", 1, "", GREEN, "stable", False)),
        ("pull_request_fork", ("opened", 2, "", "theirs", "main", True)),
    ],
)
def test_what_a_real_gitea_tells(name: str, expected: tuple[Any, ...]) -> None:
    headers, body = recorded(name)
    assert GITEA.well_formed(headers, "", 0.0)
    assert GITEA.verify(headers, body, ["f" * 64, SECRET], "", 0.0)
    assert GITEA.key(headers, body) == headers["X-GITEA-DELIVERY"]
    (event,) = GITEA.events(headers, body)
    found = shown(event)
    if isinstance(event, PullRequestChange):
        tree = json.loads(body)["pull_request"]
        assert event.pull.commit == tree["head"]["sha"] and event.pull.url == tree["html_url"]
        assert event.pull.source_url == (tree["head"]["repo"]["clone_url"] if event.pull.fork else "")
        found = (*found[:2], "", *found[3:])
    assert found == expected
    if isinstance(event, Push):
        assert event.pusher == json.loads(body)["sender"]["login"]


MASTER = "refs/heads/master"


@pytest.mark.parametrize(
    ("name", "event", "expected"),
    [
        ("push", "push", ("push", MASTER, "4522cbcefc20728a5b72b3a86af35e608622c514", "Updated readme\n")),
        ("branch_create", "create", ("Uninteresting",)),
        ("tag_create", "create", ("Uninteresting",)),
        ("branch_delete", "delete", ("push", "refs/heads/feature", None, "")),
        ("pull_request_opened", "pull_request", ("opened", 1, "2eba238", "feature", "master", False)),
        ("pull_request_synchronized", "pull_request", ("updated", 1, "2eba238", "feature", "master", False)),
        ("pull_request_closed", "pull_request", ("closed", 1, "2eba238", "feature", "master", False)),
    ],
)
def test_what_older_servers_told(name: str, event: str, expected: tuple[Any, ...]) -> None:
    assert shown(events(event, (RECORDED / "older" / f"{name}.json").read_bytes())) == expected


ZERO, COMMIT = "0" * 40, "4522cbcefc20728a5b72b3a86af35e608622c514"
LONG = "4522cbcefc20728a5b72b3a8" + "0b" * 20


def push(ref: Any = "refs/heads/main", before: Any = ZERO, after: Any = COMMIT, **more: Any) -> dict[str, Any]:
    return {"ref": ref, "before": before, "after": after, "pusher": {"login": "ada"}, **more}


def pull(action: str = "opened", **head: Any) -> dict[str, Any]:
    side = {"ref": "feature/x", "sha": COMMIT, "repo_id": 1, "repo": {"clone_url": f"{BASE}/ada/shop.git"}, **head}
    tree = {"number": 7, "title": "T", "html_url": f"{BASE}/ada/shop/pulls/7", "user": {"login": "ada"}, "head": side}
    return {"action": action, "pull_request": {**tree, "base": {"ref": "main", "repo_id": 1}}}


UNREADABLE = "Uninteresting"


@pytest.mark.parametrize(
    ("event", "tree", "expected"),
    [
        ("push", push(after=LONG), ("push", "refs/heads/main", LONG, "")),  # sha256
        ("push", push("refs/tags/v1", LONG, "0" * 64), ("push", "refs/tags/v1", None, "")),
        ("push", push(before=COMMIT), ("Ping",)),
        ("push", push("main", COMMIT), ("Ping",)),
        ("push", push(commits=[], head_commit=None), ("push", "refs/heads/main", COMMIT, "")),
        (  # by its id, in whatever order
            "push",
            push(
                commits=[{"id": ONE, "message": "no"}, {"id": COMMIT, "message": "yes"}, {"id": TWO, "message": "no"}]
            ),
            ("push", "refs/heads/main", COMMIT, "yes"),
        ),
        ("push", push(head_commit={"id": ONE, "message": "no"}), ("push", "refs/heads/main", COMMIT, "")),
        ("push", push("refs/heads/feature/x"), ("push", "refs/heads/feature/x", COMMIT, "")),
        ("push", push("refs/heads/a#b"), ("push", "refs/heads/a#b", COMMIT, "")),
        ("push", push("refs/heads/50%"), ("push", "refs/heads/50%", COMMIT, "")),
        ("push", push("refs/heads/grün"), ("push", "refs/heads/grün", COMMIT, "")),
        ("push", push("refs/heads/--upload-pack=x"), (UNREADABLE,)),
        ("push", push("refs/heads/a b"), (UNREADABLE,)),
        ("push", push("refs/heads/"), (UNREADABLE,)),
        ("push", push("refs/pull/7/head"), (UNREADABLE,)),
        ("push", push("main"), (UNREADABLE,)),
        ("push", push(None), (UNREADABLE,)),
        ("push", push(["refs/heads/main"]), (UNREADABLE,)),
        ("push", push(after="main"), (UNREADABLE,)),
        ("push", push(after=7, before=7), (UNREADABLE,)),
        ("push", push(after="", before=""), (UNREADABLE,)),
        ("push", {}, (UNREADABLE,)),
        ("push", push(commits={"id": COMMIT}, head_commit="x", pusher=[]), ("push", "refs/heads/main", COMMIT, "")),
        ("delete", {"ref": "feature/x", "ref_type": "branch"}, ("push", "refs/heads/feature/x", None, "")),
        ("delete", {"ref": "v1", "ref_type": "tag"}, ("push", "refs/tags/v1", None, "")),
        ("delete", {"ref": "v1", "ref_type": "refs"}, (UNREADABLE,)),
        ("delete", {"ref": "refs/heads/main", "ref_type": "wiki"}, ("push", "refs/heads/main", None, "")),
        ("delete", {"ref": 7, "ref_type": []}, (UNREADABLE,)),
        ("delete", {}, (UNREADABLE,)),
        ("pull_request", pull(), ("opened", 7, COMMIT[:7], "feature/x", "main", False)),
        ("pull_request", pull(repo_id=2), ("opened", 7, COMMIT[:7], "feature/x", "main", True)),
        ("pull_request", pull(repo=None), ("opened", 7, COMMIT[:7], "feature/x", "main", True)),
        (
            "pull_request",
            pull(repo=None, ref="refs/pull/7/head"),
            ("opened", 7, COMMIT[:7], "refs/pull/7/head", "main", True),
        ),
        ("pull_request", pull(sha=LONG), ("opened", 7, LONG[:7], "feature/x", "main", False)),
        ("pull_request", pull("edited"), (UNREADABLE,)),
        ("pull_request", {**pull("edited"), "changes": {"title": {"from": "x"}}}, (UNREADABLE,)),
        ("pull_request", pull("label_updated"), (UNREADABLE,)),
        ("pull_request", pull("synchronize"), (UNREADABLE,)),  # GitHub's word
        ("pull_request", pull(sha="x"), (UNREADABLE,)),
        ("pull_request", pull(ref="-x"), (UNREADABLE,)),
        ("pull_request", {"action": "opened", "pull_request": []}, (UNREADABLE,)),
        ("pull_request", {"action": ["opened"]}, (UNREADABLE,)),
        ("pull_request_approved", pull(), (UNREADABLE,)),
        ("issues", {}, (UNREADABLE,)),
        ("create", push(), (UNREADABLE,)),
    ],
)
def test_events(event: str, tree: Any, expected: tuple[Any, ...]) -> None:
    found = events(event, tree)
    assert shown(found) == expected
    if isinstance(found, Uninteresting):
        assert not {str(tree.get("ref")), str(tree.get("after"))} & set(found.reason.split())


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"7", b"null", b"payload=%7B%7D", b"\xff\xfe", b"{" * 100_000, b'{"ref":' + b"[" * 100_000]
)
def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(Invalid):
        GITEA.events({"X-Gitea-Event": "push"}, body)


def test_other_providers_headers_say_nothing() -> None:
    with pytest.raises(Invalid):
        GITEA.events({"X-GitHub-Event": "push", "X-Gogs-Event": "push"}, json.dumps(push()).encode())
    forgejo = {"X-Forgejo-Event": "push", "X-GitHub-Event": "issues"}
    assert GITEA.events(forgejo, json.dumps(push()).encode()) == (Push("refs/heads/main", COMMIT, "", "ada"),)
    both = {"X-Forgejo-Event": "push", "X-Gitea-Event": "issues"}
    assert isinstance(GITEA.events(both, json.dumps(push()).encode())[0], Uninteresting)


BODY = b'{\n  "ref": "refs/heads/main"\n}'


def signature(body: bytes = BODY, secret: str = SECRET, name: str = "sha256") -> str:
    return hmac.new(secret.encode(), body, name).hexdigest()


GOOD = signature()


@pytest.mark.parametrize(
    ("headers", "secrets", "authentic"),
    [
        ({"X-Gitea-Signature": GOOD}, [SECRET], True),
        ({"X-Forgejo-Signature": GOOD}, [SECRET], True),
        ({"X-Gitea-Signature": GOOD, "X-Forgejo-Signature": "0" * 64}, [SECRET], True),
        ({"X-Gitea-Signature": GOOD}, ["old", SECRET], True),  # while it is rotated
        ({"X-Gitea-Signature": GOOD}, [SECRET, "new"], True),
        ({"X-Gitea-Signature": GOOD}, ["wrong"], False),
        ({"X-Gitea-Signature": GOOD}, [], False),
        ({"X-Gitea-Signature": GOOD}, [""], False),
        ({"X-Gitea-Signature": signature(secret=proofs._NOBODYS.decode())}, [], False),  # anybody can read that one
        ({"X-Gitea-Signature": signature(secret="")}, [""], False),
        ({"X-Gitea-Signature": "", "X-Forgejo-Signature": GOOD}, [SECRET], False),
        ({"X-Gitea-Signature": signature(BODY + b" ")}, [SECRET], False),
        ({"X-Gitea-Signature": ""}, [SECRET], False),
        ({"X-Gitea-Signature": ""}, [], False),
        ({}, [SECRET], False),
        ({"X-Gitea-Signature": GOOD.upper()}, [SECRET], False),
        ({"X-Gitea-Signature": f"sha256={GOOD}"}, [SECRET], False),
        ({"X-Gitea-Signature": f"SHA256={GOOD}"}, [SECRET], False),
        ({"X-Gitea-Signature": f" {GOOD}"}, [SECRET], False),
        ({"X-Gitea-Signature": f"{GOOD}\n"}, [SECRET], False),
        ({"X-Gitea-Signature": GOOD[:-1]}, [SECRET], False),
        ({"X-Gitea-Signature": signature(name="sha1")}, [SECRET], False),
        ({"X-Gitea-Signature": "é" * 64}, [SECRET], False),
        ({"X-Gitea-Signature": "\udcff" * 64}, [SECRET], False),
        ({"X-Hub-Signature-256": f"sha256={GOOD}"}, [SECRET], False),
        ({"X-Hub-Signature": f"sha1={signature(name='sha1')}"}, [SECRET], False),
        ({"X-Gogs-Signature": GOOD}, [SECRET], False),
    ],
)
def test_signatures(headers: dict[str, str], secrets: list[str], authentic: bool) -> None:
    named = CIMultiDict(headers)
    assert GITEA.verify(named, BODY, secrets, "", 0.0) is authentic
    if authentic:
        assert GITEA.well_formed(named, "", 0.0)


@pytest.mark.parametrize("given", ["", "sha256=" + GOOD, GOOD.upper(), GOOD[:-1], GOOD + "\n", "é" * 64, None])
def test_what_cannot_be_authentic_is_known_by_its_headers(given: str | None) -> None:
    assert not GITEA.well_formed({} if given is None else {"X-Gitea-Signature": given}, "", 0.0)


def test_no_secret_takes_as_much_work_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[bytes] = []
    real = hmac.new

    def counted(key: bytes, body: bytes, name: str) -> hmac.HMAC:
        made.append(body)
        return real(key, body, name)

    monkeypatch.setattr(hmac, "new", counted)
    assert not GITEA.verify({"X-Gitea-Signature": GOOD}, BODY, [], "", 0.0)
    assert made == [BODY]


DIGEST = f"sha256:{hashlib.sha256(BODY).hexdigest()}"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"X-Gitea-Delivery": "f0780b63-f472"}, "f0780b63-f472"),
        ({"X-Forgejo-Delivery": "f0780b63"}, "f0780b63"),
        ({"X-Gitea-Delivery": "a", "X-Forgejo-Delivery": "b"}, "a"),
        ({"X-Gitea-Delivery": "a" * 128}, "a" * 128),
        ({"X-Gitea-Delivery": "a" * 129}, DIGEST),
        ({"X-Gitea-Delivery": ""}, DIGEST),
        ({"X-Gitea-Delivery": "a b"}, DIGEST),
        ({"X-Gitea-Delivery": "a\n"}, DIGEST),
        ({"X-Gitea-Delivery": "é"}, DIGEST),
        ({"X-GitHub-Delivery": "a"}, DIGEST),
        ({}, DIGEST),
    ],
)
def test_keys(headers: dict[str, str], expected: str) -> None:
    assert GITEA.key(headers, BODY) == expected


# What it answers


def run(talk: Generator[Request, Response, Any], *answers: Any) -> tuple[Any, list[Request]]:
    """What the talk learns from these answers, and what it asked; None for an answer stands for no more of them."""
    asked, waiting = [next(talk)], list(answers)
    while True:
        answer = waiting.pop(0)
        if not isinstance(answer, Response):
            answer = Response(200, {}, json.dumps(answer).encode())
        try:
            asked.append(talk.send(answer))
        except StopIteration as end:
            assert not waiting
            return end.value, asked


REPOSITORY = {
    "id": 7,
    "full_name": "ada/shop",
    "default_branch": "main",
    "private": True,
    "permissions": {"admin": True},
}
NEXT = {"link": '<https://evil.example.org/api/v1/x?page=2>; rel="next"'}


def listed(items: Any, more: bool = True) -> Response:
    return Response(200, NEXT if more else {}, json.dumps(items).encode())


def test_a_next_page_is_asked_for_where_the_api_is_whatever_the_answer_says() -> None:
    found, asked = run(
        GITEA.branches(BASE, PLACE), listed([{"name": "a"}]), listed([{"name": "b/c"}, {"name": "-x"}, 7], False)
    )
    assert found == ("a", "b/c")
    start = f"{BASE}/api/v1/repos/ada/shop/branches?limit=50&page="
    assert [request.url for request in asked] == [f"{start}1", f"{start}2"]


def test_pages_end() -> None:
    found, asked = run(GITEA.hooks(BASE, PLACE), *[listed([{"id": 1}])] * 20)
    assert len(asked) == 20 and len(found) == 20
    _, asked = run(GITEA.hooks(BASE, PLACE), listed([]))  # one that is empty leads nowhere
    assert len(asked) == 1
    user = {"id": 1, "login": "ada"}
    listing, _ = run(GITEA.repositories(BASE, "", 100), user, *[listed({"data": [REPOSITORY]})] * 20)
    assert len(listing.repositories) == 20 and not listing.complete


@pytest.mark.parametrize(
    "item",
    [
        None,
        7,
        [],
        {},
        {**REPOSITORY, "id": "7"},
        {**REPOSITORY, "id": True},
        {**REPOSITORY, "id": 2**70},
        {**REPOSITORY, "full_name": "shop"},
        {**REPOSITORY, "full_name": "a/b/c"},
        {**REPOSITORY, "full_name": "../x"},
        {**REPOSITORY, "full_name": "a/b?x"},
        {**REPOSITORY, "full_name": ["ada/shop"]},
    ],
)
def test_a_repository_that_cannot_be_read(item: Any) -> None:
    with pytest.raises(ProviderError) as caught:
        run(GITEA.located(BASE, "7"), item)
    assert caught.value.trouble is Trouble.DOWN
    listing, _ = run(GITEA.repositories(BASE, "", 5), {"id": 1, "login": "ada"}, {"data": [item, REPOSITORY]})
    assert [found.full_name for found in listing.repositories] == ["ada/shop"]


@pytest.mark.parametrize(
    ("more", "branch"),
    [
        ({}, "main"),
        ({"empty": True}, None),
        ({"default_branch": "-x"}, None),
        ({"default_branch": None}, None),
        ({"clone_url": "https://evil.example.org/x.git", "html_url": "javascript:1"}, "main"),
    ],
)
def test_a_repository(more: dict[str, Any], branch: str | None) -> None:
    found, (asked,) = run(GITEA.located(BASE, "7/../8"), {**REPOSITORY, **more})
    assert asked.url == f"{BASE}/api/v1/repositories/7%2F..%2F8"
    assert (found.default_branch, found.clone_url) == (branch, f"{BASE}/ada/shop.git")
    assert found.web_url == f"{BASE}/ada/shop" and found.administered


@pytest.mark.parametrize("body", [b"", b"<html>", b"7", b'"x"', b'{"a":' * 100_000, b"\xff"])
@pytest.mark.parametrize("name", ["account", "branches", "hooks", "pull_requests", "repositories", "create_hook"])
def test_nonsense_is_a_provider_in_trouble(name: str, body: bytes) -> None:
    talks = {
        "account": lambda: GITEA.account(BASE),
        "repositories": lambda: GITEA.repositories(BASE, "", 5),
        "create_hook": lambda: GITEA.create_hook(BASE, PLACE, HookWish("https://x.org/h", SECRET)),
        "branches": lambda: GITEA.branches(BASE, PLACE),
        "hooks": lambda: GITEA.hooks(BASE, PLACE),
        "pull_requests": lambda: GITEA.pull_requests(BASE, PLACE),
    }
    with pytest.raises(ProviderError) as caught:
        run(talks[name](), Response(200, {}, body))
    assert caught.value.trouble is Trouble.DOWN


@pytest.mark.parametrize("depth", [3, 30, 300, 900])
@pytest.mark.parametrize(("opens", "closes"), [("[", "]"), ('{"message":', "}"), ('{"x":{}, "y":', "}")])
def test_a_refusal_of_any_depth_is_told(opens: str, closes: str, depth: int) -> None:
    """Neither too deep to be walked, nor walked so often that it takes for ever."""
    body = (opens * depth + "{}" + closes * depth).encode()
    with pytest.raises(ProviderError) as caught:
        run(GITEA.account(BASE), Response(422, {}, body))
    assert caught.value.trouble is Trouble.INVALID


def test_an_owner_is_searched_for_with_its_name() -> None:
    user, data = {"id": 1, "login": "ada"}, {"data": [REPOSITORY, {**REPOSITORY, "full_name": "bob/shop"}]}
    listing, (_, asked) = run(GITEA.repositories(BASE, "BOB/sh", 5), user, data)
    assert [found.full_name for found in listing.repositories] == ["bob/shop"]
    assert dict(parse_qsl(urlsplit(asked.url).query))["q"] == "sh"


def test_names_stay_in_their_segment_of_an_address() -> None:
    _, (asked,) = run(GITEA.branches(BASE, Place("7", "a?b#c/../d%2e e")), [])
    assert asked.url.startswith(f"{BASE}/api/v1/repos/a%3Fb%23c/..%2Fd%252e%20e/branches?")


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect(status: int) -> None:
    answer = Response(status, {"location": "https://evil.example.org/"}, b"")
    pending = CommitStatus(COMMIT, "c", StatusState.PENDING, "", "")
    for talk in (
        GITEA.branches(BASE, PLACE),
        GITEA.set_status(BASE, PLACE, pending),
        GITEA.delete_hook(BASE, PLACE, "1"),
    ):
        with pytest.raises(ProviderError) as caught:
            run(talk, answer)
        assert caught.value.trouble is Trouble.MISSING
    for other in (GITEA.account(BASE), GITEA.located(BASE, "7")):
        with pytest.raises(ProviderError) as caught:
            run(other, answer)
        assert caught.value.trouble is Trouble.INVALID and "address" in caught.value.next_step


HOOK: dict[str, Any] = {
    "id": 3,
    "active": True,
    "branch_filter": "*",
    "config": {"url": "https://x.org/h", "content_type": "json"},
    "events": ["push", "create", "delete", "pull_request", "pull_request_sync", "pull_request_label"],
}


@pytest.mark.parametrize(
    ("more", "wanted", "active"),
    [
        ({}, True, True),
        ({"branch_filter": ""}, True, True),
        ({"branch_filter": "main"}, False, True),
        ({"active": False}, True, False),
        ({"events": ["push"]}, False, True),
        ({"events": None}, False, True),
        ({"events": [7, []]}, False, True),
        ({"config": {"url": "https://x.org/h", "content_type": "form"}}, False, True),
    ],
)
def test_hooks_are_seen_as_they_are(more: dict[str, Any], wanted: bool, active: bool) -> None:
    ((hook,), _) = run(GITEA.hooks(BASE, PLACE), [{**HOOK, **more}, "x", {}])
    assert (hook.id, hook.url, hook.wanted, hook.active) == ("3", "https://x.org/h", wanted, active)


def test_what_is_sent_for_a_hook() -> None:
    wish, gone = HookWish("https://x.org/h", SECRET), Response(404, {}, b"")
    other = {**HOOK, "id": 5, "config": {**HOOK["config"], "url": "https://elsewhere.org/"}}  # somebody else's
    found = [HOOK, other, {**HOOK, "id": 2, "config": {}}, {**HOOK, "id": 4}]
    made, asked = run(GITEA.update_hook(BASE, PLACE, "2", wish), HOOK, found, gone, gone)
    assert made.id == "3"
    assert [(request.method, request.url.removeprefix(BASE)) for request in asked] == [
        ("POST", "/api/v1/repos/ada/shop/hooks"),
        ("GET", "/api/v1/repos/ada/shop/hooks?limit=50&page=1"),
        ("DELETE", "/api/v1/repos/ada/shop/hooks/2"),
        ("DELETE", "/api/v1/repos/ada/shop/hooks/4"),
    ]
    assert json.loads(asked[0].body) == {
        "type": "gitea",
        "active": True,
        "events": ["push", "create", "delete", "pull_request", "pull_request_sync"],
        "branch_filter": "*",
        "config": {"url": "https://x.org/h", "content_type": "json", "secret": SECRET},
    }


def test_a_test_event_names_its_branch() -> None:
    for status, sent in ((204, True), (404, False), (422, False)):
        done, (asked,) = run(GITEA.test_hook(BASE, PLACE, "3", "fix/#7&x=%"), Response(status, {}, b""))
        assert done is sent
        assert asked.url == f"{BASE}/api/v1/repos/ada/shop/hooks/3/tests?ref=fix%2F%237%26x%3D%25"


def test_pull_requests_of_the_api() -> None:
    item = pull()["pull_request"]
    found, (asked,) = run(GITEA.pull_requests(BASE, PLACE), [item, {**item, "number": 0}, None])
    url = f"{BASE}/ada/shop/pulls/7"
    assert found == (PullRequest(7, "T", COMMIT, "feature/x", "main", url, "ada"),)
    assert asked.url.endswith("/repos/ada/shop/pulls?state=open&sort=recentupdate&limit=50&page=1")
    assert GITEA.pull_ref(7, "feature/x") == "refs/pull/7/head"
    many, asked_for = run(GITEA.pull_requests(BASE, PLACE), *[listed([item] * 50)] * 2)
    assert len(many) == 100 and len(asked_for) == 2


def test_the_authorize_address_keeps_the_base() -> None:
    for base in (BASE, "http://10.0.0.5:3000"):
        url = urlsplit(GITEA.authorize_url(base, OAuthClient("c", "hidden"), "https://x.org/cb", "st", "ch"))
        assert f"{url.scheme}://{url.netloc}{url.path}" == f"{base}/login/oauth/authorize"
        assert dict(parse_qsl(url.query)) == {
            "response_type": "code",
            "client_id": "c",
            "redirect_uri": "https://x.org/cb",
            "scope": "read:user write:repository read:organization",
            "state": "st",
            "code_challenge": "ch",
            "code_challenge_method": "S256",
        }
