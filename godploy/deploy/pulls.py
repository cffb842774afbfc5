"""Pull requests: what each would do, told on its head."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from godploy.core.model import Repository
from godploy.deploy.services import Services
from godploy.store import pull_requests
from godploy.store.pull_requests import Told


async def consider(services: Services, repository: Repository, body: Mapping[str, Any]) -> str:
    """The verdict of a delivery that tells of one."""
    names = ("number", "title", "branch", "base", "url", "author", "fork", "source_url")
    told = Told(**{name: body[name] for name in names})
    state = "closed" if body["action"] == "closed" else "open"
    await services.store.write(lambda conn: pull_requests.put(conn, repository.id, told, state))
    return f"pull request {told.number} was {body['action']}"
