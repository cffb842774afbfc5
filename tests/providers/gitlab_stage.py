"""A GitLab that is played, with a project and somebody who listens to its hooks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import gitlab
import pytest
from aiohttp import web
from multidict import CIMultiDict
from pydantic import ValidationError
from pydantic_gitlab_webhooks.validators import validate_event_header_and_body_dict

from godploy.providers.gitlab import GITLAB
from godploy.providers.protocol import Credential, Event, HookWish, Place, ProviderError, Talk
from tests.providers import driver
from tests.providers.fakes.gitlab import GitLabFake
from tests.providers.fakes.state import Repository, Sent, User

T = TypeVar("T")

SECRET = "3c" * 32


class Stage:
    """A GitLab below a path, a project in it, and somebody who listens to its hooks."""

    def __init__(self, fake: GitLabFake, session: aiohttp.ClientSession) -> None:
        self.fake, self.session = fake, session
        self.ada: User = fake.add_user("ada")
        self.repository: Repository = fake.add_repository(self.ada, "ada/shop")
        self.credential = Credential("token", fake.make_token(self.ada))
        self.status = 202
        self.url = ""

    @property
    def place(self) -> Place:
        return Place(str(self.repository.id), self.repository.full_name)

    @property
    def wish(self) -> HookWish:
        return HookWish(self.url, SECRET)

    async def ask(self, talk: Talk[T], credential: Credential | None = None) -> T:
        return await driver.talk(self.session, GITLAB, self.fake.base, credential or self.credential, talk)

    async def trouble(self, talk: Talk[Any], credential: Credential | None = None) -> ProviderError:
        with pytest.raises(ProviderError) as caught:
            await self.ask(talk, credential)
        return caught.value

    async def client(self, work: Callable[[gitlab.Gitlab], T], **login: Any) -> T:
        """What another's program finds; it blocks, so it has a thread."""
        made = gitlab.Gitlab(self.fake.base, **(login or {"private_token": self.credential.token}))
        return await asyncio.to_thread(work, made)

    async def hear(self, request: web.Request) -> web.Response:
        await request.read()
        return web.Response(status=self.status)


@asynccontextmanager
async def playing(folder: Path, *, signs: bool) -> AsyncIterator[Stage]:
    app = web.Application()
    async with GitLabFake(folder, "/code", signs=signs) as fake, aiohttp.ClientSession() as session:
        made = Stage(fake, session)
        app.router.add_post("/hooks/gitlab/one", made.hear)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        made.url = "https://deploy.example.org/hooks/gitlab/one"
        fake.deliver_to = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield made
        await runner.cleanup()


def read(sent: Sent, scheme: str, secret: str = SECRET) -> Event:
    """What the delivery tells, if it is authentic by its hook's scheme and by no other."""
    headers = CIMultiDict(sent.headers)
    for each in ("signature", "token"):
        now = float(headers.get("webhook-timestamp", "0"))
        assert GITLAB.verify(headers, sent.body, (secret,), each, now) == (each == scheme)
    (found,) = GITLAB.events(headers, sent.body)
    return found


def valid(sent: Sent) -> None:
    """By models that others have made of GitLab's documents; these do not know of the null of a deletion."""
    event, tree = sent.headers["X-Gitlab-Event"], json.loads(sent.body)
    try:
        validate_event_header_and_body_dict(event, tree)
    except ValidationError as error:
        minded = {problem["loc"][-1] for problem in error.errors()}
        assert (minded, tree["checkout_sha"]) == ({"checkout_sha"}, None), error
