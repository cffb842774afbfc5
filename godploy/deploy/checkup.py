"""Looks at the machine for `godploy doctor`: changes nothing, needs no server, and goes on past whatever is broken."""

from __future__ import annotations

import asyncio
import shutil
import stat
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from godploy.core.command import Command
from godploy.core.doctor import Facts
from godploy.deploy import trial
from godploy.drivers import process, traefik_container
from godploy.drivers.docker import Docker
from godploy.drivers.traefik import Routes
from godploy.errors import GodployError, NotFound
from godploy.runtimes.engine.daemon import Daemon
from godploy.runtimes.engine.images import Images
from godploy.runtimes.protocol import RuntimeUnavailable
from godploy.settings import Settings
from godploy.store import database

_PATIENCE = 3.0  # seconds for a port to answer


async def look(settings: Settings, docker: Docker | None = None) -> Facts:
    """What there is to see, at once and without changing it."""
    docker = docker or Docker(timeout=10.0)
    try:
        engine = await _engine(settings, docker)
    finally:
        await docker.close()
    ports = (settings.http_port, settings.https_port, settings.traefik_api_port)
    answers = await asyncio.gather(*(_answers(port) for port in ports))
    found, root = engine.pop("versions"), engine.pop("root", None)
    own = {"git": await _git(), "aiohttp": await asyncio.to_thread(version, "aiohttp")}
    return Facts(
        versions={**found, **own, "Traefik": await _traefik(settings)},
        ports=dict(zip(ports, answers, strict=True)),
        **engine,
        **await asyncio.to_thread(_files, settings.data, root),
    )


async def _engine(settings: Settings, docker: Docker) -> dict[str, Any]:
    daemon = Daemon(docker, settings.instance)
    try:
        told = await daemon.call(lambda api: api.version())
        info = await daemon.call(lambda api: api.info())
    except (GodployError, RuntimeUnavailable) as error:
        return {"versions": {"engine API": None}, "engine_error": str(error)}
    runc = next((each["Version"] for each in told.get("Components", ()) if each["Name"] == "runc"), None)
    versions = {"engine API": told["ApiVersion"], "runc": runc}
    seen: dict[str, Any] = {"versions": versions, "cgroups": info.get("CgroupVersion", "")}
    seen["root"] = info.get("DockerRootDir")
    name = traefik_container.name(settings.instance)
    with suppress(NotFound):
        there = await daemon.call(lambda api: api.inspect_container(name))
        seen["traefik"] = there["State"]["Status"]
    try:
        seen["builder"] = await Images(daemon).find_builder()
    except (GodployError, RuntimeUnavailable) as error:
        seen["builder_error"] = str(error)
    return seen


async def _traefik(settings: Settings) -> str | None:
    """The version of the Traefik that answers."""
    routes = Routes(settings.data / "routes", f"http://127.0.0.1:{settings.traefik_api_port}", ("127.0.0.1", 0))
    try:
        return await routes.version()
    finally:
        await routes.close()


async def _answers(port: int) -> bool:
    try:
        async with asyncio.timeout(_PATIENCE):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:  # TimeoutError is one
        return False
    writer.close()
    return True


async def _git() -> str | None:
    try:
        result = await process.run(Command(("git", "--version")), timeout=10)
    except (process.Missing, TimeoutError):
        return None
    return result.stdout.decode(errors="replace").strip().removeprefix("git version ")


def _files(data: Path, root: str | None) -> dict[str, Any]:
    folders = [data, Path(root)] if root and Path(root).is_dir() else [data]
    disks = {folder.stat().st_dev: folder for folder in reversed(folders)}  # two folders of one disk are told once
    paths = [path for path in (data, data / "key", data / "godploy.db") if path.exists()]
    return {
        "disks": {str(folder): _used(folder) for folder in disks.values()},
        "modes": {str(path): stat.S_IMODE(path.stat().st_mode) for path in paths},
        "memory": _memory(),
        "newest_schema": database.migrations()[-1][0],
        "schema": database.schema(data / "godploy.db") if (data / "godploy.db").is_file() else None,
        "trial": trial.begun(data),
    }


def _used(folder: Path) -> float:
    usage = shutil.disk_usage(folder)
    return 1 - usage.free / usage.total


def _memory() -> float | None:
    """https://docs.kernel.org/filesystems/proc.html#meminfo"""
    try:
        lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        return int(lines["MemAvailable"].split()[0]) / int(lines["MemTotal"].split()[0])
    except (OSError, KeyError, ValueError):
        return None
