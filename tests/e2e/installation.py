"""A real Godploy beside whatever else runs on the machine: its process, its Traefik, and what it holds."""

from __future__ import annotations

import http.client
import ipaddress
import json
import os
import random
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import docker

T = TypeVar("T")
Row = dict[str, Any]

GODPLOY = Path(sys.executable).parent / "godploy"
OWNER = "ada@example.com"
_NOT_OURS = ("GODPLOY_", "GIT_", "XDG_")


def clean_environment(home: Path, **more: str) -> dict[str, str]:
    """Of a person with a new home: nothing that this shell exports speaks to Godploy or to git."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_OURS)}
    return {
        **kept,
        "HOME": str(home),
        "PATH": f"{GODPLOY.parent}:{os.environ['PATH']}",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "NO_COLOR": "1",
        **more,
    }


def until(what: Callable[[], T], within: float = 30.0, *, every: float = 0.05) -> T:
    """Waits for something true and returns it; fails with the last thing seen."""
    deadline = time.monotonic() + within
    while not (found := what()):
        assert time.monotonic() < deadline, f"still {found!r} after {within} s"
        time.sleep(every)
    return found


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    release: str | None
    text: str


@dataclass(slots=True)
class Installation:
    """One instance of Godploy: started, stopped and started again on the same data directory."""

    root: Path
    name: str
    engine: docker.DockerClient
    settings: dict[str, str] = field(default_factory=dict)
    token: str = ""
    http: int = 0
    https: int = 0
    listen: int = 0
    process: subprocess.Popen[bytes] | None = None

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def log(self) -> Path:
        return self.root / "godploy.log"

    @property
    def url(self) -> str:
        return f"https://localhost:{self.https}"

    # The process

    def start(self, *, command: Sequence[str | Path] = (GODPLOY,), **settings: str) -> None:
        """Starts it, and waits until it is ready; `settings` are variables without their GODPLOY_."""
        if not self.http:
            self.prepare()
        self.settings |= {f"GODPLOY_{name.upper()}": value for name, value in settings.items()}
        words = [*command, "serve", "--data", self.data, "--listen", f"127.0.0.1:{self.listen}"]
        with self.log.open("ab") as log:
            environment = clean_environment(self.root, **self.settings)
            self.process = subprocess.Popen(words, env=environment, stdout=log, stderr=log, start_new_session=True)
        until(self._ready, 60)

    def prepare(self) -> None:
        """Chooses its ports, for settings that name one; `start` does it otherwise."""
        self.data.mkdir(parents=True)
        self.http, self.https, self.listen, api = free_ports(4)
        self.settings = {
            "GODPLOY_INSTANCE": self.name,
            "GODPLOY_HTTP_PORT": str(self.http),
            "GODPLOY_HTTPS_PORT": str(self.https),
            "GODPLOY_TRAEFIK_API_PORT": str(api),
            "GODPLOY_POOL": free_pool(self.engine),
            "GODPLOY_URL": self.url,
        }

    def _ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"godploy serve ended: {self.log.read_text()[-2000:]}"
        try:
            return self._request(self.listen, "GET", "/readyz", {}, None).status == 200
        except OSError:
            return False

    def stop(self) -> int:
        """As a service manager does; its exit code."""
        assert self.process is not None
        self.process.terminate()
        try:
            return self.process.wait(40)
        finally:
            self.process.kill()
            self.process = None

    def make_owner(self) -> None:
        words = ("user", "create-owner", "--data", self.data, "--email", OWNER)
        self.on_the_server(*words)
        made = self.on_the_server("user", "token", "--data", self.data, "--email", OWNER, "--name", "tests", "--json")
        self.token = json.loads(made)["token"]

    def on_the_server(self, *words: str | Path) -> str:
        environment = clean_environment(self.root)
        done = subprocess.run([GODPLOY, *words], env=environment, capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def fingerprint(self) -> str:
        found = re.search(r"certificate SHA-256 ([0-9A-F:]{95})", self.log.read_text())
        assert found, "the log does not tell the certificate's fingerprint"
        return found[1]

    # What it answers

    def ask(self, host: str, path: str = "/") -> Answer:
        """One request to an app through Traefik."""
        return self._request(self.http, "GET", path, {"Host": host}, None)

    def api(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        text = None if body is None else json.dumps(body)
        answer = self._request(self.listen, method, f"/api/v1/{path}", headers, text)
        assert answer.status < 400, answer
        return json.loads(answer.text) if answer.text else None

    def _request(self, port: int, method: str, path: str, headers: Mapping[str, str], body: str | None) -> Answer:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
            connection.request(method, path, body, dict(headers))
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace")
            return Answer(answer.status, answer.getheader("X-Godploy-Release"), text)

    # What it holds

    def rows(self, query: str, *values: Any) -> list[Row]:
        """Of its database, by a connection that can only read."""
        with closing(sqlite3.connect(f"file:{self.data / 'godploy.db'}?mode=ro", uri=True, timeout=10)) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(query, values)]

    @property
    def label(self) -> dict[str, str]:
        return {"label": f"godploy.instance={self.name}"}

    def containers(self, service: str | None = None, *, running: bool = True) -> dict[str, str]:
        """Container id → its service, of workloads; also those that do not run, if asked."""
        listed = self.engine.containers.list(all=not running, filters=self.label, ignore_removed=True)
        found = {each.id: each.labels.get("godploy.service", "") for each in listed if each.id}
        return {each: name for each, name in found.items() if name and service in (None, name)}

    def holdings(self) -> Row:
        """Everything that a deployment may make: whatever is in it beyond the release's own is left over."""
        volumes = self.engine.volumes.list(filters=self.label)
        return {
            "containers": self.containers(running=False),
            "engine's volumes": sorted(str(each.name) for each in volumes),
            "addresses": self.rows("SELECT environment, address, owner FROM address ORDER BY address"),
            "workloads": self.rows("SELECT id, state, stopped_by FROM workload WHERE state != 'gone' ORDER BY id"),
            "releases": self.rows("SELECT id, stack FROM release ORDER BY id"),
            "hosts": self.rows("SELECT host, project, claimed_by FROM host ORDER BY host"),
            "services": self.rows("SELECT environment, name, stopped FROM service ORDER BY environment, name"),
            "volumes": self.rows("SELECT id FROM volume ORDER BY id"),
            "build folders": sorted(path.name for path in (self.data / "builds").iterdir()),
            "route files": {path.name: path.read_text() for path in (self.data / "routes").iterdir()},
        }

    def settled(self) -> Row:
        """The holdings once nothing drains or is tidied up any more."""
        until(lambda: not self.rows("SELECT 1 FROM workload WHERE state = 'draining'"))
        found = self.holdings()
        while (again := self.holdings()) != found:
            found = again
            time.sleep(0.2)
        return found

    # The end

    def remove(self) -> list[str]:
        """Takes away what carries this instance's label, and Traefik; what should have been gone before, in words.

        Traefik's image stays: it is the engine's, like a base image, and others may have begun to use it.
        """
        if self.process is not None:
            self.stop()
        current = {row["id"] for row in self.rows("SELECT id FROM workload WHERE state != 'gone'")}
        strays = []
        for container in self.engine.containers.list(all=True, filters=self.label, ignore_removed=True):
            workload = container.labels.get("godploy.workload", "")
            if workload and workload not in current:
                strays.append(f"container {container.name} of no workload that is known")
            container.remove(force=True, v=True)
        for network in self.engine.networks.list(filters=self.label):
            network.remove()
        for volume in self.engine.volumes.list(filters=self.label):
            volume.remove(force=True)
        for image in self.engine.images.list(all=True, filters=self.label):
            if not any(tag.startswith("traefik:") for tag in image.tags):
                self.engine.images.remove(str(image.id), force=True)
        shutil.rmtree(self.data)
        return strays

    def left_over(self) -> list[str]:
        """What of the instance is still in the engine."""
        images = self.engine.images.list(all=True, filters=self.label)
        return [
            *(f"container {each.name}" for each in self.engine.containers.list(all=True, filters=self.label)),
            *(f"network {each.name}" for each in self.engine.networks.list(filters=self.label)),
            *(f"volume {each.name}" for each in self.engine.volumes.list(filters=self.label)),
            *(f"image {each.id}" for each in images if not any(tag.startswith("traefik:") for tag in each.tags)),
        ]


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def free_pool(engine: docker.DockerClient) -> str:
    """A private /16 in which neither the machine nor the engine has a network."""
    routes = subprocess.run(["ip", "-4", "route"], capture_output=True, text=True, check=True).stdout
    taken = [ipaddress.ip_network(word) for word in re.findall(r"^[0-9.]+/[0-9]+", routes, re.MULTILINE)]
    for network in engine.networks.list():
        configs = (network.attrs["IPAM"] or {}).get("Config") or []
        taken += [ipaddress.ip_network(config["Subnet"]) for config in configs if ":" not in config["Subnet"]]
    candidates = [ipaddress.ip_network(f"10.{number}.0.0/16") for number in random.sample(range(220, 255), 35)]
    return next(str(pool) for pool in candidates if not any(pool.overlaps(other) for other in taken))
