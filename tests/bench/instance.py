"""A whole Godploy of one's own on this machine, as a process, and what a person does with it; removed without a trace.

It is driven over loopback, by git and the API, so that nothing but Godploy is on the way. Everything that instances
share on a host (name, ports, address pool) is chosen free.
"""

from __future__ import annotations

import base64
import http.client
import ipaddress
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import docker.errors

_PROGRAM = str(Path(sys.executable).with_name("godploy"))
_UP_WITHIN = 60.0  # seconds; Traefik's image may have to be made
_DONE_WITHIN = 60.0


@dataclass(frozen=True)
class Reply:
    """What a client got: `release` is the header by which a route tells who answered."""

    status: int
    body: str
    release: str | None


class Instance:
    """`folder` holds all of its files. `serve` is the command that stands in for `godploy serve`."""

    def __init__(self, folder: Path, *, serve: Sequence[str] = (_PROGRAM, "serve")) -> None:
        self.engine = docker.from_env(timeout=60)
        self.name = f"t{uuid.uuid4().hex[:10]}"
        self.folder, self.data = folder, folder / "data"
        self.data.mkdir(parents=True)
        self.port, self.http, https, api, self.git_port = free_ports(5)
        self.organization = ""
        self._serve = serve
        self._environment = {
            **os.environ,
            "GODPLOY_INSTANCE": self.name,
            "GODPLOY_HTTP_PORT": str(self.http),
            "GODPLOY_HTTPS_PORT": str(https),
            "GODPLOY_TRAEFIK_API_PORT": str(api),
            "GODPLOY_POOL": free_pool(),
            "GODPLOY_URL": f"https://localhost:{https}",
            "GODPLOY_PRIVATE_BASES": f"git://127.0.0.1:{self.git_port}",  # for a git daemon of the test's
        }
        self._token = ""
        self.process: subprocess.Popen[bytes] | None = None

    # The process

    def start(self) -> None:
        """Returns when it has recovered and takes work."""
        if not self._token:
            owner = ("--data", str(self.data), "--email", "ada@example.com")
            self._godploy("user", "create-owner", *owner)
            self._token = self._godploy("user", "token", *owner, "--name", "test").strip()
        log = (self.folder / "server.log").open("ab")
        command = (*self._serve, "--data", str(self.data), "--listen", f"127.0.0.1:{self.port}")
        self.process = subprocess.Popen(command, env=self._environment, stdout=log, stderr=log, start_new_session=True)
        log.close()
        self.until(self._ready, within=_UP_WITHIN)
        self.organization = self.api("GET", "/me")["organizations"][0]["name"]

    def _ready(self) -> bool:
        if self.process is None or self.process.poll() is not None:
            raise AssertionError(f"the server has ended:\n{self.log()}")
        return self._request("GET", "/readyz")[0] == 200

    def stop(self) -> None:
        """As a service manager does it. The applications go on."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(30)
        self.process = None

    def ended(self) -> int:
        """Waits for the process's own end; its exit code."""
        assert self.process is not None
        return self.process.wait(_DONE_WITHIN)

    def log(self) -> str:
        return (self.folder / "server.log").read_text(errors="replace")

    def remove(self) -> None:
        """Ends it, and takes away what it made on the engine. Traefik's image stays: other instances run it, too."""
        self.stop()
        ours: dict[str, Any] = {"label": f"godploy.instance={self.name}"}
        for container in self.engine.containers.list(all=True, filters=ours, ignore_removed=True):
            with suppress(docker.errors.NotFound):
                container.remove(force=True, v=True)
        for network in self.engine.networks.list(filters=ours):
            network.remove()
        for volume in self.engine.volumes.list(filters=ours):
            volume.remove(force=True)
        for image in self.engine.images.list(all=True, filters=ours):
            if not any("traefik" in tag for tag in image.tags):
                with suppress(docker.errors.ImageNotFound):
                    self.engine.images.remove(str(image.id), force=True)
        self.engine.close()

    # What a person does

    def api(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON answer of `/api/v1` + path; anything but success is an AssertionError."""
        status, raw = self._request(method, f"/api/v1{path}", body)
        assert status < 300, f"{method} {path}: {status} {raw.decode(errors='replace')}"
        return json.loads(raw) if raw else None

    def ask(self, host: str, path: str = "/") -> Reply:
        """What a client gets from Traefik."""
        return reply("127.0.0.1", self.http, host, path)

    def checkout(self, project: str, name: str, files: Mapping[str, str]) -> Checkout:
        """A new project, and a repository of these files that is pushed to it."""
        self.api("POST", "/projects", {"name": project})
        remote = f"http://127.0.0.1:{self.port}/git/{self.organization}/{project}/{name}.git"
        credential = base64.b64encode(f"godploy:{self._token}".encode()).decode()
        return Checkout(self.folder / project, project, remote, f"Authorization: Basic {credential}", files)

    def deployments(self, project: str) -> list[dict[str, Any]]:
        """The newest first."""
        return list(self.api("GET", f"/projects/{project}/deployments")["deployments"])

    def settled(self, project: str) -> dict[str, Any]:
        """The newest deployment, once none is under way."""

        def newest() -> dict[str, Any] | None:
            found = self.deployments(project)
            return found[0] if found and all(each["state"] not in ("queued", "running") for each in found) else None

        return self.until(newest)

    def containers(self, environment: str) -> list[str]:
        """The services of an environment's containers, in any state: one entry for each container."""
        wanted = [f"godploy.instance={self.name}", f"godploy.environment={environment}"]
        found = self.engine.containers.list(all=True, filters={"label": wanted}, sparse=True, ignore_removed=True)
        return sorted(each.attrs["Labels"]["godploy.service"] for each in found)

    @staticmethod
    def until(found: Callable[[], Any], within: float = _DONE_WITHIN) -> Any:
        """The first answer that is true."""
        deadline = time.monotonic() + within
        while not (answer := found()):
            assert time.monotonic() < deadline, f"not within {within:.0f} s: {found.__name__}"
            time.sleep(0.03)
        return answer

    def _request(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except OSError:
            return 0, b""
        finally:
            connection.close()

    def _godploy(self, *arguments: str) -> str:
        return subprocess.run((_PROGRAM, *arguments), check=True, capture_output=True, text=True).stdout


class Checkout:
    """A working copy of somebody who pushes to Godploy's own remote."""

    def __init__(self, folder: Path, project: str, remote: str, credential: str, files: Mapping[str, str]) -> None:
        self.folder, self.project, self._remote = folder, project, remote
        folder.mkdir()
        self.git("init", "-q", "-b", "main")
        self.git("config", f"http.{remote}.extraHeader", credential)
        self.commit(files)

    def commit(self, files: Mapping[str, str]) -> str:
        """Writes the files and commits them; the commit."""
        for name, text in files.items():
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_text(text)
        self.git("add", ".")
        self.git("commit", "-q", "--allow-empty", "-m", "A change")
        return self.head()

    def head(self) -> str:
        return self.git("rev-parse", "HEAD").strip()

    def push(self) -> str:
        """Pushes, and returns when Godploy has nothing more to say; what it said. A broken connection is no error
        here: what became of the push is the server's to tell."""
        pushed = self._run("push", self._remote, "HEAD:refs/heads/main")
        return pushed.stderr

    def git(self, *arguments: str) -> str:
        done = self._run(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        author = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com")
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        environment |= {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, "GIT_TERMINAL_PROMPT": "0"}
        command = ("git", *author, "-C", str(self.folder), *arguments)
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


@contextmanager
def instance(folder: Path, **options: Any) -> Iterator[Instance]:
    """One that runs, for the time of the block."""
    made = Instance(folder, **options)
    try:
        made.start()
        yield made
    finally:
        made.remove()


def reply(address: str, port: int, host: str, path: str) -> Reply:
    """What a client gets there; status 0 where it gets nothing."""
    connection = http.client.HTTPConnection(address, port, timeout=10)
    try:
        connection.request("GET", path, headers={"Host": host})
        answer = connection.getresponse()
        return Reply(answer.status, answer.read().decode(errors="replace"), answer.getheader("X-Godploy-Release"))
    except (OSError, http.client.HTTPException):
        return Reply(0, "", None)
    finally:
        connection.close()


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def free_pool() -> str:
    """A private /20 that no network of the engine has a part of."""
    engine = docker.from_env(timeout=60)
    configs = [config for network in engine.networks.list() for config in network.attrs["IPAM"]["Config"] or ()]
    engine.close()
    taken = [ipaddress.ip_network(config["Subnet"]) for config in configs if "Subnet" in config]
    while True:
        pool = ipaddress.ip_network(f"10.{random.randint(220, 249)}.{16 * random.randint(0, 15)}.0/20")
        if not any(pool.overlaps(other) for other in taken):
            return str(pool)
