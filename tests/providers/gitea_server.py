"""A real Gitea, as its people use it: with API, git and browser. Not a fake: see `--gitea` in tests/conftest.py."""

from __future__ import annotations

import asyncio
import base64
import os
import re
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from godploy.providers.protocol import OAuthClient

ALL = ("read:user", "write:repository", "read:organization")
_TOKEN = re.compile(r'name="_csrf" value="([^"]+)"')
_CODE_FIELDS = ("client_id", "redirect_uri", "state", "scope")


@dataclass(frozen=True)
class Person:
    name: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class Made:
    """A repository as it was made; `owner` is who made it."""

    id: int
    full_name: str
    owner: Person


@dataclass(frozen=True)
class Delivered:
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def event(self) -> str:
        return self.headers["X-Gitea-Event"]


class Listener:
    """Where a hook posts to; what came can be waited for."""

    def __init__(self) -> None:
        self.address = ""
        self.came: list[Delivered] = []
        self._changed = asyncio.Condition()

    async def hear(self, request: web.Request) -> web.Response:
        body = await request.read()
        async with self._changed:
            self.came.append(Delivered(request.path_qs, CIMultiDict(request.headers), body))
            self._changed.notify_all()
        return web.Response(status=202)

    async def wait(self, count: int, limit: float = 30) -> list[Delivered]:
        """The first `count` deliveries. Raises TimeoutError."""
        async with asyncio.timeout(limit), self._changed:
            await self._changed.wait_for(lambda: len(self.came) >= count)
        return self.came[:count]


@asynccontextmanager
async def listening() -> AsyncIterator[Listener]:
    listener = Listener()
    application = web.Application()
    application.router.add_post("/{path:.*}", listener.hear)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    listener.address = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield listener
    finally:
        await runner.cleanup()


class GiteaServer:
    """`base` is its web address, `admin` its administrator. Whatever is made has a name that nobody else has."""

    def __init__(self, base: str, admin: Person, folder: Path, session: aiohttp.ClientSession) -> None:
        self.base = base
        self.admin = admin
        self.folder = folder
        self.session = session

    async def make_user(self) -> Person:
        person = Person(f"u{uuid.uuid4().hex[:10]}", uuid.uuid4().hex)
        tree = {"username": person.name, "password": person.password, "email": f"{person.name}@example.org"}
        await self.ask(self.admin, "POST", "/admin/users", {**tree, "must_change_password": False})
        return person

    async def make_token(self, person: Person, scopes: Sequence[str] = ALL) -> str:
        tree = {"name": uuid.uuid4().hex, "scopes": list(scopes)}
        made = await self.ask(person, "POST", f"/users/{person.name}/tokens", tree)
        return str(made["sha1"])

    async def revoke_tokens(self, person: Person) -> None:
        for token in await self.ask(person, "GET", f"/users/{person.name}/tokens"):
            await self.ask(person, "DELETE", f"/users/{person.name}/tokens/{token['id']}")

    async def make_repository(
        self, person: Person, name: str = "", *, private: bool = True, object_format: str = "sha1"
    ) -> Made:
        name = name or f"r{uuid.uuid4().hex[:10]}"
        tree = {"name": name, "private": private, "default_branch": "main", "object_format_name": object_format}
        found = await self.ask(person, "POST", "/user/repos", tree)
        return Made(found["id"], found["full_name"], person)

    async def rename(self, repository: Made, name: str) -> Made:
        found = await self.ask(repository.owner, "PATCH", f"/repos/{repository.full_name}", {"name": name})
        return Made(found["id"], found["full_name"], repository.owner)

    async def fork(self, repository: Made, person: Person) -> Made:
        """By somebody who may read it."""
        found = await self.ask(person, "POST", f"/repos/{repository.full_name}/forks", {})
        return Made(found["id"], found["full_name"], person)

    async def commit(
        self, repository: Made, files: Mapping[str, str], message: str = "One", branch: str = "main", start: str = ""
    ) -> str:
        """Pushes a commit on top of the branch, which is made (from `start`, a branch) where there is none."""
        work = self.folder / uuid.uuid4().hex
        await self._git(repository, "clone", "-q", self.clone_url(repository), str(work))
        there = await self._git(repository, "-C", str(work), "branch", "-r", "--list", f"origin/{branch}")
        come_from = [f"origin/{branch if there else start}"] if there or start else []
        await self._git(repository, "-C", str(work), "checkout", "-q", "-B", branch, *come_from)
        for path, text in files.items():
            (work / path).parent.mkdir(parents=True, exist_ok=True)
            (work / path).write_text(text)
        await self._git(repository, "-C", str(work), "add", "-A")
        await self._git(repository, "-C", str(work), "commit", "-q", "--allow-empty", "-m", message)
        await self._git(repository, "-C", str(work), "push", "-q", "origin", f"HEAD:refs/heads/{branch}")
        sha = await self._git(repository, "-C", str(work), "rev-parse", "HEAD")
        await self.settled(repository, branch, sha)
        return sha

    async def settled(self, repository: Made, branch: str, sha: str) -> None:
        """Gitea answers a push before its database knows of it."""
        url = f"/repos/{repository.full_name}"
        async with asyncio.timeout(30):
            while (await self.ask(repository.owner, "GET", url))["empty"]:
                await asyncio.sleep(0.1)
            while sha not in str(await self.ask(repository.owner, "GET", f"{url}/branches?limit=50")):
                await asyncio.sleep(0.1)

    async def tag(self, repository: Made, name: str, branch: str = "main", *, message: str = "") -> None:
        """An annotated one where there is a message."""
        work = self.folder / uuid.uuid4().hex
        await self._git(repository, "clone", "-q", "-b", branch, self.clone_url(repository), str(work))
        await self._git(repository, "-C", str(work), "tag", name, *(["-m", message] if message else []))
        await self._git(repository, "-C", str(work), "push", "-q", "origin", f"refs/tags/{name}")

    async def delete_ref(self, repository: Made, ref: str) -> None:
        work = self.folder / uuid.uuid4().hex
        await self._git(repository, "clone", "-q", self.clone_url(repository), str(work))
        await self._git(repository, "-C", str(work), "push", "-q", "origin", f":{ref}")

    async def open_pull(self, repository: Made, head: str, base: str = "main", title: str = "One") -> int:
        """`head` is a branch, or `person:branch` of a fork."""
        url = f"/repos/{repository.full_name}/pulls"
        made = await self.ask(repository.owner, "POST", url, {"head": head, "base": base, "title": title})
        return int(made["number"])

    async def edit_pull(self, repository: Made, number: int, **what: str) -> None:
        await self.ask(repository.owner, "PATCH", f"/repos/{repository.full_name}/pulls/{number}", what)

    async def merge(self, repository: Made, number: int) -> None:
        url = f"/repos/{repository.full_name}/pulls/{number}/merge"
        # 405 for as long as it looks whether the two go together
        async with asyncio.timeout(30):
            while await self._status(repository.owner, "POST", url, {"Do": "merge"}) == 405:
                await asyncio.sleep(0.2)

    async def statuses(self, repository: Made, sha: str) -> list[dict[str, Any]]:
        """Oldest first."""
        found = await self.ask(repository.owner, "GET", f"/repos/{repository.full_name}/commits/{sha}/statuses")
        return sorted(found or [], key=lambda status: int(status["id"]))

    async def hooks(self, repository: Made) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = await self.ask(repository.owner, "GET", f"/repos/{repository.full_name}/hooks")
        return found

    async def make_client(self, person: Person, callback: str) -> OAuthClient:
        tree = {"name": uuid.uuid4().hex, "redirect_uris": [callback], "confidential_client": True}
        made = await self.ask(person, "POST", "/user/applications/oauth2", tree)
        return OAuthClient(made["client_id"], made["client_secret"])

    async def approve(self, url: str, person: Person, *, granted: bool = True) -> str:
        """What a browser does at an authorize address: signs in, says yes (or no); where it is sent to then."""
        async with self.browser(person) as browser:
            async with browser.get(URL(url, encoded=True), allow_redirects=False) as page:
                if page.status in (302, 303):
                    return page.headers["Location"]  # granted before
                text = await page.text()
                assert page.status == 200, text
            asked = URL(url, encoded=True).query
            form = {name: asked[name] for name in _CODE_FIELDS if name in asked}
            form = {**form, "granted": "true" if granted else "false", **_csrf(text)}
            grant = f"{self.base}/login/oauth/grant"
            async with browser.post(grant, data=form, allow_redirects=False) as answer:
                assert answer.status in (302, 303), await answer.text()
                return answer.headers["Location"]

    async def redeliver(self, repository: Made, hook: str, delivery: str) -> None:
        """The button of a delivery in the hook's page."""
        page = f"{self.base}/{repository.full_name}/settings/hooks/{hook}"
        async with self.browser(repository.owner) as browser:
            async with browser.get(page) as shown:
                form = _csrf(await shown.text())
            async with browser.post(f"{page}/replay/{delivery}", data=form, allow_redirects=False) as answer:
                assert answer.status in (200, 302, 303), await answer.text()

    @asynccontextmanager
    async def browser(self, person: Person) -> AsyncIterator[aiohttp.ClientSession]:
        """Signed in."""
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:
            login = f"{self.base}/user/login"
            async with browser.get(login) as page:
                form = _csrf(await page.text())
            form = {**form, "user_name": person.name, "password": person.password}
            async with browser.post(login, data=form, allow_redirects=False) as answer:
                assert answer.status in (302, 303), f"cannot sign in: {answer.status}"
            yield browser

    async def ask(self, person: Person, method: str, path: str, tree: Any = None) -> Any:
        async with self._asked(person, method, path, tree) as answer:
            text = await answer.text()
            assert answer.status < 300, f"{method} {path}: {answer.status} {text}"
            return await answer.json() if text else None

    async def _status(self, person: Person, method: str, path: str, tree: Any) -> int:
        async with self._asked(person, method, path, tree) as answer:
            text = await answer.text()
            assert answer.status < 300 or answer.status == 405, f"{method} {path}: {answer.status} {text}"
            return answer.status

    def _asked(self, person: Person, method: str, path: str, tree: Any) -> Any:
        login = {"Authorization": f"Basic {_basic(person)}"}
        return self.session.request(method, f"{self.base}/api/v1{path}", json=tree, headers=login)

    def clone_url(self, repository: Made) -> str:
        return f"{self.base}/{repository.full_name}.git"

    async def _git(self, repository: Made, *arguments: str) -> str:
        return await git(repository.owner.name, repository.owner.password, *arguments)


async def git(name: str, password: str, *arguments: str) -> str:
    """What git says with this login, which it learns by its environment."""
    env = {
        "PATH": os.environ["PATH"],
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "http.extraHeader",
        "GIT_CONFIG_VALUE_0": f"Authorization: Basic {_basic(Person(name, password))}",
        "GIT_AUTHOR_NAME": "Ada",
        "GIT_AUTHOR_EMAIL": "ada@example.org",
        "GIT_COMMITTER_NAME": "Ada",
        "GIT_COMMITTER_EMAIL": "ada@example.org",
    }
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec("git", *arguments, stdout=pipe, stderr=pipe, env=env)
    output, errors = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"git {arguments[0]}: {errors.decode(errors='replace')}")
    return output.decode().strip()


def _basic(person: Person) -> str:
    return base64.b64encode(f"{person.name}:{person.password}".encode()).decode()


def _csrf(page: str) -> dict[str, str]:
    """The form's token, of servers that have one."""
    found = _TOKEN.search(page)
    return {"_csrf": found[1]} if found else {}
