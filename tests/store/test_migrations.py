"""What stands in a database of an older Godploy is there after its upgrade, and still holds together."""

from __future__ import annotations

import sqlite3

import pytest

from godploy.store import database

# As the first schema had it: a repository with what belongs to it, deployed once, with a notice that waits.
BEFORE = """
INSERT INTO organization (id, name, created_at) VALUES ('o', 'acme', 1);
INSERT INTO project (id, organization, name, created_at) VALUES ('p', 'o', 'shop', 1);
INSERT INTO environment (id, project, name, subnet, created_at) VALUES ('e', 'p', 'production', '10.1.0.0/24', 1);
INSERT INTO repository (id, project, name, provider, url, manifest_path, default_branch, hook_id, mapping, status_url,
    created_at) VALUES ('r', 'p', 'web', 'generic', 'https://git.example.org/web.git', 'web/godploy.yaml', 'main',
    'hook', '{"production": {}}', 'https://ci.example.org/status', 2);
INSERT INTO hook_secret (repository, sealed, created_at) VALUES ('r', x'01', 1);
INSERT INTO branch (repository, name, considered, at) VALUES ('r', 'main', 'c0ffee', 1);
INSERT INTO delivery (id, repository, key, kind, state, verdict, body, received_at)
    VALUES ('d', 'r', 'key', 'hook', 'decided', 'deploys', '{}', 1);
INSERT INTO stack (id, environment, repository, created_at) VALUES ('s', 'e', 'r', 1);
INSERT INTO deployment (id, project, number, stack, kind, state, actor, delivery, created_at)
    VALUES ('n', 'p', 1, 's', 'push', 'queued', 'ada', 'd', 1);
INSERT INTO outbox (id, deployment, repository, body, due_at, created_at) VALUES (41, 'n', 'r', '{"state": "x"}', 7, 6);
"""


@pytest.fixture
def upgraded(monkeypatch: pytest.MonkeyPatch) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.row_factory = sqlite3.Row
    every = database.migrations()
    with monkeypatch.context() as patched:
        patched.setattr(database, "migrations", lambda: every[:1])
        database.migrate(connection)
    connection.executescript(BEFORE)
    database.migrate(connection)
    return connection


def test_a_repository_stays_as_it_was(upgraded: sqlite3.Connection) -> None:
    (found,) = upgraded.execute("SELECT * FROM repository").fetchall()
    assert dict(found) == {
        "id": "r",
        "project": "p",
        "name": "web",
        "provider": "generic",
        "url": "https://git.example.org/web.git",
        "manifest_path": "web/godploy.yaml",
        "default_branch": "main",
        "hook_id": "hook",
        "mapping": '{"production": {}}',
        "status_url": "https://ci.example.org/status",
        "created_at": 2.0,
        "connection": None,
        "remote_id": None,
        "full_name": None,
        "web_url": None,
    }


def test_what_waits_to_be_told_is_told(upgraded: sqlite3.Connection) -> None:
    (found,) = upgraded.execute("SELECT * FROM outbox").fetchall()
    assert (found["id"], found["kind"], found["subject"], found["fate"]) == (41, "notice", "notice:n", "waiting")
    assert (found["body"], found["due_at"], found["created_at"]) == ('{"state": "x"}', 7.0, 6.0)
    added = upgraded.execute(
        "INSERT INTO outbox (kind, repository, deployment, subject, body, due_at, created_at)"
        " VALUES ('notice', 'r', 'n', 'notice:n', '{}', 8, 8)"
    )
    assert added.lastrowid == 42  # the order goes on


def test_what_belongs_to_a_repository_still_does(upgraded: sqlite3.Connection) -> None:
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        upgraded.execute("DELETE FROM repository")
    upgraded.executescript("DELETE FROM deployment; DELETE FROM delivery; DELETE FROM stack; DELETE FROM repository;")
    for table in ("hook_secret", "branch", "outbox"):
        assert upgraded.execute(f"SELECT count(*) FROM {table}").fetchone()[0] == 0
