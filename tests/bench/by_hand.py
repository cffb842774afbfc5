"""The same deployment by hand: the commands that a person would type, one after the other, and nothing that they would
leave out. It has an engine, a base image and a Traefik like Godploy's; nothing is kept, undone, recorded or proven."""

from __future__ import annotations

import asyncio
import ipaddress
import itertools
import json
import subprocess
import tempfile
import time
import uuid
from pathlib import Path

from bench import app
from bench.instance import Checkout, Reply, free_pool, free_ports, reply
from godploy.drivers import traefik_container
from godploy.drivers.docker import Docker
from godploy.drivers.traefik_container import Ports
from godploy.runtimes.engine import Engine
from godploy.runtimes.fake import Addresses

_PROBE_EVERY = 0.05  # seconds


class ByHand:
    """Deploys what a checkout holds, at `host`."""

    def __init__(self, folder: Path, checkout: Checkout, host: str) -> None:
        self._checkout, self._host = checkout, host
        self._name = f"byhand-{uuid.uuid4().hex[:8]}"
        self._bare, self._routes, self._work = folder / "bare.git", folder / "routes", folder / "work"
        for each in (self._routes, self._work):
            each.mkdir(parents=True)
        self._docker = asyncio.run(Engine("byhand", Docker(), Addresses()).find_builder())
        self._ports = Ports(*free_ports(3))
        self._pool = ipaddress.ip_network(free_pool())
        self._addresses = itertools.islice(self._pool.hosts(), 10, None)
        self._now: str | None = None  # the container that serves
        self.start_seconds = 0.0  # of the app alone, the last time: from `docker run` to its first good answer

    def __enter__(self) -> ByHand:
        _run("git", "init", "-q", "--bare", str(self._bare))
        self._run("network", "create", "--subnet", str(self._pool), self._name)
        routes = f"{self._routes}:{self._routes}:ro"
        arguments = traefik_container.static_arguments(self._ports, self._routes)
        host_network = ("--network", "host", "--name", f"{self._name}-traefik", "-v", routes)
        self._run("run", "-d", *host_network, traefik_container.IMAGE, *arguments)
        return self

    def __exit__(self, *_: object) -> None:
        for name in (f"{self._name}-traefik", self._now):
            if name:
                self._run("rm", "-f", name)
        self._run("network", "rm", self._name)
        made = self._run("images", "-q", self._name).split()
        if made:
            self._run("rmi", "-f", *made)

    def deploy(self, version: str) -> float:
        """Seconds until the newest commit, which is this version, is served."""
        begun = time.perf_counter()
        commit = self._checkout.head()
        _run("git", "-C", str(self._bare), "fetch", "-q", str(self._checkout.folder), "main")
        with tempfile.TemporaryDirectory(dir=self._work) as context:
            archive = _run("git", "-C", str(self._bare), "archive", commit)
            _run("tar", "-x", "-C", context, stdin=archive)
            image = f"{self._name}:{commit[:12]}"
            self._run("build", "-q", "-t", image, context)
        container, address = f"{self._name}-{version}", str(next(self._addresses))
        starting = time.perf_counter()
        network = ("--network", self._name, "--ip", address)
        self._run("run", "-d", "--restart", "unless-stopped", "--name", container, *network, image)
        while reply(address, app.PORT, self._host, app.HEALTH).status != 200:
            time.sleep(_PROBE_EVERY)
        self.start_seconds = time.perf_counter() - starting
        self._route(address)
        while self.ask().body != app.greeting(version):
            time.sleep(0.01)
        seconds = time.perf_counter() - begun
        if self._now:
            self._run("rm", "-f", self._now)
        self._now = container
        return seconds

    def ask(self) -> Reply:
        return reply("127.0.0.1", self._ports.web, self._host, "/")

    def _route(self, address: str) -> None:
        routers = {"web": {"rule": f"Host(`{self._host}`)", "service": "web", "entryPoints": ["web"]}}
        services = {"web": {"loadBalancer": {"servers": [{"url": f"http://{address}:{app.PORT}"}]}}}
        draft = self._routes / "web.tmp"
        draft.write_text(json.dumps({"http": {"routers": routers, "services": services}}))
        draft.replace(self._routes / "web.yaml")

    def _run(self, *arguments: str) -> str:
        return _run(self._docker, *arguments).decode().strip()


def _run(*command: str, stdin: bytes | None = None) -> bytes:
    environment = {"DOCKER_BUILDKIT": "1", "PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/nonexistent"}
    done = subprocess.run(command, input=stdin, capture_output=True, env=environment, timeout=120)
    assert done.returncode == 0, f"{command}: {done.stderr.decode(errors='replace')}"
    return done.stdout
