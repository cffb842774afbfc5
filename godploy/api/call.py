"""One call of the API as its handler sees it: who calls, on which project, with parameters and a body that are checked.

Also the look-ups that many handlers share. What belongs to an organization that the caller is not in is not found.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from aiohttp import web

from godploy.core.model import Environment, Organization, Project, Repository, Stack, User
from godploy.deploy.services import Services
from godploy.errors import Conflict, NotFound
from godploy.store import Connection, people, projects, repositories, stacks

T = TypeVar("T")

SERVICES = web.AppKey("services", Services)

DASHBOARD = "dashboard"  # the source that is no repository, where a source is named


@dataclass(frozen=True, slots=True)
class Caller:
    user: User
    token: str  # its id

    @property
    def name(self) -> str:
        """As it stands beside what they did."""
        return self.user.email


@dataclass(frozen=True, slots=True)
class Call:
    """`given` holds path and query parameters and the body's keys, all checked, defaults filled in."""

    request: web.Request
    services: Services
    given: Mapping[str, Any] = field(default_factory=dict)
    _caller: Caller | None = None
    _project: Project | None = None
    _organization: Organization | None = None

    @property
    def caller(self) -> Caller:
        assert self._caller is not None, "the route needs no token"
        return self._caller

    @property
    def project(self) -> Project:
        assert self._project is not None, "the route names no project"
        return self._project

    @property
    def organization(self) -> Organization:
        """Where the caller's permission was found."""
        assert self._organization is not None, "the route concerns no organization"
        return self._organization

    async def read(self, work: Callable[[Connection], T]) -> T:
        return await self.services.store.read(work)

    async def write(self, work: Callable[[Connection], T]) -> T:
        return await self.services.store.write(work)

    async def environment(self) -> Environment:
        """The one that the call names. Raises NotFound."""
        return await self.read(lambda conn: environment(conn, self.project, self.given["environment"]))

    async def maybe_environment(self) -> Environment | None:
        """The one that the call names, None where it names none. Raises NotFound."""
        return await self.environment() if self.given["environment"] else None

    async def environment_names(self) -> dict[str, str]:
        """id → name of the project's environments."""
        found = await self.read(lambda conn: projects.environments(conn, self.project.id))
        return {each.id: each.name for each in found}

    async def repository(self) -> Repository:
        return await self.read(lambda conn: repository(conn, self.project, self.given["repository"]))

    async def stack(self) -> Stack:
        """Of the source that the call names, or of the environment's only one. Raises NotFound or Conflict."""
        return await self.read(
            lambda conn: stack(conn, self.project, self.given["environment"], self.given["repository"])
        )


Handler = Callable[[Call], Awaitable[web.StreamResponse]]


def organization(conn: Connection, user: User, wanted: str | None) -> tuple[Organization, str]:
    """(the organization by name or id, or the user's only one, their role in it). Raises NotFound or Conflict."""
    mine = people.organizations(conn, user.id)
    found = [(place, role) for place, role in mine if wanted is None or wanted in (place.id, place.name)]
    if not found:
        raise NotFound("there is no such organization")
    if len(found) > 1:
        names = ", ".join(place.name for place, _ in found)
        raise Conflict(f"you are in several organizations: {names}", next_step='name one of them as "organization"')
    return found[0]


def project(conn: Connection, user: User, wanted: str) -> tuple[Project, str]:
    """(the project by name or id among those of the user's organizations, their role there).

    Raises NotFound, or Conflict where several organizations have one of that name.
    """
    mine = projects.of_user(conn, user.id)
    found = [one for one in mine if one.id == wanted] or [one for one in mine if one.name == wanted]
    if not found:
        raise NotFound(f'there is no project "{wanted}"', next_step="see: godploy projects")
    if len(found) > 1:
        raise Conflict(
            f'several of your organizations have a project "{wanted}"',
            next_step="name it by its id: " + ", ".join(one.id for one in found),
        )
    role = people.role(conn, user.id, found[0].organization)
    return found[0], role or ""


def any_project(conn: Connection, user: User, wanted: str) -> Project:
    """For a server administrator: one of their own by name or id, or anybody's by its id. Raises NotFound."""
    try:
        return project(conn, user, wanted)[0]
    except NotFound:
        return projects.get(conn, wanted)


def environment(conn: Connection, project: Project, name: str) -> Environment:
    found = projects.environment_by_name(conn, project.id, name)
    if found is None:
        known = ", ".join(each.name for each in projects.environments(conn, project.id))
        raise NotFound(
            f'{project.name} has no environment "{name}"',
            next_step=f"it has {known}" if known else "the first deployment makes it",
        )
    return found


def repository(conn: Connection, project: Project, wanted: str) -> Repository:
    """By name or id."""
    for found in repositories.of_project(conn, project.id):
        if wanted in (found.name, found.id):
            return found
    raise NotFound(f'{project.name} has no repository "{wanted}"', next_step="see: godploy repositories")


def source_name(conn: Connection, stack: Stack) -> str:
    return repositories.get(conn, stack.repository).name if stack.repository else DASHBOARD


def stack(conn: Connection, project: Project, environment_name: str, source: str | None) -> Stack:
    """What a source makes in an environment. Raises NotFound, or Conflict naming the choices."""
    place = environment(conn, project, environment_name)
    there = {source_name(conn, each): each for each in stacks.of_environment(conn, place.id)}
    if source is not None:
        name = source if source == DASHBOARD else repository(conn, project, source).name
        if name not in there:
            raise NotFound(f"nothing of {name} was deployed to {environment_name} yet")
        return there[name]
    if not there:
        raise NotFound(f"nothing was deployed to {environment_name} yet", next_step="push a commit to it")
    if len(there) > 1:
        choices = ", ".join(sorted(there))
        raise Conflict(
            f"{environment_name} has several sources: {choices}", next_step="name one of them with --repository"
        )
    return next(iter(there.values()))
