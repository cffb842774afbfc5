"""The address of every container, kept from before it is made until it is removed.

After a reboot, with Godploy still down, a route must never point at an address that the engine has given to another
container; so no container is ever without a fixed one.
"""

from __future__ import annotations

import ipaddress
import sqlite3

from godploy.errors import Conflict
from godploy.store import projects
from godploy.store.database import Store

_RESERVED = 2  # the network itself and its gateway


def allocate(conn: sqlite3.Connection, environment_id: str, owner: str, count: int) -> list[str]:
    """`count` addresses of the owner (a workload or a run), the same ones each time; more are added, none taken away.

    Raises Conflict when the environment's network is full.
    """
    query = "SELECT address FROM address WHERE owner = ? ORDER BY position"
    held = [row["address"] for row in conn.execute(query, (owner,))]
    if len(held) < count:
        taken = {row[0] for row in conn.execute("SELECT address FROM address WHERE environment = ?", (environment_id,))}
        subnet = ipaddress.ip_network(projects.subnet(conn, environment_id))
        free = (str(address) for address in list(subnet)[_RESERVED:-1] if str(address) not in taken)
        for position in range(len(held), count):
            address = next(free, None)
            if address is None:
                raise Conflict(
                    f"the network of this environment ({subnet}) has no free address left",
                    next_step="lower `replicas`, or move services to another environment",
                )
            conn.execute("INSERT INTO address VALUES (?, ?, ?, ?)", (environment_id, address, owner, position))
            held.append(address)
    return held[:count]


def release(conn: sqlite3.Connection, owner: str) -> None:
    conn.execute("DELETE FROM address WHERE owner = ?", (owner,))


def release_unowned(conn: sqlite3.Connection) -> None:
    """Gives back what no present workload owns: left by one-off runs that a crash ended. For when none runs."""
    conn.execute("DELETE FROM address WHERE owner NOT IN (SELECT id FROM workload WHERE state != 'gone')")


def owners(conn: sqlite3.Connection) -> set[str]:
    return {row["owner"] for row in conn.execute("SELECT DISTINCT owner FROM address")}


class AddressBook:
    """The table as the runtime sees it (`runtimes.protocol.AddressBook`)."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def allocate(self, environment: str, owner: str, count: int) -> list[str]:
        return await self._store.write(lambda conn: allocate(conn, environment, owner, count))

    async def release(self, owner: str) -> None:
        await self._store.write(lambda conn: release(conn, owner))
