"""What is to be told elsewhere. A row is written in the transaction that made it true, and sent later."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from godploy.core.model import Deployment, State
from godploy.store import rows


@dataclass(frozen=True, slots=True)
class Message:
    """One state of a deployment, for the status address of its repository."""

    id: int
    deployment: str
    repository: str
    status_url: str
    body: Mapping[str, Any]
    attempts: int


def put(conn: sqlite3.Connection, deployment: Deployment, state: State, description: str) -> None:
    """Queues the state where the repository wants it told; what waits of the deployment is overtaken by it."""
    repository = conn.execute(
        "SELECT repository.id, environment.name AS environment, project.name AS project FROM stack"
        " JOIN repository ON repository.id = stack.repository"
        " JOIN environment ON environment.id = stack.environment"
        " JOIN project ON project.id = environment.project"
        " WHERE stack.id = ? AND repository.status_url IS NOT NULL",
        (deployment.stack,),
    ).fetchone()
    if repository is None:
        return
    conn.execute("UPDATE outbox SET fate = 'overtaken' WHERE deployment = ? AND fate = 'waiting'", (deployment.id,))
    body = {
        "project": repository["project"],
        "environment": repository["environment"],
        "deployment": deployment.id,
        "number": deployment.number,
        "commit": deployment.commit,
        "state": str(state),
        "description": description,
    }
    now = time.time()
    conn.execute(
        "INSERT INTO outbox (deployment, repository, body, due_at, created_at) VALUES (?, ?, ?, ?, ?)",
        (deployment.id, repository["id"], rows.dumps(body), now, now),
    )


def due(conn: sqlite3.Connection, now: float) -> list[Message]:
    """What is to be sent now, oldest first."""
    query = (
        "SELECT outbox.*, repository.status_url FROM outbox JOIN repository ON repository.id = outbox.repository"
        " WHERE fate = 'waiting' AND due_at <= ? ORDER BY outbox.id"
    )
    return [
        Message(
            row["id"], row["deployment"], row["repository"], row["status_url"], json.loads(row["body"]), row["attempts"]
        )
        for row in conn.execute(query, (now,))
    ]


def next_due(conn: sqlite3.Connection, now: float) -> float | None:
    """When the next message becomes due that is not yet."""
    query = "SELECT min(due_at) FROM outbox WHERE fate = 'waiting' AND due_at > ?"
    return conn.execute(query, (now,)).fetchone()[0]  # type: ignore[no-any-return]


def sent(conn: sqlite3.Connection, message: Message) -> None:
    conn.execute("UPDATE outbox SET fate = 'sent', attempts = attempts + 1 WHERE id = ?", (message.id,))


def failed(conn: sqlite3.Connection, message: Message, error: str, due_at: float | None) -> None:
    """To be tried again at `due_at`; None: given up. A message that was overtaken meanwhile stays so."""
    fate = "given up" if due_at is None else "waiting"
    conn.execute(
        "UPDATE outbox SET fate = ?, attempts = attempts + 1, error = ?, due_at = ? WHERE id = ? AND fate = 'waiting'",
        (fate, error, due_at or 0.0, message.id),
    )


def forget_older(conn: sqlite3.Connection, before: float) -> None:
    conn.execute("DELETE FROM outbox WHERE fate != 'waiting' AND created_at < ?", (before,))
