"""One writer whose transactions are whole whatever happens to who waits for them; readers that cannot write."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from godploy.errors import NotFound, Unavailable
from godploy.store import Store, database, deployments, events
from godploy.store.database import SchemaTooNewError
from tests.store.conftest import Rows, queue

KNOWN = database.migrations()


def count(conn: Any) -> int:
    return int(conn.execute("SELECT count(*) FROM event").fetchone()[0])


def add(conn: Any) -> None:
    events.add(conn, "test", "something")


async def test_what_raises_leaves_nothing(store: Store) -> None:
    def fails(conn: Any) -> None:
        add(conn)
        raise NotFound("on purpose")

    with pytest.raises(NotFound):
        await store.write(fails)
    await store.write(add)
    assert await store.read(count) == 1


@pytest.mark.parametrize("cancels", [1, 2, 3])
async def test_a_cancelled_caller_does_not_cancel_the_transaction(store: Store, cancels: int) -> None:
    begun, goes_on = threading.Event(), threading.Event()

    def slow(conn: Any) -> None:
        add(conn)
        begun.set()
        goes_on.wait(10)
        add(conn)

    task = asyncio.create_task(store.write(slow))
    await asyncio.to_thread(begun.wait, 10)
    for _ in range(cancels):
        task.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert not task.done()  # it waits until the transaction has ended
    goes_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await store.read(count) == 2


async def test_a_time_limit_around_a_write_is_told_as_one(store: Store) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await store.write(lambda conn: time.sleep(0.2))
    await store.write(add)  # nothing is left open


async def test_writes_do_not_interleave(store: Store) -> None:
    def step(conn: Any) -> None:
        before = count(conn)
        time.sleep(0.001)
        add(conn)
        assert count(conn) == before + 1

    await asyncio.gather(*(store.write(step) for _ in range(20)))
    assert await store.read(count) == 20


async def test_readers_cannot_write_and_see_one_moment(store: Store) -> None:
    with pytest.raises(sqlite3.OperationalError, match=r"readonly|read-only"):
        await store.read(add)
    loop = asyncio.get_running_loop()

    def twice(conn: Any) -> tuple[int, int]:
        first = count(conn)
        asyncio.run_coroutine_threadsafe(store.write(add), loop).result(10)
        return first, count(conn)

    assert await store.read(twice) == (0, 0)
    assert await store.read(count) == 1


async def test_of_many_claims_one_gets_it(store: Store, rows: Rows) -> None:
    first = await store.write(lambda conn: queue(conn, rows.stack))
    await store.write(lambda conn: queue(conn, rows.stack))
    claimed = await asyncio.gather(*(store.write(deployments.claim) for _ in range(10)))
    assert [found.id for found in claimed if found is not None] == [first.id]


async def test_a_full_disk_is_unavailable_and_loses_nothing(store: Store) -> None:
    await store.write(add)
    pages = await store.read(lambda conn: conn.execute("PRAGMA page_count").fetchone()[0])
    await store.write(lambda conn: conn.execute(f"PRAGMA max_page_count = {pages}"))
    with pytest.raises(Unavailable, match="the disk is full"):
        await store.write(lambda conn: events.add(conn, "test", "x" * 1_000_000))
    assert await store.read(count) == 1
    await store.write(lambda conn: conn.execute("PRAGMA max_page_count = 1000000"))
    await store.write(lambda conn: events.add(conn, "test", "x" * 1_000_000))
    assert await store.read(count) == 2


async def test_a_lock_of_another_process_is_unavailable(store: Store, tmp_path: Path) -> None:
    await store.write(lambda conn: conn.execute("PRAGMA busy_timeout = 50"))
    other = sqlite3.connect(tmp_path / "godploy.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="locked"):
        await store.write(add)
    other.execute("ROLLBACK")
    await store.write(add)
    other.close()


async def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "godploy.db")
    connection.execute(f"PRAGMA user_version = {KNOWN[-1][0] + 1}")
    connection.close()
    with pytest.raises(SchemaTooNewError) as refused:
        await Store.open(tmp_path / "godploy.db")
    assert refused.value.next_step


async def test_a_migration_that_fails_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await (await Store.open(tmp_path / "godploy.db")).close()
    broken = (KNOWN[-1][0] + 1, "CREATE TABLE half (id TEXT); SELECT * FROM nowhere")
    monkeypatch.setattr(database, "migrations", lambda: [*KNOWN, broken])
    with pytest.raises(sqlite3.OperationalError):
        await Store.open(tmp_path / "godploy.db")
    monkeypatch.undo()
    store = await Store.open(tmp_path / "godploy.db")
    tables = await store.read(lambda conn: {row[0] for row in conn.execute("SELECT name FROM sqlite_master")})
    assert "half" not in tables and "deployment" in tables
    await store.close()


async def test_opening_and_closing_leaks_neither_files_nor_threads(tmp_path: Path) -> None:
    async def once() -> None:
        store = await Store.open(tmp_path / "godploy.db")
        await asyncio.gather(store.write(add), store.read(count), store.read(count))
        await store.close()
        await store.close()

    await once()
    files, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
    for _ in range(20):
        await once()
    assert len(os.listdir("/proc/self/fd")) == files
    assert threading.active_count() <= threads + 2  # those of asyncio.to_thread may still be made


async def test_what_is_closed_says_so(tmp_path: Path) -> None:
    store = await Store.open(tmp_path / "godploy.db")
    await store.close()
    with pytest.raises((Unavailable, RuntimeError)):
        await store.write(add)


async def test_the_files_are_private_and_a_power_cut_counts(store: Store, tmp_path: Path) -> None:
    assert stat.S_IMODE((tmp_path / "godploy.db").stat().st_mode) == 0o600
    pragmas = await store.write(
        lambda conn: [conn.execute(f"PRAGMA {name}").fetchone()[0] for name in ("synchronous", "foreign_keys")]
    )
    assert pragmas == [2, 1]
    assert await store.read(lambda conn: conn.execute("PRAGMA journal_mode").fetchone()[0]) == "wal"


async def test_a_backup_is_whole_and_private(store: Store, tmp_path: Path) -> None:
    await store.write(add)
    target = tmp_path / "copy.db"
    await store.backup(target)
    await store.write(add)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    copy = await Store.open(target)
    assert await copy.read(count) == 1
    await copy.close()
