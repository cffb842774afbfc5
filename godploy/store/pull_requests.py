"""Pull requests as their repositories last told of them, with what their plans say."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from godploy.core.model import PullRequest
from godploy.core.naming import new_id
from godploy.errors import NotFound
from godploy.store import rows


@dataclass(frozen=True, slots=True)
class Told:
    """What a delivery, or the provider when it was asked, says of one."""

    number: int
    title: str
    branch: str
    base: str
    url: str
    author: str
    fork: bool
    source_url: str


def put(conn: sqlite3.Connection, repository: str, told: Told, state: str) -> PullRequest:
    conn.execute(
        "INSERT INTO pull_request (id, repository, number, title, branch, base, url, author, fork, source_url, state,"
        " updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (repository, number) DO UPDATE SET title = excluded.title, branch = excluded.branch,"
        " base = excluded.base, url = excluded.url, author = excluded.author, fork = excluded.fork,"
        " source_url = excluded.source_url, state = excluded.state, updated_at = excluded.updated_at",
        (
            new_id(),
            repository,
            told.number,
            told.title,
            told.branch,
            told.base,
            told.url,
            told.author,
            told.fork,
            told.source_url,
            state,
            time.time(),
        ),
    )
    return by_number(conn, repository, told.number)


def get(conn: sqlite3.Connection, pull_request_id: str) -> PullRequest:
    row = conn.execute("SELECT * FROM pull_request WHERE id = ?", (pull_request_id,)).fetchone()
    if row is None:
        raise NotFound("there is no such pull request")
    return rows.pull_request(row)


def by_number(conn: sqlite3.Connection, repository: str, number: int) -> PullRequest:
    query = "SELECT * FROM pull_request WHERE repository = ? AND number = ?"
    row = conn.execute(query, (repository, number)).fetchone()
    if row is None:
        raise NotFound(f"no pull request {number} is known here")
    return rows.pull_request(row)


def note_plan(conn: sqlite3.Connection, pull_request_id: str, commit: str, outcome: Mapping[str, Any]) -> None:
    conn.execute(
        "UPDATE pull_request SET commit_id = ?, outcome = ?, planned_at = ? WHERE id = ?",
        (commit, rows.dumps(dict(outcome)), time.time(), pull_request_id),
    )


def of_project(
    conn: sqlite3.Connection, project: str, *, state: str | None = None, limit: int = 50
) -> list[PullRequest]:
    """Lately changed first."""
    query = (
        "SELECT pull_request.* FROM pull_request JOIN repository ON repository.id = pull_request.repository"
        " WHERE repository.project = ? AND (? IS NULL OR state = ?) ORDER BY updated_at DESC LIMIT ?"
    )
    return [rows.pull_request(row) for row in conn.execute(query, (project, state, state, limit))]


def open_of(conn: sqlite3.Connection, repository: str) -> list[PullRequest]:
    query = "SELECT * FROM pull_request WHERE repository = ? AND state = 'open' ORDER BY number"
    return [rows.pull_request(row) for row in conn.execute(query, (repository,))]


def forget_older(conn: sqlite3.Connection, before: float) -> None:
    """Closed ones that have not changed since."""
    conn.execute("DELETE FROM pull_request WHERE state = 'closed' AND updated_at < ?", (before,))
