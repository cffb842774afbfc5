"""The durable inbox: a delivery is committed as received before anybody is told 202, and decided once."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Collection, Mapping
from typing import Any

from godploy.core.model import Delivery
from godploy.core.naming import new_id
from godploy.errors import NotFound
from godploy.store import rows


def receive(
    conn: sqlite3.Connection,
    repository_id: str,
    kind: str,
    key: str,
    body: Mapping[str, Any],
    headers: Mapping[str, str] | None = None,
) -> tuple[Delivery, bool]:
    """(the delivery, whether it is new): a repeated key gives the first one back. `headers` are kept as they are, so
    secrets are left out before."""
    made = new_id()
    kept = None if headers is None else rows.dumps(dict(headers))
    cursor = conn.execute(
        "INSERT OR IGNORE INTO delivery (id, repository, key, kind, state, body, received_at, headers)"
        " VALUES (?, ?, ?, ?, 'received', ?, ?, ?)",
        (made, repository_id, key, kind, rows.dumps(body), time.time(), kept),
    )
    row = conn.execute("SELECT * FROM delivery WHERE repository = ? AND key = ?", (repository_id, key)).fetchone()
    return rows.delivery(row), cursor.rowcount == 1


def get(conn: sqlite3.Connection, delivery_id: str) -> Delivery:
    row = conn.execute("SELECT * FROM delivery WHERE id = ?", (delivery_id,)).fetchone()
    if row is None:
        raise NotFound("there is no such delivery")
    return rows.delivery(row)


def next_of_each(conn: sqlite3.Connection, besides: Collection[str]) -> list[Delivery]:
    """The newest undecided one of each repository that is not in `besides`: a newer push of a branch decides for the
    older ones."""
    waiting = [row[0] for row in conn.execute("SELECT DISTINCT repository FROM delivery WHERE state = 'received'")]
    query = (
        "SELECT * FROM delivery WHERE state = 'received' AND repository = ?"
        " ORDER BY received_at DESC, rowid DESC LIMIT 1"
    )
    wanted = [repository for repository in waiting if repository not in besides]
    return [rows.delivery(conn.execute(query, (repository,)).fetchone()) for repository in wanted]


def received(conn: sqlite3.Connection, repository: str, until: float) -> list[Delivery]:
    """Undecided pushes of a repository that came no later."""
    query = (
        "SELECT * FROM delivery WHERE state = 'received' AND repository = ? AND received_at <= ?"
        " AND json_extract(body, '$.event') = 'push'"
    )
    return [rows.delivery(row) for row in conn.execute(query, (repository, until))]


def supersede(conn: sqlite3.Connection, by: Delivery, ref: str, verdict: str, *, replays: bool) -> None:
    """Undecided pushes of the same ref that came no later are decided by it; those that a person sent again only with
    `replays`."""
    conn.execute(
        "UPDATE delivery SET state = 'decided', verdict = ?, decided_at = ? WHERE state = 'received'"
        " AND repository = ? AND received_at <= ? AND id != ?"
        " AND json_extract(body, '$.event') = 'push' AND json_extract(body, '$.ref') = ?"
        " AND (? OR kind != 'manual')",
        (verdict, time.time(), by.repository, by.received_at, by.id, ref, replays),
    )


def decide(conn: sqlite3.Connection, delivery_id: str, verdict: str) -> bool:
    """Whether this call decided it; a decided delivery keeps its verdict."""
    cursor = conn.execute(
        "UPDATE delivery SET state = 'decided', verdict = ?, decided_at = ? WHERE id = ? AND state = 'received'",
        (verdict, time.time(), delivery_id),
    )
    return cursor.rowcount == 1


def of_project(conn: sqlite3.Connection, project_id: str, limit: int = 50) -> list[Delivery]:
    """Newest first."""
    query = (
        "SELECT delivery.* FROM delivery JOIN repository ON repository.id = delivery.repository"
        " WHERE repository.project = ? ORDER BY received_at DESC LIMIT ?"
    )
    return [rows.delivery(row) for row in conn.execute(query, (project_id, limit))]


def forget_older(conn: sqlite3.Connection, before: float) -> int:
    """Removes decided deliveries received before that time which no deployment names."""
    query = (
        "DELETE FROM delivery WHERE state = 'decided' AND received_at < ?"
        " AND id NOT IN (SELECT delivery FROM deployment WHERE delivery IS NOT NULL)"
    )
    return conn.execute(query, (before,)).rowcount
