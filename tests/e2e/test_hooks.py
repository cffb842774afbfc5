"""A repository on another git server: a signed hook tells of a push, and Godploy clones it by itself."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.e2e.elsewhere import Elsewhere, Hook
from tests.e2e.installation import until
from tests.e2e.person import App, Person

pytestmark = pytest.mark.engine

MANIFEST = {
    "version": 1,
    "services": {
        "web": {"build": ".", "port": 8000, "health": {"path": "/healthz"}, "deploy": {"drain": "1s"}},
    },
}
ENDED = ("succeeded", "failed", "cancelled", "superseded")


@pytest.fixture(scope="module")
def hook(person: Person, elsewhere: Elsewhere) -> Iterator[Hook]:
    """Attached by the command line; its first commit is found without a hook."""
    origin = elsewhere.repository("blog")
    app = person.app("blog", MANIFEST, link=False)
    app.git("remote", "add", "origin", str(origin))
    app.git("push", "-q", "origin", "main")
    person.server.api("POST", "projects", {"name": "blog"})
    words = ("repositories", "add", "blog", "--url", f"{elsewhere.base}/blog.git", "--project", "blog", "--json")
    added = json.loads(app.godploy(*words).out)
    until(lambda: app.ask().text == "version 1\n")
    yield Hook(app, added["hook_url"], added["hook_secret"])


def test_a_signed_hook_deploys(hook: Hook) -> None:
    commit = hook.app.commit()
    hook.app.git("push", "-q", "origin", "main")
    answer = hook.call(commit)
    verdict = hook.announced(answer)["verdict"]
    assert commit[:7] in verdict
    until(lambda: hook.app.ask().text == f"version {hook.app.version}\n")


def test_whoever_has_no_secret_is_refused(hook: Hook) -> None:
    assert hook.call(secret="guessed").status == 401
    assert hook.call(late=600).status == 401


def test_ten_pushes_in_a_second_are_one_or_two_deployments(hook: Hook) -> None:
    app = hook.app
    before = app.last()["number"]
    answers = []
    for _ in range(10):
        commit = app.commit()
        app.git("push", "-q", "origin", "main")
        answers.append(hook.call(commit))
    verdicts = [hook.announced(answer)["verdict"] for answer in answers]
    until(lambda: app.ask().text == f"version {app.version}\n")
    until(lambda: app.last()["state"] in ENDED)
    found = app.server.api("GET", f"projects/{app.project}/deployments?limit=50")["deployments"]
    new = [each for each in found if each["number"] > before]
    ran = [each for each in new if each["state"] == "succeeded"]
    assert 1 <= len(ran) <= 2, [each["state"] for each in new]
    assert new[0]["commit"] == commit
    assert new[0]["state"] == "succeeded"
    others = [each for each in new if each not in ran]
    assert all(each["state"] == "superseded" and "superseded by" in each["result"] for each in others)
    silent = [text for text in verdicts if "deploys to" not in text]
    assert all("superseded by" in text or "considered before" in text for text in silent)


def test_a_commit_that_is_not_there_any_more(hook: Hook) -> None:
    """Told of a commit that a forced push has taken away: the branch's head counts, and that was considered."""
    serving = hook.app.ask()
    assert "nothing new" in hook.announced(hook.call("1" * 40))["verdict"]
    failed = hook.app.godploy("deploy", "--commit", "1" * 40, "--project", "blog", code=1)
    assert "has no commit 1111111" in failed.err
    assert "forced push" in failed.err
    assert hook.app.ask() == serving


def test_a_git_server_that_is_away(hook: Hook, elsewhere: Elsewhere) -> None:
    serving = hook.app.ask()
    elsewhere.stop()
    failed = hook.app.godploy("deploy", "--commit", "2" * 40, "--project", "blog", code=1)
    assert "could not be reached" in failed.err
    assert "next: check its address" in failed.err
    assert hook.app.ask() == serving
    elsewhere.start()
    hook.app.commit()
    hook.app.git("push", "-q", "origin", "main")
    until(lambda: hook.app.ask().text == f"version {hook.app.version}\n")


def test_a_deleted_branch(hook: Hook) -> None:
    serving = hook.app.ask()
    origin = hook.app.git("remote", "get-url", "origin")
    hook.app.git("-C", origin, "update-ref", "-d", "refs/heads/main")
    delivery = hook.announced(hook.call())
    assert delivery["verdict"] == "the branch main is not in the repository any more: nothing to deploy"
    assert hook.app.ask() == serving
    hook.app.git("push", "-q", "origin", "main")
    app: App = hook.app
    until(lambda: app.last()["state"] in ENDED)
