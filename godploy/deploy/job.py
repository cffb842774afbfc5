"""One deployment under way: its rows, its log, and the doors between its stages."""

from __future__ import annotations

import time
from dataclasses import dataclass

from godploy.core.model import Deployment, Environment, Project, Repository, Stack, Stage
from godploy.deploy.services import Services
from godploy.drivers.logbook import Log
from godploy.redact import Redactor
from godploy.store import Connection, deployments, projects, repositories, secrets, stacks, volumes


class EndedError(Exception):
    """A newer push or a person asked this deployment to end, before it was too late."""


@dataclass(slots=True)
class Job:
    services: Services
    deployment: Deployment
    stack: Stack
    environment: Environment
    project: Project
    repository: Repository | None
    log: Log
    redactor: Redactor
    stage: Stage | None = None

    def say(self, text: str) -> None:
        self.log.write(text, stage=self.stage)

    async def enter(self, stage: Stage) -> None:
        """Into the next stage, unless the deployment was asked to end: then EndedError is raised."""
        await self.services.store.write(lambda conn: self.enter_within(conn, stage))
        self.stage = stage
        self.services.changes.ring("deployment", self.deployment.id)
        self.services.changes.ring("outbox")

    def enter_within(self, conn: Connection, stage: Stage) -> None:
        """The same inside a transaction that does more, so that both happen or neither."""
        if not deployments.enter(conn, self.deployment.id, stage):
            raise EndedError

    async def learn_secrets(self) -> None:
        """The log hides secrets that came into being since it was opened, too."""
        self.redactor.add(await environment_secrets(self.services, self.environment.id))

    @property
    def seconds(self) -> float:
        """Since it was claimed."""
        return time.time() - (self.deployment.started_at or time.time())


async def open_job(services: Services, deployment: Deployment) -> Job:
    """The job of a claimed deployment; its log hides every secret of the environment."""

    def rows(conn: Connection) -> tuple[Stack, Environment, Project, Repository | None]:
        stack = stacks.get(conn, deployment.stack)
        environment = projects.environment(conn, stack.environment)
        repository = repositories.get(conn, stack.repository) if stack.repository else None
        return stack, environment, projects.get(conn, environment.project), repository

    stack, environment, project, repository = await services.store.read(rows)
    redactor = Redactor(await environment_secrets(services, environment.id))
    log = services.logbook.open(deployment.id, redactor)
    return Job(services, deployment, stack, environment, project, repository, log, redactor)


async def environment_secrets(services: Services, environment: str) -> list[str]:
    """Every kept version of every secret of the environment, generated ones included: what no log may show."""

    def sealed(conn: Connection) -> list[tuple[str, bytes]]:
        own = [
            (secret_context(environment, name), value)
            for (name, _), value in secrets.versions(conn, environment).items()
        ]
        kept = volumes.secrets(conn, environment).items()
        return own + [(volume_context(environment, volume, name), value) for (volume, name, _), value in kept]

    found = await services.store.read(sealed)
    return [services.keyring.unseal(value, context) for context, value in found]


def secret_context(environment: str, name: str) -> str:
    """What a sealed secret is bound to: a row copied elsewhere does not open there."""
    return f"secret:{environment}:{name}"


def volume_context(environment: str, volume: str, name: str) -> str:
    return f"volume:{environment}:{volume}:{name}"


def hook_context(repository: str) -> str:
    return f"hook:{repository}"
