"""What containers, builds and the engine reach of their machine and of the metadata, by trying it."""

from __future__ import annotations

import re

import pytest

from tests.packets.conftest import Places, expected, outcome
from tests.packets.machine import BRIDGE, METADATA, Machine

pytestmark = pytest.mark.engine

_JUDGES = ("accept", "reject", "goto", "return")
_TABLE = re.compile(r"table inet godploy-packets \{.*?^\}", re.DOTALL | re.MULTILINE)


def test_what_is_reached(places: Places) -> None:
    assert outcome(places) == expected(places)


def test_environments_stay_apart(places: Places) -> None:
    assert set(places.ask("shop", f"tcp/{places.other[1]}/8000").values()) == {"silence"}


def test_each_rule_is_needed(places: Places) -> None:
    """Whatever line is taken away, somebody reaches more, or less."""
    (table,) = _TABLE.findall(places.machine.rules())
    lines = table.splitlines()
    needless = []
    for number, line in enumerate(lines):
        if not any(word in line.split() for word in _JUDGES) or "comment" in line:
            continue
        without = "\n".join(lines[:number] + lines[number + 1 :])
        places.machine.load(f"delete table inet godploy-packets\n{without}\n")
        places.machine.forget_neighbours(places.build[0])
        if outcome(places) == expected(places):
            needless.append(line.strip())
    places.machine.godploy("packet-rules", "put")
    assert needless == []


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (("FROM busybox:stable", f"RUN nc -w 2 {BRIDGE} 8400 </dev/null"), "exit code: 1"),
        (("FROM busybox:stable", f"RUN nc -w 2 {METADATA} 80 </dev/null"), "exit code: 1"),
        (("FROM scratch", "ADD http://127.0.0.1:8400/ /x"), "no route to host"),
        (("FROM scratch", "ADD http://[::1]:8400/ /x"), "permission denied"),
        (("FROM scratch", f"ADD http://{METADATA}/ /x"), "no route to host"),
        (("FROM scratch", "ARG HOST=127.0.0.1:8400", "ADD http://${HOST}/ /x"), "no route to host"),
    ],
)
def test_builds(places: Places, lines: tuple[str, ...], says: str) -> None:
    done = places.machine.build(*lines)
    assert done.returncode != 0 and says in done.stderr
    places.machine.godploy("packet-rules", "remove")
    try:
        assert says not in places.machine.build(*lines).stderr
    finally:
        places.machine.godploy("packet-rules", "put")


def test_rules_of_others_change_nothing(places: Places) -> None:
    for chain in ("INPUT", "DOCKER-USER", "OUTPUT"):
        places.machine.iptables("-I", chain, "1", "-j", "ACCEPT")
    try:
        assert outcome(places) == expected(places)
    finally:
        for chain in ("INPUT", "DOCKER-USER", "OUTPUT"):
            places.machine.iptables("-D", chain, "1")


def test_put_again_and_remove(machine: Machine) -> None:
    machine.godploy("packet-rules", "remove")
    before = machine.rules()
    assert machine.show()["state"] == "none"
    machine.godploy("packet-rules", "put")
    once = machine.rules()
    machine.godploy("packet-rules", "put")
    assert machine.rules() == once != before
    assert machine.show()["state"] == "in force"
    assert machine.show(https_port="8443")["state"] == "outdated"
    machine.godploy("packet-rules", "put", instance="second")
    machine.godploy("packet-rules", "remove", instance="second")
    assert machine.rules() == once and machine.show()["state"] == "in force"
    machine.godploy("packet-rules", "remove")
    machine.godploy("packet-rules", "remove")
    assert machine.rules() == before and machine.engine_group() == "/"
    machine.godploy("packet-rules", "put")


def test_only_root(machine: Machine) -> None:
    done = machine.godploy("packet-rules", "show", check=False, by=("setpriv", "--reuid=65534"))
    assert done.returncode == 1 and "belong to root" in done.stderr


def test_the_doctor_knocks(places: Places) -> None:
    machine = places.machine
    machine.lend_traefik()
    lines = machine.doctor()
    assert [line["level"] for line in lines] == ["ok"] * 4
    machine.stop_engine()
    machine.start_engine()  # in another control group than before
    lines = machine.doctor()
    assert [line["level"] for line in lines] == ["warn", "ok", "ok", "warn"]
    assert "have changed" in lines[0]["text"] and "what the engine fetches" in lines[3]["text"]
    machine.godploy("packet-rules", "remove")
    lines = machine.doctor()
    assert [line["level"] for line in lines] == ["bad", "bad", "bad", "warn"]
    assert all("packet-rules put" in line["advice"] for line in lines)
    assert machine.docker("ps", "-a", "--filter", "name=knock", "-q").stdout == ""
