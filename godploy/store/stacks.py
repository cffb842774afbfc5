"""Stacks and the services whose names they hold."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable
from dataclasses import dataclass

from godploy.core.model import Stack
from godploy.core.naming import new_id
from godploy.errors import NotFound
from godploy.store import rows


@dataclass(frozen=True, slots=True)
class Service:
    """A service name that a stack holds in an environment."""

    environment: str
    name: str
    stack: str
    stopped: bool


def ensure(conn: sqlite3.Connection, environment_id: str, repository_id: str | None) -> Stack:
    """The stack of this source in the environment, made where it is new, attached again where it was detached."""
    query = "SELECT * FROM stack WHERE environment = ? AND repository IS ?"
    row = conn.execute(query, (environment_id, repository_id)).fetchone()
    if row is None:
        stack_id = new_id()
        conn.execute(
            "INSERT INTO stack (id, environment, repository, created_at) VALUES (?, ?, ?, ?)",
            (stack_id, environment_id, repository_id, time.time()),
        )
        return get(conn, stack_id)
    conn.execute("UPDATE stack SET detached = 0 WHERE id = ?", (row["id"],))
    return rows.stack(row)


def get(conn: sqlite3.Connection, stack_id: str) -> Stack:
    row = conn.execute("SELECT * FROM stack WHERE id = ?", (stack_id,)).fetchone()
    if row is None:
        raise NotFound("there is no such stack")
    return rows.stack(row)


def every(conn: sqlite3.Connection) -> list[Stack]:
    return [rows.stack(row) for row in conn.execute("SELECT * FROM stack ORDER BY created_at")]


def of_environment(conn: sqlite3.Connection, environment_id: str) -> list[Stack]:
    query = "SELECT * FROM stack WHERE environment = ? ORDER BY created_at"
    return [rows.stack(row) for row in conn.execute(query, (environment_id,))]


def of_project(conn: sqlite3.Connection, project_id: str) -> list[Stack]:
    query = (
        "SELECT stack.* FROM stack JOIN environment ON environment.id = stack.environment"
        " WHERE environment.project = ? ORDER BY environment.name != 'production', environment.name, stack.created_at"
    )
    return [rows.stack(row) for row in conn.execute(query, (project_id,))]


def of_repository(conn: sqlite3.Connection, repository_id: str) -> list[Stack]:
    return [rows.stack(row) for row in conn.execute("SELECT * FROM stack WHERE repository = ?", (repository_id,))]


def set_held(conn: sqlite3.Connection, stack_id: str, held: bool) -> None:
    conn.execute("UPDATE stack SET held = ? WHERE id = ?", (held, stack_id))


def detach(conn: sqlite3.Connection, stack_id: str) -> None:
    """Its environment left the manifest: it runs on and is shown, but nothing feeds it."""
    conn.execute("UPDATE stack SET detached = 1 WHERE id = ?", (stack_id,))


def make_current(conn: sqlite3.Connection, stack_id: str, release_id: str) -> None:
    """The commit point of a deployment."""
    conn.execute("UPDATE stack SET current_release = ? WHERE id = ?", (release_id, stack_id))


# Services


def services(conn: sqlite3.Connection, environment_id: str) -> dict[str, Service]:
    query = "SELECT * FROM service WHERE environment = ? ORDER BY name"
    found = conn.execute(query, (environment_id,))
    return {row["name"]: Service(environment_id, row["name"], row["stack"], bool(row["stopped"])) for row in found}


def claim_services(conn: sqlite3.Connection, stack: Stack, names: Iterable[str]) -> list[str]:
    """Takes the names for the stack; those that another stack of the environment holds are returned."""
    taken = []
    for name in names:
        conn.execute("INSERT OR IGNORE INTO service VALUES (?, ?, ?, 0)", (stack.environment, name, stack.id))
        query = "SELECT stack FROM service WHERE environment = ? AND name = ?"
        if conn.execute(query, (stack.environment, name)).fetchone()["stack"] != stack.id:
            taken.append(name)
    return taken


def keep_services(conn: sqlite3.Connection, stack_id: str, names: Iterable[str]) -> None:
    """The stack holds exactly these names from now on."""
    kept = set(names)
    held = conn.execute("SELECT environment, name FROM service WHERE stack = ?", (stack_id,)).fetchall()
    for row in held:
        if row["name"] not in kept:
            conn.execute("DELETE FROM service WHERE environment = ? AND name = ?", (row["environment"], row["name"]))


def set_stopped(conn: sqlite3.Connection, environment_id: str, name: str, stopped: bool) -> None:
    conn.execute("UPDATE service SET stopped = ? WHERE environment = ? AND name = ?", (stopped, environment_id, name))
