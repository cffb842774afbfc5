"""A commit at a provider is told how its deployment goes, or what the plan of its pull request says."""

from __future__ import annotations

from godploy.core.model import Repository
from godploy.deploy.hosting import asking
from godploy.deploy.services import Services
from godploy.providers.protocol import CommitStatus, StatusState
from godploy.store.outbox import Message

_STATES = {
    "queued": StatusState.PENDING,
    "running": StatusState.RUNNING,
    "succeeded": StatusState.SUCCESS,
    "failed": StatusState.FAILURE,
    "cancelled": StatusState.CANCELLED,
    "superseded": StatusState.SUPERSEDED,
    # of a pull request's plan
    "success": StatusState.SUCCESS,
    "failure": StatusState.FAILURE,
    "error": StatusState.ERROR,
}


async def send(services: Services, repository: Repository, message: Message) -> None:
    """Raises ProviderError, or NotFound where the repository has no connection any more."""
    page = f"pulls/{message.pull_request}" if message.pull_request else f"deployments/{message.deployment}"
    body = message.body
    status = CommitStatus(
        commit=body["commit"],
        context=body["context"],
        state=_STATES[body["state"]],
        description=body["description"],
        url=f"{services.settings.url}/{page}",
        branch=body["branch"],
    )
    await asking.ask_about(services, repository, lambda host, base, place: host.set_status(base, place, status))
