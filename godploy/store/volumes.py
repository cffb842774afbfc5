"""Volumes and the generated secrets that they keep."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping

from godploy.core.model import Volume
from godploy.core.naming import new_id
from godploy.errors import Conflict, NotFound
from godploy.store import rows


def create(
    conn: sqlite3.Connection, environment_id: str, name: str, deployment: str, sealed: Mapping[str, bytes]
) -> Volume:
    """A new volume with its generated secrets (version 1); until a release is committed it is the deployment's."""
    volume_id = new_id()
    conn.execute(
        "INSERT INTO volume VALUES (?, ?, ?, NULL, NULL, ?, ?)",
        (volume_id, environment_id, name, deployment, time.time()),
    )
    for secret, value in sealed.items():
        conn.execute("INSERT INTO volume_secret VALUES (?, ?, 1, ?)", (volume_id, secret, value))
    return get(conn, volume_id)


def get(conn: sqlite3.Connection, volume_id: str) -> Volume:
    row = conn.execute("SELECT * FROM volume WHERE id = ?", (volume_id,)).fetchone()
    if row is None:
        raise NotFound("there is no such volume")
    return rows.volume(row)


def of_environment(conn: sqlite3.Connection, environment_id: str) -> dict[str, Volume]:
    query = "SELECT * FROM volume WHERE environment = ? ORDER BY name"
    return {row["name"]: rows.volume(row) for row in conn.execute(query, (environment_id,))}


def of_project(conn: sqlite3.Connection, project_id: str) -> list[Volume]:
    query = (
        "SELECT volume.* FROM volume JOIN environment ON environment.id = volume.environment"
        " WHERE environment.project = ? ORDER BY environment.name, volume.name"
    )
    return [rows.volume(row) for row in conn.execute(query, (project_id,))]


def made_by(conn: sqlite3.Connection, deployment: str) -> list[Volume]:
    """What a deployment made that no release has been committed with."""
    return [rows.volume(row) for row in conn.execute("SELECT * FROM volume WHERE made_by = ?", (deployment,))]


def attach(conn: sqlite3.Connection, stack_id: str, environment_id: str, mounted: Mapping[str, str]) -> None:
    """A release was committed: its services mount exactly these (volume name → service); others are detached."""
    conn.execute("UPDATE volume SET stack = NULL, service = NULL WHERE stack = ?", (stack_id,))
    for name, service in mounted.items():
        conn.execute(
            "UPDATE volume SET stack = ?, service = ?, made_by = NULL WHERE environment = ? AND name = ?",
            (stack_id, service, environment_id, name),
        )


def delete(conn: sqlite3.Connection, volume_id: str) -> None:
    """The row of a detached volume. Raises Conflict for one that is mounted."""
    conn.execute("DELETE FROM volume WHERE id = ?", (detached(conn, volume_id).id,))


def detached(conn: sqlite3.Connection, volume_id: str) -> Volume:
    """The volume. Raises Conflict while it is mounted."""
    found = get(conn, volume_id)
    if found.service is not None:
        raise Conflict(
            f"volume {found.name} is mounted by {found.service}",
            next_step=f"take it out of services.{found.service} first, and deploy",
        )
    return found


def secrets(conn: sqlite3.Connection, environment_id: str) -> dict[tuple[str, str, int], bytes]:
    """(volume name, secret name, version) → sealed value."""
    query = (
        "SELECT volume.name AS volume, volume_secret.name, version, sealed FROM volume_secret"
        " JOIN volume ON volume.id = volume_secret.volume WHERE volume.environment = ?"
    )
    found = conn.execute(query, (environment_id,))
    return {(row["volume"], row["name"], row["version"]): row["sealed"] for row in found}
