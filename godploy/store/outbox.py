"""What is to be told elsewhere. A row is written in the transaction that made it true, and sent later.

A *notice* goes to the status address of a repository, a *status* to the commit at the repository's provider. Of one
subject only the newest is worth telling: what still waits is overtaken by it.
"""

from __future__ import annotations

import json
import posixpath
import sqlite3
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from godploy.core.model import Deployment, State
from godploy.core.remote import is_commit
from godploy.store import rows

PLAN = "godploy/plan"  # the context under which pull requests are told of


@dataclass(frozen=True, slots=True)
class Message:
    """`kind` is "notice" or "status"; it is of a deployment or of a pull request."""

    id: int
    kind: str
    repository: str
    deployment: str | None
    pull_request: str | None
    body: Mapping[str, Any]
    attempts: int


def put(conn: sqlite3.Connection, deployment: Deployment, state: State, description: str) -> None:
    """Queues the state for whoever is to be told it."""
    found = _told(conn, deployment)
    if found is None:
        return
    if found["status_url"] is not None:
        body = {
            "project": found["project"],
            "environment": found["environment"],
            "deployment": deployment.id,
            "number": deployment.number,
            "commit": deployment.commit,
            "state": str(state),
            "description": description,
        }
        _queue(conn, "notice", found["id"], f"notice:{deployment.id}", body, deployment=deployment.id)
    put_status(conn, deployment, state, description)


def put_status(conn: sqlite3.Connection, deployment: Deployment, state: State, description: str) -> None:
    """Queues a state for the commit alone: how far it is interests whoever looks there, and no program."""
    found = _told(conn, deployment)
    if found is None or found["connection"] is None or not is_commit(deployment.commit or ""):
        return
    folder = posixpath.dirname(found["manifest_path"])
    context = "/".join(part for part in ("godploy", found["project"], found["environment"], folder) if part)
    branch = (deployment.branch or "").removeprefix("refs/tags/")
    body = {"commit": deployment.commit, "context": context, "branch": branch}
    subject = f"status:{found['id']}:{deployment.commit}:{context}"
    told = {**body, "state": str(state), "description": description}
    _queue(conn, "status", found["id"], subject, told, deployment=deployment.id)


def put_plan(
    conn: sqlite3.Connection, pull_request: str, commit: str, branch: str, *, state: str, description: str
) -> None:
    """Queues what the plan of a pull request says, for its head; `state` is "success", "failure" or "error"."""
    found = conn.execute(
        "SELECT repository, connection FROM pull_request JOIN repository ON repository.id = pull_request.repository"
        " WHERE pull_request.id = ?",
        (pull_request,),
    ).fetchone()
    if found is None or found["connection"] is None:
        return
    body = {"commit": commit, "context": PLAN, "branch": branch, "state": state, "description": description}
    subject = f"status:{found['repository']}:{commit}:{PLAN}"
    _queue(conn, "status", found["repository"], subject, body, pull_request=pull_request)


def _told(conn: sqlite3.Connection, deployment: Deployment) -> sqlite3.Row | None:
    found: sqlite3.Row | None = conn.execute(
        "SELECT repository.id, status_url, connection, manifest_path, environment.name AS environment,"
        " project.name AS project FROM stack"
        " JOIN repository ON repository.id = stack.repository"
        " JOIN environment ON environment.id = stack.environment"
        " JOIN project ON project.id = environment.project"
        " WHERE stack.id = ? AND (status_url IS NOT NULL OR connection IS NOT NULL)",
        (deployment.stack,),
    ).fetchone()
    return found


def _queue(
    conn: sqlite3.Connection,
    kind: str,
    repository: str,
    subject: str,
    body: Mapping[str, Any],
    *,
    deployment: str | None = None,
    pull_request: str | None = None,
) -> None:
    conn.execute("UPDATE outbox SET fate = 'overtaken' WHERE subject = ? AND fate = 'waiting'", (subject,))
    now = time.time()
    conn.execute(
        "INSERT INTO outbox (kind, repository, deployment, pull_request, subject, body, due_at, created_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (kind, repository, deployment, pull_request, subject, rows.dumps(body), now, now),
    )


def due(conn: sqlite3.Connection, now: float) -> list[Message]:
    """What is to be sent now, oldest first."""
    query = "SELECT * FROM outbox WHERE fate = 'waiting' AND due_at <= ? ORDER BY id"
    return [
        Message(
            id=row["id"],
            kind=row["kind"],
            repository=row["repository"],
            deployment=row["deployment"],
            pull_request=row["pull_request"],
            body=json.loads(row["body"]),
            attempts=row["attempts"],
        )
        for row in conn.execute(query, (now,))
    ]


def waits(conn: sqlite3.Connection, message: Message) -> bool:
    """Whether it is still to be sent: something newer may have come while it waited its turn."""
    row = conn.execute("SELECT fate FROM outbox WHERE id = ?", (message.id,)).fetchone()
    return row is not None and row["fate"] == "waiting"


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


def retry(conn: sqlite3.Connection, repository: str) -> None:
    """What waits to be tried again is due now: its credential was renewed, say."""
    conn.execute("UPDATE outbox SET due_at = ? WHERE repository = ? AND fate = 'waiting'", (time.time(), repository))


def forget_older(conn: sqlite3.Connection, before: float) -> None:
    conn.execute("DELETE FROM outbox WHERE fate != 'waiting' AND created_at < ?", (before,))
