"""One-off commands in the image and environment of a release."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence

from godploy.core.naming import new_id
from godploy.store import rows


def start(
    conn: sqlite3.Connection, stack_id: str, release_id: str, service: str, argv: Sequence[str], actor: str
) -> str:
    run_id = new_id()
    conn.execute(
        "INSERT INTO run (id, stack, release, service, argv, actor, created_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (run_id, stack_id, release_id, service, rows.dumps(list(argv)), actor, time.time()),
    )
    return run_id


def finish(conn: sqlite3.Connection, run_id: str, exit_code: int | None) -> None:
    """None: it was interrupted."""
    conn.execute("UPDATE run SET exit_code = ?, finished_at = ? WHERE id = ?", (exit_code, time.time(), run_id))


def finish_interrupted(conn: sqlite3.Connection) -> None:
    conn.execute("UPDATE run SET finished_at = ? WHERE finished_at IS NULL", (time.time(),))
