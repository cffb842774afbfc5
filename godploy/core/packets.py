"""Which packets of containers, builds and the engine itself may reach this machine and the cloud's metadata address.

One table of nftables for each instance, as text for `nft -f -`: a refusal in a table of our own is final wherever the
engine, a firewall or a person has put theirs, and "accept" there leaves the word to them. iptables would not do: it
matches the engine by its control group, too, but a saved set of such rules is refused as a whole at the next boot,
and the machine is left without any [measured].
Words: https://www.netfilter.org/projects/nftables/manpage.html
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

DEFAULT_BRIDGE = "docker0"
CONFIG_FILE = "/etc/docker/daemon.json"
LINK_LOCAL = "169.254.0.0/16"
METADATA = "169.254.169.254"
# Where Amazon's and Google's metadata answer on IPv6, besides the link-local addresses:
# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html
# https://cloud.google.com/compute/docs/metadata/querying-metadata
_LINK_LOCAL_6 = "{ fe80::/10, fd00:ec2::254, fd20:ce::254 }"
_NEIGHBOURS = "{ nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit, nd-router-advert }"
_REFUSE = "reject with icmpx type admin-prohibited"
_ANSWERS = "ct state established,related accept"
_NAMES = "meta l4proto { tcp, udp } th dport 53"
_INTERFACE = re.compile(r"[A-Za-z0-9_.-]{1,15}")


class State(StrEnum):
    """What is in force: nothing, rules made from something else than what is so now, or the right ones."""

    NONE = "none"
    OUTDATED = "outdated"
    IN_FORCE = "in force"


@dataclass(frozen=True, slots=True)
class Group:
    """A control group (version 2) of the engine: its path below /sys/fs/cgroup, how deep it lies in its hierarchy, and
    its number. A restarted service has a new group of the same path, which rules made before do not know."""

    path: str
    depth: int
    number: int


@dataclass(frozen=True, slots=True)
class Ground:
    """What the rules are made from. `resolvers` are the addresses that containers may get as name servers, of this
    machine or not; `engine_reaches` the addresses and ports that the engine may reach all the same."""

    instance: str
    pool: str
    ports: tuple[int, int]
    bridge: str = DEFAULT_BRIDGE
    resolvers: tuple[str, ...] = ()
    engine: tuple[Group, ...] = ()
    engine_reaches: tuple[tuple[str, int], ...] = ()


def table(instance: str) -> str:
    """The table's family and name."""
    return f"inet godploy-{instance}"


def put(ground: Ground) -> str:
    """Replaces the table by the right one in one transaction; for `nft -f -`."""
    name = table(ground.instance)
    return f"table {name}\ndelete table {name}\ntable {name} {{\n{rules(ground)}}}\n"


def rules(ground: Ground) -> str:
    """The table's chains. Those with a hook sort packets out by where they come from, the others judge them."""
    chains = {
        "link_local": [f"{_NAMES} accept", _REFUSE],
        "host": [*_host(ground)],
        "engine": [*_engine(ground)],
        "input": ["type filter hook input priority filter; policy accept;", *_input(ground)],
        "forward": ["type filter hook forward priority filter; policy accept;", *_forward(ground)],
        "output": ["type filter hook output priority filter; policy accept;", *_output(ground)],
    }
    text = "".join(_chain(name, lines) for name, lines in chains.items())
    digest = hashlib.sha256((text + repr(ground)).encode()).hexdigest()[:16]
    return text + _chain("made_from", [f'return comment "{digest}"'])


def state(listing: str | None, ground: Ground) -> State:
    """Judges what `nft list table` says of ours; None: there is no such table."""
    if listing is None:
        return State.NONE
    comment = re.compile(r'comment "([0-9a-f]{16})"')
    wanted, found = comment.search(rules(ground)), comment.search(listing)
    same = wanted is not None and found is not None and wanted[1] == found[1]
    return State.IN_FORCE if same else State.OUTDATED


def _chain(name: str, lines: Iterable[str]) -> str:
    return f"  chain {name} {{\n" + "".join(f"    {line}\n" for line in lines) + "  }\n"


def _input(ground: Ground) -> list[str]:
    """By the bridge's interface, since a build step may write any sender into its packets; by the pool, whose
    interfaces have no fixed names. What this machine says to itself comes from the loopback interface."""
    return [f'iifname "{ground.bridge}" goto host', f'iifname != "lo" ip saddr {ground.pool} goto host']


def _host(ground: Ground) -> list[str]:
    lines = [_ANSWERS, f"ip daddr {LINK_LOCAL} goto link_local", f"tcp dport {_set(ground.ports)} accept"]
    lines += [f"{_family(address)} daddr {address} {_NAMES} accept" for address in ground.resolvers]
    return [*lines, f"icmpv6 type {_NEIGHBOURS} accept", _REFUSE]


def _forward(ground: Ground) -> list[str]:
    return [
        f'iifname "{ground.bridge}" ip daddr {LINK_LOCAL} goto link_local',
        f'iifname "{ground.bridge}" ip6 daddr {_LINK_LOCAL_6} goto link_local',
        f"ip saddr {ground.pool} ip daddr {LINK_LOCAL} goto link_local",
    ]


def _output(ground: Ground) -> list[str]:
    return [f'socket cgroupv2 level {group.depth} "{group.path}" goto engine' for group in ground.engine]


def _engine(ground: Ground) -> list[str]:
    """The engine fetches what a Dockerfile names with ADD, from where the host stands: it is to reach no more than a
    build's own steps do."""
    lines = [_ANSWERS, "meta l4proto { tcp, udp } th dport 53 accept"]
    for address, port in ground.engine_reaches:
        lines.append(f"{_family(address)} daddr {address} tcp dport {port} accept")
    return [
        *lines,
        f"ip daddr {LINK_LOCAL} {_REFUSE}",
        f"ip6 daddr {_LINK_LOCAL_6} {_REFUSE}",
        f"fib daddr type local tcp dport {_set(ground.ports)} accept",
        f"fib daddr type local {_REFUSE}",
        f"ip daddr {ground.pool} {_REFUSE}",
    ]


def _set(ports: Iterable[int]) -> str:
    return "{ " + ", ".join(str(port) for port in sorted(set(ports))) + " }"


def _family(address: str) -> str:
    return "ip" if ipaddress.ip_address(address).version == 4 else "ip6"


def _plain(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An address without a scope: that may hold any text, and what is read here becomes rules. Raises ValueError."""
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
        raise ValueError("an address with a scope is none for a rule")
    return address


def endpoint(text: str) -> tuple[str, int]:
    """`ADDRESS:PORT`, an IPv6 address in brackets. Raises ValueError with a sentence."""
    address, _, port = text.rpartition(":")
    try:
        chosen = str(_plain(address.removeprefix("[").removesuffix("]")))
    except ValueError:
        raise ValueError(f'"{text}" is not ADDRESS:PORT, such as 127.0.0.1:5000') from None
    if not port.isdecimal() or not 1 <= int(port) <= 65535:
        raise ValueError(f'"{text}" has no port (1 to 65535)')
    return chosen, int(port)


# What the engine was told


def flags(argv: Sequence[str]) -> dict[str, list[str]]:
    """The options of the engine's command line that count here, written `--dns X` or `--dns=X`:
    https://docs.docker.com/reference/cli/dockerd/"""
    names = {"--dns": "dns", "--bridge": "bridge", "-b": "bridge", "--config-file": "config-file"}
    found: dict[str, list[str]] = {}
    for position, argument in enumerate(argv):
        name, equals, value = argument.partition("=")
        if name in names and (equals or position + 1 < len(argv)):
            found.setdefault(names[name], []).append(value if equals else argv[position + 1])
    return found


def bridge(told: Mapping[str, Sequence[str]], config: Mapping[str, Any]) -> str:
    """The interface on which the engine builds."""
    chosen = [*told.get("bridge", ()), config.get("bridge")][0]
    return str(chosen) if chosen and _INTERFACE.fullmatch(str(chosen)) and chosen != "none" else DEFAULT_BRIDGE


def resolvers(told: Mapping[str, Sequence[str]], config: Mapping[str, Any], files: Iterable[str]) -> tuple[str, ...]:
    """The name servers that containers may get: the engine's own, or those of `resolv.conf` but loopback ones, which
    the engine does not hand on: https://docs.docker.com/engine/network/#dns-services"""
    named = [*told.get("dns", ()), *(config.get("dns") or ())]
    words = [line.split() for text in files for line in text.splitlines()]
    named = named or [line[1] for line in words if len(line) > 1 and line[0] == "nameserver"]
    return tuple(sorted({str(name) for name in named if _is_resolver(str(name))}))


def _is_resolver(name: str) -> bool:
    try:
        address = _plain(name)
    except ValueError:
        return False
    return not (address.is_loopback or address.is_link_local or address.is_unspecified)
