"""Secrets of an environment: sealed, by version; a version stays while a kept release names it."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Sequence
from typing import Any

from godploy.errors import NotFound


def put(conn: sqlite3.Connection, environment_id: str, name: str, sealed: bytes) -> int:
    """A new current version; its number."""
    now = time.time()
    query = "SELECT ifnull(max(version), 0) + 1 FROM secret_version WHERE environment = ? AND name = ?"
    version = int(conn.execute(query, (environment_id, name)).fetchone()[0])
    conn.execute("INSERT INTO secret_version VALUES (?, ?, ?, ?, ?)", (environment_id, name, version, sealed, now))
    set_current(conn, environment_id, name, version)
    return version


def set_current(conn: sqlite3.Connection, environment_id: str, name: str, version: int) -> None:
    conn.execute(
        "INSERT INTO secret VALUES (?, ?, ?, ?)"
        " ON CONFLICT (environment, name) DO UPDATE SET version = excluded.version, changed_at = excluded.changed_at",
        (environment_id, name, version, time.time()),
    )


def remove(conn: sqlite3.Connection, environment_id: str, name: str) -> None:
    """It has no current value any more. Raises NotFound."""
    if conn.execute("DELETE FROM secret WHERE environment = ? AND name = ?", (environment_id, name)).rowcount == 0:
        raise NotFound(f"there is no secret {name} here")


def current(conn: sqlite3.Connection, environment_id: str) -> dict[str, int]:
    """name → current version."""
    query = "SELECT name, version FROM secret WHERE environment = ? ORDER BY name"
    return {row["name"]: row["version"] for row in conn.execute(query, (environment_id,))}


def listing(conn: sqlite3.Connection, environment_id: str) -> Sequence[dict[str, Any]]:
    query = "SELECT name, version, changed_at FROM secret WHERE environment = ? ORDER BY name"
    return [dict(row) for row in conn.execute(query, (environment_id,))]


def sealed(
    conn: sqlite3.Connection, environment_id: str, wanted: Iterable[tuple[str, int]]
) -> dict[tuple[str, int], bytes]:
    """(name, version) → sealed value, for those that there are."""
    query = "SELECT sealed FROM secret_version WHERE environment = ? AND name = ? AND version = ?"
    found = {}
    for name, version in wanted:
        row = conn.execute(query, (environment_id, name, version)).fetchone()
        if row:
            found[(name, version)] = row["sealed"]
    return found


def versions(conn: sqlite3.Connection, environment_id: str) -> dict[tuple[str, int], bytes]:
    """Every kept version of every secret: what a log of this environment must not show."""
    query = "SELECT name, version, sealed FROM secret_version WHERE environment = ?"
    return {(row["name"], row["version"]): row["sealed"] for row in conn.execute(query, (environment_id,))}


def forget_versions(conn: sqlite3.Connection, environment_id: str, kept: Iterable[tuple[str, int]]) -> None:
    """Removes versions that are neither current nor in `kept`."""
    keep = set(kept) | set(current(conn, environment_id).items())
    for name, version in versions(conn, environment_id):
        if (name, version) not in keep:
            conn.execute(
                "DELETE FROM secret_version WHERE environment = ? AND name = ? AND version = ?",
                (environment_id, name, version),
            )
