"""One machine with rules for all tests that only knock; it comes and goes within seconds."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import docker
import pytest

from tests.packets.machine import (
    BRIDGE,
    BRIDGE_6,
    HERE,
    LINK_LOCAL,
    METADATA,
    METADATA_6,
    WORLD,
    Machine,
    groups,
    network_of,
)


@dataclass(frozen=True, slots=True)
class Places:
    """Who asks: `shop` and `mate` are of one environment, `other` of another one, `build` is where builds are."""

    machine: Machine
    shop: tuple[str, str]
    mate: tuple[str, str]
    other: tuple[str, str]
    build: tuple[str, str]

    def ask(self, who: str, *targets: str) -> dict[str, str]:
        if who == "engine":
            return self.machine.ask(*targets, where=self.machine.inside, group=groups() / "godploy-engine")
        if who == "machine":
            return self.machine.ask(*targets, where=self.machine.inside)
        return self.machine.ask(*targets, where=network_of(getattr(self, who)[0]))


@pytest.fixture(scope="module")
def machine(engine: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """With an engine that has the image of the containers; the ordinary engine only lends it."""
    machine = Machine(tmp_path_factory.mktemp("packets"))
    try:
        machine.make()
        machine.start_engine()
        machine.lend("busybox:stable")
        yield machine
    finally:
        machine.remove()


@pytest.fixture(scope="module")
def places(machine: Machine) -> Places:
    """Everybody is there and somebody answers at every place that a test asks; the rules are in force."""
    machine.network("shop", "10.230.0.0/26")
    machine.network("other", "10.230.0.64/26")
    shop, mate = machine.container("shop", "shop"), machine.container("mate", "shop")
    other, build = machine.container("other", "other"), machine.container("build", "bridge")
    for where in (machine.inside, network_of(build[0])):
        machine.settle(where)
    anywhere = [f"{kind}/0.0.0.0/{port}" for kind, port in (("tcp", 8400), ("udp", 8400), ("tcp", 53), ("udp", 53))]
    anywhere.append(f"udp/{HERE}/53")  # one that is bound to no address answers from another one
    web = [f"tcp/{address}/{port}" for address in ("0.0.0.0", "::") for port in (80, 443)]
    machine.answer(*anywhere, *web, "tcp/::/8400", "tcp/127.0.0.1/5000", where=machine.inside)
    world = ("nsenter", f"--net=/run/netns/{machine.name}o")
    machine.answer(
        *(f"tcp/{address}/80" for address in (WORLD, METADATA, METADATA_6)),
        *(f"{kind}/{METADATA}/53" for kind in ("tcp", "udp")),
        f"tcp/{WORLD}/8400",
        where=world,
    )
    machine.godploy("packet-rules", "put")
    machine.answer("tcp/127.0.0.1/6000", where=machine.inside, group=groups() / "godploy-engine")
    return Places(machine, shop, mate, other, build)


def expected(places: Places) -> dict[tuple[str, str], str]:
    """Who asks whom, and what is to become of it."""
    from_containers = {
        f"tcp/{HERE}/8400": "refused",
        f"udp/{HERE}/8400": "refused",
        f"tcp/{HERE}/80": "answered",
        f"tcp/{HERE}/443": "answered",
        f"tcp/{HERE}/53": "answered",  # the engine gives it to them as their name server
        f"udp/{HERE}/53": "answered",
        f"tcp/{LINK_LOCAL}/80": "refused",
        f"tcp/{METADATA}/80": "refused",
        f"tcp/{METADATA}/53": "answered",
        f"udp/{METADATA}/53": "answered",
        f"tcp/{WORLD}/80": "answered",
        f"tcp/{WORLD}/8400": "answered",
    }
    told = {(who, target): answer for who in ("shop", "build") for target, answer in from_containers.items()}
    for who, gateway in (("shop", "10.230.0.1"), ("build", BRIDGE)):
        told[who, f"tcp/{gateway}/8400"] = "refused"
        told[who, f"udp/{gateway}/53"] = "refused"  # nobody's name server
        told[who, f"tcp/{gateway}/80"] = "answered"
    told |= {
        ("shop", f"tcp/{places.mate[1]}/8000"): "answered",
        ("build", f"tcp/{BRIDGE_6}/8400"): "refused",
        ("build", f"tcp/{BRIDGE_6}/80"): "answered",
        ("build", f"tcp/{METADATA_6}/80"): "refused",
        ("engine", "tcp/127.0.0.1/8400"): "refused",
        ("engine", "udp/127.0.0.1/8400"): "refused",
        ("engine", "tcp/127.0.0.1/80"): "answered",
        ("engine", "tcp/127.0.0.1/53"): "answered",
        ("engine", "udp/127.0.0.1/53"): "answered",
        ("engine", "tcp/127.0.0.1/5000"): "answered",  # by a setting
        ("engine", "tcp/::1/8400"): "refused",
        ("engine", f"tcp/{HERE}/8400"): "refused",
        ("engine", f"tcp/{METADATA}/80"): "refused",
        ("engine", f"udp/{METADATA}/53"): "answered",
        ("engine", f"tcp/{METADATA_6}/80"): "refused",
        ("engine", f"tcp/{places.shop[1]}/8000"): "refused",
        ("engine", f"tcp/{WORLD}/80"): "answered",
        ("machine", "tcp/127.0.0.1/8400"): "answered",
        ("machine", "tcp/10.230.0.1/8400"): "answered",
        ("machine", "tcp/127.0.0.1/6000"): "answered",  # the engine answers
        ("machine", f"tcp/{places.shop[1]}/8000"): "answered",
        ("machine", f"tcp/{METADATA}/80"): "answered",
    }
    return told


def outcome(places: Places) -> dict[tuple[str, str], str]:
    """The same as it really is."""
    asked: dict[str, list[str]] = {}
    for who, target in expected(places):
        asked.setdefault(who, []).append(target)
    with ThreadPoolExecutor(len(asked)) as pool:
        told = pool.map(lambda who: places.ask(who, *asked[who]), asked)
        return {(who, at): answer for who, answers in zip(asked, told, strict=True) for at, answer in answers.items()}
