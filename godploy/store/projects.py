"""Projects, their environments, and the hosts that they own."""

from __future__ import annotations

import ipaddress
import sqlite3
import time
from collections.abc import Iterable
from dataclasses import dataclass

from godploy.core.model import Environment, Organization, Project
from godploy.core.naming import new_id
from godploy.errors import Conflict, NotFound
from godploy.store import rows


def organization(conn: sqlite3.Connection, organization_id: str) -> Organization:
    row = conn.execute("SELECT * FROM organization WHERE id = ?", (organization_id,)).fetchone()
    if row is None:
        raise NotFound("there is no such organization")
    return Organization(row["id"], row["name"])


def create(conn: sqlite3.Connection, organization_id: str, name: str) -> Project:
    """Raises Conflict where the organization has a project of that name."""
    project = Project(new_id(), organization_id, name)
    try:
        conn.execute("INSERT INTO project VALUES (?, ?, ?, ?)", (project.id, organization_id, name, time.time()))
    except sqlite3.IntegrityError as error:
        raise Conflict(f'there is a project "{name}" already') from error
    return project


def get(conn: sqlite3.Connection, project_id: str) -> Project:
    row = conn.execute("SELECT * FROM project WHERE id = ?", (project_id,)).fetchone()
    if row is None:
        raise NotFound("there is no such project")
    return rows.project(row)


def by_name(conn: sqlite3.Connection, organization_id: str, name: str) -> Project | None:
    query = "SELECT * FROM project WHERE organization = ? AND name = ?"
    row = conn.execute(query, (organization_id, name)).fetchone()
    return rows.project(row) if row else None


def of_user(conn: sqlite3.Connection, user: str) -> list[Project]:
    query = (
        "SELECT project.* FROM project JOIN membership USING (organization) WHERE membership.user = ?"
        " ORDER BY project.name"
    )
    return [rows.project(row) for row in conn.execute(query, (user,))]


def environments(conn: sqlite3.Connection, project_id: str) -> list[Environment]:
    query = "SELECT * FROM environment WHERE project = ? ORDER BY name != 'production', name"
    return [rows.environment(row) for row in conn.execute(query, (project_id,))]


def environment(conn: sqlite3.Connection, environment_id: str) -> Environment:
    row = conn.execute("SELECT * FROM environment WHERE id = ?", (environment_id,)).fetchone()
    if row is None:
        raise NotFound("there is no such environment")
    return rows.environment(row)


def environment_by_name(conn: sqlite3.Connection, project_id: str, name: str) -> Environment | None:
    row = conn.execute("SELECT * FROM environment WHERE project = ? AND name = ?", (project_id, name)).fetchone()
    return rows.environment(row) if row else None


def ensure_environment(
    conn: sqlite3.Connection, project_id: str, name: str, pool: str, avoid: Iterable[str] = ()
) -> Environment:
    """The environment, made with a free /26 of `pool` where it is new; `avoid` are subnets that the host uses.

    Raises Conflict when the pool is used up.
    """
    found = environment_by_name(conn, project_id, name)
    if found is not None:
        return found
    made = Environment(new_id(), project_id, name)
    subnet = _free_subnet(conn, pool, avoid)
    conn.execute("INSERT INTO environment VALUES (?, ?, ?, ?, ?)", (made.id, project_id, name, subnet, time.time()))
    return made


def subnet(conn: sqlite3.Connection, environment_id: str) -> str:
    row = conn.execute("SELECT subnet FROM environment WHERE id = ?", (environment_id,)).fetchone()
    if row is None:
        raise NotFound("there is no such environment")
    return str(row["subnet"])


def _free_subnet(conn: sqlite3.Connection, pool: str, avoid: Iterable[str]) -> str:
    taken = {row["subnet"] for row in conn.execute("SELECT subnet FROM environment")}
    foreign = [ipaddress.ip_network(text) for text in avoid]
    for candidate in ipaddress.ip_network(pool).subnets(new_prefix=26):
        if str(candidate) not in taken and not any(candidate.overlaps(network) for network in foreign):
            return str(candidate)
    raise Conflict(
        f"the address pool {pool} has no free network for another environment",
        next_step="set GODPLOY_POOL to another private /16 for new environments",
    )


@dataclass(frozen=True, slots=True)
class Host:
    host: str
    project: str
    given: bool
    generated: bool


def hosts(conn: sqlite3.Connection, project_id: str) -> list[Host]:
    query = "SELECT host, project, given, generated FROM host WHERE project = ? ORDER BY host"
    return [Host(row[0], row[1], bool(row[2]), bool(row[3])) for row in conn.execute(query, (project_id,))]


def host_owners(conn: sqlite3.Connection, names: Iterable[str]) -> dict[str, str]:
    """host → id of the project that owns it, for those that somebody owns."""
    found = {}
    for name in names:
        row = conn.execute("SELECT project FROM host WHERE host = ?", (name,)).fetchone()
        if row:
            found[name] = row["project"]
    return found


def claim_host(
    conn: sqlite3.Connection, host: str, project_id: str, *, deployment: str | None = None, generated: bool = False
) -> bool:
    """Whether the host is the project's now; False where another project has it."""
    conn.execute(
        "INSERT OR IGNORE INTO host VALUES (?, ?, 0, ?, ?, ?)", (host, project_id, generated, deployment, time.time())
    )
    row = conn.execute("SELECT project FROM host WHERE host = ?", (host,)).fetchone()
    return bool(row["project"] == project_id)


def give_host(conn: sqlite3.Connection, host: str, project_id: str) -> None:
    """A server administrator's word: the host is this project's from now on."""
    conn.execute(
        "INSERT INTO host VALUES (?, ?, 1, 0, NULL, ?)"
        " ON CONFLICT (host) DO UPDATE SET project = excluded.project, given = 1",
        (host, project_id, time.time()),
    )


def keep_claims(conn: sqlite3.Connection, deployment: str) -> None:
    conn.execute("UPDATE host SET claimed_by = NULL WHERE claimed_by = ?", (deployment,))


def drop_claims(conn: sqlite3.Connection, deployment: str) -> None:
    """What a deployment claimed that never became a release."""
    conn.execute("DELETE FROM host WHERE claimed_by = ?", (deployment,))


def release_host(conn: sqlite3.Connection, host: str, project_id: str) -> None:
    """Raises NotFound where the project does not own it."""
    if conn.execute("DELETE FROM host WHERE host = ? AND project = ?", (host, project_id)).rowcount == 0:
        raise NotFound(f"{host} is not a host of this project")


def hosts_of_others(conn: sqlite3.Connection, project_id: str) -> frozenset[str]:
    """Hosts that belong to other projects."""
    return frozenset(row["host"] for row in conn.execute("SELECT host FROM host WHERE project != ?", (project_id,)))


def every_environment(conn: sqlite3.Connection) -> list[Environment]:
    return [rows.environment(row) for row in conn.execute("SELECT * FROM environment ORDER BY created_at")]
