"""A Godploy whose API is real, on a runtime in memory, with intake but without a worker: what is queued stays queued,
and a test ends it as it likes."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from godploy import resources
from godploy.api.server import listening
from godploy.core import signing, template
from godploy.core.model import Deployment, State, User
from godploy.deploy import intake
from godploy.deploy.services import Services
from godploy.drivers.git import Git
from godploy.drivers.keyring import Keyring
from godploy.drivers.logbook import Logbook
from godploy.drivers.traefik import Routes
from godploy.redact import Redactor
from godploy.runtimes.fake.runtime import Fake
from godploy.runtimes.fake.world import World
from godploy.settings import Settings
from godploy.store import Store, deployments, people
from tests.deploy.harness import godploy

URL = "https://deploy.example.com"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    raw: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.raw)

    @property
    def error(self) -> dict[str, Any]:
        return self.json["error"]  # type: ignore[no-any-return]


@dataclass
class Site:
    """A server that answers, with its owner's token; `as_` gives the same site to somebody else."""

    services: Services
    port: int
    session: aiohttp.ClientSession
    token: str | None
    user: User
    world: World

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def as_(self, token: str | None) -> Site:
        return replace(self, token=token)

    async def ask(self, method: str, path: str, body: Any = None, **more: Any) -> Answer:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        headers.update(more.pop("headers", {}))
        if body is not None:
            more["json"] = body
        async with self.session.request(method, self.address + path, headers=headers, **more) as answer:
            return Answer(answer.status, answer.headers, await answer.read())

    async def get(self, path: str, **more: Any) -> Answer:
        return await self.ask("GET", path, **more)

    async def made(self, path: str, body: Any = None) -> Any:
        """The answer to a POST that must succeed."""
        answer = await self.ask("POST", path, body)
        assert answer.status < 300, answer.raw
        return answer.json

    async def member(self, role: str | None, email: str | None = None) -> Site:
        """Somebody with a role in the owner's organization, or, with None, in another one of their own."""

        def join(conn: Any) -> str:
            person, token_name = f"u{os.urandom(3).hex()}", "test"
            conn.execute(
                "INSERT INTO user VALUES (?, ?, 0, ?)", (person, email or f"{person}@example.com", time.time())
            )
            place = people.organizations(conn, self.user.id)[0][0].id
            if role is None:
                place = f"o{person}"
                conn.execute("INSERT INTO organization VALUES (?, ?, ?)", (place, f"of-{person}", time.time()))
            conn.execute("INSERT INTO membership VALUES (?, ?, ?)", (place, person, role or "owner"))
            return people.create_token(conn, person, token_name)

        return self.as_(await self.services.store.write(join))

    async def finish(self, deployment: str, result: str = "live in 0.1 s", *lines: str) -> None:
        """What the worker does: runs the deployment to success, with these lines in its log."""

        def run(conn: Any) -> Deployment:
            claimed = deployments.claim(conn)
            assert claimed is not None and claimed.id == deployment
            return deployments.finish(conn, deployment, State.SUCCEEDED, result=result)

        log = self.services.logbook.open(deployment, Redactor())
        for line in lines:
            log.write(line)
        await log.close(result)
        await self.services.store.write(run)
        self.services.changes.ring("deployment", deployment)

    async def hook(
        self,
        url: str,
        secret: str,
        body: bytes | dict[str, Any],
        key: str = "1",
        at: float | None = None,
        **headers: str,
    ) -> Answer:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        stamp = str(int(time.time() if at is None else at))
        signed = {
            signing.DELIVERY: key,
            signing.TIMESTAMP: stamp,
            signing.SIGNATURE: signing.sign(secret, stamp, raw),
            **headers,
        }
        path = url.removeprefix(URL)
        return await self.as_(None).ask("POST", path, headers=signed, data=raw)


@pytest.fixture
async def whole(tmp_path: Path) -> AsyncIterator[Site]:
    """All of Godploy, with its worker, on a runtime and an edge in memory; `web:1` is an image."""
    world = World()
    world.add_image("web:1", ports=(8000,))
    async with godploy(tmp_path / "data", world, listen="127.0.0.1:0", url=URL) as running:
        services = running.services
        user = await services.store.write(lambda conn: people.create_owner(conn, "ada@example.com"))
        token = await services.store.write(lambda conn: people.create_token(conn, user.id, "test"))
        await services.ready.wait()
        async with aiohttp.ClientSession() as session, listening(services) as port:
            yield Site(services, port, session, token, user, world)
            services.stopping.set()


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    data = tmp_path / "data"
    data.mkdir()
    world = World()
    settings = Settings(data=data, listen="127.0.0.1:0", url=URL, private_bases=("git://127.0.0.1:1",))
    store = await Store.open(data / "godploy.db")
    services = Services(
        settings=settings,
        store=store,
        runtime=Fake(world),
        routes=Routes(data / "routes", "http://127.0.0.1:1", ("127.0.0.1", 1)),
        git=Git(data / "git", settings.private_bases),
        keyring=await asyncio.to_thread(Keyring.open, data / "key"),
        logbook=Logbook(data / "logs"),
        templates=await asyncio.to_thread(_templates),
        builds=asyncio.Semaphore(1),
    )
    user = await store.write(lambda conn: people.create_owner(conn, "ada@example.com"))
    token = await store.write(lambda conn: people.create_token(conn, user.id, "test"))
    deciding = asyncio.create_task(intake.run(services))
    services.ready.set()
    async with aiohttp.ClientSession() as session, listening(services) as port:
        yield Site(services, port, session, token, user, world)
        services.stopping.set()
    deciding.cancel()
    await asyncio.gather(deciding, return_exceptions=True)
    await services.logbook.close()
    await store.close()


def _templates() -> dict[str, template.Template]:
    schema = json.loads((resources.root("schemas") / "template.schema.json").read_text())
    found = [
        template.load(path.read_text(), schema) for path in sorted(resources.root("templates").glob("*/template.yaml"))
    ]
    return {each.name: each for each in found}


async def events(site: Site, method: str, path: str, body: Any = None, **more: Any) -> list[tuple[str, Any]]:
    """Every event of a stream, until it ends."""
    answer = await site.ask(method, path, body, **more)
    assert answer.status == 200, answer.raw
    assert answer.headers["Content-Type"] == "text/event-stream"
    found = []
    for block in answer.raw.decode().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        if "event" in lines:
            found.append((lines["event"], json.loads(lines["data"])))
    return found


GIT_ENVIRONMENT = {
    **os.environ,
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.com",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.com",
    "LC_ALL": "C.UTF-8",
}


class Checkout:
    """A repository in the hands of its author."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def start(self, *argv: str, **more: Any) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(
            "git",
            *argv,
            cwd=self.folder,
            env={**GIT_ENVIRONMENT, **more},
            stdout=pipe,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )

    async def run(self, *argv: str) -> tuple[int, str]:
        """(exit code, all that it wrote)."""
        program = await self.start(*argv)
        async with asyncio.timeout(30):
            output, _ = await program.communicate()
        assert program.returncode is not None
        return program.returncode, output.decode()

    async def git(self, *argv: str) -> str:
        code, output = await self.run(*argv)
        assert code == 0, output
        return output.strip()

    async def commit(self, message: str, **files: str) -> str:
        for name, content in files.items():
            (self.folder / name).write_text(content)
        await self.git("add", "--all")
        await self.git("commit", "--quiet", "--allow-empty", "--message", message)
        return await self.git("rev-parse", "HEAD")


@pytest.fixture
async def checkout(tmp_path: Path) -> Checkout:
    folder = tmp_path / "checkout"
    folder.mkdir()
    made = Checkout(folder)
    await made.git("init", "--quiet", "--initial-branch=main")
    return made


async def until(condition: Any, seconds: float = 10.0) -> Any:
    """The first true value of an async condition."""
    async with asyncio.timeout(seconds):
        while not (found := await condition()):
            await asyncio.sleep(0.02)
        return found
