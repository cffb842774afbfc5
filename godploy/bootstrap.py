"""Puts Godploy together, and takes it apart in the opposite order. The only module that sees everything.

Tests call `application` with a fake runtime and routes of their own; `serve` is the whole process.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from godploy.api import server
from godploy.core import naming, routing, template
from godploy.deploy import (
    certificates,
    draining,
    intake,
    outbox,
    poller,
    reconcile,
    recovery,
    replanning,
    retention,
    rules,
    trial,
)
from godploy.deploy.ledger import Ledger
from godploy.deploy.services import Services
from godploy.deploy.supervise import Supervisor
from godploy.deploy.watch import Watch
from godploy.deploy.worker import Worker
from godploy.drivers import process, selfsigned, traefik_container
from godploy.drivers.acme import Folder, own_addresses
from godploy.drivers.git import Git
from godploy.drivers.keyring import Keyring
from godploy.drivers.lock import Lock
from godploy.drivers.logbook import Logbook
from godploy.drivers.traefik import Routes
from godploy.drivers.traefik_container import Acme, Ports
from godploy.runtimes.protocol import Runtime, RuntimeUnavailable
from godploy.settings import Settings
from godploy.store import Store
from godploy.store.addresses import AddressBook

if TYPE_CHECKING:
    from godploy.runtimes.engine import Engine

logger = logging.getLogger(__name__)

DATABASE = "godploy.db"
_ACME = "acme"
_RETRY_EVERY = 1.0
_FOLDERS = ("repositories", "logs", "builds", "routes", "tls")


async def _nothing() -> None:
    """Where the routes need no Traefik of ours."""


@dataclass(frozen=True, slots=True)
class _Edge:
    """Traefik, made ready by `prepare` with what `ledger` knows of certificates, which `certificates` (None: no one is
    asked for them) keeps up to date; `packet_rules` tells whether they act."""

    ledger: Ledger
    prepare: Callable[[], Awaitable[None]] = _nothing
    certificates: Callable[[Services], Coroutine[Any, Any, None]] | None = None
    packet_rules: Callable[[], Coroutine[Any, Any, None]] | None = None


@asynccontextmanager
async def application(
    settings: Settings, *, runtime: Runtime | None = None, routes: Routes | None = None, store: Store | None = None
) -> AsyncIterator[tuple[Services, Supervisor]]:
    """Everything but the sockets: services, and the loops that work on them until the context ends.

    Raises Conflict where another Godploy has the data directory.
    """
    async with AsyncExitStack() as stack:
        await asyncio.to_thread(_prepare_folders, settings.data)
        lock = await asyncio.to_thread(Lock, settings.data)
        stack.callback(lock.close)
        await asyncio.to_thread(process.sweep_secrets)
        store = store or await Store.open(settings.data / DATABASE)
        stack.push_async_callback(store.close)
        edge = _Edge(Ledger(wanted=bool(settings.acme_email)))
        if runtime is None:
            runtime, edge = _engine(settings, store, *await asyncio.to_thread(_certificates, settings))
        await runtime.open()
        stack.push_async_callback(runtime.close)
        services = await asyncio.to_thread(_services, settings, store, runtime, routes, edge.ledger)
        stack.push_async_callback(services.logbook.close)
        stack.push_async_callback(services.routes.close)
        supervisor = Supervisor()
        stack.push_async_callback(supervisor.stop)
        _start_loops(services, supervisor, edge)
        stack.callback(services.stopping.set)
        yield services, supervisor


def _services(settings: Settings, store: Store, runtime: Runtime, routes: Routes | None, ledger: Ledger) -> Services:
    api = f"http://127.0.0.1:{settings.traefik_api_port}"
    entries = (("127.0.0.1", settings.http_port), ("127.0.0.1", settings.https_port))
    return Services(
        settings=settings,
        store=store,
        runtime=runtime,
        routes=routes or Routes(settings.data / "routes", api, *entries),
        git=Git(settings.data / "repositories", settings.private_bases),
        keyring=Keyring.open(settings.data / "key"),
        logbook=Logbook(settings.data / "logs"),
        templates=template.shipped(),
        builds=asyncio.Semaphore(settings.builds),
        certificates=ledger,
        trial=trial.found(settings.data),
    )


def _engine(settings: Settings, store: Store, ledger: Ledger, acme: Acme | None) -> tuple[Engine, _Edge]:
    """The engine's runtime, and its Traefik. Imported here: tests with a fake need no Docker SDK."""
    from godploy.drivers.docker import Docker
    from godploy.runtimes.engine import Engine
    from godploy.runtimes.engine.ingress import Ingress

    docker = Docker()
    chosen = {} if settings.capabilities is None else {"capabilities": settings.capabilities}
    engine = Engine(settings.instance, docker, AddressBook(store), **chosen)
    ports = Ports(settings.http_port, settings.https_port, settings.traefik_api_port)
    ingress = Ingress(engine, docker, settings.instance, ports, settings.data / "routes", settings.data / "tls", acme)

    async def prepare() -> None:
        await _write_certificate(settings, ledger)
        await _write_own_routes(settings, ledger)
        await ingress.ensure()

    async def keep(services: Services) -> None:
        traefik = certificates.Traefik(ingress.log, partial(_write_own_routes, settings, ledger))
        folder = Folder(settings.data / _ACME)
        await certificates.Certificates(services, folder, traefik, await own_addresses()).run()

    return engine, _Edge(ledger, prepare, keep if acme else None, partial(rules.tell, settings, docker))


def _certificates(settings: Settings) -> tuple[Ledger, Acme | None]:
    """What is known of certificates, and how Traefik gets them, if it is to. Blocking."""
    if not settings.acme_email:
        return Ledger(), None
    folder = Folder(settings.data / _ACME)
    authority = folder.prepare(settings.acme_ca)
    ledger = Ledger(wanted=True)
    certificates.load(ledger, folder)
    return ledger, Acme(settings.acme_email, settings.acme_url, settings.acme_challenge, folder.path, authority)


def _start_loops(services: Services, supervisor: Supervisor, edge: _Edge) -> None:
    supervisor.start("intake", _after_the_trial(services, intake.run))
    supervisor.start("reconciler", reconcile.run(services))
    supervisor.start("engine events", reconcile.listen(services))
    supervisor.start("health", Watch(services).run())
    supervisor.start("drains", draining.run(services))
    supervisor.start("outbox", _after_the_trial(services, outbox.run))
    supervisor.start("retention", retention.run(services))
    supervisor.start("poller", poller.run(services))
    supervisor.start("plans", replanning.run(services))
    supervisor.start("worker", Worker(services).run())
    if edge.certificates is not None:
        supervisor.start("certificates", edge.certificates(services))
    if edge.packet_rules is not None:
        supervisor.start("packet rules", edge.packet_rules())
    supervisor.start("recovery", _recover(services, edge.prepare))


async def _after_the_trial(services: Services, run: Callable[[Services], Coroutine[Any, Any, None]]) -> None:
    """A loop that needs no recovery to begin with, as all others do."""
    await services.trial.over()
    await run(services)


async def _recover(services: Services, prepare: Callable[[], Awaitable[None]]) -> None:
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


async def _own_hosts(settings: Settings) -> list[str]:
    """Where the dashboard answers: its own host, and wherever the machine itself is reached."""
    hosts = dict.fromkeys([settings.host, "localhost", "127.0.0.1", *await own_addresses()])
    return [host for host in hosts if naming.is_host(host)]


async def _write_certificate(settings: Settings, ledger: Ledger) -> None:
    """The certificate that is made once for this machine, for whatever has no better one."""
    better = settings.host if ledger.wants(settings.host) else None
    tls = await asyncio.to_thread(selfsigned.ensure, settings.data / "tls", await _own_hosts(settings), better)
    logger.info("certificate SHA-256 %s", tls.fingerprint)
    certificate = traefik_container.default_certificate(tls.certificate.name, tls.key.name)
    await _route_files(settings).write(traefik_container.CERTIFICATE_NAME, certificate)


async def _write_own_routes(settings: Settings, ledger: Ledger) -> None:
    """The dashboard's own host on https."""
    encryption = ledger.encryption([settings.host], settings)
    own = routing.own(await _own_hosts(settings), f"http://{settings.listen}", encryption)
    await _route_files(settings).write(traefik_container.OWN_ROUTES, own)


def _route_files(settings: Settings) -> Routes:
    return Routes(settings.data / "routes", "", ("127.0.0.1", settings.http_port))


def _prepare_folders(data: Path) -> None:
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name in _FOLDERS:
        (data / name).mkdir(exist_ok=True, mode=0o700)
    for left in (data / "builds").iterdir():  # contexts of builds that a crash ended
        shutil.rmtree(left, ignore_errors=True)


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
