"""The migrated schema is the one that is checked in, and its CHECKs know exactly the states that the code knows."""

from __future__ import annotations

import os
import re
import sqlite3
from enum import StrEnum
from pathlib import Path

import pytest

from godploy.core.lifecycle import may_become
from godploy.core.model import Kind, Stage, State, WorkloadState
from godploy.store import database

SCHEMA = Path(__file__).parent / "schema.sql"


def migrated() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    database.migrate(connection)
    return connection


def dumped(connection: sqlite3.Connection) -> str:
    query = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' ORDER BY type DESC, name"
    return "".join(f"{row[0]};\n\n" for row in connection.execute(query))


def test_the_schema_is_the_one_that_is_checked_in() -> None:
    """After a wanted change: UPDATE_SCHEMA=1 pytest tests/store/test_schema.py, and read the difference."""
    found = dumped(migrated())
    if os.environ.get("UPDATE_SCHEMA"):
        SCHEMA.write_text(found)
    assert found == SCHEMA.read_text()


@pytest.mark.parametrize(
    ("table", "column", "kind"),
    [
        ("deployment", "state", State),
        ("deployment", "kind", Kind),
        ("deployment", "stage", Stage),
        ("workload", "state", WorkloadState),
    ],
)
def test_the_checks_know_the_states(table: str, column: str, kind: type[StrEnum]) -> None:
    sql = migrated().execute("SELECT sql FROM sqlite_master WHERE name = ?", (table,)).fetchone()[0]
    listed = re.search(rf"\b{column} IN \(([^)]*)\)\)", sql)
    assert listed is not None
    assert set(re.findall(r"'([a-z]+)'", listed[1])) == set(kind)


def test_no_state_leaves_a_final_one() -> None:
    for old in State:
        for new in State:
            if old.final or old is new:
                assert not may_become(old, new), (old, new)
