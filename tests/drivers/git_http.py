"""A git server over HTTP that wants a login, by git's own `http-backend`; it notes what it was asked."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web


def basic(name: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{name}:{password}'.encode()).decode()}"


@dataclass
class GitHttp:
    """`login` None: anybody may read. `status` and `says`: the answer to whoever is let in, instead of git's; `{login}`
    in it is what was shown. While `open` is not set every answer waits."""

    folder: Path
    login: tuple[str, str] | None = None
    status: int = 200
    says: str = ""
    location: str = ""
    base: str = ""
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    open: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        shown = request.headers.get("Authorization")
        self.asked.append((request.path_qs, shown))
        await self.open.wait()
        if self.login is not None and shown != basic(*self.login):
            return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="git"'})
        if self.status != 200:
            headers = {"Location": self.location} if self.location else {}
            return web.Response(status=self.status, text=self.says.format(login=shown), headers=headers)
        return await self._git(request)

    async def _git(self, request: web.Request) -> web.Response:
        pipe = asyncio.subprocess.PIPE
        env = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.folder),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": request.method,
            "PATH_INFO": request.path,
            "QUERY_STRING": request.query_string,
            "CONTENT_TYPE": request.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": request.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
        }
        backend = await asyncio.create_subprocess_exec("git", "http-backend", stdin=pipe, stdout=pipe, env=env)
        output, _ = await backend.communicate(await request.read())
        head, _, body = output.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        return web.Response(status=int(headers.pop("Status", "200")[:3]), headers=headers, body=body)


@asynccontextmanager
async def served(server: GitHttp) -> AsyncIterator[GitHttp]:
    """On a free port of this machine."""
    app = web.Application(client_max_size=0)
    app.router.add_route("*", "/{path:.*}", server.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.base = f"http://127.0.0.1:{runner.addresses[0][1]}"
    server.open.set()
    try:
        yield server
    finally:
        server.open.set()
        await runner.cleanup()
