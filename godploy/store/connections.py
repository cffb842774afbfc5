"""Connections: an organization's credentials at git providers, and the OAuth clients that an administrator entered."""

from __future__ import annotations

import sqlite3
import time
from dataclasses import dataclass

from godploy.core.model import ProviderConnection, Repository
from godploy.errors import Conflict, NotFound
from godploy.store import rows


@dataclass(frozen=True, slots=True)
class Wanted:
    """A connection to be: what it leads to, and whose it is there."""

    organization: str
    provider: str
    base: str
    kind: str
    account_id: str
    account_name: str
    made_by: str
    name: str | None = None
    state: str = "usable"
    expires_at: float | None = None


def unused_name(conn: sqlite3.Connection, organization: str, wanted: str) -> str:
    """The name, or the name with the first number that makes it a new one."""
    query = "SELECT name FROM connection WHERE organization = ?"
    taken = {row["name"] for row in conn.execute(query, (organization,))}
    return next(name for name in _numbered(wanted, len(taken)) if name not in taken)


def _numbered(name: str, taken: int) -> list[str]:
    return [name, *(f"{name}-{number}" for number in range(2, taken + 3))]


def create(conn: sqlite3.Connection, id: str, wanted: Wanted, sealed: bytes) -> ProviderConnection:
    """Under a new id of the caller's, which the credential is sealed with. Raises Conflict for a name that is taken."""
    name = wanted.name or unused_name(conn, wanted.organization, wanted.provider)
    now = time.time()
    try:
        conn.execute(
            "INSERT INTO connection VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, ?, ?, ?, ?, ?)",
            (
                id,
                wanted.organization,
                name,
                wanted.provider,
                wanted.base,
                wanted.kind,
                wanted.account_id,
                wanted.account_name,
                wanted.state,
                sealed,
                wanted.expires_at,
                now,
                wanted.made_by,
                now,
            ),
        )
    except sqlite3.IntegrityError as error:
        raise _taken(name) from error
    return get(conn, id)


def must_be_free(conn: sqlite3.Connection, organization: str, name: str) -> None:
    """Raises Conflict for a name that is taken: before a person goes to their browser for it."""
    if unused_name(conn, organization, name) != name:
        raise _taken(name)


def _taken(name: str) -> Conflict:
    return Conflict(f'there is a connection "{name}" already', next_step="choose another name: --name NAME")


def get(conn: sqlite3.Connection, connection_id: str) -> ProviderConnection:
    row = conn.execute("SELECT * FROM connection WHERE id = ?", (connection_id,)).fetchone()
    if row is None:
        raise NotFound("there is no such connection")
    return rows.connection(row)


def of_organization(conn: sqlite3.Connection, organization: str) -> list[ProviderConnection]:
    query = "SELECT * FROM connection WHERE organization = ? ORDER BY name"
    return [rows.connection(row) for row in conn.execute(query, (organization,))]


def sealed(conn: sqlite3.Connection, connection_id: str) -> bytes:
    """Its credential. Raises NotFound."""
    row = conn.execute("SELECT sealed FROM connection WHERE id = ?", (connection_id,)).fetchone()
    if row is None:
        raise NotFound("there is no such connection any more")
    return bytes(row["sealed"])


def keep(conn: sqlite3.Connection, connection_id: str, sealed: bytes, expires_at: float | None) -> None:
    """Another credential in the place of the one before, which is usable."""
    conn.execute(
        "UPDATE connection SET sealed = ?, expires_at = ?, state = 'usable', trouble = NULL, checked_at = ?"
        " WHERE id = ?",
        (sealed, expires_at, time.time(), connection_id),
    )


def note_state(conn: sqlite3.Connection, connection_id: str, state: str, trouble: str | None = None) -> bool:
    """What a look at it showed; whether that is news."""
    row = conn.execute("SELECT state FROM connection WHERE id = ?", (connection_id,)).fetchone()
    conn.execute(
        "UPDATE connection SET state = ?, trouble = ?, checked_at = ? WHERE id = ?",
        (state, trouble, time.time(), connection_id),
    )
    return row is not None and row["state"] != state


def note_account(conn: sqlite3.Connection, connection_id: str, name: str, expires_at: float | None) -> None:
    """The account's name as it is now; its expiry where that was learnt."""
    conn.execute(
        "UPDATE connection SET account_name = ?, expires_at = ifnull(?, expires_at) WHERE id = ?",
        (name, expires_at, connection_id),
    )


def remove(conn: sqlite3.Connection, connection_id: str) -> None:
    """Its repositories stay, without it."""
    conn.execute("UPDATE repository SET connection = NULL WHERE connection = ?", (connection_id,))
    conn.execute("DELETE FROM connection WHERE id = ?", (connection_id,))


def use(conn: sqlite3.Connection, repository: str, connection: str) -> None:
    conn.execute("UPDATE repository SET connection = ? WHERE id = ?", (connection, repository))


def repositories_of(conn: sqlite3.Connection, connection_id: str) -> list[Repository]:
    query = "SELECT * FROM repository WHERE connection = ? ORDER BY name"
    return [rows.repository(row) for row in conn.execute(query, (connection_id,))]


@dataclass(frozen=True, slots=True)
class Client:
    """An OAuth client as it was entered; its secret is asked for by itself."""

    provider: str
    base: str
    client: str
    created_at: float


def put_client(conn: sqlite3.Connection, provider: str, base: str, client: str, sealed: bytes) -> None:
    conn.execute(
        "INSERT OR REPLACE INTO oauth_client VALUES (?, ?, ?, ?, ?)", (provider, base, client, sealed, time.time())
    )


def clients(conn: sqlite3.Connection) -> list[Client]:
    found = conn.execute("SELECT * FROM oauth_client ORDER BY provider, base")
    return [Client(row["provider"], row["base"], row["client"], row["created_at"]) for row in found]


def client(conn: sqlite3.Connection, provider: str, base: str) -> tuple[str, bytes] | None:
    """(client id, its sealed secret); None where none was entered."""
    query = "SELECT client, sealed FROM oauth_client WHERE provider = ? AND base = ?"
    row = conn.execute(query, (provider, base)).fetchone()
    return (row["client"], bytes(row["sealed"])) if row else None


def remove_client(conn: sqlite3.Connection, provider: str, base: str) -> None:
    """Raises NotFound."""
    if conn.execute("DELETE FROM oauth_client WHERE provider = ? AND base = ?", (provider, base)).rowcount == 0:
        raise NotFound("there is no such OAuth client")
