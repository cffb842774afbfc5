"""Consents under way: one-time states, and codes that are read from the provider's last page to the terminal."""

from __future__ import annotations

import hashlib
import hmac
import sqlite3
import time

from godploy.core.model import Consent
from godploy.errors import Conflict, NotFound
from godploy.store import rows

LIFETIME = 600.0  # seconds
_GUESSES = 5


def begin(conn: sqlite3.Connection, wanted: Consent, state: str, verifier: bytes) -> None:
    """`state` goes out and comes back once; `verifier` is sealed. What is long over is forgotten."""
    conn.execute("DELETE FROM consent WHERE expires_at < ?", (time.time() - 86400,))
    conn.execute(
        "INSERT INTO consent (id, organization, token, provider, base, kind, name, renews, owner, state_hash, verifier,"
        " stage, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'waiting', ?, ?)",
        (
            wanted.id,
            wanted.organization,
            wanted.token,
            wanted.provider,
            wanted.base,
            wanted.kind,
            wanted.name,
            wanted.renews,
            wanted.owner,
            _hash(state),
            verifier,
            wanted.created_at,
            wanted.expires_at,
        ),
    )


def get(conn: sqlite3.Connection, consent_id: str, token: str) -> Consent:
    """One that this token began. Raises NotFound."""
    row = conn.execute("SELECT * FROM consent WHERE id = ? AND token = ?", (consent_id, token)).fetchone()
    if row is None:
        raise NotFound("there is no such consent under way", next_step="begin anew: godploy connections add")
    return rows.consent(row)


def waiting(conn: sqlite3.Connection, provider: str, state: str) -> Consent | None:
    """The one whose state this is, while it is good and unused."""
    query = "SELECT * FROM consent WHERE state_hash = ? AND provider = ? AND stage = 'waiting' AND expires_at > ?"
    row = conn.execute(query, (_hash(state), provider, time.time())).fetchone()
    return rows.consent(row) if row else None


def take(conn: sqlite3.Connection, provider: str, state: str) -> tuple[Consent, bytes] | None:
    """(the consent, its sealed verifier) for a state that is good once: from here on it is used."""
    found = waiting(conn, provider, state)
    if found is None:
        return None
    conn.execute("UPDATE consent SET stage = 'answering' WHERE id = ?", (found.id,))
    verifier = conn.execute("SELECT verifier FROM consent WHERE id = ?", (found.id,)).fetchone()["verifier"]
    return found, bytes(verifier)


def answer(conn: sqlite3.Connection, consent_id: str, account_id: str, name: str, sealed: bytes, code: str) -> None:
    """The provider agreed; whoever reads `code` to the terminal that began it is the one who did."""
    conn.execute(
        "UPDATE consent SET stage = 'answered', account_id = ?, account_name = ?, sealed = ?, code_hash = ?"
        " WHERE id = ? AND stage = 'answering'",
        (account_id, name, sealed, _hash(code), consent_id),
    )


def fail(conn: sqlite3.Connection, consent_id: str, trouble: str) -> None:
    conn.execute("UPDATE consent SET stage = 'failed', trouble = ? WHERE id = ?", (trouble, consent_id))


def confirm(conn: sqlite3.Connection, consent_id: str, token: str, code: str) -> tuple[Consent, bytes] | None:
    """(the consent, its sealed credential) for the right code; None for a wrong one, of which few are taken.

    Raises NotFound, and Conflict where there is nothing to confirm (any more)."""
    found = get(conn, consent_id, token)
    if found.stage != "answered" or found.expires_at < time.time():
        raise Conflict("there is nothing to confirm", next_step="begin anew: godploy connections add")
    row = conn.execute("SELECT sealed, code_hash, guesses FROM consent WHERE id = ?", (consent_id,)).fetchone()
    if not hmac.compare_digest(row["code_hash"], _hash(code)):
        conn.execute("UPDATE consent SET guesses = guesses + 1 WHERE id = ?", (consent_id,))
        if row["guesses"] + 1 >= _GUESSES:
            conn.execute("UPDATE consent SET sealed = NULL WHERE id = ?", (consent_id,))
            fail(conn, consent_id, "the code was wrong too often")
        return None
    conn.execute("UPDATE consent SET stage = 'confirmed', sealed = NULL WHERE id = ?", (consent_id,))
    return found, bytes(row["sealed"])


def remove(conn: sqlite3.Connection, consent_id: str, token: str) -> None:
    conn.execute("DELETE FROM consent WHERE id = ? AND token = ?", (consent_id, token))


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
