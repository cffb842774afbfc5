"""A real Godploy beside a real Gitea: its process, its Traefik, its containers, and what a person does with both."""

from __future__ import annotations

import asyncio
import json
import re
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import docker

from tests.e2e.installation import GODPLOY, Installation
from tests.e2e.person import HERE, Person
from tests.providers.gitea_server import GiteaServer, Made, git
from tests.providers.gitea_server import Person as User

T = TypeVar("T")
HOST = "web-shop.localhost"
MANIFEST = """\
version: 1
services:
  web: {build: ., port: 8000, health: {path: /healthz}, deploy: {drain: 1s}}
"""
_CODE = re.compile(r'id="code">([A-Z-]+)<')


@contextmanager
def installed(folder: Path, engine: docker.DockerClient, base: str) -> Iterator[Installation]:
    """Godploy as Gitea reaches it: over http at loopback. It looks so rarely by itself that only hooks can be quick."""
    installation = Installation(folder, f"e{uuid.uuid4().hex[:10]}", engine)
    installation.prepare()
    url = f"http://localhost:{installation.listen}"
    try:
        installation.start(url=url, poll_interval="600", private_bases=base)
        installation.make_owner()
        yield installation
        code = installation.stop()
    finally:
        installation.remove()
    log = installation.log.read_text()
    assert code == 0, log[-2000:]
    assert "Traceback" not in log, log[log.index("Traceback") - 500 :][:5000]
    assert not re.findall(r"^.* (?:ERROR|CRITICAL) .*$", log, re.MULTILINE)
    assert installation.left_over() == []


async def until(what: Callable[[], Awaitable[T]], within: float = 60.0) -> T:
    """Asks until the answer is true, and returns it; fails with the last one."""
    end = time.monotonic() + within
    while not (found := await what()):
        assert time.monotonic() < end, f"still {found!r} after {within} s"
        await asyncio.sleep(0.05)
    return found


@dataclass
class Figures:
    """Seconds by name, for a person to read."""

    seconds: dict[str, list[float]] = field(default_factory=dict)

    def add(self, name: str, seconds: float) -> None:
        self.seconds.setdefault(name, []).append(seconds)

    def line(self) -> str:
        return "; ".join(
            f"{name}: {', '.join(f'{each:.2f}' for each in found)} s" for name, found in self.seconds.items()
        )


@dataclass
class Whole:
    """`ada` keeps `shop` at Gitea, and is `person` at the command line of Godploy."""

    gitea: GiteaServer
    server: Installation
    person: Person
    ada: User
    shop: Made
    folder: Path
    figures: Figures
    version: int = 0

    def godploy(self, *words: str, stdin: str = "", code: int = 0) -> Any:
        """The command's answer; what it says where it fails."""
        done = self.person.run(GODPLOY, *words, "--json", stdin=stdin, code=code)
        return json.loads(done.out) if not code else done.err

    def api(self, method: str, path: str, body: Any = None) -> Any:
        return self.server.api(method, path, body)

    async def begin(self) -> None:
        """The checkout that ada works in."""
        await self.git("clone", "-q", self.gitea.clone_url(self.shop), str(self.folder), inside=False)
        await self.git("checkout", "-q", "-B", "main")

    async def git(self, *words: str, inside: bool = True) -> str:
        place = ("-C", str(self.folder)) if inside else ()
        return await git(self.ada.name, self.ada.password, *place, *words)

    async def commit(self, manifest: str = MANIFEST) -> str:
        self.version += 1
        for path in (HERE / "app").iterdir():
            (self.folder / path.name).write_bytes(path.read_bytes())
        for name, text in {"behaviour.json": "{}", "version": f"{self.version}\n", "godploy.yaml": manifest}.items():
            (self.folder / name).write_text(text)
        await self.git("add", "-A")
        await self.git("commit", "-q", "-m", f"Version {self.version}")
        return await self.git("rev-parse", "HEAD")

    async def push(self, branch: str = "main") -> float:
        """When it began."""
        begun = time.monotonic()
        await self.git("push", "-q", self.gitea.clone_url(self.shop), f"HEAD:refs/heads/{branch}")
        return begun

    async def push_and_see(self, name: str) -> str:
        """A commit, pushed, live, and told at Gitea; what that took goes to the figures."""
        commit = await self.commit()
        begun = await self.push()
        await asyncio.gather(self.live(begun, name), self.told(commit, "success", begun, name))
        return commit

    async def live(self, begun: float, name: str) -> None:
        wanted = f"version {self.version}\n"
        await until(lambda: asyncio.to_thread(lambda: self.server.ask(HOST).text == wanted))
        self.figures.add(f"{name} → live", time.monotonic() - begun)

    async def told(
        self, commit: str, state: str, begun: float, name: str, context: str = "godploy/shop/production"
    ) -> Any:
        """The commit's last status, once it has that state."""

        async def last() -> Any:
            found = [each for each in await self.gitea.statuses(self.shop, commit) if each["context"] == context]
            return found[-1] if found and found[-1]["status"] == state else None

        status = await until(last)
        self.figures.add(f"{name} → {status['context'].rpartition('/')[2]} status", time.monotonic() - begun)
        return status

    async def deliveries(self, count: int) -> Sequence[Any]:
        """Newest first, once there are so many and all are decided."""

        async def decided() -> Any:
            found = await asyncio.to_thread(self.api, "GET", "projects/shop/deliveries")
            there = found["deliveries"]
            return len(there) >= count and all(each["state"] == "decided" for each in there) and there

        return await until(decided)  # type: ignore[no-any-return]

    async def deployed(self, commit: str, state: str) -> Any:
        """The commit's deployment, once it is in that state."""

        async def found() -> Any:
            there = await asyncio.to_thread(self.api, "GET", "projects/shop/deployments")
            return next(
                (each for each in there["deployments"] if (each["commit"], each["state"]) == (commit, state)), 0
            )

        return await until(found)

    async def agree(self, begun: Any) -> Any:
        """A consent, as ada gives it in her browser; the connection."""
        landed = await self.gitea.approve(begun["url"], self.ada)
        assert landed.startswith(f"{self.server.settings['GODPLOY_URL']}/oauth/gitea/callback?"), landed
        async with self.gitea.session.get(landed) as page:
            text = await page.text()
            assert page.status == 200, text
        code = _CODE.search(text)
        assert code is not None, text
        return self.api("POST", f"consents/{begun['id']}/confirm", {"code": code[1]})
