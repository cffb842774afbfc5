"""Deployments: the queue, the claim, and the states, each change by compare-and-set with its event row."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from godploy.core.lifecycle import may_become
from godploy.core.model import Deployment, Kind, Release, Stage, State
from godploy.core.naming import new_id
from godploy.errors import Conflict, NotFound
from godploy.store import events, outbox, rows

_PUSHES = (Kind.PUSH, Kind.POLL)

_DOES = {
    Stage.FETCH: "fetching the commit",
    Stage.PLAN: "planning",
    Stage.BUILD: "building",
    Stage.START: "starting",
    Stage.SWITCH: "switching traffic",
}
"""What a deployment does in each stage, as its commit says."""


@dataclass(frozen=True, slots=True)
class Request:
    """A deployment that is wanted."""

    stack: str
    kind: Kind
    actor: str
    commit: str | None = None
    revision: int | None = None
    branch: str | None = None
    message: str = ""
    delivery: str | None = None
    from_release: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


def enqueue(conn: sqlite3.Connection, request: Request) -> Deployment:
    """A queued deployment. A push supersedes the pushes that wait on its stack, and asks a running one that has not
    begun to start anything to end."""
    deployment_id = new_id()
    project = conn.execute(
        "SELECT environment.project FROM stack JOIN environment ON environment.id = stack.environment"
        " WHERE stack.id = ?",
        (request.stack,),
    ).fetchone()["project"]
    if request.kind in _PUSHES:
        reason = f"superseded by {(request.commit or '')[:7]}"
        end_waiting(conn, request.stack, State.SUPERSEDED, reason)
        ask_to_end(conn, request.stack, State.SUPERSEDED, reason)
    number = conn.execute("SELECT ifnull(max(number), 0) + 1 FROM deployment WHERE project = ?", (project,)).fetchone()[
        0
    ]
    conn.execute(
        "INSERT INTO deployment (id, project, number, stack, kind, state, commit_id, revision, branch, message, actor,"
        " delivery, from_release, options, created_at) VALUES (?, ?, ?, ?, ?, 'queued', ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            deployment_id,
            project,
            number,
            request.stack,
            request.kind,
            request.commit,
            request.revision,
            request.branch,
            request.message,
            request.actor,
            request.delivery,
            request.from_release,
            rows.dumps(dict(request.options)),
            time.time(),
        ),
    )
    made = get(conn, deployment_id)
    _note(conn, made, State.QUEUED, f"{made.kind} queued")
    return made


def end_waiting(conn: sqlite3.Connection, stack_id: str, state: State, reason: str) -> list[str]:
    """Ends the queued pushes of a stack; their ids."""
    query = "SELECT id FROM deployment WHERE stack = ? AND state = 'queued' AND kind IN ('push', 'poll')"
    ended = [row["id"] for row in conn.execute(query, (stack_id,)).fetchall()]
    for deployment_id in ended:
        finish(conn, deployment_id, state, result=reason)
    return ended


def ask_to_end(conn: sqlite3.Connection, stack_id: str, state: State, reason: str) -> str | None:
    """Asks the stack's running push, while it has not begun `start`, to end; its id if there is one."""
    row = conn.execute(
        "UPDATE deployment SET ending = ? WHERE stack = ? AND state = 'running' AND ending IS NULL"
        " AND kind IN ('push', 'poll', 'manual') AND (stage IS NULL OR stage IN ('fetch', 'plan', 'build'))"
        " RETURNING id",
        (f"{state}:{reason}", stack_id),
    ).fetchall()
    return row[0]["id"] if row else None


def cancel(conn: sqlite3.Connection, deployment_id: str, reason: str) -> Deployment:
    """A person's word: a queued one is cancelled now, a running one asked to end. Raises Conflict for an ended one."""
    found = get(conn, deployment_id)
    if found.state is State.QUEUED:
        finish(conn, deployment_id, State.CANCELLED, result=reason)
    elif found.state is State.RUNNING:
        conn.execute(
            "UPDATE deployment SET ending = ifnull(ending, ?) WHERE id = ?",
            (f"{State.CANCELLED}:{reason}", deployment_id),
        )
    else:
        raise Conflict(f"deployment {found.number} has ended already: {found.state}")
    return get(conn, deployment_id)


def claim(conn: sqlite3.Connection) -> Deployment | None:
    """The oldest queued deployment whose stack has none running, running from now on; None if there is none."""
    claimed = conn.execute(
        "UPDATE deployment SET state = 'running', started_at = ?, stage = NULL, stage_times = '{}'"
        " WHERE id = (SELECT id FROM deployment AS waiting WHERE state = 'queued' AND NOT EXISTS"
        "  (SELECT 1 FROM deployment WHERE stack = waiting.stack AND state = 'running')"
        "  ORDER BY created_at, number LIMIT 1) RETURNING *",
        (time.time(),),
    ).fetchall()
    if not claimed:
        return None
    found = rows.deployment(claimed[0])
    _note(conn, found, State.RUNNING, f"{found.kind} runs")
    return found


def enter(conn: sqlite3.Connection, deployment_id: str, stage: Stage) -> bool:
    """Whether the running deployment goes on into the stage: False when it was asked to end."""
    row = conn.execute(
        "SELECT stage_times FROM deployment WHERE id = ? AND state = 'running' AND ending IS NULL", (deployment_id,)
    ).fetchone()
    if row is None:
        return False
    times = {**json.loads(row["stage_times"]), stage: time.time()}
    conn.execute(
        "UPDATE deployment SET stage = ?, stage_times = ? WHERE id = ?", (stage, rows.dumps(times), deployment_id)
    )
    outbox.put_status(conn, get(conn, deployment_id), State.RUNNING, _DOES[stage])
    return True


def finish(
    conn: sqlite3.Connection,
    deployment_id: str,
    state: State,
    *,
    result: str | None = None,
    error: Mapping[str, Any] | None = None,
) -> Deployment:
    """The final state. Raises Conflict where `lifecycle` has no such arrow, so nothing ends twice."""
    found = get(conn, deployment_id)
    if not may_become(found.state, state):
        raise Conflict(f"deployment {found.number} is {found.state} and cannot become {state}")
    conn.execute(
        "UPDATE deployment SET state = ?, finished_at = ?, result = ?, error = ? WHERE id = ?",
        (state, time.time(), result, rows.dumps(dict(error)) if error else None, deployment_id),
    )
    ended = get(conn, deployment_id)
    _note(conn, ended, state, result or (error or {}).get("message") or str(state))
    return ended


def requeue(conn: sqlite3.Connection, deployment_id: str) -> None:
    """Back to the queue after an interruption, as another attempt."""
    conn.execute(
        "UPDATE deployment SET state = 'queued', attempt = attempt + 1, stage = NULL, started_at = NULL"
        " WHERE id = ? AND state = 'running'",
        (deployment_id,),
    )
    _note(conn, get(conn, deployment_id), State.QUEUED, "interrupted, queued again")


def newer_push_waits(conn: sqlite3.Connection, stack_id: str) -> Deployment | None:
    query = "SELECT * FROM deployment WHERE stack = ? AND state = 'queued' AND kind IN ('push', 'poll')"
    row = conn.execute(query, (stack_id,)).fetchone()
    return rows.deployment(row) if row else None


def describe(conn: sqlite3.Connection, deployment_id: str, commit: str, message: str) -> None:
    """What the fetch learnt of the commit."""
    conn.execute("UPDATE deployment SET commit_id = ?, message = ? WHERE id = ?", (commit, message, deployment_id))


def go_on_from(conn: sqlite3.Connection, deployment_id: str, release: Release) -> Deployment:
    """It starts from this release, whichever it was asked for with."""
    conn.execute(
        "UPDATE deployment SET from_release = ?, commit_id = ?, revision = ? WHERE id = ?",
        (release.id, release.commit, release.revision, deployment_id),
    )
    return get(conn, deployment_id)


def get(conn: sqlite3.Connection, deployment_id: str) -> Deployment:
    row = conn.execute("SELECT * FROM deployment WHERE id = ?", (deployment_id,)).fetchone()
    if row is None:
        raise NotFound("there is no such deployment")
    return rows.deployment(row)


def by_number(conn: sqlite3.Connection, project_id: str, number: int) -> Deployment:
    row = conn.execute("SELECT * FROM deployment WHERE project = ? AND number = ?", (project_id, number)).fetchone()
    if row is None:
        raise NotFound(f"this project has no deployment {number}")
    return rows.deployment(row)


def running(conn: sqlite3.Connection, stack_id: str | None = None) -> list[Deployment]:
    query = "SELECT * FROM deployment WHERE state = 'running' AND (? IS NULL OR stack = ?) ORDER BY started_at"
    return [rows.deployment(row) for row in conn.execute(query, (stack_id, stack_id))]


def asked_to_end(conn: sqlite3.Connection) -> list[Deployment]:
    query = "SELECT * FROM deployment WHERE state = 'running' AND ending IS NOT NULL"
    return [rows.deployment(row) for row in conn.execute(query)]


def of_delivery(conn: sqlite3.Connection, delivery_id: str) -> list[Deployment]:
    query = "SELECT * FROM deployment WHERE delivery = ? ORDER BY created_at"
    return [rows.deployment(row) for row in conn.execute(query, (delivery_id,))]


def of_project(
    conn: sqlite3.Connection, project_id: str, stack: str | None = None, limit: int = 50
) -> list[Deployment]:
    """Newest first."""
    query = "SELECT * FROM deployment WHERE project = ? AND (? IS NULL OR stack = ?) ORDER BY number DESC LIMIT ?"
    return [rows.deployment(row) for row in conn.execute(query, (project_id, stack, stack, limit))]


def forget_older(conn: sqlite3.Connection, before: float) -> list[str]:
    """Removes deployments that ended before that time and that nothing kept was made by; their ids."""
    query = (
        "DELETE FROM deployment WHERE finished_at < ? AND id NOT IN (SELECT deployment FROM release)"
        " AND id NOT IN (SELECT made_by FROM workload)"
        " AND id NOT IN (SELECT made_by FROM volume WHERE made_by IS NOT NULL)"
        " AND id NOT IN (SELECT claimed_by FROM host WHERE claimed_by IS NOT NULL)"
        " AND id NOT IN (SELECT stopped_by FROM workload WHERE stopped_by IS NOT NULL) RETURNING id"
    )
    return [row["id"] for row in conn.execute(query, (before,)).fetchall()]


def queue_position(conn: sqlite3.Connection, deployment: Deployment) -> int:
    """1 for the next one; 0 when it does not wait."""
    if deployment.state is not State.QUEUED:
        return 0
    query = "SELECT count(*) FROM deployment WHERE state = 'queued' AND created_at <= ?"
    return int(conn.execute(query, (deployment.created_at,)).fetchone()[0])


def _note(conn: sqlite3.Connection, deployment: Deployment, state: State, message: str) -> None:
    outbox.put(conn, deployment, state, message)
    environment = conn.execute("SELECT environment FROM stack WHERE id = ?", (deployment.stack,)).fetchone()[0]
    events.add(
        conn,
        "state",
        message,
        environment=environment,
        stack=deployment.stack,
        deployment=deployment.id,
        fields={"state": str(state), "number": deployment.number, "commit": deployment.commit},
    )
