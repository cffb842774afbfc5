"""The engine's calls that concern our containers, each of them whole: what it asks, and which errors are no errors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping
from contextlib import aclosing, contextmanager, suppress
from typing import Any, TypeVar

from godploy.core import naming
from godploy.drivers.docker import Api, Docker, Refused
from godploy.errors import Conflict, NotFound, Unavailable
from godploy.runtimes.engine import settings
from godploy.runtimes.engine.settings import Found
from godploy.runtimes.protocol import ImageNotFound, RuntimeUnavailable

T = TypeVar("T")

_POLL = 0.1  # seconds between two looks at a container that is to end
_KILLED = 137  # exit code after SIGKILL
_OOM_DELAY = 0.3  # seconds: the kernel's word that memory ran out may reach the engine after the end itself
_TAIL = 20  # lines of its log that belong to a failure


class Daemon:
    """The Docker engine for one instance of Godploy; where it does not answer, RuntimeUnavailable."""

    def __init__(self, docker: Docker, instance: str) -> None:
        self._docker = docker
        self.url = docker.url
        self.instance = instance
        self._processors: float | None = None

    async def call(self, work: Callable[[Api], T], *, timeout: float | None = None) -> T:
        with _available():
            return await self._docker.call(work, timeout=timeout)

    async def stream(self, source: Callable[[Api], Iterable[T]]) -> AsyncGenerator[T, None]:
        with _available():
            async with aclosing(self._docker.stream(source)) as items:
                async for item in items:
                    yield item

    async def close(self) -> None:
        await self._docker.close()

    async def processors(self) -> float:
        if self._processors is None:
            self._processors = float((await self.call(lambda api: api.info()))["NCPU"])
        return self._processors

    async def identifiers(self, labels: Mapping[str, str]) -> list[str]:
        """Ids of our containers, in any state, that carry all of `labels`."""
        wanted = [f"{name}={value}" for name, value in {settings.INSTANCE: self.instance, **labels}.items()]
        listed = await self.call(lambda api: api.containers(all=True, filters={"label": wanted}))
        return [entry["Id"] for entry in listed]

    async def find(self, labels: Mapping[str, str]) -> list[Found]:
        """The same, looked at; in the order of their replicas."""
        looked = await asyncio.gather(*(self.look(each) for each in await self.identifiers(labels)))
        return sorted((found for found in looked if found is not None), key=lambda found: found.replica)

    async def look(self, container: str) -> Found | None:
        """None where it has been removed."""
        with suppress(NotFound):
            return settings.found(await self.call(lambda api: api.inspect_container(container)))
        return None

    async def create(self, config: Mapping[str, Any], name: str) -> str:
        """Its id. One of that name that was left behind is replaced, if it is ours. Raises ImageNotFound."""

        def work(api: Api) -> str:
            return str(api.create_container_from_config(dict(config), name)["Id"])

        try:
            return await self.call(work)
        except NotFound as error:
            raise ImageNotFound(f"the engine does not have the image {config['Image']} any more") from error
        except Conflict:
            await self._remove_leftover(name)
            return await self.call(work)

    async def start(self, container: str) -> None:
        """Raises Refused, with the engine's words, where its program cannot be started."""
        try:
            await self.call(lambda api: api.start(container), timeout=60)
        except (NotFound, Conflict) as error:  # of its program, its network or its address
            raise Refused(error.message) from error

    async def remove(self, container: str) -> None:
        """Forced; its anonymous volumes go with it, named ones stay."""
        with suppress(NotFound, Conflict):  # gone, or on its way
            await self.call(lambda api: api.remove_container(container, force=True, v=True), timeout=60)

    async def stop(self, found: Found, grace: float) -> None:
        """Its stop signal, up to `grace` seconds, SIGKILL. Waiting is ours, so that cancelling works and no thread of
        the pool is held; a signal by the engine's own API counts as a stop for the restart policy, too [measured]."""
        if found.running and grace > 0:
            with suppress(NotFound, Conflict, Refused):  # it ended meanwhile
                await self.call(lambda api: api.kill(found.id, found.stop_signal))
                with suppress(TimeoutError):
                    async with asyncio.timeout(grace):
                        await self.ended(found.id)
        with suppress(NotFound):
            await self.call(lambda api: api.stop(found.id, timeout=0), timeout=60)

    async def set_policy(self, found: Found, policy: str) -> None:
        if found.policy != policy:
            await self.call(lambda api: api.update_container(found.id, restart_policy={"Name": policy}))

    async def rename(self, found: Found, named: bool) -> None:
        """Joins the network again, at the same address, with the service's name or without. Both halves in one call:
        a cancelled task leaves no container that is in no network. Connections live on; new ones from inside the
        container fail for about 0.1 s."""
        network = naming.network_name(found.ref.environment)
        aliases = [found.ref.service] if named else []

        def work(api: Api) -> None:
            if network in api.inspect_container(found.id)["NetworkSettings"]["Networks"]:
                api.disconnect_container_from_network(found.id, network)
            api.connect_container_to_network(found.id, network, ipv4_address=found.address, aliases=aliases)

        await self.call(work)

    async def last_lines(self, container: str) -> list[str]:
        with suppress(NotFound, Conflict):  # removed, or about to be
            raw: bytes = await self.call(lambda api: api.logs(container, tail=_TAIL))
            return raw.decode(errors="replace").splitlines()[-_TAIL:]
        return []

    async def ended(self, container: str) -> Found | None:
        """Waits until it does not run; None where it has been removed."""
        while (found := await self.look(container)) is not None and found.running:
            await asyncio.sleep(_POLL)  # it is another program's state
        if found is not None and found.exit_code == _KILLED and not found.oom:
            await asyncio.sleep(_OOM_DELAY)
            found = await self.look(container)
        return found

    async def _remove_leftover(self, name: str) -> None:
        with suppress(NotFound):
            inspection = await self.call(lambda api: api.inspect_container(name))
            if inspection["Config"]["Labels"].get(settings.INSTANCE) != self.instance:
                raise Conflict(f"another instance of Godploy has a container called {name}")
            await self.remove(inspection["Id"])


@contextmanager
def _available() -> Iterator[None]:
    try:
        yield
    except Unavailable as error:
        raise RuntimeUnavailable(error.message, next_step=error.next_step) from error
