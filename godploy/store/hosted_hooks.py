"""The hooks that we made at providers, and whether anything ever came from them."""

from __future__ import annotations

import sqlite3
import time

from godploy.core.model import HostedHook
from godploy.store import rows


def works(conn: sqlite3.Connection, repository: str) -> bool:
    """Whether something came from it."""
    row = conn.execute("SELECT state FROM hosted_hook WHERE repository = ?", (repository,)).fetchone()
    return row is not None and row["state"] == "working"


def scheme(conn: sqlite3.Connection, repository: str) -> str:
    """How deliveries to its hook prove themselves; "" where there is one way only."""
    row = conn.execute("SELECT scheme FROM hosted_hook WHERE repository = ?", (repository,)).fetchone()
    return row["scheme"] if row else ""


def of(conn: sqlite3.Connection, repository: str) -> HostedHook | None:
    row = conn.execute("SELECT * FROM hosted_hook WHERE repository = ?", (repository,)).fetchone()
    return rows.hosted_hook(row) if row else None


def put(conn: sqlite3.Connection, repository: str, hook: str, url: str, scheme: str) -> None:
    """Made or mended now: whether it works is to be seen."""
    conn.execute(
        "INSERT OR REPLACE INTO hosted_hook VALUES (?, ?, ?, ?, 'unproven', NULL, ?, NULL)",
        (repository, hook, url, scheme, time.time()),
    )


def note_state(conn: sqlite3.Connection, repository: str, state: str, trouble: str | None = None) -> None:
    """What a look at it, or waiting for it, showed; one that was heard meanwhile is not called silent."""
    conn.execute(
        "UPDATE hosted_hook SET state = ?, trouble = ? WHERE repository = ?"
        " AND NOT (? IN ('silent', 'unproven') AND heard_at IS NOT NULL)",
        (state, trouble, repository, state),
    )


def hear(conn: sqlite3.Connection, repository: str) -> None:
    """An authentic delivery came; written down once a minute at most."""
    now = time.time()
    conn.execute(
        "UPDATE hosted_hook SET state = 'working', trouble = NULL, heard_at = ?"
        " WHERE repository = ? AND (state != 'working' OR heard_at < ?)",
        (now, repository, now - 60.0),
    )


def remove(conn: sqlite3.Connection, repository: str) -> None:
    conn.execute("DELETE FROM hosted_hook WHERE repository = ?", (repository,))
