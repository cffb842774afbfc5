"""Tries what containers and builds reach of this machine, by knocking: rules that are in force need not act.

The knocking container is Traefik's image, which is there and whose health check asks any address; nobody needs to be
root for it. A build's knock is an ADD of BuildKit's.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from godploy.core.command import Command
from godploy.core.packets import METADATA
from godploy.core.reach import Reach
from godploy.drivers.traefik_container import IMAGE
from godploy.errors import GodployError, NotFound
from godploy.runtimes.engine import settings
from godploy.runtimes.engine.daemon import Daemon
from godploy.runtimes.engine.images import Images
from godploy.runtimes.protocol import BuildFailed, ImageNotFound

_PATIENCE = 20.0  # seconds for one knock; the health check's own is 5 s
_NO_CONNECTION = ("dial tcp", "Client.Timeout")  # how Go's HTTP client says that nobody was reached


async def tried(daemon: Daemon) -> Reach:
    """Raises nothing: what hinders stands in what it returns."""
    try:
        gateway = await _gateway(daemon)
        async with _door(gateway) as door:
            await _knock(daemon, f"{gateway}:{door.port}")
            host = door.knocked
        metadata = await _knock(daemon, f"{METADATA}:80")
        return Reach(host, metadata, await _engine(daemon))
    except ImageNotFound:
        return Reach(untried=f"the image {IMAGE} is not there yet")
    except (GodployError, OSError) as error:  # TimeoutError is one
        return Reach(untried=str(error) or "the container that is to knock does not end")


@dataclass(slots=True)
class _Door:
    port: int
    knocked: bool = False


@asynccontextmanager
async def _door(address: str) -> AsyncIterator[_Door]:
    """A port that is open for as long as the block lasts, and knows whether somebody came."""
    door = _Door(0)

    async def opened(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        door.knocked = True
        writer.close()

    async with await asyncio.start_server(opened, address, 0) as listener:
        door.port = listener.sockets[0].getsockname()[1]
        yield door


async def _gateway(daemon: Daemon) -> str:
    """This machine's address on the engine's own bridge: the first one, where the engine does not say."""
    network = await daemon.call(lambda api: api.inspect_network("bridge"))
    for config in network["IPAM"]["Config"] or ():
        subnet = ipaddress.ip_network(config["Subnet"])
        if subnet.version == 4:
            return str(config.get("Gateway") or next(subnet.hosts()))
    raise NotFound("the engine's own bridge has no address")


async def _knock(daemon: Daemon, target: str) -> bool:
    """Whether a container on the engine's own bridge was answered there, with whatever."""
    config = {
        "Image": IMAGE,
        "Cmd": ["healthcheck", "--ping=true", "--ping.entrypoint=knock", f"--entrypoints.knock.address={target}"],
        "HostConfig": {"NetworkMode": "bridge", "CapDrop": ["ALL"], "SecurityOpt": ["no-new-privileges"]},
        "Labels": {settings.INSTANCE: daemon.instance},
    }
    container = await daemon.create(config, f"godploy-knock-{daemon.instance}")
    try:
        await daemon.start(container)
        async with asyncio.timeout(_PATIENCE):
            await daemon.ended(container)
        said = " ".join(await daemon.last_lines(container))
        return not any(sign in said for sign in _NO_CONNECTION)
    finally:
        await daemon.remove(container)


async def _engine(daemon: Daemon) -> bool | None:
    """Whether a build's ADD reaches a port of this machine; None where nothing builds."""
    images = Images(daemon)
    try:
        await images.find_builder()
    except BuildFailed:
        return None
    async with _door("127.0.0.1") as door:
        dockerfile = f"FROM scratch\nADD http://127.0.0.1:{door.port}/ /knock\n".encode()
        build = Command(("docker", "build", "--output", "type=cacheonly", "-"), stdin=dockerfile)
        with suppress(BuildFailed):  # nobody answers at that door
            await images.build([build], IMAGE, _PATIENCE, lambda line: None)
        return door.knocked
