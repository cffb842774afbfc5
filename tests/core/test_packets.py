"""What the rules are made from, and how it is told that they are the right ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from godploy.core import packets, reach
from godploy.core.doctor import Level
from godploy.core.packets import Ground, Group, State
from godploy.core.reach import Reach

GROUP = Group("system.slice/docker.service", 2, 77)
GROUND = Ground("main", "10.213.0.0/16", (80, 443), engine=(GROUP,), engine_reaches=(("127.0.0.1", 5000),))


def test_the_engine_is_told_by_its_group() -> None:
    assert 'socket cgroupv2 level 2 "system.slice/docker.service" goto engine' in packets.rules(GROUND)
    assert "goto engine" not in packets.rules(replace(GROUND, engine=()))


@pytest.mark.parametrize(
    "change",
    [
        {"pool": "10.214.0.0/16"},
        {"ports": (80, 8443)},
        {"bridge": "br0"},
        {"resolvers": ("10.0.0.1",)},
        {"engine": (replace(GROUP, number=78),)},  # the engine was restarted
        {"engine_reaches": ()},
    ],
)
def test_rules_of_other_ground_are_outdated(change: dict[str, Any]) -> None:
    listing = packets.put(GROUND)
    assert packets.state(listing, GROUND) is State.IN_FORCE
    assert packets.state(listing, replace(GROUND, **change)) is State.OUTDATED
    assert packets.state(None, GROUND) is State.NONE


@pytest.mark.parametrize(
    ("argv", "config", "bridge", "resolvers"),
    [
        ((), {}, "docker0", ("10.0.0.1", "fd00::1")),
        (("--dns", "10.0.0.9", "--dns=10.0.0.8"), {}, "docker0", ("10.0.0.8", "10.0.0.9")),
        ((), {"dns": ["172.17.0.1"], "bridge": "br0"}, "br0", ("172.17.0.1",)),
        (("-b", "br1"), {"bridge": "br0"}, "br1", ("10.0.0.1", "fd00::1")),
        (("--bridge=none",), {}, "docker0", ("10.0.0.1", "fd00::1")),
        ((), {"bridge": 'a" accept', "dns": ["1 accept"]}, "docker0", ()),
    ],
)
def test_what_the_engine_was_told(
    argv: tuple[str, ...], config: dict[str, Any], bridge: str, resolvers: tuple[str, ...]
) -> None:
    files = ["# mine\nnameserver 127.0.0.53\nnameserver\n", "nameserver 10.0.0.1\nnameserver fd00::1\nsearch x\n"]
    told = packets.flags(("dockerd", *argv))
    assert packets.bridge(told, config) == bridge
    assert packets.resolvers(told, config, files) == resolvers


@pytest.mark.parametrize(
    ("seen", "state", "levels"),
    [
        (Reach(False, False, False), State.IN_FORCE, "ok ok ok ok"),
        (Reach(False, False, True), State.OUTDATED, "warn ok ok warn"),
        (Reach(True, True, True), State.NONE, "bad bad bad warn"),
        (Reach(False, False, None), None, "ok ok"),
        (Reach(untried="no image"), None, "warn"),
    ],
)
def test_what_the_doctor_says(seen: Reach, state: State | None, levels: str) -> None:
    lines = list(reach.judge(seen, state, "/data"))
    assert " ".join(line.level for line in lines) == levels
    assert all(line.advice for line in lines if line.level is not Level.OK)


SCOPED = "2001:db8::1%x\n}\nflush ruleset\n#"


def test_nothing_but_an_address_becomes_a_rule() -> None:
    """Python takes any text after the percent sign of an IPv6 address."""
    with pytest.raises(ValueError, match="is not ADDRESS:PORT"):
        packets.endpoint(f"[{SCOPED}]:80")
    assert packets.resolvers({"dns": [SCOPED, "192.0.2.1"]}, {}, []) == ("192.0.2.1",)
