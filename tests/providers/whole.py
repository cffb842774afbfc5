"""All of Godploy beside a provider that is played: connected, attached, pushed to, told."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import yarl

from godploy.api.server import listening
from godploy.runtimes.fake.world import World
from godploy.store import people, repositories
from tests.api.conftest import URL, Answer, Site, until
from tests.deploy.harness import Godploy, godploy
from tests.providers.fakes.base import Fake
from tests.providers.fakes.bitbucket import BitbucketFake
from tests.providers.fakes.gitea import GiteaFake
from tests.providers.fakes.github import GitHubFake
from tests.providers.fakes.gitlab import GitLabFake
from tests.providers.fakes.state import Repository, User

FAKES: dict[str, type[Fake]] = {
    "github": GitHubFake,
    "gitlab": GitLabFake,
    "bitbucket": BitbucketFake,
    "gitea": GiteaFake,
}
WORDS = {  # how each says that a status is pending, good, bad, superseded
    "github": ("pending", "success", "failure", "error"),
    "gitlab": ("pending", "success", "failed", "canceled"),
    "bitbucket": ("INPROGRESS", "SUCCESSFUL", "FAILED", "STOPPED"),
    "gitea": ("pending", "success", "failure", "error"),
}
MANIFEST = "version: 1\nservices:\n  web: {image: 'web:%s', port: 8000}\n"
_CODE = re.compile(r'id="code">([A-Z-]+)<')


def manifest(number: int) -> dict[str, str]:
    """The files of a commit that runs image `web:NUMBER`."""
    return {"godploy.yaml": MANIFEST % number}


@dataclass
class Whole:
    """`site` speaks with Godploy's API as its owner, `fake` is the provider where `ada` keeps `shop`."""

    provider: str
    site: Site
    fake: Fake
    running: Godploy
    ada: User
    shop: Repository

    async def connect(self, **more: Any) -> Any:
        """A connection by an access token."""
        body = {"provider": self.provider, "url": self.fake.base, "token": self.fake.make_token(self.ada)}
        if self.provider == "bitbucket":
            body["username"] = self.ada.mail
        return await self.site.made("/api/v1/connections", {**body, **more})

    async def connect_by_oauth(self, **more: Any) -> Any:
        """A connection by consent, as somebody in a terminal and a browser makes it."""
        client = self.fake.register_client(f"{URL}/oauth/{self.provider}/callback")
        entered = {"provider": self.provider, "url": self.fake.base, "client_id": client.id}
        answer = await self.site.ask("PUT", "/api/v1/oauth-clients", {**entered, "client_secret": client.secret})
        assert answer.status == 200, answer.raw
        begun = await self.begin(**more)
        page = await self.browse(self.fake.approve(begun["url"], self.ada))
        assert page.status == 200, page.raw
        code = _CODE.search(page.raw.decode())
        assert code is not None, page.raw
        return await self.site.made(f"/api/v1/consents/{begun['id']}/confirm", {"code": code[1]})

    async def begin(self, **more: Any) -> Any:
        body = {"provider": self.provider, "url": self.fake.base, "kind": "oauth", **more}
        return await self.site.made("/api/v1/consents", body)

    async def browse(self, address: str) -> Answer:
        """What a browser sees at an address of Godploy's."""
        assert address.startswith(URL), address
        headers = {"Host": yarl.URL(URL).host or ""}
        return await self.site.as_(None).get(address.removeprefix(URL), headers=headers)

    async def attach(self, connection: str, name: str = "shop", **more: Any) -> Any:
        body = {"name": name, "connection": connection, "full_name": self.shop.full_name, **more}
        return await self.site.made("/api/v1/projects/shop/repositories", body)

    async def repository(self, name: str = "shop") -> Any:
        return (await self.site.get(f"/api/v1/projects/shop/repositories/{name}")).json

    async def row(self, name: str = "shop") -> Any:
        """The repository as the store has it."""
        wanted = (await self.repository(name))["id"]
        return await self.site.services.store.read(lambda conn: repositories.get(conn, wanted))

    async def deliveries(self) -> Any:
        """Decided ones, newest first."""

        async def all_decided() -> Any:
            found = (await self.site.get("/api/v1/projects/shop/deliveries")).json["deliveries"]
            return found if all(each["state"] == "decided" for each in found) else None

        await self.fake.settled()
        return await until(all_decided)

    async def deployments(self) -> Any:
        return (await self.site.get("/api/v1/projects/shop/deployments")).json["deployments"]

    async def deployed(self, commit: str, state: str = "succeeded") -> Any:
        """The newest deployment of a commit, once it is in that state."""

        async def found() -> Any:
            of = [each for each in await self.deployments() if each["commit"] == commit]
            return of[0] if of and of[0]["state"] == state else None

        return await until(found, 20.0)

    async def status(self, commit: str, state: str, context: str = "godploy/shop/production") -> Any:
        """The last status of a commit under a context, once it has that state."""

        async def found() -> Any:
            of = [each for each in self.fake.statuses(self.shop, commit) if each["context"] == context]
            return of[-1] if of and of[-1]["state"] == state else None

        return await until(found, 20.0)

    async def events(self, kind: str) -> list[str]:
        found = (await self.site.get("/api/v1/projects/shop/events")).json["events"]
        return [each["message"] for each in found if each["kind"] == kind]


@asynccontextmanager
async def whole(tmp_path: Path, provider: str, **changed: Any) -> AsyncIterator[Whole]:
    """Godploy on a runtime in memory, with a project `shop` and no repository."""
    world = World()
    for number in range(1, 10):
        world.add_image(f"web:{number}", ports=(8000,))
    (tmp_path / "provider").mkdir()
    async with FAKES[provider](tmp_path / "provider") as fake:
        settings = {"listen": "127.0.0.1:0", "url": URL, "private_bases": (fake.base,), **changed}
        async with godploy(tmp_path / "data", world, **settings) as running:
            services = running.services
            user = await services.store.write(lambda conn: people.create_owner(conn, "ada@example.com"))
            token = await services.store.write(lambda conn: people.create_token(conn, user.id, "test"))
            await services.ready.wait()
            async with aiohttp.ClientSession() as session, listening(services) as port:
                fake.deliver_to = f"http://127.0.0.1:{port}"
                site = Site(services, port, session, token, user, world)
                ada = fake.add_user("ada")
                shop = fake.add_repository(ada, "ada/shop")
                await site.made("/api/v1/projects", {"name": "shop"})
                yield Whole(provider, site, fake, running, ada, shop)
                await fake.settled()  # what it sends is answered while there is somebody to answer
                services.stopping.set()
