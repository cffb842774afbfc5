"""Organizations, users and their API tokens."""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
import time
from collections.abc import Sequence
from typing import Any

from godploy.core.model import Organization, User
from godploy.core.naming import new_id
from godploy.errors import Conflict, NotFound
from godploy.store import rows

_TOKEN_PREFIX = "gdp_"  # noqa: S105  # lets secret scanners recognise a leaked token
_SEEN_EVERY = 60.0  # seconds between two writes of a token's last use


def create_owner(conn: sqlite3.Connection, email: str, organization: str = "default") -> User:
    """The first owner, who is also server administrator, with an organization. Raises Conflict if there is one."""
    if conn.execute("SELECT 1 FROM user LIMIT 1").fetchone():
        raise Conflict(
            "this server has an owner already", next_step="make a token with: godploy user token --email EMAIL"
        )
    now = time.time()
    person, place = new_id(), new_id()
    conn.execute("INSERT INTO organization VALUES (?, ?, ?)", (place, organization, now))
    conn.execute("INSERT INTO user VALUES (?, ?, 1, ?)", (person, email, now))
    conn.execute("INSERT INTO membership VALUES (?, ?, 'owner')", (place, person))
    return User(person, email, True)


def user_by_email(conn: sqlite3.Connection, email: str) -> User:
    row = conn.execute("SELECT * FROM user WHERE email = ?", (email,)).fetchone()
    if row is None:
        raise NotFound(f"there is no user {email}")
    return rows.user(row)


def first_owner(conn: sqlite3.Connection) -> User | None:
    row = conn.execute("SELECT * FROM user WHERE administrator ORDER BY created_at LIMIT 1").fetchone()
    return rows.user(row) if row else None


def create_token(conn: sqlite3.Connection, user: str, name: str, expires_at: float | None = None) -> str:
    """A new API token in plain, to be shown once; only its hash is kept."""
    token = _TOKEN_PREFIX + secrets.token_urlsafe(32)
    conn.execute(
        "INSERT INTO token (id, user, name, hash, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?)",
        (new_id(), user, name, _hash(token), time.time(), expires_at),
    )
    return token


def user_by_token(conn: sqlite3.Connection, token: str) -> tuple[User, str, float | None] | None:
    """(user, token id, last use) for a valid token; None for an unknown or expired one."""
    row = conn.execute(
        "SELECT user.*, token.id AS token_id, token.last_used_at FROM token JOIN user ON user.id = token.user"
        " WHERE token.hash = ? AND (token.expires_at IS NULL OR token.expires_at > ?)",
        (_hash(token), time.time()),
    ).fetchone()
    return (rows.user(row), row["token_id"], row["last_used_at"]) if row else None


def worth_noting(last_used_at: float | None) -> bool:
    """Whether a token's use is to be written down now (at most once a minute)."""
    return last_used_at is None or time.time() - last_used_at > _SEEN_EVERY


def note_use(conn: sqlite3.Connection, token_id: str) -> None:
    conn.execute("UPDATE token SET last_used_at = ? WHERE id = ?", (time.time(), token_id))


def tokens(conn: sqlite3.Connection, user: str) -> Sequence[dict[str, Any]]:
    query = "SELECT id, name, created_at, expires_at, last_used_at FROM token WHERE user = ? ORDER BY created_at"
    return [dict(row) for row in conn.execute(query, (user,))]


def delete_token(conn: sqlite3.Connection, user: str, token_id: str) -> None:
    if conn.execute("DELETE FROM token WHERE id = ? AND user = ?", (token_id, user)).rowcount == 0:
        raise NotFound("there is no such token of yours")


def organizations(conn: sqlite3.Connection, user: str) -> list[tuple[Organization, str]]:
    """(organization, the user's role in it)."""
    query = (
        "SELECT organization.id, organization.name, role FROM membership JOIN organization"
        " ON organization.id = membership.organization WHERE user = ? ORDER BY organization.name"
    )
    return [(Organization(row["id"], row["name"]), row["role"]) for row in conn.execute(query, (user,))]


def role(conn: sqlite3.Connection, user: str, organization: str) -> str | None:
    row = conn.execute(
        "SELECT role FROM membership WHERE user = ? AND organization = ?", (user, organization)
    ).fetchone()
    return row["role"] if row else None


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="replace")).digest()  # what is no UTF-8 is nobody's
