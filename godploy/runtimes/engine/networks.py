"""What an environment has as a whole: one bridge network with a subnet of its own, and its volumes."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from godploy.core import naming
from godploy.drivers.docker import Api, Refused
from godploy.errors import Conflict, NotFound
from godploy.runtimes.engine.daemon import Daemon
from godploy.runtimes.engine.settings import environment_labels

_ROUTES = Path("/proc/net/route")


async def occupied(daemon: Daemon) -> list[str]:
    """Subnets that a new network must keep clear of: other networks' and the host's routes."""
    networks = await daemon.call(lambda api: api.networks())
    taken = {subnet for network in networks for subnet in _subnets(network)}
    return sorted(taken | set(await asyncio.to_thread(lambda: list(_host_routes()))))


async def ensure_network(daemon: Daemon, environment: str, subnet: str) -> None:
    name = naming.network_name(environment)

    def work(api: Api) -> None:
        api.create_network(
            name,
            driver="bridge",
            check_duplicate=True,
            labels=environment_labels(daemon.instance, environment),
            ipam={"Driver": "default", "Config": [{"Subnet": subnet}]},
        )

    there = await _inspect(daemon, name)
    if there is None:
        try:
            await daemon.call(work)
        except (Conflict, Refused) as error:
            there = await _inspect(daemon, name)  # made by another call meanwhile
            if there is None:
                raise Conflict(f"the engine refuses the subnet {subnet} for {name}: {error.message}") from error
    if there is not None and list(_subnets(there)) != [subnet]:
        raise Conflict(f"the network {name} has the subnet {', '.join(_subnets(there))} and not {subnet}")


async def remove_network(daemon: Daemon, environment: str) -> None:
    name = naming.network_name(environment)
    try:
        with suppress(NotFound):
            await daemon.call(lambda api: api.remove_network(name))
    except Refused as error:  # 20.10 answers 403 where containers are in it
        raise Conflict(error.message) from error


async def ensure_volume(daemon: Daemon, environment: str, volume: str) -> None:
    name, labels = naming.volume_name(environment, volume), environment_labels(daemon.instance, environment)
    await daemon.call(lambda api: api.create_volume(name, driver="local", labels=labels))


async def remove_volume(daemon: Daemon, environment: str, volume: str) -> None:
    name = naming.volume_name(environment, volume)
    with suppress(NotFound):
        await daemon.call(lambda api: api.remove_volume(name))


async def _inspect(daemon: Daemon, name: str) -> dict[str, Any] | None:
    with suppress(NotFound):
        return dict(await daemon.call(lambda api: api.inspect_network(name)))
    return None


def _subnets(network: dict[str, Any]) -> Iterator[str]:
    for config in (network.get("IPAM") or {}).get("Config") or ():
        if "Subnet" in config:
            yield config["Subnet"]


def _host_routes() -> Iterator[str]:
    """The IPv4 destinations of the routing table but the default one; none where there is no such table."""
    try:
        lines = _ROUTES.read_text(encoding="ascii").splitlines()[1:]
    except OSError:
        return
    for line in lines:
        columns = line.split()
        address, mask = (
            int(columns[at], 16).to_bytes(4, "little") for at in (1, 7)
        )  # the byte order of all that Docker has
        if any(mask):
            yield f"{ipaddress.IPv4Address(address)}/{bin(int.from_bytes(mask, 'big')).count('1')}"
