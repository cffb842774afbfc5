"""Repositories, what feeds environments from them, their hooks, and the manifests that Godploy keeps."""

from __future__ import annotations

import secrets as random
import sqlite3
import time
from collections.abc import Mapping
from dataclasses import asdict, astuple, dataclass

from godploy.core.model import Feed, Repository
from godploy.core.naming import new_id
from godploy.errors import Conflict, NotFound
from godploy.store import rows


@dataclass(frozen=True, slots=True)
class Hosted:
    """Where a repository is at a provider."""

    provider: str
    connection: str
    remote_id: str
    full_name: str
    web_url: str


def create(
    conn: sqlite3.Connection,
    project_id: str,
    name: str,
    *,
    url: str | None = None,
    manifest_path: str = "godploy.yaml",
    status_url: str | None = None,
    hosted: Hosted | None = None,
) -> Repository:
    """A repository of our own remote; with a URL, one that a generic hook announces; or one at a provider. Raises
    Conflict."""
    provider = hosted.provider if hosted else "godploy" if url is None else "generic"
    connection, remote_id, full_name, web_url = astuple(hosted)[1:] if hosted else (None, None, None, None)
    made, hook_id = new_id(), random.token_urlsafe(24)
    try:
        conn.execute(
            "INSERT INTO repository (id, project, name, provider, url, manifest_path, hook_id, status_url, created_at,"
            " connection, remote_id, full_name, web_url) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(made, project_id, name, provider, url, manifest_path, hook_id, status_url, time.time()),
                *(connection, remote_id, full_name, web_url),
            ),
        )
    except sqlite3.IntegrityError as error:
        raise Conflict(
            f'this project has a repository "{name}" already',
            next_step="choose another name: godploy repositories add NAME …",
        ) from error
    return get(conn, made)


def rename(conn: sqlite3.Connection, repository_id: str, full_name: str, url: str, web_url: str) -> None:
    """It is called otherwise at its provider now."""
    conn.execute(
        "UPDATE repository SET full_name = ?, url = ?, web_url = ? WHERE id = ?",
        (full_name, url, web_url, repository_id),
    )


def get(conn: sqlite3.Connection, repository_id: str) -> Repository:
    row = conn.execute("SELECT * FROM repository WHERE id = ?", (repository_id,)).fetchone()
    if row is None:
        raise NotFound("there is no such repository")
    return rows.repository(row)


def by_name(conn: sqlite3.Connection, project_id: str, name: str) -> Repository | None:
    row = conn.execute("SELECT * FROM repository WHERE project = ? AND name = ?", (project_id, name)).fetchone()
    return rows.repository(row) if row else None


def by_hook(conn: sqlite3.Connection, hook_id: str) -> Repository | None:
    row = conn.execute("SELECT * FROM repository WHERE hook_id = ?", (hook_id,)).fetchone()
    return rows.repository(row) if row else None


def of_project(conn: sqlite3.Connection, project_id: str) -> list[Repository]:
    query = "SELECT * FROM repository WHERE project = ? ORDER BY name"
    return [rows.repository(row) for row in conn.execute(query, (project_id,))]


def every(conn: sqlite3.Connection) -> list[Repository]:
    return [rows.repository(row) for row in conn.execute("SELECT * FROM repository ORDER BY created_at")]


def set_default_branch(conn: sqlite3.Connection, repository_id: str, branch: str) -> None:
    conn.execute("UPDATE repository SET default_branch = ? WHERE id = ?", (branch, repository_id))


def set_mapping(conn: sqlite3.Connection, repository_id: str, mapping: Mapping[str, Feed]) -> None:
    """What feeds each environment, as the manifest on the default branch says."""
    text = rows.dumps({name: asdict(feed) for name, feed in mapping.items()})
    conn.execute("UPDATE repository SET mapping = ? WHERE id = ?", (text, repository_id))


# Hook secrets


def add_hook_secret(conn: sqlite3.Connection, repository_id: str, sealed: bytes, overlap: float = 0.0) -> None:
    """A new secret; those before it stay valid for `overlap` seconds."""
    now = time.time()
    conn.execute("DELETE FROM hook_secret WHERE repository = ? AND expires_at < ?", (repository_id, now))
    conn.execute(
        "UPDATE hook_secret SET expires_at = ? WHERE repository = ? AND expires_at IS NULL",
        (now + overlap, repository_id),
    )
    conn.execute("INSERT INTO hook_secret VALUES (?, ?, ?, NULL)", (repository_id, sealed, now))


def keep_former_hook_secrets(conn: sqlite3.Connection, repository_id: str) -> None:
    """Whether the provider took the newest one is not known: those before it stay valid until another follows."""
    conn.execute(
        "UPDATE hook_secret SET expires_at = NULL WHERE repository = ? AND expires_at ="
        " (SELECT max(expires_at) FROM hook_secret WHERE repository = ?)",
        (repository_id, repository_id),
    )


def drop_hook_secret(conn: sqlite3.Connection, repository_id: str, sealed: bytes) -> None:
    """The provider did not take it: the one before is the valid one again, unless another has come meanwhile."""
    conn.execute("DELETE FROM hook_secret WHERE repository = ? AND sealed = ?", (repository_id, sealed))
    query = "SELECT 1 FROM hook_secret WHERE repository = ? AND expires_at IS NULL"
    if conn.execute(query, (repository_id,)).fetchone() is None:
        keep_former_hook_secrets(conn, repository_id)


def hook_secrets(conn: sqlite3.Connection, repository_id: str) -> list[bytes]:
    """Those that are valid, sealed, the newest last."""
    query = (
        "SELECT sealed FROM hook_secret WHERE repository = ? AND (expires_at IS NULL OR expires_at > ?) ORDER BY rowid"
    )
    return [row["sealed"] for row in conn.execute(query, (repository_id, time.time()))]


# Branches and what was considered of them


def considered(conn: sqlite3.Connection, repository_id: str) -> dict[str, str]:
    """branch → its last considered commit."""
    query = "SELECT name, considered FROM branch WHERE repository = ?"
    return {row["name"]: row["considered"] for row in conn.execute(query, (repository_id,))}


def consider(conn: sqlite3.Connection, repository_id: str, branch: str, commit: str) -> None:
    conn.execute(
        "INSERT INTO branch VALUES (?, ?, ?, ?)"
        " ON CONFLICT (repository, name) DO UPDATE SET considered = excluded.considered, at = excluded.at",
        (repository_id, branch, commit, time.time()),
    )


def forget_branch(conn: sqlite3.Connection, repository_id: str, branch: str) -> None:
    """The branch is deleted at the remote; made again later, its head is new."""
    conn.execute("DELETE FROM branch WHERE repository = ? AND name = ?", (repository_id, branch))


# Manifests kept by Godploy


@dataclass(frozen=True, slots=True)
class Revision:
    revision: int
    text: str
    author: str
    created_at: float


def revisions(conn: sqlite3.Connection, project_id: str, repository_id: str | None) -> list[Revision]:
    """Newest first."""
    query = "SELECT * FROM manifest_revision WHERE project = ? AND repository IS ? ORDER BY revision DESC"
    found = conn.execute(query, (project_id, repository_id))
    return [Revision(row["revision"], row["text"], row["author"], row["created_at"]) for row in found]


def revision(
    conn: sqlite3.Connection, project_id: str, repository_id: str | None, number: int | None = None
) -> Revision | None:
    """One revision, the newest where no number is given."""
    for found in revisions(conn, project_id, repository_id):
        if number is None or found.revision == number:
            return found
    return None


def save_revision(
    conn: sqlite3.Connection, project_id: str, repository_id: str | None, text: str, author: str
) -> Revision:
    newest = revision(conn, project_id, repository_id)
    number = newest.revision + 1 if newest else 1
    now = time.time()
    conn.execute(
        "INSERT INTO manifest_revision VALUES (?, ?, ?, ?, ?, ?, ?)",
        (new_id(), project_id, repository_id, number, text, author, now),
    )
    return Revision(number, text, author, now)
