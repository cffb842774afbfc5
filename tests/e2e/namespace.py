"""A second network namespace: another machine on the same wire, as far as the network can tell."""

from __future__ import annotations

import ipaddress
import random
import re
import subprocess
from dataclasses import dataclass


@dataclass(slots=True)
class Namespace:
    """`server` is the address of this machine on the wire between the two."""

    name: str
    server: str = ""

    def make(self) -> None:
        taken = set(re.findall(r"198\.18\.[0-9.]+", _ip("-4", "address").stdout))
        nets = (ipaddress.ip_network(f"198.18.{number}.0/30") for number in random.sample(range(256), 256))
        net = next(net for net in nets if not any(ipaddress.ip_address(each.rstrip(".")) in net for each in taken))
        self.server, client = (str(address) for address in net.hosts())
        near, far = f"{self.name}a"[-15:], f"{self.name}b"[-15:]
        _ip("netns", "add", self.name)
        _ip("link", "add", near, "type", "veth", "peer", "name", far, "netns", self.name)
        _ip("address", "add", f"{self.server}/30", "dev", near)
        _ip("link", "set", near, "up")
        _ip("-n", self.name, "address", "add", f"{client}/30", "dev", far)
        _ip("-n", self.name, "link", "set", far, "up")
        _ip("-n", self.name, "link", "set", "lo", "up")

    def remove(self) -> None:
        """The pair of interfaces goes with it."""
        _ip("netns", "delete", self.name)

    @property
    def inside(self) -> tuple[str, ...]:
        return ("ip", "netns", "exec", self.name)


def _ip(*words: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"
    return done
