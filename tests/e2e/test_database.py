"""A web app with its worker and its database by one push; what is in the database outlives pushes and rollbacks."""

from __future__ import annotations

import http.client
import time
from contextlib import closing

import pytest

from tests.e2e.installation import until
from tests.e2e.person import App, Person

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def notes(person: Person) -> App:
    environment = {"DATABASE_URL": "${services.db.url}"}
    manifest = {
        "version": 1,
        "services": {
            "web": {
                "build": ".",
                "port": 8000,
                "health": {"path": "/"},
                "release_command": "python notes.py migrate",
                "env": environment,
                "deploy": {"drain": "1s"},
            },
            "worker": {
                "image_from": "web",
                "command": "python notes.py worker",
                "depends_on": ["web"],
                "env": environment,
                "deploy": {"settle": "1s"},
            },
            "db": {"template": "postgres", "parameters": {"version": 15, "database": "notes"}},
        },
    }
    app = person.app("notes", manifest, files="notes")
    app.live(app.push())
    return app


def noted(app: App) -> list[str]:
    answer = app.ask()
    assert answer.status == 200, answer
    return answer.text.splitlines()


def note(app: App, text: str) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", app.server.http, timeout=10)) as connection:
        connection.request("POST", "/", text, {"Host": app.host})
        assert connection.getresponse().status == 200


def test_the_first_push_is_live_at_once(notes: App) -> None:
    assert noted(notes) == ["migrated to 1", "worker 1"]


def test_data_outlives_a_push_and_a_rollback(notes: App) -> None:
    database = notes.running()["db"]
    first = notes.ask().release
    note(notes, "milk")
    notes.deploy()
    assert noted(notes) == ["migrated to 1", "migrated to 2", "milk", "worker 1", "worker 2"]
    second = notes.ask().release
    note(notes, "bread")

    assert "data is not rolled back" in notes.godploy("rollback").out.lower()
    assert noted(notes) == ["bread", "migrated to 1", "migrated to 2", "milk", "worker 1", "worker 1", "worker 2"]
    assert notes.ask().release not in (first, second)
    assert notes.running()["db"] == database, "the database was touched"


def test_what_was_rolled_back_does_not_come_back_by_itself(notes: App) -> None:
    """Catch-up has asked for the branch's head several times meanwhile; a new commit is deployed again."""
    last, release = notes.last()["number"], notes.ask().release
    time.sleep(3 * float(notes.server.settings["GODPLOY_POLL_INTERVAL"]))
    assert notes.last()["number"] == last
    assert notes.ask().release == release
    notes.deploy()
    assert "migrated to 3" in noted(notes)


def test_catch_up_brings_what_no_delivery_told(notes: App) -> None:
    """A ref that was written without a word, as by a crash between git's update and the delivery."""
    notes.commit()
    notes.git("push", "-q", str(bare(notes)), "HEAD:refs/heads/main")
    assert until(lambda: "migrated to 4" in noted(notes))
    assert notes.last()["kind"] == "poll"


def bare(app: App) -> str:
    query = "SELECT r.id FROM repository r JOIN project p ON p.id = r.project WHERE p.name = ?"
    return str(app.server.data / "repositories" / f"{app.server.rows(query, app.project)[0]['id']}.git")
