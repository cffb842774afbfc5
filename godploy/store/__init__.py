"""All the SQL: SQLite behind one writer, with functions of a connection that never open transactions themselves."""

from sqlite3 import Connection

from godploy.store.database import Store

__all__ = ["Connection", "Store"]
