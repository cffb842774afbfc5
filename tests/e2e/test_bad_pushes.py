"""No push takes the site down: every bad one that a person can make, over a healthy release and under constant load.

What each of them is told stands in `messages.yaml`: cause and next step, word for word; `<seconds>` and the like stand
for what differs from run to run.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from string import Formatter
from typing import Any

import pytest
import yaml

from godploy.core.failures import FAILURES
from tests.e2e.installation import Answer
from tests.e2e.load import Load
from tests.e2e.person import App

pytestmark = pytest.mark.engine

MESSAGES: dict[str, dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "messages.yaml").read_text())

RIVALS_HOST = "rival.example.com"
TREE_BOMB = "a tree that unfolds without end"
WAYS: dict[str, Callable[[App], None]] = {}


def way(name: str) -> Callable[[Callable[[App], None]], Callable[[App], None]]:
    def known(change: Callable[[App], None]) -> Callable[[App], None]:
        WAYS[name] = change
        return change

    return known


def web(app: App) -> dict[str, Any]:
    found: dict[str, Any] = app.manifest["services"]["web"]
    return found


@way("a key that does not exist")
def _(app: App) -> None:
    web(app)["helth"] = web(app).pop("health")


@way("a manifest that is no YAML")
def _(app: App) -> None:
    app.manifest = {}
    app.write("godploy.yaml", "version: 1\nservices:\n  web: {build: .\n  port: 8000\n")


@way("several mistakes at once")
def _(app: App) -> None:
    web(app)["replicas"] = 0
    web(app)["environment"] = {"A": "1"}
    app.manifest["services"]["worker"]["command"] = "python app.py && true"


@way("a manifest as large as a book")
def _(app: App) -> None:
    app.manifest = {}
    app.write("godploy.yaml", "# nothing\n" * 8000)


@way("a manifest that is a symbolic link")
def _(app: App) -> None:
    app.manifest = {}
    (app.folder / "godploy.yaml").rename(app.folder / "elsewhere.yaml")
    (app.folder / "godploy.yaml").symlink_to("elsewhere.yaml")


@way("services that wait for each other")
def _(app: App) -> None:
    web(app)["depends_on"] = ["worker"]
    app.manifest["services"]["worker"]["depends_on"] = ["web"]


@way("a service that nobody has")
def _(app: App) -> None:
    web(app)["env"] = {"DATABASE_URL": "${services.db.url}"}


@way("secrets without values")
def _(app: App) -> None:
    web(app)["secrets"] = ["STRIPE_KEY", "SENDGRID_KEY"]


@way("another project's host")
def _(app: App) -> None:
    web(app)["routes"] = ["auto", RIVALS_HOST]


@way("the host of the dashboard")
def _(app: App) -> None:
    web(app)["routes"] = ["localhost"]


@way("no Dockerfile")
def _(app: App) -> None:
    (app.folder / "Dockerfile").unlink()


@way("a folder that is missing")
def _(app: App) -> None:
    web(app)["build"] = {"context": "api"}


@way("an image that nobody has")
def _(app: App) -> None:
    app.manifest["services"]["cache"] = {"image": "registry.invalid/nobody/cache:1"}


@way("a volume of two at a time")
def _(app: App) -> None:
    web(app)["volumes"] = ["uploads:/data"]
    web(app)["deploy"]["strategy"] = "rolling"


@way("a build that fails")
def _(app: App) -> None:
    app.write("Dockerfile", "FROM python:3.11-slim\nRUN echo looking for libpq && exit 7\n")


@way("a Dockerfile that is none")
def _(app: App) -> None:
    app.write("Dockerfile", "FORM python:3.11-slim\n")


@way("a base image that nobody has")
def _(app: App) -> None:
    app.write("Dockerfile", "FROM registry.invalid/nobody/base:1\n")


@way("a release command that fails")
def _(app: App) -> None:
    web(app)["release_command"] = ["python", "app.py", "release"]
    app.behave(release=3)


@way("a release command that is not there")
def _(app: App) -> None:
    web(app)["release_command"] = ["migrate-everything"]


@way("an app that ends at once")
def _(app: App) -> None:
    app.behave(exit=5)


@way("a program that is not there")
def _(app: App) -> None:
    web(app)["command"] = ["gunicorn", "app:app"]


@way("more memory than it may have")
def _(app: App) -> None:
    app.behave(allocate=300)


@way("another port than it says")
def _(app: App) -> None:
    web(app)["health"]["start_timeout"] = "2s"
    app.behave(port=9000)


@way("an app that listens on 127.0.0.1")
def _(app: App) -> None:
    web(app)["health"]["start_timeout"] = "2s"
    app.behave(listen="127.0.0.1")


@way("a health path that answers 500")
def _(app: App) -> None:
    web(app)["health"]["start_timeout"] = "2s"
    app.behave(ill=True)


@way("a port that nobody listens on")
def _(app: App) -> None:
    web(app)["health"]["start_timeout"] = "2s"
    web(app)["command"] = ["sleep", "600"]


@way("a worker that ends at once")
def _(app: App) -> None:
    app.behave(worker_exit=6)


@way("an app that ends between start and switch")
def _(app: App) -> None:
    app.manifest["services"]["worker"]["deploy"]["settle"] = "3s"
    app.behave(exit_after=2)


@way("an app that falls ill between start and switch")
def _(app: App) -> None:
    web(app)["health"]["start_timeout"] = "2s"
    app.manifest["services"]["worker"]["deploy"]["settle"] = "3s"
    app.behave(ill_after=1.5)


@way("an app that answers 500 to Traefik alone")
def _(app: App) -> None:
    for service in app.manifest["services"].values():
        service["deploy"]["timeout"] = "7s"
    app.behave(ill_behind_a_proxy=True)


def bomb(app: App) -> str:
    """A commit of few objects that unfolds into ten thousand million files."""
    blob = app.git("hash-object", "-w", "--stdin", stdin="boom\n")
    entry = f"100644 blob {blob}"
    for _ in range(10):
        listing = "".join(f"{entry}\t{number}\n" for number in range(10))
        entry = f"040000 tree {app.git('mktree', stdin=listing)}"
    files = app.git("ls-tree", "HEAD")
    tree = app.git("mktree", stdin=f"{files}\n{entry}\tbomb\n")
    return app.git("commit-tree", tree, "-p", "HEAD", "-m", "Boom")


@pytest.fixture(scope="module")
def load(shop: App) -> Iterator[Load]:
    shop.server.api("POST", "projects", {"name": "rival"})
    shop.server.api("PUT", f"projects/rival/hosts/{RIVALS_HOST}")
    with Load(shop.server.http, shop.host) as load:
        yield load
    assert load.tally.failures == []
    assert load.tally.rate >= 50


@pytest.fixture
def untouched(shop: App, load: Load) -> Iterator[str]:
    """The last good commit. Afterwards the same release serves, nothing is left over and no request has failed."""
    good = shop.git("rev-parse", "HEAD")
    before: list[Any] = [shop.ask()]
    holdings = shop.server.settled()
    yield good
    answer: Answer = shop.ask()
    assert [answer] == before, "another release serves"
    assert shop.server.holdings() == holdings, "something is left over"
    assert load.tally.failures == []
    shop.restore(good)


def told(text: str) -> re.Pattern[str]:
    """A sentence of the table as a pattern; <…> is what differs from run to run."""
    parts = re.split(r"<[a-z ]+>", text)
    return re.compile(r"[^\n]+?".join(re.escape(part) for part in parts))


@pytest.mark.parametrize("name", WAYS)
def test_a_bad_push_changes_nothing_and_says_why(name: str, shop: App, untouched: str) -> None:
    WAYS[name](shop)
    commit = shop.commit()
    seen = shop.push("--force", "godploy", "main")
    must_tell(name, shop, seen, commit)


def test_a_tree_bomb(shop: App, untouched: str) -> None:
    commit = bomb(shop)
    seen = shop.push("--force", "godploy", f"{commit}:main")
    must_tell(TREE_BOMB, shop, seen, commit)


def test_back_at_the_good_commit_nothing_is_done_anew(shop: App, untouched: str) -> None:
    """The last commit is a bad one; the forced push back is the branch's head, and what it wants runs already."""
    assert "nothing changed" in shop.push("--force", "godploy", f"{untouched}:main")


def must_tell(name: str, app: App, seen: str, commit: str) -> None:
    """The deployment's end and the pusher's terminal say what the table says."""
    last = app.last()
    assert last["commit"] == commit
    assert last["state"] == "failed"
    expected = MESSAGES[name]
    assert last["error"]["code"] == expected["code"]
    assert told(expected["message"]).fullmatch(last["error"]["message"]), last["error"]["message"]
    assert last["error"]["next_step"] == expected["next"]
    assert last["error"]["message"] in seen
    assert last["error"]["next_step"] in seen


def pattern(template: str) -> str:
    """What a sentence of `core.failures` may read as once its facts are filled in."""
    return "".join(re.escape(text) + (".+" if fact else "") for text, fact, _, _ in Formatter().parse(template))


@pytest.mark.parametrize("name", MESSAGES)
def test_the_table_says_what_the_failures_say(name: str) -> None:
    row = MESSAGES[name]
    failure = FAILURES[row["code"]]
    place, others, step = r"(godploy\.yaml:\S+ \S+: )?", r"( \(and [0-9]+ more\))?", pattern(failure.next_step)
    assert re.fullmatch(place + pattern(failure.sentence) + others, row["message"])
    assert re.fullmatch(f"{step}(; {step})*", row["next"])


def test_every_row_is_tried() -> None:
    assert MESSAGES.keys() == {*WAYS, TREE_BOMB}
