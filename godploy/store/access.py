"""How repositories elsewhere that have no connection are reached: logins, deploy keys, pinned host keys; all sealed."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kept:
    """`password` and `key` are sealed."""

    username: str | None = None
    password: bytes | None = None
    key: bytes | None = None
    public_key: str | None = None
    host_keys: tuple[str, ...] = ()


def of(conn: sqlite3.Connection, repository: str) -> Kept:
    """What is kept for it; nothing for one that anybody may read."""
    row = conn.execute("SELECT * FROM repository_access WHERE repository = ?", (repository,)).fetchone()
    if row is None:
        return Kept()
    host_keys = tuple(json.loads(row["host_keys"]))
    return Kept(row["username"], row["password"], row["key"], row["public_key"], host_keys)


def put(conn: sqlite3.Connection, repository: str, kept: Kept) -> None:
    """In the place of what was kept before."""
    conn.execute(
        "INSERT OR REPLACE INTO repository_access VALUES (?, ?, ?, ?, ?, ?)",
        (repository, kept.username, kept.password, kept.key, kept.public_key, json.dumps(list(kept.host_keys))),
    )


def pin(conn: sqlite3.Connection, repository: str, host_keys: Sequence[str]) -> None:
    query = "UPDATE repository_access SET host_keys = ? WHERE repository = ?"
    conn.execute(query, (json.dumps(list(host_keys)), repository))
