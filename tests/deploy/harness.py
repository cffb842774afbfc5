"""A Godploy on the fake runtime: real store, real git, an edge in memory in Traefik's place, and a way to crash it."""

from __future__ import annotations

import asyncio
import inspect
import re
import subprocess
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from godploy import bootstrap
from godploy.core.model import Delivery, Deployment, Project, Repository, Stack, State, WorkloadState
from godploy.core.naming import new_id
from godploy.deploy import acts, follow, intake
from godploy.deploy.services import Services
from godploy.deploy.supervise import Supervisor
from godploy.drivers.probe import Answer
from godploy.errors import Unavailable
from godploy.runtimes.fake.runtime import Fake
from godploy.runtimes.fake.world import World
from godploy.settings import Settings
from godploy.store import Store, deliveries, deployments, people, projects, releases, repositories, stacks
from godploy.store.addresses import AddressBook

T = TypeVar("T")
HEAD = "refs/heads/main"
_HOST = re.compile(r"Host\(`([^`]+)`\)")


class Crash(BaseException):
    """The process is gone: nothing that it was about to do happens."""


class Steps:
    """Counts effects; at number `crash_at` the process dies, and everything after that dies, too."""

    def __init__(self) -> None:
        self.count = 0
        self.crash_at: int | None = None
        self.dead = asyncio.Event()
        self.where = ""

    def __call__(self, moment: str) -> None:
        if self.dead.is_set():
            raise Crash
        self.count += 1
        if self.count == self.crash_at:
            self.where = moment
            self.dead.set()
            raise Crash


class Edge:
    """Traefik's folder and what it serves; outlives a crash, as the real one does."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.files: dict[str, Mapping[str, Any]] = {}
        self.answers = self.serves  # who answers for a host; a test may break it

    def serves(self, host: str) -> tuple[str, str] | None:
        """(release, workload) that answers for the host at its root; None for a bad gateway or no route."""
        for config in self.files.values():
            for router in config["http"]["routers"].values():
                if host in _HOST.findall(router["rule"]):
                    headers = config["http"]["middlewares"][router["middlewares"][0]]["headers"]
                    for server in config["http"]["services"][router["service"]]["loadBalancer"]["servers"]:
                        container = self.world.serving(server["url"])
                        if container is not None:
                            return headers["customResponseHeaders"]["X-Godploy-Release"], container.ref.workload
        return None


class FakeRoutes:
    """`drivers.traefik.Routes`, on an `Edge`."""

    def __init__(self, edge: Edge, steps: Steps | None = None) -> None:
        self._edge = edge
        self._steps = steps or Steps()

    async def close(self) -> None:
        """Nothing to close."""

    async def write(self, name: str, config: Mapping[str, Any]) -> None:
        self._steps("before write routes")
        if config:
            self._edge.files[name] = config
        else:
            self._edge.files.pop(name, None)
        self._steps("after write routes")

    async def remove(self, name: str) -> None:
        await self.write(name, {})

    async def read(self, name: str) -> Mapping[str, Any]:
        return self._edge.files.get(name, {})

    async def names(self) -> list[str]:
        return sorted(self._edge.files)

    async def move_out_foreign(self, known: Collection[str]) -> list[str]:
        foreign = [name for name in self._edge.files if name not in known]
        for name in foreign:
            del self._edge.files[name]
        return foreign

    async def wait_loaded(self, config: Mapping[str, Any], timeout: float) -> None:
        self._steps("wait loaded")

    async def ask(self, host: str, path: str, timeout: float, *, encrypted: bool = False) -> Answer:
        self._steps("ask")
        served = self._edge.answers(host)
        return Answer(200, {"x-godploy-release": served[0]}) if served else Answer(502)


class StepStore(Store):
    """A store whose transactions are steps, and whose disk may be full."""

    steps: Steps
    full = False

    async def write(self, work: Callable[[Any], T]) -> T:
        self.steps("before commit")
        if self.full:
            raise Unavailable("the disk is full: nothing was written")
        result = await super().write(work)
        self.steps("after commit")
        return result


class Godploy:
    """One running Godploy, with shortcuts for what a test does and asks."""

    def __init__(self, services: Services, supervisor: Supervisor, world: World, edge: Edge) -> None:
        self.services, self.supervisor, self.world, self.edge = services, supervisor, world, edge

    @property
    def disk(self) -> StepStore:
        assert isinstance(self.services.store, StepStore)
        return self.services.store

    async def project(self, name: str = "shop") -> Project:
        def make(conn: Any) -> Project:
            owner = people.first_owner(conn) or people.create_owner(conn, "owner@example.com")
            organization = people.organizations(conn, owner.id)[0][0]
            return projects.by_name(conn, organization.id, name) or projects.create(conn, organization.id, name)

        return await self.services.store.write(make)

    async def repository(self, project: Project, name: str = "shop") -> Repository:
        """The project's repository on our own remote, made where it is new."""
        found = await self.services.store.read(lambda conn: repositories.by_name(conn, project.id, name))
        if found:
            return found
        return (await acts.create_repository(self.services, project, name, None, "godploy.yaml"))[0]

    def commit(self, repository: Repository, files: Mapping[str, str], message: str = "change") -> str:
        """A commit with exactly these files on top of the others, which no branch names yet."""
        return commit(self.services.git.directory(repository.id), files, message)

    async def push(self, repository: Repository, sha: str, branch: str = "main") -> Any:
        """Moves the branch and delivers the push, as a `git push` does."""
        directory = self.services.git.directory(repository.id)
        git(directory, "update-ref", f"refs/heads/{branch}", sha)
        body = {"event": "push", "ref": f"refs/heads/{branch}", "commit": sha, "pusher": "tester"}
        return (await intake.receive(self.services, repository, "push", f"push:{new_id()}", body))[0]

    async def stack(self, repository: Repository | None, environment: str = "production") -> Stack:
        def find(conn: Any) -> Stack:
            for stack in stacks.every(conn):
                named = projects.environment(conn, stack.environment).name
                if stack.repository == (repository.id if repository else None) and named == environment:
                    return stack
            raise LookupError(environment)

        return await self.services.store.read(find)

    async def settled(self, within: float = 20.0) -> None:
        """Until nothing waits, runs or drains, and the reconciler has nothing to correct."""
        looks = 0
        async with asyncio.timeout(within):
            while not await self._quiet():
                looks += 1
                if looks % 20 == 0:  # the loops go on by themselves; this only spares their slow look at times
                    for topic in ("intake", "worker", "drains", "reconcile"):
                        self.services.changes.ring(topic)
                await asyncio.sleep(0.005)

    async def _quiet(self) -> bool:
        def rows(conn: Any) -> bool:
            waiting = conn.execute(
                "SELECT (SELECT count(*) FROM delivery WHERE state = 'received')"
                " + (SELECT count(*) FROM deployment WHERE state IN ('queued', 'running'))"
                " + (SELECT count(*) FROM workload WHERE state IN ('new', 'draining') OR stopped_by IS NOT NULL)"
            ).fetchone()[0]
            return bool(waiting == 0)

        if not self.services.ready.is_set() or not await self.services.store.read(rows):
            return False
        wanted = await self.services.store.read(_desired)
        there = {w: n for w, n in _counted(self.world).items() if n}
        return wanted == there and await self.services.store.read(self._considered)

    def _considered(self, conn: Any) -> bool:
        """Whether the head of every repository's main branch has been considered."""
        for repository in repositories.every(conn):
            heads = git(self.services.git.directory(repository.id), "for-each-ref", "--format=%(objectname)", HEAD)
            if heads and heads != repositories.considered(conn, repository.id).get("main"):
                return False
        return True

    async def until(self, condition: Callable[[], Any], within: float = 20.0) -> None:
        """Until the condition (a function, or a coroutine function) holds."""
        async with asyncio.timeout(within):
            while True:
                holds = condition()
                if await holds if inspect.isawaitable(holds) else holds:
                    return
                await asyncio.sleep(0.002)

    async def ended(self, deployment: Deployment) -> Deployment:
        """The deployment with its final state, its log written."""
        async with asyncio.timeout(20):
            found = await follow.ended(self.services, deployment.id)
            while not any(line.end for line in await self.services.logbook.read(found.id)) and found.started_at:
                await asyncio.sleep(0.002)
        return found

    async def decided(self, delivery: Delivery) -> str:
        """The delivery's verdict."""
        async with asyncio.timeout(20):
            while (found := await self.read(deliveries.get, delivery.id)).verdict is None:
                await asyncio.sleep(0.002)
        return found.verdict

    async def read(self, function: Callable[..., T], *arguments: Any) -> T:
        """A function of the store."""
        return await self.services.store.read(lambda conn: function(conn, *arguments))

    async def log(self, deployment: Deployment) -> str:
        """The text of a deployment's log."""
        return "\n".join(line.text for line in await self.services.logbook.read(deployment.id))

    async def told(self, kind: str) -> list[str]:
        """The messages of every event of a kind, oldest first."""
        query = "SELECT message FROM event WHERE kind = ? ORDER BY id"
        return await self.read(lambda conn: [row["message"] for row in conn.execute(query, (kind,))])

    async def deployments(self) -> list[Deployment]:
        """Newest first."""
        query = "SELECT project.id FROM project"

        def rows(conn: Any) -> list[Deployment]:
            return [d for row in conn.execute(query).fetchall() for d in deployments.of_project(conn, row[0])]

        return await self.services.store.read(rows)

    async def newest(self) -> Deployment:
        return (await self.deployments())[0]


def _desired(conn: Any) -> dict[str, int]:
    """workload → running containers, as the current releases want it."""
    wanted = {}
    for stack in stacks.every(conn):
        release = releases.current(conn, stack)
        names = stacks.services(conn, stack.environment)
        for service in release.services if release else ():
            if not names[service.service].stopped:
                wanted[service.workload] = service.replicas
    return wanted


def _counted(world: World) -> dict[str, int]:
    counted: dict[str, int] = {}
    for container in world.containers.values():
        counted[container.ref.workload] = counted.get(container.ref.workload, 0) + int(container.running)
    return counted


class Hold:
    """Holds the first runtime call of a moment ("before build") until it is released; `reached` tells that it came.
    With `task` only that one's: the loops call the runtime, too."""

    def __init__(self, world: World, moment: str, task: asyncio.Task[Any] | None = None) -> None:
        self.reached, self._released = asyncio.Event(), asyncio.Event()
        self._moment, self._task, self._others = moment, task, world.on_call
        world.on_call = self._on_call

    def _on_call(self, moment: str) -> Any:
        ours = self._task in (None, asyncio.current_task())
        if moment == self._moment and ours and not self.reached.is_set():
            self.reached.set()
            return self._released.wait()
        return self._others(moment)

    def release(self) -> None:
        self._released.set()


@asynccontextmanager
async def godploy(
    data: Path,
    world: World,
    edge: Edge | None = None,
    steps: Steps | None = None,
    *,
    full: bool = False,
    **changed: Any,
) -> AsyncIterator[Godploy]:
    """Starts Godploy on a data directory and a world, both of which outlive it."""
    edge = edge or Edge(world)
    steps = steps or Steps()
    world.on_call = lambda moment: steps(moment) if moment.split()[1] not in _LOOKS else None
    data.mkdir(parents=True, exist_ok=True)
    store = StepStore(data / bootstrap.DATABASE)
    store.steps = steps
    store.full = full
    await asyncio.get_running_loop().run_in_executor(store._writer, store._open)
    runtime = Fake(world, AddressBook(store))
    routes: Any = FakeRoutes(edge, steps)
    made = Settings(**{"data": data, "poll_interval": 3600.0, **changed})
    async with bootstrap.application(made, runtime=runtime, routes=routes, store=store) as (services, supervisor):
        yield Godploy(services, supervisor, world, edge)


# Calls that only look: a crash around them is a crash around the effects beside them.
_LOOKS = ("observe", "images", "has_image", "endpoints", "healthy", "check", "events", "stats", "logs", "resolve")


def git(directory: Path, *arguments: str, stdin: str | None = None) -> str:
    env = {"PATH": "/usr/bin:/bin", "GIT_CONFIG_GLOBAL": "/dev/null", "HOME": "/nonexistent"}
    env |= {f"GIT_{who}_{what}": "tester@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    command = ["git", "-C", str(directory), *arguments]
    done = subprocess.run(command, env=env, input=stdin, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def commit(directory: Path, files: Mapping[str, str], message: str = "change", parent: str | None = None) -> str:
    """A commit object of exactly these files in a bare repository."""
    lines = []
    for path, text in sorted(files.items()):
        blob = git(directory, "hash-object", "-w", "--stdin", stdin=text)
        lines.append(f"100644 blob {blob}\t{path}")
    tree = git(directory, "mktree", stdin="\n".join(lines) + "\n")
    more = ("-p", parent) if parent else ()
    return git(directory, "commit-tree", tree, "-m", message, *more)


__all__ = ["Crash", "Edge", "FakeRoutes", "Godploy", "State", "Steps", "WorkloadState", "commit", "git", "godploy"]
