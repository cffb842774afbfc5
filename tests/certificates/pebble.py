"""Pebble, an ACME server for tests: a certificate authority with a DNS of its own, in which every name leads to one
machine. https://github.com/letsencrypt/pebble"""

from __future__ import annotations

import json
import os
import shutil
import ssl
import subprocess
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from godploy.drivers import selfsigned
from tests.e2e.installation import free_ports, until

LIFE = 3 * 24 * 3600  # seconds: Traefik renews what ends within a month, as soon as it starts


@dataclass(slots=True)
class Pebble:
    """`http` and `https` are the ports at which it looks for the proof that a host leads to the address `names`. It
    listens on the address `own`, and runs `inside`, such as `ip netns exec NAME`."""

    folder: Path
    http: int
    https: int
    own: str = "127.0.0.1"
    names: str = "127.0.0.1"
    inside: Sequence[str] = ()
    _ports: list[int] = field(default_factory=lambda: free_ports(4))
    _processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"https://{self.own}:{self.port}/dir"

    @property
    def port(self) -> int:
        return self._ports[0]

    @property
    def authority(self) -> Path:
        """By which its own address is trusted."""
        return self.folder / "certificate.pem"

    @property
    def key(self) -> Path:
        return self.folder / "key.pem"

    def start(self) -> None:
        assert shutil.which("pebble"), "Pebble is missing: apt-get install pebble"
        made = selfsigned.ensure(self.folder, [self.own])
        address, management, dns, dns_management = self._ports
        settings = {
            "listenAddress": f"{self.own}:{address}",
            "managementListenAddress": f"{self.own}:{management}",
            "certificate": str(made.certificate),
            "privateKey": str(made.key),
            "httpPort": self.http,
            "tlsPort": self.https,
            "certificateValidityPeriod": LIFE,
        }
        config = self.folder / "pebble.json"
        config.write_text(json.dumps({"pebble": settings}))
        quiet = ("-http01", "", "-https01", "", "-tlsalpn01", "")
        self._run("pebble-challtestsrv", "-defaultIPv4", self.names, "-defaultIPv6", "", *quiet,
                  "-dns01", f"127.0.0.1:{dns}", "-management", f"127.0.0.1:{dns_management}")  # fmt: skip
        self._run("pebble", "-config", str(config), "-dnsserver", f"127.0.0.1:{dns}")
        until(self._answers, 20)

    def _run(self, *words: str) -> None:
        environment = {"PATH": os.environ["PATH"], "PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0"}
        with (self.folder / f"{words[0]}.log").open("ab") as log:
            program = [*self.inside, shutil.which(words[0]) or words[0], *words[1:]]
            self._processes.append(subprocess.Popen(program, env=environment, stdout=log, stderr=log))

    def _answers(self) -> bool:
        try:
            return bool(self.root())
        except OSError:
            return False

    def root(self) -> str:
        """The certificate that vouches for all that it issues."""
        trusted = ssl.create_default_context(cafile=str(self.authority))
        address = f"https://{self.own}:{self._ports[1]}/roots/0"
        with urllib.request.urlopen(address, context=trusted, timeout=5) as answer:
            return str(answer.read().decode())

    def stop(self) -> None:
        for process in self._processes:
            process.terminate()
            process.wait(10)
        self._processes.clear()
