"""Why a container did not become healthy, said from what can be seen of it from outside.

Nine in ten failing health checks are one of five things: it exited, it ran out of memory, it listens on another port,
it listens on loopback only, or it answers with an error. A user who is told which needs no support thread.
The codes are those of `core.failures`.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from godploy.drivers import probe
from godploy.runtimes.engine.settings import Found
from godploy.runtimes.protocol import Launch

_LISTEN = "0A"  # include/net/tcp_states.h of Linux
_RESOLVER = ipaddress.ip_address("127.0.0.11")  # Docker's own, inside each container
_HEX_ADDRESS = re.compile(r"(?:[0-9A-F]{8}|[0-9A-F]{32}):[0-9A-F]{4}")


@dataclass(frozen=True, slots=True)
class Cause:
    code: str
    facts: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Listening:
    address: ipaddress.IPv4Address | ipaddress.IPv6Address
    port: int

    @property
    def loopback(self) -> bool:
        mapped = getattr(self.address, "ipv4_mapped", None)
        return (mapped or self.address).is_loopback


def ended(found: Found, launch: Launch, seconds: float) -> Cause:
    """Of a container that does not run any more, `seconds` after it was first looked at."""
    facts = _facts(launch) | {"exit_code": found.exit_code, "seconds": round(seconds, 1)}
    return Cause("oom" if found.oom else "exited", facts)


def restarted(found: Found, launch: Launch) -> Cause:
    return Cause("restarted", _facts(launch) | {"exit_code": found.exit_code, "restarts": found.restarts})


def unanswered(found: Found, launch: Launch, answer: probe.Answer, sockets: Sequence[Listening]) -> Cause:
    """Of a container that runs, but gave no good answer in time; `answer` is the last one."""
    facts = _facts(launch) | {"seconds": round(launch.health.start_timeout)}
    if found.oom:  # of one process in it; the first lives on
        return Cause("oom", facts | {"exit_code": found.exit_code})
    if answer.status:
        expected = f"{launch.health.status_from}-{launch.health.status_to}"
        return Cause("health_status", facts | {"status": answer.status, "expected": expected})
    here = [socket for socket in sockets if socket.port == launch.port]
    if here and all(socket.loopback for socket in here):
        return Cause("loopback_only", facts | {"seen": [launch.port]})
    if sockets and not here:
        return Cause("wrong_port", facts | {"seen": sorted({socket.port for socket in sockets})})
    return Cause("never_listens", facts | {"seen": [launch.port] if here else [], "miss": str(answer.miss or "")})


async def listening(pid: int) -> list[Listening]:
    """The listening TCP sockets in the network of process `pid`; none where the machine does not let us see them."""
    return await asyncio.to_thread(lambda: list(_listening(pid)))


def parse_sockets(lines: Iterable[str]) -> Iterator[Listening]:
    """The listening sockets of a `/proc/net/tcp` or `tcp6`. https://docs.kernel.org/networking/proc_net_tcp.html"""
    for line in lines:
        columns = line.split()
        if len(columns) > 3 and columns[3] == _LISTEN and _HEX_ADDRESS.fullmatch(columns[1]):
            address, _, port = columns[1].partition(":")
            socket = Listening(_address(address), int(port, 16))
            if socket.address != _RESOLVER:
                yield socket


def _listening(pid: int) -> Iterator[Listening]:
    if pid <= 0:
        return
    for table in ("tcp", "tcp6"):
        try:
            text = Path(f"/proc/{pid}/net/{table}").read_text(encoding="ascii", errors="replace")
        except OSError:  # it has ended, or is not ours to look at
            continue
        yield from parse_sockets(text.splitlines()[1:])


def _address(digits: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The kernel prints each 32-bit word in the machine's byte order, which is little-endian on all that Docker has."""
    words = [bytes.fromhex(digits[at : at + 8])[::-1] for at in range(0, len(digits), 8)]
    return ipaddress.ip_address(b"".join(words))


def _facts(launch: Launch) -> dict[str, Any]:
    facts: dict[str, Any] = {"service": launch.ref.service, "memory": f"{launch.memory // (1 << 20)}M"}
    if launch.port is not None:
        facts["port"] = launch.port
    if launch.health.path is not None:
        facts["path"] = launch.health.path
    return facts
