"""A machine of its own, as far as packets can tell: a network with an engine in it, and the world outside behind it.

Nothing is put into this machine's own tables, and its own metadata address, if it has one, is not spoken to.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from godploy.drivers.traefik_container import DOCKERFILE, IMAGE
from godploy.runtimes.engine.ingress import packaged_binary
from tests.e2e.installation import GODPLOY

POOL = "10.230.0.0/16"
HERE, WORLD = "198.18.9.1", "198.18.9.2"  # this machine's own address, and somebody's on the internet
BRIDGE, BRIDGE_6 = "172.17.0.1", "fd42:9::1"
LINK_LOCAL = "169.254.77.1"  # of this machine
METADATA, METADATA_6 = "169.254.169.254", "fd00:ec2::254"
_TALK = Path(__file__).with_name("talk.py")
_GROUPS = Path("/sys/fs/cgroup")
_SETTINGS = {"GODPLOY_INSTANCE": "packets", "GODPLOY_POOL": POOL, "GODPLOY_ENGINE_REACHES": "127.0.0.1:5000"}


@dataclass(slots=True)
class Machine:
    folder: Path
    name: str = field(default_factory=lambda: f"gpk{uuid.uuid4().hex[:6]}")
    engine: subprocess.Popen[bytes] | None = None
    answering: list[subprocess.Popen[str]] = field(default_factory=list)

    # Making it

    def make(self) -> None:
        inside, outside = self.name, f"{self.name}o"
        _ip("netns", "add", inside)
        _ip("netns", "add", outside)
        for each in (inside, outside):
            _ip("-n", each, "link", "set", "lo", "up")
        _ip("-n", inside, "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", outside)
        given = {inside: (f"{HERE}/24", "fd42:8::1/64"), outside: (f"{WORLD}/24", "fd42:8::2/64")}
        for each, addresses in given.items():
            for address in addresses:
                extra = ("nodad",) if ":" in address else ()
                _ip("-n", each, "address", "add", address, "dev", "wire", *extra)
            _ip("-n", each, "link", "set", "wire", "up")
        _ip("-n", inside, "address", "add", f"{LINK_LOCAL}/32", "dev", "lo")
        _ip("-n", inside, "route", "add", "default", "via", WORLD)
        _ip("-n", inside, "route", "add", "default", "via", "fd42:8::2")
        _ip("-n", outside, "address", "add", f"{METADATA}/32", "dev", "lo")
        _ip("-n", outside, "address", "add", f"{METADATA_6}/128", "dev", "lo")
        _ip("-n", outside, "route", "add", "fd42:9::/64", "via", "fd42:8::1")

        # Who has no way says so at once: the doctor asks for the time and for names.
        _run("nsenter", f"--net=/run/netns/{outside}", "sysctl", "-qw", "net.ipv4.ip_forward=1")
        for name in ("net.ipv4.icmp_ratelimit", "net.ipv6.icmp.ratelimit"):  # else only six refusals come at once
            _run(*self.inside, "sysctl", "-qw", f"{name}=0")

    def start_engine(self) -> None:
        """In the root of the control groups, where an engine runs that no service manager has started."""
        log = (self.folder / "log").open("ab")
        self.engine = subprocess.Popen(
            [
                *self.inside,
                *("dockerd", "--data-root", self.folder / "data", "--exec-root", self.folder / "run"),
                *("--pidfile", self.folder / "pid", "--host", f"unix://{self.socket}", "--dns", HERE),
                *("--ipv6", "--fixed-cidr-v6", "fd42:9::/64"),
                *("--containerd-namespace", self.name, "--containerd-plugins-namespace", f"{self.name}p"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        (groups() / "cgroup.procs").write_text(str(self.engine.pid))
        deadline = time.monotonic() + 60
        while self.docker("version", check=False).returncode != 0:
            assert self.engine.poll() is None and time.monotonic() < deadline, (self.folder / "log").read_text()[-2000:]
            time.sleep(0.05)

    def stop_engine(self) -> None:
        if self.engine is not None:
            self.engine.terminate()
            self.engine.wait(60)
            self.engine = None

    def remove(self) -> None:
        for each in self.answering:
            each.kill()
            each.wait()
        if self.engine is not None:
            ids = self.docker("ps", "-aq").stdout.split()
            if ids:
                self.docker("rm", "-f", *ids)
        self.stop_engine()
        for mount in [*(self.folder / "run").glob("netns/*"), *(self.folder / "run").glob("**/shm")]:
            subprocess.run(["umount", "--lazy", mount], check=False, capture_output=True)
        for name in (self.name, f"{self.name}o"):
            with suppress(AssertionError):  # it did not come to be
                _ip("netns", "delete", name)
        shutil.rmtree(self.folder, ignore_errors=True)

    # Doing things there

    @property
    def socket(self) -> Path:
        return self.folder / "engine.sock"

    @property
    def inside(self) -> tuple[str, ...]:
        """What a command begins with to run there. `ip netns exec` would hide the control groups from it."""
        return ("nsenter", f"--net=/run/netns/{self.name}")

    def docker(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return _run("docker", "--host", f"unix://{self.socket}", *words, check=check)

    def lend(self, image: str) -> None:
        """An image of the ordinary engine."""
        file = self.folder / "image.tar"
        _run("docker", "save", "-o", file, image)
        self.docker("load", "-i", str(file))
        file.unlink()

    def lend_traefik(self) -> None:
        """The image with which the doctor knocks, made as the server makes it where there is none."""
        if _run("docker", "image", "inspect", IMAGE, check=False).returncode == 0:
            self.lend(IMAGE)
            return
        binary = packaged_binary()
        assert binary is not None
        context = self.folder / "traefik"
        context.mkdir()
        shutil.copy2(binary, context / "traefik")
        (context / "ca-certificates.crt").touch()
        (context / "Dockerfile").write_text(DOCKERFILE)
        self.docker("build", "-t", IMAGE, str(context))

    def build(self, *lines: str) -> subprocess.CompletedProcess[str]:
        """With the first `docker` program that has BuildKit, and nothing of an earlier build."""
        env = {**os.environ, "DOCKER_BUILDKIT": "1", "DOCKER_HOST": f"unix://{self.socket}"}
        for program in (shutil.which("docker") or "docker", "/usr/bin/docker"):
            argv = (program, "build", "--no-cache", "--progress=plain", "--output=type=cacheonly", "-")
            done = _run(*argv, check=False, env=env, stdin="\n".join(lines))
            if "buildx" not in done.stderr:
                break
        return done

    def network(self, name: str, subnet: str) -> None:
        self.docker("network", "create", "--subnet", subnet, name)

    def container(self, name: str, network: str) -> tuple[str, str]:
        """One that answers on port 8000; its process and its address."""
        self.docker("run", "-d", "--name", name, "--network", network, "busybox:stable", "sleep", "infinity")
        form = "{{.State.Pid}} {{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        pid, address = self.docker("inspect", "-f", form, name).stdout.split()
        self.answer(f"tcp/{address}/8000", where=network_of(pid))
        return pid, address

    def answer(self, *targets: str, where: Sequence[str], group: Path | None = None) -> None:
        argv = [*where, sys.executable, _TALK, "answer", *([str(group)] if group else []), *targets]
        program = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        self.answering.append(program)
        assert program.stdout is not None and program.stdout.readline() == "ready\n", targets

    def ask(self, *targets: str, where: Sequence[str], group: Path | None = None) -> dict[str, str]:
        argv = [*where, sys.executable, _TALK, "ask", *([str(group)] if group else []), *targets]
        told: dict[str, str] = json.loads(_run(*argv).stdout)
        return told

    def godploy(
        self, *words: str, check: bool = True, by: Sequence[str] = (), **settings: str
    ) -> subprocess.CompletedProcess[str]:
        """As on a machine where this engine is the only one."""
        data = self.folder / "godploy"
        data.mkdir(exist_ok=True, mode=0o700)
        mounted = ("unshare", "--mount", "sh", "-c", 'mount --bind "$0" /var/run/docker.sock && exec "$@"', self.socket)
        env = {**os.environ, **_SETTINGS, **{f"GODPLOY_{name.upper()}": value for name, value in settings.items()}}
        return _run(*self.inside, *mounted, *by, GODPLOY, *words, "--data", data, check=check, env=env)

    def show(self, **settings: str) -> dict[str, str]:
        told: dict[str, str] = json.loads(self.godploy("packet-rules", "show", "--json", **settings).stdout)
        return told

    def doctor(self) -> list[dict[str, str]]:
        """Its lines about the packet rules."""
        lines = json.loads(self.godploy("doctor", "--json", check=False).stdout)["lines"]
        return [line for line in lines if line["subject"] == "packet rules"]

    def engine_group(self) -> str:
        assert self.engine is not None
        lines = Path(f"/proc/{self.engine.pid}/cgroup").read_text().splitlines()
        return next(line.removeprefix("0::") for line in lines if line.startswith("0::"))

    def iptables(self, *words: str) -> None:
        _run(*self.inside, "iptables", *words)

    def settle(self, where: Sequence[str]) -> None:
        """Waits until its IPv6 addresses are found to be nobody else's; before that they are not used."""
        deadline = time.monotonic() + 20
        while _run(*where, "ip", "-6", "-o", "address", "show", "tentative").stdout:
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def forget_neighbours(self, pid: str) -> None:
        _run(*network_of(pid), "ip", "neighbour", "flush", "all")

    def rules(self) -> str:
        return _run(*self.inside, "nft", "list", "ruleset").stdout

    def load(self, text: str) -> None:
        _run(*self.inside, "nft", "-f", "-", stdin=text)


def groups() -> Path:
    """Where control groups of version 2 are."""
    return next(path for path in (_GROUPS, _GROUPS / "unified") if (path / "cgroup.controllers").is_file())


def _ip(*words: str) -> None:
    _run("ip", *words)


def network_of(pid: str) -> tuple[str, ...]:
    return ("nsenter", f"--net=/proc/{pid}/ns/net")


def _run(
    *argv: str | Path, check: bool = True, env: Mapping[str, str] | None = None, stdin: str | None = None
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=env, input=stdin, timeout=120)
    assert not check or done.returncode == 0, f"{' '.join(map(str, argv))}: {done.stderr}{done.stdout}"
    return done
