"""The small shop that the tests of this folder deploy: a repository, its manifests, and its pushes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from godploy.core.model import Deployment, Environment, Release, Repository, Stack, Workload
from godploy.deploy import acts
from godploy.store import projects, releases, stacks
from tests.deploy.harness import Godploy

NOW = {"drain": "0s"}  # nothing to wait for


def web(image: str = "app:1", **more: Any) -> dict[str, Any]:
    """A service with a port, started beside the old one."""
    return {"image": image, "port": 8000, "deploy": NOW, **more}


def worker(image: str = "app:1", **more: Any) -> dict[str, Any]:
    """A service without a port: the old one stops before the new one starts."""
    return {"image": image, "command": "work", "deploy": {"settle": "0s", "drain": "0s"}, **more}


def manifest(environments: Mapping[str, Any] | None = None, **services: Any) -> dict[str, str]:
    """The files of a repository with these services."""
    tree: dict[str, Any] = {"version": 1, "services": services}
    if environments is not None:
        tree["environments"] = environments
    return {"godploy.yaml": json.dumps(tree)}  # which is YAML, too


def built(source: str, **services: Any) -> dict[str, str]:
    """The files of a repository whose services are built from this source."""
    return {"Dockerfile": "FROM scratch\n", "app.py": source, **manifest(**services)}


async def repository(it: Godploy, name: str = "shop") -> Repository:
    return await it.repository(await it.project(), name)


async def production(it: Godploy) -> Environment:
    project = await it.project()
    pool = it.services.settings.pool
    return await it.services.store.write(lambda conn: projects.ensure_environment(conn, project.id, "production", pool))


async def push(it: Godploy, files: Mapping[str, str], name: str = "shop") -> Deployment:
    """A push, decided: its deployment, whatever its state is."""
    at = await repository(it, name)
    delivery = await it.push(at, it.commit(at, files))
    await it.decided(delivery)
    return next(each for each in await it.deployments() if each.delivery == delivery.id)


async def deploy(it: Godploy, files: Mapping[str, str], name: str = "shop") -> Deployment:
    """A push, and everything that follows from it, to the end."""
    deployment = await push(it, files, name)
    await it.settled()
    return await it.ended(deployment)


async def secret(it: Godploy, deploy: bool = True, **values: str) -> list[Deployment]:
    return await acts.set_secrets(it.services, await production(it), values, "tester", deploy=deploy)


async def current(it: Godploy, stack: Stack) -> Release:
    def find(conn: Any) -> Release | None:
        return releases.current(conn, stacks.get(conn, stack.id))

    release = await it.read(find)
    assert release is not None
    return release


async def running(it: Godploy, service: str, stack: Stack) -> Workload:
    """The current workload of a service."""
    release = await current(it, stack)
    wanted = next(each.workload for each in release.services if each.service == service)
    return await it.read(releases.workload, wanted)


def served_image(it: Godploy, host: str = "web-shop.localhost") -> str:
    """The image that answers at a host, "" for none."""
    served = it.edge.serves(host)
    return it.world.of(served[1])[0].image if served else ""
