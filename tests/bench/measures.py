"""What is measured, each from outside: by a clock, by what a client gets from Traefik, by what the kernel counts."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import sqlite3
import statistics
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from e2e.load import KEEP_ALIVE, Load, Tally

from bench import app, crowd
from bench.by_hand import ByHand
from bench.crowd import Crowd
from bench.instance import Checkout, Instance
from godploy.core import signing

_LOOK_EVERY = 0.01  # seconds between two requests that ask whether a version is live
_CROWDS = """\
version: 1
services:
  idle:
    image: busybox:stable
    command: [sleep, "1000000"]
"""
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Pair:
    """One change deployed both ways, in seconds. `start`: the app alone, from `docker run` to its first answer."""

    godploy: float
    by_hand: float
    start: float


@dataclass(frozen=True)
class Idle:
    """Memory in bytes, CPU as a share of one processor over `seconds`."""

    rss: int
    pss: int
    cpu: float
    seconds: float


@dataclass(frozen=True)
class Acknowledgement:
    """Seconds until a delivery was answered, and `late`, by how much the pause after it was too long: what else is
    going on at the machine delays both."""

    seconds: float
    late: float


class Bench:
    """One Godploy and one app on it. No version is ever built twice, in this run or another, so that no cache of the
    builder's gives away what another measure has paid for."""

    def __init__(self, godploy: Instance) -> None:
        self.godploy = godploy
        self.host = "web.bench.localhost"
        self.checkout: Checkout = godploy.checkout("bench", "web", app.files(self.host))
        self._pushed: list[str] = []  # the versions, in order

    def change(self) -> str:
        """One file changed and committed; the new version."""
        version = uuid.uuid4().hex[:12]
        self.checkout.commit({"version": f"{version}\n"})
        return version

    def push(self) -> float:
        """Seconds from `git push` of a change until it is served; returns when the old version has gone, too."""
        self._pushed.append(self.change())
        seconds = self._until_served(self._pushed[-1], self.checkout.push)
        self.godploy.until(self._is_alone)
        return seconds

    def pairs(self, count: int, folder: Path) -> Iterator[Pair]:
        """A change by `git push` and one by hand, in alternating order."""
        with ByHand(folder, self.checkout, self.host) as by_hand:
            by_hand.deploy(self.change())  # warms up, as the first push did
            for number in range(count):
                if number % 2:
                    godploy, hand = self.push(), by_hand.deploy(self.change())
                else:
                    hand, godploy = by_hand.deploy(self.change()), self.push()
                yield Pair(godploy, hand, by_hand.start_seconds)

    def rollbacks(self, count: int) -> Iterator[float]:
        """Seconds from the order to roll back until the release before is served. Each makes a release anew from the
        one before, so it goes back and forth between the last two versions."""
        for turn in range(count):
            yield self._until_served(self._pushed[-2 + turn % 2], self._roll_back)
            self.godploy.until(self._is_alone)

    def _roll_back(self) -> None:
        self.godploy.api("POST", "/projects/bench/rollback", {"environment": "production"})

    def idle(self, seconds: float) -> Idle:
        """After `seconds` in which nothing is asked of it."""
        assert self.godploy.process is not None
        pid, before = self.godploy.process.pid, self._processor_seconds()
        time.sleep(seconds)
        used = self._processor_seconds() - before
        sizes = {}
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
            name, size, *_ = line.split()
            sizes[name.rstrip(":")] = int(size) * 1024
        return Idle(sizes["Rss"], sizes["Pss"], used / seconds, seconds)

    def _processor_seconds(self) -> float:
        assert self.godploy.process is not None
        stat = Path(f"/proc/{self.godploy.process.pid}/stat").read_text().rpartition(") ")[2].split()
        return (int(stat[11]) + int(stat[12])) / _TICKS

    def acknowledgements(self, count: int, pause: float = 0.1) -> list[Acknowledgement]:
        """Signed deliveries of a generic hook, each on a connection of its own. In the pauses Godploy decides it, by
        asking the git server, which a daemon on this machine is."""
        with _git_daemon(self.checkout.folder, self.godploy.git_port) as url:
            body = {"name": "hooked", "url": url, "manifest_path": "godploy.yaml"}
            made = self.godploy.api("POST", "/projects/bench/repositories", body)
            path, secret = made["hook_url"].partition("/hooks/")[2], made["hook_secret"]
            told = json.dumps({"event": "push", "ref": "refs/heads/another", "commit": self.checkout.head()}).encode()
            found = []
            for _ in range(count):
                seconds, awake = self._deliver(f"/hooks/{path}", secret, told), time.perf_counter() + pause
                time.sleep(pause)
                found.append(Acknowledgement(seconds, time.perf_counter() - awake))
            return found

    def crowd(self, count: int, rate: float) -> Crowd:
        """`count` deliveries, `rate` of them each second, the last of which alone names the branch's head; returns when
        all are decided and that is live."""
        self.godploy.api("POST", "/projects", {"name": "crowd"})
        with _git_daemon(self.checkout.folder, self.godploy.git_port) as url:
            self.checkout.commit({"crowd.yaml": _CROWDS})
            body = {"name": "app", "url": url, "manifest_path": "crowd.yaml"}
            made = self.godploy.api("POST", "/projects/crowd/repositories", body)
            self.godploy.until(lambda: self._live("crowd", self.checkout.head()))
            head = self.checkout.commit({"crowd.yaml": _CROWDS + "    stop_grace_period: 1s\n"})
            path = f"/hooks/{made['hook_url'].partition('/hooks/')[2]}"
            commits = [*(f"{number:040x}" for number in range(1, count)), head]
            found = crowd.deliver(self.godploy.port, path, made["hook_secret"], commits, rate)
            self.godploy.until(lambda: self._live("crowd", head))
            found.lost = count - self._decided(made["id"])
            found.peak = self._peak()
            return found

    def _live(self, project: str, commit: str) -> bool:
        found = self.godploy.settled(project)
        return bool(found["commit"] == commit and found["state"] == "succeeded")

    def _decided(self, repository: str) -> int:
        """Deliveries of hooks that were kept and decided, counted where they are kept."""
        query = "SELECT count(*) FROM delivery WHERE repository = ? AND kind = 'hook' AND state = 'decided'"
        where = f"{(self.godploy.data / 'godploy.db').as_uri()}?mode=ro"
        with closing(sqlite3.connect(where, uri=True, timeout=10)) as database:
            return int(database.execute(query, (repository,)).fetchone()[0])

    def _peak(self) -> int:
        """The most memory that the process had so far, in bytes."""
        assert self.godploy.process is not None
        status = Path(f"/proc/{self.godploy.process.pid}/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))

    def _deliver(self, path: str, secret: str, body: bytes) -> float:
        now = str(int(time.time()))
        headers = {
            signing.DELIVERY: uuid.uuid4().hex,
            signing.TIMESTAMP: now,
            signing.SIGNATURE: signing.sign(secret, now, body),
            "Content-Type": "application/json",
        }
        begun = time.perf_counter()
        connection = http.client.HTTPConnection("127.0.0.1", self.godploy.port, timeout=10)
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        answer.read()
        seconds = time.perf_counter() - begun
        connection.close()
        assert answer.status == 202, answer.status
        return seconds

    def swaps(self, count: int, rate: float) -> Tally:
        """What became of a constant load of requests on kept connections during `count` pushes."""
        with Load(self.godploy.http, self.host, rate, mix=(KEEP_ALIVE,)) as load:
            for _ in range(count):
                self.push()
        return load.tally

    def _until_served(self, version: str, act: Callable[[], object]) -> float:
        """Seconds from the act's beginning until the version is served, whenever the act itself is over."""
        acting = threading.Thread(target=act, name="act")
        begun = time.perf_counter()
        acting.start()
        deadline = begun + 60
        while self.godploy.ask(self.host).body != app.greeting(version):
            assert time.perf_counter() < deadline, self.godploy.deployments("bench")[0]
            time.sleep(_LOOK_EVERY)
        seconds = time.perf_counter() - begun
        acting.join()
        return seconds

    def _is_alone(self) -> bool:
        environment = self.godploy.api("GET", "/projects/bench")["environments"][0]["id"]
        return self.godploy.containers(environment) == ["web"]


def fsyncs(folder: Path, count: int) -> list[float]:
    """Seconds that the disk takes to keep 4 KiB for good: the floor of whatever is durable."""
    times = []
    with (folder / "fsync").open("wb") as file:
        for _ in range(count):
            begun = time.perf_counter()
            file.write(bytes(4096))
            file.flush()
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - begun)
    return times


def percentile(values: Sequence[float], share: int) -> float:
    """`share` of 100 of the values are no greater."""
    return statistics.quantiles(values, n=100, method="inclusive")[share - 1]


@contextmanager
def _git_daemon(checkout: Path, port: int) -> Iterator[str]:
    """Serves a checkout's repository by git's own protocol; its address."""
    where = ("--reuseaddr", "--listen=127.0.0.1", f"--port={port}", f"--base-path={checkout.parent}")
    command = ("git", "daemon", "--export-all", *where, str(checkout))
    daemon = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        Instance.until(lambda: _listens(port))
        yield f"git://127.0.0.1:{port}/{checkout.name}"
    finally:
        os.killpg(daemon.pid, signal.SIGTERM)
        daemon.wait(10)


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
