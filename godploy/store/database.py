"""One SQLite file, one write connection on a thread of its own, a few read-only ones beside it.

`write(work)` runs a plain function of a connection inside `BEGIN IMMEDIATE … COMMIT` as one hop to the writer's thread,
so no two interleave, and a cancelled caller never leaves one open: the transaction ends, then the
cancellation goes on. `synchronous=FULL` on the writer: what was committed survives a power cut.

The standard library's sqlite3 on two small thread pools is used rather than aiosqlite: a transaction is a function that
runs whole on one thread, where aiosqlite would hop between threads at each statement.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from godploy.errors import GodployError, Invalid, Unavailable
from godploy.outlast import outlast

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

_MIGRATIONS = Path(__file__).parent / "migrations"
_READERS = 2
_TOGETHER = 100  # writes in one transaction, at most


class SchemaTooNewError(GodployError):
    """The database was written by a newer Godploy; going back needs that version's backup."""

    code = "schema_too_new"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one write."""

    result: Any = None
    error: BaseException | None = None


class Store:
    """The database of one data directory. Open with `await Store.open(path)`, close with `await store.close()`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="store-write")
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="store-read")
        self._connection: sqlite3.Connection | None = None
        self._local = threading.local()
        self._reading: list[sqlite3.Connection] = []
        self._waiting: deque[tuple[Work[Any], asyncio.Future[Any]]] = deque()
        self._closed = False

    @classmethod
    async def open(cls, path: Path) -> Store:
        """Opens the file, making and migrating it as needed. Raises SchemaTooNewError."""
        store = cls(path)
        try:
            await asyncio.get_running_loop().run_in_executor(store._writer, store._open)
        except BaseException:
            await store.close()
            raise
        return store

    def _open(self) -> None:
        _make_private(self._path)
        self._connection = _connect(self._path)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        migrate(self._connection)

    async def write(self, work: Work[T]) -> T:
        """The result of `work` once its transaction is committed; its exception after a rollback.

        What waits together is committed together, each in a savepoint of its own: the disk is waited for once.
        Raises Unavailable when the disk is full or another process keeps the database locked.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._waiting.append((work, future))
        try:
            self._writer.submit(self._write_waiting, loop)
        except RuntimeError as error:  # it is shut down
            raise Unavailable("the database is closed") from error
        if await outlast(future):
            if not future.cancelled():
                future.exception()
            raise asyncio.CancelledError
        return future.result()

    async def read(self, work: Work[T]) -> T:
        """The result of `work` on a connection that cannot write, with one consistent view."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._view, work)

    def _write_waiting(self, loop: asyncio.AbstractEventLoop) -> None:
        """On the writer's thread, once for each `write`: takes what waits by then, often nothing any more."""
        waiting: list[tuple[Work[Any], asyncio.Future[Any]]] = []
        while self._waiting and len(waiting) < _TOGETHER:
            waiting.append(self._waiting.popleft())
        if waiting:
            outcomes = self._transaction([work for work, _ in waiting])
            futures = [future for _, future in waiting]
            with suppress(RuntimeError):  # the loop is closed: nobody waits
                loop.call_soon_threadsafe(_settle, futures, outcomes)

    def _transaction(self, works: Sequence[Work[Any]]) -> list[Outcome]:
        """What became of each, once what could be done is committed. A failure that ended the transaction is that of
        all."""
        connection = self._connection
        if connection is None:
            return [Outcome(error=Unavailable("the database is closed")) for _ in works]
        try:
            connection.execute("BEGIN IMMEDIATE")
            try:
                outcomes = [_in_savepoint(connection, work) for work in works]
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        except BaseException as error:
            failed = _unavailable(error) if isinstance(error, sqlite3.OperationalError) else error
            return [Outcome(error=failed) for _ in works]
        return outcomes

    def _view(self, work: Work[T]) -> T:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            if self._closed:
                raise Unavailable("the database is closed")
            connection = self._local.connection = _connect(self._path)
            connection.execute("PRAGMA query_only = ON")
            self._reading.append(connection)
        try:
            connection.execute("BEGIN")
            try:
                return work(connection)
            finally:
                connection.execute("ROLLBACK")
        except sqlite3.OperationalError as error:
            raise _unavailable(error) from error

    async def backup(self, target: Path) -> None:
        """A consistent copy of the database, made while it is in use."""
        await asyncio.get_running_loop().run_in_executor(self._writer, copy, self._path, target)

    async def close(self) -> None:
        """Waits for the transaction under way, then closes. Idempotent."""
        self._closed = True
        loop = asyncio.get_running_loop()
        if self._connection is not None:
            await loop.run_in_executor(self._writer, self._connection.close)
            self._connection = None
        await asyncio.to_thread(self._readers.shutdown)
        for connection in self._reading:
            connection.close()
        self._reading.clear()
        await asyncio.to_thread(self._writer.shutdown)


def _in_savepoint(connection: sqlite3.Connection, work: Work[Any]) -> Outcome:
    """Its failure undoes its own changes alone; one after which there is no transaction any more is raised."""
    connection.execute("SAVEPOINT one")
    try:
        result = work(connection)
    except BaseException as error:
        if not connection.in_transaction:
            raise
        connection.execute("ROLLBACK TO one")
        connection.execute("RELEASE one")
        return Outcome(error=_unavailable(error) if isinstance(error, sqlite3.OperationalError) else error)
    connection.execute("RELEASE one")
    return Outcome(result)


def _settle(futures: Sequence[asyncio.Future[Any]], outcomes: Sequence[Outcome]) -> None:
    for future, outcome in zip(futures, outcomes, strict=True):
        if future.done():
            continue
        if outcome.error is not None:
            future.set_exception(outcome.error)
        else:
            future.set_result(outcome.result)


def copy(source: Path, target: Path) -> None:
    """A consistent copy of a database that any Godploy may be using, whatever its schema. Blocking."""
    _make_private(target)
    with closing(sqlite3.connect(source, timeout=5.0)) as connection, closing(sqlite3.connect(target)) as destination:
        try:
            connection.backup(destination)
        except sqlite3.OperationalError as error:
            raise _unavailable(error) from error


def examine(path: Path) -> None:
    """Looks whether a database that is in no one's use is whole, and none of a newer Godploy. Blocking.

    Raises Invalid and SchemaTooNewError.
    """
    try:
        with closing(sqlite3.connect(path)) as connection:
            found = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
            at = connection.execute("PRAGMA user_version").fetchone()[0]
    except sqlite3.DatabaseError as error:
        raise Invalid(f"the database is damaged: {error}") from error
    if found != "ok":
        raise Invalid(f"the database is damaged: {found}")
    _must_be_known(at)


def schema(path: Path) -> int:
    """The number of the last migration that a database has seen. Blocking."""
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5.0)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _make_private(path: Path) -> None:
    """Ours alone before anything is in it: SQLite gives the files beside it the same mode."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    path.chmod(0o600)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5.0)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def migrations() -> list[tuple[int, str]]:
    """(number, script) of each migration, in order."""
    return [(int(path.stem), path.read_text()) for path in sorted(_MIGRATIONS.glob("*.sql"))]


def migrate(connection: sqlite3.Connection) -> None:
    """Brings the schema forward, each migration in a transaction of its own.

    A migration may make a table anew under its name, which is done with foreign keys off and checked at the end:
    https://www.sqlite.org/lang_altertable.html#otheralter
    """
    at = connection.execute("PRAGMA user_version").fetchone()[0]
    _must_be_known(at)
    connection.execute("PRAGMA foreign_keys = OFF")
    try:
        for number, script in migrations():
            if number > at:
                _step(connection, number, script)
    finally:
        connection.execute("PRAGMA foreign_keys = ON")


def _step(connection: sqlite3.Connection, number: int, script: str) -> None:
    connection.executescript(f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version = {number};")
    broken = connection.execute("PRAGMA foreign_key_check").fetchall()
    if broken:
        connection.execute("ROLLBACK")
        raise Invalid(f"migration {number} would leave rows of {broken[0][0]} that lead nowhere: nothing was changed")
    connection.execute("COMMIT")


def _must_be_known(at: int) -> None:
    newest = migrations()[-1][0]
    if at > newest:
        raise SchemaTooNewError(
            f"this database is at schema {at}, this Godploy knows up to {newest}",
            next_step="install the newer Godploy again, or restore a backup made before its upgrade",
        )


def _unavailable(error: sqlite3.OperationalError) -> Exception:
    text = str(error)
    if "full" in text:
        return Unavailable("the disk is full: nothing was written", next_step="free some space; work goes on by itself")
    if "locked" in text or "busy" in text:
        return Unavailable("another process keeps the database locked", next_step="end it; work goes on by itself")
    return error
