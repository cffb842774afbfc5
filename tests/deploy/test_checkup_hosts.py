"""What the doctor sees of names, clock and certificates; DNS is the test's own."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from email.utils import formatdate
from pathlib import Path

import pytest

from godploy.core.certificates import Attempt, State
from godploy.deploy import checkup_hosts
from godploy.drivers import acme, selfsigned
from godploy.drivers.acme import Folder
from godploy.runtimes.fake.world import World
from godploy.settings import Settings
from tests.deploy import shop
from tests.deploy.harness import godploy
from tests.deploy.shop import manifest, web

OWN = "deploy.example.com"


@pytest.fixture
def dns(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[str, ...]]:
    """Host → where it leads."""
    known: dict[str, tuple[str, ...]] = {}

    async def addresses(host: str) -> tuple[str, ...]:
        return known.get(host, ())

    monkeypatch.setattr(acme, "addresses", addresses)
    return known


@pytest.fixture
async def authority(tmp_path: Path) -> AsyncIterator[str]:
    """The address of one whose clock is 400 s behind ours, and whose certificate nobody trusts."""
    made = await asyncio.to_thread(selfsigned.ensure, tmp_path / "authority", ["127.0.0.1"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.certificate, made.key)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        date = formatdate(time.time() - 400, usegmt=True)
        writer.write(f"HTTP/1.1 200 OK\r\nDate: {date}\r\nContent-Length: 0\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context) as server:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/directory"


async def test_names_that_dns_should_know(tmp_path: Path, dns: dict[str, tuple[str, ...]]) -> None:
    dns[OWN] = ("8.8.4.4",)
    seen = await checkup_hosts.look(Settings(tmp_path, url=f"https://{OWN}", apps_domain="apps.example.com"))
    assert [(each.name, each.leads_to) for each in seen.names] == [(OWN, ("8.8.4.4",)), ("*.apps.example.com", ())]
    assert (seen.asks, seen.public, seen.certificates) == (False, True, None)
    alone = await checkup_hosts.look(Settings(tmp_path))
    assert (alone.names, alone.public) == ([], False)
    assert alone.clock_error == "no certificate authority is set to compare it with"


async def test_the_clock(tmp_path: Path, dns: dict[str, tuple[str, ...]], authority: str) -> None:
    seen = await checkup_hosts.look(Settings(tmp_path, acme_email="ada@example.com", acme_url=authority))
    assert seen.clock == pytest.approx(400, abs=10)
    gone = authority.rpartition(":")[0] + ":9/directory"
    seen = await checkup_hosts.look(Settings(tmp_path, acme_email="ada@example.com", acme_url=gone))
    assert seen.clock is None
    assert seen.clock_error == "127.0.0.1:9, the certificate authority, does not answer (refused)"


async def test_certificates_without_a_server(tmp_path: Path, world: World, dns: dict[str, tuple[str, ...]]) -> None:
    data = tmp_path / "data"
    async with godploy(data, world, acme_email="ada@example.com", url=f"https://{OWN}") as server:
        await shop.deploy(server, manifest(web=web("app:1", routes=["shop.example.com", "web.localhost"])))
        settings = server.services.settings
    folder = Folder(settings.data / "acme")
    await asyncio.to_thread(folder.prepare, None)
    await asyncio.to_thread(folder.keep, {"shop.example.com": Attempt().failed(time.time(), "no way")})
    seen = await checkup_hosts.look(settings)
    assert seen.certificates is not None
    assert [(each.host, each.state, each.error) for each in seen.certificates] == [
        (OWN, State.WAITING, None),
        ("shop.example.com", State.WAITING, "no way"),
    ]
