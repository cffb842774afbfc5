"""All the SQL: SQLite behind one writer, with functions of a connection that never open transactions themselves."""

from godploy.store.database import Store

__all__ = ["Store"]
