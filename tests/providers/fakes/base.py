"""A git provider on loopback: its state, its web server, its deliveries. What is particular to one is in a subclass."""

from __future__ import annotations

import asyncio
import json
import re
import time
import traceback
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl, unquote

import aiohttp
from aiohttp import web
from yarl import URL

from tests.providers.fakes import bare
from tests.providers.fakes.grants import Grants, basic_login
from tests.providers.fakes.hosting import Hosting
from tests.providers.fakes.state import Asked, Refused, Repository, Token, User

_GIT = re.compile(r"/(.+?)(?:\.git)?(/info/refs|/git-upload-pack)")
_RANKS = {"read": 1, "write": 2, "admin": 3}


@dataclass(frozen=True)
class Call:
    """A request to the API. `path` holds what stands at the `{names}` of its route, decoded. `tree` is the body, a form
    as a flat mapping. `token` is what it was made with, None for none."""

    method: str
    url: URL
    headers: Mapping[str, str]
    body: bytes
    path: Mapping[str, str]
    token: Token | None

    @property
    def query(self) -> Mapping[str, str]:
        return self.url.query

    @property
    def tree(self) -> Any:
        if self.headers.get("Content-Type", "").startswith("application/x-www-form-urlencoded"):
            return dict(parse_qsl(self.body.decode(), keep_blank_values=True))
        return json.loads(self.body) if self.body else {}


Answer = Callable[[Call], Awaitable[web.Response]]


@dataclass
class _Trouble:
    """`status` 0: no answer until the end."""

    status: int
    times: int
    headers: Mapping[str, str]
    match: str


@dataclass
class _Route:
    method: str
    form: re.Pattern[str]
    answer: Answer


class Fake(Grants, Hosting):
    """A subclass says in `routes` what is answered, in `credential` who asks, and in `push_events`, `pull_events` and
    `delivery_headers` what is told to hooks."""

    old_names_lead = True  # git at an old name is sent to the new one
    delivery_timeout = 10.0

    def __init__(self, folder: Path, prefix: str = "") -> None:
        Grants.__init__(self)
        Hosting.__init__(self)
        self.folder, self.prefix = folder, prefix
        self.base = ""
        self.users: dict[str, User] = {}
        self.tokens: dict[str, Token] = {}
        self.requests: list[Asked] = []
        self.token_lifetime: float | None = 7200.0
        self.clock_ahead = 0.0  # seconds; a test moves it on
        self._troubles: list[_Trouble] = []
        self._routes: list[_Route] = []
        self._closing = asyncio.Event()
        self._background: set[asyncio.Task[None]] = set()

    # What a subclass says

    def routes(self) -> None:
        """Calls `self.route` for each of the provider's addresses; the first that fits is taken."""
        raise NotImplementedError

    def credential(self, headers: Mapping[str, str]) -> Token | None:
        """Whose request it is, None for nobody's. Raises Refused where what it shows is no good."""
        raise NotImplementedError

    def not_found(self) -> Refused:
        return Refused(404, {"message": "Not Found"})

    def trouble_tree(self, status: int) -> Any:
        """The body of an answer in trouble."""
        return {"message": f"trouble {status}"}

    def git_login_fits(self, name: str, token: Token) -> bool:
        """Whether git may show this user name with the token."""
        return bool(name)

    # Its life

    async def __aenter__(self) -> Self:
        self.routes()
        app = web.Application(client_max_size=0)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=2.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.base = f"http://127.0.0.1:{self._runner.addresses[0][1]}{self.prefix}"
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=self.delivery_timeout))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closing.set()
        await self.settled()
        await self._session.close()
        await self._runner.cleanup()

    async def settled(self) -> None:
        """When what the provider sends on its own has been sent."""
        while self._background:
            await asyncio.gather(*self._background)

    def soon(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def now(self) -> float:
        return time.time() + self.clock_ahead

    # People and what they hold

    def make_token(self, user: User, scopes: tuple[str, ...] | None = None) -> str:
        """As a person makes it; `scopes` None: all that there are."""
        text = self.new_text("token")
        self.tokens[text] = Token(text, user, scopes)
        return text

    def revoke(self, token: str) -> None:
        self.tokens[token].revoked = True

    def expire(self, token: str) -> None:
        self.tokens[token].ends_at = 0.0

    def token(self, text: str) -> Token | None:
        """A token that is still good."""
        found = self.tokens.get(text)
        good = found is not None and not found.revoked and (found.ends_at is None or found.ends_at > self.now())
        return found if good else None

    def may(self, token: Token | None, repository: Repository, role: str) -> bool:
        """Whether a token's user has the role there, or more; a public one is read by anybody."""
        if role == "read" and not repository.private:
            return True
        if token is None:
            return False
        if token.repositories is not None:
            return repository.id in token.repositories
        has = "admin" if token.user is repository.owner else repository.roles.get(token.user.id if token.user else 0)
        return has is not None and _RANKS[has] >= _RANKS[role]

    # Trouble

    def trouble(self, status: int, times: int = 1, headers: Mapping[str, str] | None = None, match: str = "") -> None:
        """The next requests whose path contains `match` are answered so; git's are not."""
        self._troubles.append(_Trouble(status, times, headers or {}, match))

    def hang(self, match: str = "", times: int = 1) -> None:
        """The next ones get no answer until the end."""
        self._troubles.append(_Trouble(0, times, {}, match))

    async def _in_trouble(self, path: str) -> web.Response | None:
        found = next((each for each in self._troubles if each.match in path), None)
        if found is None:
            return None
        found.times -= 1
        if found.times <= 0:
            self._troubles.remove(found)
        if not found.status:
            await self._closing.wait()
        return web.json_response(
            self.trouble_tree(found.status or 503), status=found.status or 503, headers=dict(found.headers)
        )

    # Its web server

    def route(self, method: str, path: str, answer: Answer) -> None:
        """`{name}` in the path is one segment as it was sent, `{name:path}` is several."""
        form = ""
        for part in re.split(r"(\{[a-z_]+(?::path)?\})", path):
            name = part[1:-1].partition(":")
            wild = part.startswith("{")
            form += f"(?P<{name[0]}>{'.+' if name[2] else '[^/]+'})" if wild else re.escape(part)
        self._routes.append(_Route(method, re.compile(form), answer))

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        raw = request.rel_url.raw_path
        if not raw.startswith(f"{self.prefix}/"):
            return web.Response(status=404)
        path = raw.removeprefix(self.prefix)
        if request.method in ("GET", "POST") and (asked := _GIT.fullmatch(path)):
            return await self._git(request, unquote(asked[1]), asked[2])
        body = await request.read()
        self.requests.append(Asked(request.method, request.raw_path, request.headers.copy(), body))
        if (trouble := await self._in_trouble(request.raw_path)) is not None:
            return trouble
        try:
            return await self._routed(request, path, body)
        except Refused as refused:
            return web.json_response(refused.tree, status=refused.status, headers=refused.headers)
        except Exception:  # a test that fails says why
            traceback.print_exc()
            raise

    async def _routed(self, request: web.Request, path: str, body: bytes) -> web.Response:
        if path == self.token_path and request.method == "POST":
            fields = Call("POST", request.rel_url, request.headers, body, {}, None).tree
            return await self.token_endpoint(fields, request.headers.get("Authorization", ""))
        for route in self._routes:
            found = route.form.fullmatch(path)
            if found and route.method == request.method:
                names = {name: unquote(value) for name, value in found.groupdict().items()}
                token = self.credential(request.headers)
                return await route.answer(Call(request.method, request.rel_url, request.headers, body, names, token))
        raise self.not_found()

    async def _git(self, request: web.Request, full_name: str, below: str) -> web.StreamResponse:
        login = basic_login(request.headers.get("Authorization", ""))
        token = self.token(login[1]) if login else None
        if token is not None and login is not None and not self.git_login_fits(login[0], token):
            token = None
        repository = self.named(full_name)
        moved = self.old_names.get(full_name) if repository is None and self.old_names_lead else None
        if (login and token is None) or (token is None and not self._readable(repository or moved)):
            return web.Response(status=401, headers={"WWW-Authenticate": f'Basic realm="{type(self).__name__}"'})
        found = repository or moved
        if found is None or not self.may(token, found, "read"):
            return web.Response(status=404)
        if moved is not None:
            query = f"?{request.query_string}" if request.query_string else ""
            return web.Response(status=301, headers={"Location": f"{self.base}/{moved.full_name}.git{below}{query}"})
        return await bare.serve(found.directory, below, request)

    def _readable(self, repository: Repository | None) -> bool:
        return repository is not None and not repository.private
