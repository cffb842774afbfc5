"""The loop that decides who is asked for certificates, on the fake runtime: what it tells, and how routes follow."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from godploy.core.certificates import Certificate, State
from godploy.deploy import certificates, follow
from godploy.deploy.certificates import Certificates, Traefik
from godploy.drivers import acme
from godploy.drivers.acme import Folder
from godploy.runtimes.fake.world import World
from tests.deploy import shop
from tests.deploy.harness import Godploy, godploy
from tests.deploy.shop import manifest, web

HOST = "shop.example.com"
SHOP = manifest(web=web("app:1", routes=[HOST, {"host": "plain.example.com", "tls": "off"}, "web.localhost"]))


class Outside:
    """What Traefik, DNS and the clock say; a test changes it."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.leads_to: tuple[str, ...] = ("8.8.4.4",)
        self.store: dict[str, Certificate] = {}
        self.writes = 0
        self.later = 0.0

    def time(self) -> float:
        return time.time() + self.later

    async def log(self) -> list[str]:
        return self.lines

    async def write_own(self) -> None:
        """Godploy's own host is not public here."""

    async def addresses(self, host: str) -> tuple[str, ...]:
        return self.leads_to

    def refuses(self, host: str) -> None:
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.time()))
        self.lines.append(f'{at} ERR Unable to obtain ACME certificate for domains error="no way" domains=["{host}"]')

    def issues(self, host: str, days: float = 90) -> None:
        self.store = {**self.store, host: Certificate(host, self.time(), self.time() + days * 86400, "Test CA")}
        self.writes += 1

    def loses(self, host: str) -> None:
        del self.store[host]
        self.writes += 1


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch) -> Outside:
    made = Outside()
    monkeypatch.setattr(acme, "addresses", made.addresses)
    monkeypatch.setattr(Folder, "stamp", lambda _: (made.writes, 0))
    monkeypatch.setattr(Folder, "certificates", lambda _: dict(made.store))
    clock = SimpleNamespace(time=made.time, strftime=time.strftime, gmtime=time.gmtime)
    monkeypatch.setattr(certificates, "time", clock)
    return made


@pytest.fixture
async def asking(tmp_path: Path, world: World) -> AsyncIterator[Godploy]:
    async with godploy(tmp_path, world, acme_email="ada@example.com") as started:
        yield started


@pytest.fixture
def loop(asking: Godploy, outside: Outside, tmp_path: Path) -> Certificates:
    folder = Folder(tmp_path / "acme")
    folder.prepare(None)
    return Certificates(asking.services, folder, Traefik(outside.log, outside.write_own), ["8.8.4.4", "10.0.0.2"])


def routers(it: Godploy) -> dict[str, Any]:
    """Host and entry point → its router."""
    (config,) = [config for name, config in it.edge.files.items() if not name.startswith("godploy")]
    return {
        f"{router['rule'].split('`')[1]} {router['entryPoints'][0]}": router
        for router in config["http"]["routers"].values()
    }


def asked(it: Godploy) -> list[str]:
    return sorted(host.split()[0] for host, router in routers(it).items() if router.get("tls"))


def redirected(it: Godploy) -> list[str]:
    return sorted(host.split()[0] for host, router in routers(it).items() if len(router["middlewares"]) > 1)


async def test_from_the_first_question_to_the_redirect(asking: Godploy, loop: Certificates, outside: Outside) -> None:
    deployment = await shop.deploy(asking, SHOP)
    assert asked(asking) == []
    told = await follow.outcome(asking.services, deployment)
    assert f"{HOST}: its certificate is being asked for; until it is there, plain HTTP answers" in told
    assert told[-1].startswith("http://")
    await loop.look()
    assert asked(asking) == [HOST]
    assert redirected(asking) == []
    outside.issues(HOST)
    await loop.look()
    assert (asked(asking), redirected(asking)) == ([HOST], [HOST])
    told = await follow.outcome(asking.services, deployment)
    assert f"https://{HOST}/" in told
    assert "http://plain.example.com/" in told
    outside.issues(HOST, days=120)
    await loop.look()
    outside.loses(HOST)
    await loop.look()
    assert redirected(asking) == []
    messages = await asking.told("certificate")
    assert [message.partition(":")[0] for message in messages] == [
        f"the certificate of {HOST} is there",
        f"the certificate of {HOST} has been renewed",
        f"the certificate of {HOST} is not in Traefik's store any more",
    ]
    assert asking.services.certificates.standing("plain.example.com", "off").state is State.OFF


async def test_a_certificate_that_has_expired_is_none(asking: Godploy, loop: Certificates, outside: Outside) -> None:
    await shop.deploy(asking, SHOP)
    outside.issues(HOST, days=1e-9)
    await loop.look()
    assert asked(asking) == [HOST]
    outside.issues(HOST, days=1 / 86400)
    await loop.look()
    outside.later = 10
    await loop.look()
    outside.writes += 1  # for another host: the old one is still in the store
    await loop.look()
    messages = await asking.told("certificate")
    assert [message.partition(": ")[0] for message in messages] == [
        f"the certificate of {HOST} is there",
        f"the certificate of {HOST} has expired",
    ]


async def test_a_renewal_that_is_late_is_told_once(asking: Godploy, loop: Certificates, outside: Outside) -> None:
    await shop.deploy(asking, SHOP)
    outside.issues(HOST, days=90)
    await loop.look()
    for day in (60, 74, 76, 77):
        outside.later = day * 86400
        await loop.look()
    (_, message) = await asking.told("certificate")
    assert message.startswith(f"the certificate of {HOST} was not renewed in time: it expires on 20")
    assert redirected(asking) == [HOST]
    outside.issues(HOST)
    await loop.look()
    assert "has been renewed" in (await asking.told("certificate"))[-1]


async def test_a_refusal_is_told_and_tried_again_later(asking: Godploy, loop: Certificates, outside: Outside) -> None:
    await shop.deploy(asking, SHOP)
    await loop.look()
    outside.refuses(HOST)
    await loop.look()
    (message,) = await asking.told("certificate")
    assert message.startswith(f"no certificate for {HOST}: no way; it is tried again at ")
    assert asked(asking) == []  # so that no other change makes Traefik try
    standing = asking.services.certificates.standing(HOST)
    assert (standing.state, standing.error) == (State.WAITING, "no way")
    await loop.look()
    assert asked(asking) == []
    outside.later = 121
    await loop.look()
    assert asked(asking) == [HOST]
    outside.later += 301
    await loop.look()
    assert "no certificate came within 5 minutes" in (await asking.told("certificate"))[-1]


async def test_dns_is_looked_at_first_and_again(asking: Godploy, loop: Certificates, outside: Outside) -> None:
    outside.leads_to = ()
    await shop.deploy(asking, SHOP)
    await loop.look()
    assert asked(asking) == []
    outside.leads_to, outside.later = ("9.9.9.9",), 61
    await loop.look()
    assert asked(asking) == [HOST]  # a proxy in front may lead here all the same
    outside.refuses(HOST)
    await loop.look()
    outside.leads_to, outside.later = ("8.8.4.4",), 122
    await loop.look()
    assert asked(asking) == [HOST]  # long before its turn, since DNS has changed
    messages = await asking.told("certificate")
    assert messages[0] == f"{HOST} leads nowhere: DNS has no address for it; this server is 8.8.4.4"
    assert messages[1] == f"{HOST} leads to 9.9.9.9, this server is 8.8.4.4"
    assert messages[2].startswith(f"no certificate for {HOST}: {messages[1]}; no way; it is tried again at ")


async def test_a_restart_forgets_no_pause(asking: Godploy, loop: Certificates, outside: Outside) -> None:
    await shop.deploy(asking, SHOP)
    await loop.look()
    outside.refuses(HOST)
    await loop.look()
    kept = await asyncio.to_thread(loop.folder.attempts)
    assert kept[HOST].failures == 1
    assert kept == asking.services.certificates.attempts
    outside.issues(HOST)
    await loop.look()
    assert await asyncio.to_thread(loop.folder.attempts) == {}
