"""Opens the two sockets, the one for people and the one for git's hook, and closes them in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from godploy.api import push
from godploy.api.app import build
from godploy.api.push import PUSHES
from godploy.deploy.services import Services
from godploy.errors import Conflict

_SHUTDOWN = 5.0  # seconds for what is being answered; streams are told to end before
_KEEP_ALIVE = 120.0  # seconds; Traefik lets an idle connection go after 90, so it never writes to one that we closed


@asynccontextmanager
async def listening(services: Services) -> AsyncIterator[int]:
    """Answers while the block lasts; gives the port, which is another one where the settings say 0.

    Set `services.stopping` before leaving, or streams hold it up. Raises Conflict where the address is taken.
    """
    settings = services.settings
    app = await asyncio.to_thread(build, services)
    pushes = app[PUSHES]
    await asyncio.to_thread(push.install_hook, pushes)
    hook = await asyncio.to_thread(push.bound_socket, pushes.socket)
    hook_runner = web.AppRunner(push.build(services, pushes), access_log=None, shutdown_timeout=_SHUTDOWN)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN, keepalive_timeout=_KEEP_ALIVE)
    try:
        await hook_runner.setup()
        await web.SockSite(hook_runner, hook).start()
        await runner.setup()
        try:
            await web.TCPSite(runner, settings.listen_host, settings.listen_port, reuse_address=True).start()
        except OSError as error:
            raise Conflict(
                f"cannot listen on {settings.listen}: {error.strerror}",
                next_step="end what listens there, or choose another address with --listen",
            ) from error
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
        await hook_runner.cleanup()
        await asyncio.to_thread(pushes.socket.unlink, missing_ok=True)
