"""Puts Godploy together, and takes it apart in the opposite order. The only module that sees everything.

Tests call `application` with a fake runtime and routes of their own; `serve` is the whole process.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from godploy.api import server
from godploy.core import naming, routing, template
from godploy.core.command import Command
from godploy.deploy import draining, intake, outbox, poller, reconcile, recovery, retention
from godploy.deploy.services import Services
from godploy.deploy.supervise import Supervisor
from godploy.deploy.watch import Watch
from godploy.deploy.worker import Worker
from godploy.drivers import process, selfsigned, traefik_container
from godploy.drivers.git import Git
from godploy.drivers.keyring import Keyring
from godploy.drivers.logbook import Logbook
from godploy.drivers.traefik import Routes
from godploy.drivers.traefik_container import Ports
from godploy.errors import Conflict
from godploy.runtimes.protocol import Runtime, RuntimeUnavailable
from godploy.settings import Settings
from godploy.store import Store
from godploy.store.addresses import AddressBook

logger = logging.getLogger(__name__)

DATABASE = "godploy.db"
_RETRY_EVERY = 1.0
_FOLDERS = ("repositories", "logs", "builds", "routes", "tls")

Prepare = Callable[[], Awaitable[None]]


async def _nothing() -> None:
    """Where the routes need no Traefik of ours."""


@asynccontextmanager
async def application(
    settings: Settings, *, runtime: Runtime | None = None, routes: Routes | None = None, store: Store | None = None
) -> AsyncIterator[tuple[Services, Supervisor]]:
    """Everything but the sockets: services, and the loops that work on them until the context ends.

    Raises Conflict where another Godploy has the data directory.
    """
    async with AsyncExitStack() as stack:
        await asyncio.to_thread(_prepare_folders, settings.data)
        lock = await asyncio.to_thread(_only_one, settings.data)
        stack.callback(lock.close)
        await asyncio.to_thread(process.sweep_secrets)
        store = store or await Store.open(settings.data / DATABASE)
        stack.push_async_callback(store.close)
        prepare: Prepare = _nothing
        if runtime is None:
            runtime, prepare = _engine(settings, store)
        await runtime.open()
        stack.push_async_callback(runtime.close)
        services = await asyncio.to_thread(_services, settings, store, runtime, routes)
        stack.push_async_callback(services.logbook.close)
        stack.push_async_callback(services.routes.close)
        supervisor = Supervisor()
        stack.push_async_callback(supervisor.stop)
        _start_loops(services, supervisor, prepare)
        stack.callback(services.stopping.set)
        yield services, supervisor


def _services(settings: Settings, store: Store, runtime: Runtime, routes: Routes | None) -> Services:
    entry = ("127.0.0.1", settings.http_port)
    return Services(
        settings=settings,
        store=store,
        runtime=runtime,
        routes=routes or Routes(settings.data / "routes", f"http://127.0.0.1:{settings.traefik_api_port}", entry),
        git=Git(settings.data / "repositories", settings.private_bases),
        keyring=Keyring.open(settings.data / "key"),
        logbook=Logbook(settings.data / "logs"),
        templates=template.shipped(),
        builds=asyncio.Semaphore(settings.builds),
    )


def _engine(settings: Settings, store: Store) -> tuple[Runtime, Prepare]:
    """The engine's runtime, and what makes its Traefik ready. Imported here: tests with a fake need no Docker SDK."""
    from godploy.drivers.docker import Docker
    from godploy.runtimes.engine import Engine
    from godploy.runtimes.engine.ingress import Ingress

    docker = Docker()
    chosen = {} if settings.capabilities is None else {"capabilities": settings.capabilities}
    engine = Engine(settings.instance, docker, AddressBook(store), **chosen)
    ports = Ports(settings.http_port, settings.https_port, settings.traefik_api_port)
    ingress = Ingress(engine, docker, settings.instance, ports, settings.data / "routes", settings.data / "tls")

    async def prepare() -> None:
        await _write_own_routes(settings)
        await ingress.ensure()

    return engine, prepare


def _start_loops(services: Services, supervisor: Supervisor, prepare: Prepare) -> None:
    supervisor.start("intake", intake.run(services))
    supervisor.start("reconciler", reconcile.run(services))
    supervisor.start("engine events", reconcile.listen(services))
    supervisor.start("health", Watch(services).run())
    supervisor.start("drains", draining.run(services))
    supervisor.start("outbox", outbox.run(services))
    supervisor.start("retention", retention.run(services))
    supervisor.start("poller", poller.run(services))
    supervisor.start("worker", Worker(services).run())
    supervisor.start("recovery", _recover(services, prepare))


async def _recover(services: Services, prepare: Prepare) -> None:
    """Traefik, then recovery; both wait for an engine that is down. Then there is nothing left to do, for ever."""
    while True:
        try:
            await prepare()
            break
        except RuntimeUnavailable as error:
            logger.warning("waiting for the engine: %s", error)
            await asyncio.sleep(_RETRY_EVERY)
    await recovery.run(services)
    await services.stopping.wait()
    await asyncio.Event().wait()


async def _write_own_routes(settings: Settings) -> None:
    """The dashboard's own host on https, with the certificate that is made once for this machine."""
    addresses = await _machine_addresses()
    hosts = list(dict.fromkeys([settings.host, "localhost", "127.0.0.1", *addresses]))
    tls = await asyncio.to_thread(selfsigned.ensure, settings.data / "tls", hosts)
    logger.info("certificate SHA-256 %s", tls.fingerprint)
    routes = Routes(settings.data / "routes", "", ("127.0.0.1", settings.http_port))
    own = routing.own(
        [host for host in hosts if naming.is_host(host)], f"http://{settings.listen}", settings.https_port
    )
    await routes.write(traefik_container.OWN_ROUTES, own)
    certificate = traefik_container.default_certificate(tls.certificate.name, tls.key.name)
    await routes.write(traefik_container.CERTIFICATE_NAME, certificate)


async def _machine_addresses() -> list[str]:
    """The machine's IPv4 addresses, by its own word; none where it does not say."""
    try:
        result = await process.run(Command(("hostname", "-I")), timeout=5)
    except (process.Missing, TimeoutError):
        return []
    return [word for word in result.stdout.decode(errors="replace").split() if naming.is_host(word)]


def _prepare_folders(data: Path) -> None:
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name in _FOLDERS:
        (data / name).mkdir(exist_ok=True, mode=0o700)
    for left in (data / "builds").iterdir():  # contexts of builds that a crash ended
        shutil.rmtree(left, ignore_errors=True)


def _only_one(data: Path) -> _Lock:
    return _Lock(data / "lock")


class _Lock:
    """Held as long as the process lives, whatever ends it."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._descriptor)
            raise Conflict(
                f"another Godploy works with {path.parent} already",
                next_step="end it first, or give this one a data directory of its own",
            ) from error

    def close(self) -> None:
        os.close(self._descriptor)


def serve(settings: Settings) -> None:
    """Runs the server until SIGTERM or SIGINT; exit code 1 when a loop died, for the service manager to start anew."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    sys.exit(asyncio.run(_serve(settings)))


async def _serve(settings: Settings) -> int:
    async with application(settings) as (services, supervisor), server.listening(services):
        logger.info("Godploy answers at %s, and on http://%s", settings.url, settings.listen)
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        waiting = [asyncio.create_task(stop.wait()), asyncio.create_task(supervisor.died.wait())]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        services.stopping.set()
        return 1 if supervisor.died.is_set() else 0
