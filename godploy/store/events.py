"""What happened to services, stacks and deployments; append-only."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping
from typing import Any

from godploy.core.model import Event
from godploy.store import rows


def add(
    conn: sqlite3.Connection,
    kind: str,
    message: str,
    *,
    environment: str | None = None,
    stack: str | None = None,
    service: str | None = None,
    deployment: str | None = None,
    project: str | None = None,
    fields: Mapping[str, Any] | None = None,
) -> None:
    """`project` is given where no environment is concerned, but a repository, say."""
    conn.execute(
        "INSERT INTO event (at, environment, stack, service, deployment, kind, message, fields, project)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (time.time(), environment, stack, service, deployment, kind, message, rows.dumps(fields or {}), project),
    )


def newest(conn: sqlite3.Connection, kind: str, stack_id: str, service: str | None) -> Event | None:
    """The last one of a kind about a service of a stack, or about the stack itself."""
    query = "SELECT * FROM event WHERE kind = ? AND stack = ? AND service IS ? ORDER BY id DESC LIMIT 1"
    row = conn.execute(query, (kind, stack_id, service)).fetchone()
    return rows.event(row) if row else None


def of_project(conn: sqlite3.Connection, project_id: str, limit: int = 100) -> list[Event]:
    """Newest first."""
    query = (
        "SELECT event.* FROM event LEFT JOIN environment ON environment.id = event.environment"
        " WHERE environment.project = ? OR event.project = ? ORDER BY event.id DESC LIMIT ?"
    )
    return [rows.event(row) for row in conn.execute(query, (project_id, project_id, limit))]


def forget_older(conn: sqlite3.Connection, before: float) -> int:
    return conn.execute("DELETE FROM event WHERE at < ?", (before,)).rowcount
