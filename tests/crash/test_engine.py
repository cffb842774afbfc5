"""Godploy is killed on the real engine, at points of every kind of deployment, and started again: then exactly one
release serves, nothing is left over, the deployment has one final state, and the next push works.

The same is done at every single step on the fake (`tests/deploy/test_crash.py`); here it is shown that the engine and
Traefik keep what the fake promises.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from bench.instance import Checkout, Instance, Reply, instance

pytestmark = pytest.mark.engine

_MANIFEST = """\
version: 1
services:
  web:
    build: {builder: dockerfile}
    port: 8000
    routes: [web.PROJECT.localhost]
    health: {path: /version}
    secrets: [GREETING]
    deploy: {drain: 0s}
    stop_grace_period: 1s
  solo:
    image_from: web
    port: 8000
    routes: [solo.PROJECT.localhost]
    health: {path: /version}
    deploy: {strategy: replace, drain: 0s}
    stop_grace_period: 1s
"""
_DOCKERFILE = """\
FROM busybox:stable
COPY version /www/version
CMD ["httpd", "-f", "-p", "8000", "-h", "/www"]
"""


@dataclass
class App:
    """A service that is replaced in one swap and one that must stop first, both of which tell their version."""

    godploy: Instance
    checkout: Checkout
    version: int = 1

    @property
    def project(self) -> str:
        return self.checkout.project

    def push(self) -> None:
        self.version += 1
        self.checkout.commit({"version": str(self.version)})
        self.checkout.push()

    def rollback(self) -> None:
        self.version -= 1
        self._act("POST", "rollback", {})

    def restart(self) -> None:
        self._act("POST", "restart", {})

    def config(self) -> None:
        self._act("PUT", "secrets", {"values": {"GREETING": f"hello {time.time()}"}})

    def _act(self, method: str, what: str, body: dict[str, object]) -> None:
        self.godploy.api(method, f"/projects/{self.project}/{what}", {"environment": "production", **body})

    def ask(self, service: str) -> Reply:
        """What clients get from a service."""
        return self.godploy.ask(f"{service}.{self.project}.localhost", "/version")

    def is_sound(self) -> bool:
        """Both services answer with the version that is expected, from one release, and no other container is left."""
        web, solo = self.ask("web"), self.ask("solo")
        right = (web.status, web.body) == (200, str(self.version)) and web == solo
        return right and self.containers() == ["solo", "web"]

    def containers(self) -> list[str]:
        """The services that the project's containers belong to, one entry for each container."""
        shown = self.godploy.api("GET", f"/projects/{self.project}")["environments"]
        return [name for environment in shown for name in self.godploy.containers(environment["id"])]


def new_app(godploy: Instance, project: str) -> App:
    files = {
        "godploy.yaml": _MANIFEST.replace("PROJECT", project),
        "Dockerfile": _DOCKERFILE,
        "version": "1",
    }
    app = App(godploy, godploy.checkout(project, "app", files))
    app.config()
    return app


@pytest.fixture(scope="module")
def godploy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    serve = (sys.executable, str(Path(__file__).with_name("serve.py")))
    with instance(tmp_path_factory.mktemp("crash"), serve=serve) as made:
        yield made


@pytest.fixture(scope="module")
def app(godploy: Instance) -> App:
    """One that is live; every test leaves it so."""
    made = new_app(godploy, "shop")
    made.checkout.push()
    made.godploy.until(made.is_sound)
    return made


def crash(app: App, act: Callable[[], None], point: str) -> None:
    """Does it, and returns when the process has ended at that point."""
    (app.godploy.data / "crash").write_text(point)
    with ThreadPoolExecutor(1) as pool:
        doing = pool.submit(act)
        code = app.godploy.ended()
        doing.exception()  # whoever asked may have lost the connection
    assert code == 137, app.godploy.log()


def ended_well(app: App, kind: str) -> int:
    """The newest deployment is of that kind and has succeeded, no other is under way, and all is in order.
    Returns its number."""
    newest = app.godploy.settled(app.project)
    assert (newest["kind"], newest["state"]) == (kind, "succeeded"), newest
    app.godploy.until(app.is_sound)
    return int(newest["number"])


@pytest.mark.parametrize(
    ("kind", "point"),
    [
        ("push", "during build"),
        ("push", "after create"),
        ("push", "after stop"),
        ("push", "after promote"),
        ("push", "after promote #2"),
        ("push", "before routes"),
        ("push", "after routes"),
        ("push", "within transaction of switch"),
        ("push", "after transaction of switch"),
        ("push", "before demote"),
        ("rollback", "after wait_loaded"),
        ("restart", "after start"),
        ("config", "before promote"),
    ],
)
def test_a_crash_leaves_one_release_and_nothing_else(app: App, kind: str, point: str) -> None:
    before = ended_well(app, app.godploy.deployments(app.project)[0]["kind"])
    crash(app, getattr(app, kind), point)
    assert app.ask("web").status == 200  # with Godploy down, too
    app.godploy.start()
    assert ended_well(app, kind) == before + 1
    app.push()
    assert ended_well(app, "push") == before + 2


@pytest.mark.parametrize("point", ["after start", "after routes"])
def test_a_first_deployment_survives_a_crash(godploy: Instance, point: str) -> None:
    app = new_app(godploy, f"first-{point.replace(' ', '-')}")
    crash(app, app.push, point)
    godploy.start()
    assert godploy.settled(app.project)["state"] == "succeeded"
    godploy.until(app.is_sound)
