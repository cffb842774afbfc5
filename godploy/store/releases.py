"""Releases, the workloads that they name, and the images that were built for them."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Mapping
from typing import Any

from godploy.core.model import Deployment, Release, ReleaseService, Stack, Workload
from godploy.core.naming import new_id
from godploy.core.plan import ResolvedImage
from godploy.core.specification import Specification
from godploy.errors import NotFound
from godploy.store import rows


def draft(
    conn: sqlite3.Connection,
    deployment: Deployment,
    *,
    manifest: str,
    routes: Iterable[Mapping[str, Any]],
    references: Mapping[str, str],
    services: Iterable[ReleaseService],
) -> Release:
    """A release that is not current yet: the recorded intent of a switch. It takes the place of one that an interrupted
    attempt of the same deployment left."""
    release_id = new_id()
    conn.execute("DELETE FROM release WHERE deployment = ?", (deployment.id,))
    number = conn.execute("SELECT ifnull(max(number), 0) + 1 FROM release WHERE stack = ?", (deployment.stack,))
    conn.execute(
        "INSERT INTO release VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            release_id,
            number.fetchone()[0],
            deployment.stack,
            deployment.id,
            deployment.kind,
            deployment.commit,
            deployment.revision,
            manifest,
            rows.dumps(list(routes)),
            rows.dumps(dict(references)),
            rows.dumps(dict(deployment.options.get("secrets", {}))),
            time.time(),
        ),
    )
    for service in services:
        conn.execute(
            "INSERT INTO release_service VALUES (?, ?, ?, ?, ?)",
            (release_id, service.service, service.workload, service.replicas, rows.dumps(service.definition)),
        )
    return get(conn, release_id)


def get(conn: sqlite3.Connection, release_id: str) -> Release:
    row = conn.execute("SELECT * FROM release WHERE id = ?", (release_id,)).fetchone()
    if row is None:
        raise NotFound("there is no such release")
    return _whole(conn, row)


def current(conn: sqlite3.Connection, stack: Stack) -> Release | None:
    row = conn.execute(
        "SELECT release.* FROM stack JOIN release ON release.id = stack.current_release WHERE stack.id = ?", (stack.id,)
    ).fetchone()
    return _whole(conn, row) if row else None


def by_number(conn: sqlite3.Connection, stack_id: str, number: int) -> Release:
    row = conn.execute("SELECT * FROM release WHERE stack = ? AND number = ?", (stack_id, number)).fetchone()
    if row is None:
        raise NotFound(f"there is no release {number} here", next_step="see: godploy deployments")
    return _whole(conn, row)


def of_deployment(conn: sqlite3.Connection, deployment_id: str) -> Release | None:
    row = conn.execute("SELECT * FROM release WHERE deployment = ?", (deployment_id,)).fetchone()
    return _whole(conn, row) if row else None


def of_stack(conn: sqlite3.Connection, stack_id: str) -> list[Release]:
    """Committed ones that are kept, newest first."""
    query = (
        "SELECT release.* FROM release JOIN deployment ON deployment.id = release.deployment"
        " WHERE release.stack = ? AND deployment.state = 'succeeded' ORDER BY release.number DESC"
    )
    return [_whole(conn, row) for row in conn.execute(query, (stack_id,)).fetchall()]


def drop(conn: sqlite3.Connection, release_id: str) -> None:
    """Removes a draft, or a release that is no longer kept."""
    conn.execute("DELETE FROM release WHERE id = ?", (release_id,))


def _whole(conn: sqlite3.Connection, row: sqlite3.Row) -> Release:
    query = "SELECT * FROM release_service WHERE release = ? ORDER BY service"
    services = tuple(rows.release_service(found) for found in conn.execute(query, (row["id"],)))
    return rows.release(row, services)


# Workloads


def add_workload(
    conn: sqlite3.Connection,
    stack: Stack,
    deployment: Deployment,
    specification: Specification,
    *,
    generation: int,
    replicas: int,
) -> Workload:
    """A new workload, recorded before anything of it is started, so that a leftover is always known."""
    workload_id = new_id()
    conn.execute(
        "INSERT INTO workload (id, environment, stack, service, specification, hash, generation, state, commit_id,"
        " made_by, replicas, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, 'new', ?, ?, ?, ?)",
        (
            workload_id,
            stack.environment,
            stack.id,
            specification.service,
            rows.dumps(specification.to_json()),
            specification.hash(),
            generation,
            deployment.commit,
            deployment.id,
            replicas,
            time.time(),
        ),
    )
    return workload(conn, workload_id)


def workload(conn: sqlite3.Connection, workload_id: str) -> Workload:
    row = conn.execute("SELECT * FROM workload WHERE id = ?", (workload_id,)).fetchone()
    if row is None:
        raise NotFound("there is no such workload")
    return rows.workload(row)


def present(conn: sqlite3.Connection, stack_id: str | None = None) -> list[Workload]:
    """Workloads that may have containers."""
    query = "SELECT * FROM workload WHERE state != 'gone' AND (? IS NULL OR stack = ?) ORDER BY created_at"
    return [rows.workload(row) for row in conn.execute(query, (stack_id, stack_id))]


def made_by(conn: sqlite3.Connection, deployment_id: str) -> list[Workload]:
    """New ones of a deployment that has not been committed."""
    query = "SELECT * FROM workload WHERE made_by = ? AND state = 'new' ORDER BY created_at"
    return [rows.workload(row) for row in conn.execute(query, (deployment_id,))]


def stopped_by(conn: sqlite3.Connection, deployment_id: str) -> list[Workload]:
    """What a deployment stopped to replace it, last stopped first."""
    query = "SELECT * FROM workload WHERE stopped_by = ? ORDER BY drain_until DESC, rowid DESC"
    return [rows.workload(row) for row in conn.execute(query, (deployment_id,))]


def mark_stopped(conn: sqlite3.Connection, workload_id: str, deployment_id: str | None) -> None:
    """Records, before it is stopped, who stops it; None when it has been started again."""
    conn.execute(
        "UPDATE workload SET stopped_by = ?, drain_until = ? WHERE id = ?",
        (deployment_id, time.time() if deployment_id else None, workload_id),
    )


def set_replicas(conn: sqlite3.Connection, workload_id: str, replicas: int) -> None:
    conn.execute("UPDATE workload SET replicas = ? WHERE id = ?", (replicas, workload_id))


def set_live(conn: sqlite3.Connection, workload_id: str) -> None:
    conn.execute("UPDATE workload SET state = 'live', drain_until = NULL WHERE id = ?", (workload_id,))


def set_draining(conn: sqlite3.Connection, workload_id: str, until: float) -> None:
    conn.execute(
        "UPDATE workload SET state = 'draining', drain_until = ?, stopped_by = NULL WHERE id = ?", (until, workload_id)
    )


def set_gone(conn: sqlite3.Connection, workload_id: str) -> None:
    conn.execute(
        "UPDATE workload SET state = 'gone', drain_until = NULL, stopped_by = NULL WHERE id = ?", (workload_id,)
    )


def draining(conn: sqlite3.Connection) -> list[Workload]:
    """Soonest first."""
    query = "SELECT * FROM workload WHERE state = 'draining' ORDER BY drain_until"
    return [rows.workload(row) for row in conn.execute(query)]


def forget_workloads(conn: sqlite3.Connection) -> None:
    """Removes rows of workloads that are gone and that no kept release names."""
    conn.execute("DELETE FROM workload WHERE state = 'gone' AND id NOT IN (SELECT workload FROM release_service)")


# Images


def images(conn: sqlite3.Connection, environment_id: str) -> dict[str, ResolvedImage]:
    """build key → image."""
    found = conn.execute("SELECT * FROM image WHERE environment = ?", (environment_id,))
    return {row["key"]: ResolvedImage(row["id"], None, tuple(json.loads(row["ports"]))) for row in found}


def add_image(conn: sqlite3.Connection, environment_id: str, key: str, image: ResolvedImage) -> None:
    conn.execute(
        "INSERT OR REPLACE INTO image VALUES (?, ?, ?, ?, ?)",
        (environment_id, key, image.id, rows.dumps(list(image.ports)), time.time()),
    )


def forget_image(conn: sqlite3.Connection, image_id: str) -> None:
    conn.execute("DELETE FROM image WHERE id = ?", (image_id,))


def images_in_use(conn: sqlite3.Connection) -> set[str]:
    """What kept releases and present workloads run, and what a running deployment may be about to run."""
    query = (
        "SELECT DISTINCT json_extract(specification, '$.image') AS id FROM workload"
        " WHERE state != 'gone' OR id IN (SELECT workload FROM release_service)"
        " UNION SELECT image.id FROM image JOIN stack USING (environment)"
        " JOIN deployment ON deployment.stack = stack.id"
        " WHERE deployment.state = 'running'"
    )
    return {row["id"] for row in conn.execute(query)}
