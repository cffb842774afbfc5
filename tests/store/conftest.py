"""A new database for each test, and the few rows that most tables need."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from godploy.core.model import Deployment, Environment, Kind, Project, Repository, Stack
from godploy.store import Store, deployments, people, projects, repositories, stacks

POOL = "10.99.0.0/16"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(tmp_path / "godploy.db")
    yield opened
    await opened.close()


@dataclass(frozen=True)
class Rows:
    """A project with one repository and its stack in production."""

    project: Project
    repository: Repository
    environment: Environment
    stack: Stack


@pytest.fixture
async def rows(store: Store) -> Rows:
    def make(conn: Any) -> Rows:
        owner = people.create_owner(conn, "owner@example.com")
        project = projects.create(conn, people.organizations(conn, owner.id)[0][0].id, "shop")
        environment = projects.ensure_environment(conn, project.id, "production", POOL)
        repository = repositories.create(conn, project.id, "shop")
        return Rows(project, repository, environment, stacks.ensure(conn, environment.id, repository.id))

    return await store.write(make)


def queue(conn: Any, stack: Stack, kind: Kind = Kind.MANUAL) -> Deployment:
    return deployments.enqueue(conn, deployments.Request(stack.id, kind, "tester", commit="a" * 40))
