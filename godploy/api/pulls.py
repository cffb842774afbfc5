"""Pull requests, with what their plans say."""

from __future__ import annotations

from aiohttp import web

from godploy.api import show
from godploy.api.call import Call, repository
from godploy.core.model import PullRequest
from godploy.errors import Conflict, NotFound
from godploy.settings import Settings
from godploy.store import Connection, pull_requests, repositories


async def list_pulls(call: Call) -> web.Response:
    def read(conn: Connection) -> list[show.Json]:
        found = pull_requests.of_project(conn, call.project.id, state=call.given["state"], limit=call.given["limit"])
        return [_shown(conn, call.services.settings, each) for each in found]

    return web.json_response({"pulls": await call.read(read)})


async def get_pull(call: Call) -> web.Response:
    def read(conn: Connection) -> show.Json:
        found = _numbered(conn, call)
        outcome = found.outcome or {}
        told = {"environments": outcome.get("environments", []), "problems": outcome.get("problems", [])}
        return {**_shown(conn, call.services.settings, found), **told}

    return web.json_response(await call.read(read))


def _numbered(conn: Connection, call: Call) -> PullRequest:
    """The one with the number, in the repository that is named or in any. Raises NotFound, or Conflict."""
    number, wanted = call.given["pull"], call.given["repository"]
    places = [repository(conn, call.project, wanted)] if wanted else repositories.of_project(conn, call.project.id)
    found: dict[str, PullRequest] = {}
    for place in places:
        try:
            found[place.name] = pull_requests.by_number(conn, place.id, number)
        except NotFound:
            continue
    if not found:
        raise NotFound(f"no pull request {number} is known here", next_step="see: godploy pulls")
    if len(found) > 1:
        raise Conflict(
            f"several repositories have a pull request {number}: {', '.join(found)}",
            next_step="name one of them with --repository",
        )
    return next(iter(found.values()))


def _shown(conn: Connection, settings: Settings, found: PullRequest) -> show.Json:
    outcome = found.outcome
    return {
        "id": found.id,
        "repository": repositories.get(conn, found.repository).name,
        "number": found.number,
        "title": found.title,
        "state": found.state,
        "author": found.author,
        "branch": found.branch,
        "base": found.base,
        "fork": found.fork,
        "commit": found.commit,
        "plan": None if outcome is None else {"state": outcome["state"], "description": outcome["description"]},
        "planned_at": show.maybe_time(found.planned_at),
        "updated_at": show.time(found.updated_at),
        "provider_url": found.url,
        "url": f"{settings.url}/pulls/{found.id}",
    }
