"""Each thing that the rest of the world may see of a server, and the line that it gives."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from godploy.core.certificates import Standing, State
from godploy.core.doctor import Level
from godploy.core.doctor_hosts import Named, Outside, judge

OWN, SHOP = "deploy.example.com", "shop.example.com"
NOW = 1_800_000_000.0  # 2027-01-15 08:00 UTC
VALID = Standing(OWN, State.VALID, NOW, "Test CA")
WELL = Outside(
    names=[Named(OWN, ["8.8.4.4"]), Named("*.apps.example.com", ["8.8.4.4"])],
    server=["8.8.4.4", "10.0.0.2"],
    clock=0.4,
    clock_error="",
    asks=True,
    public=True,
    certificates=[VALID],
)


def test_all_is_well() -> None:
    lines = judge(WELL)
    assert {(line.level, line.advice) for line in lines} == {(Level.OK, "")}
    assert [f"{line.subject}: {line.text}" for line in lines] == [
        "DNS: deploy.example.com leads to 8.8.4.4, which is this server",
        "DNS: *.apps.example.com leads to 8.8.4.4, which is this server",
        "clock: agrees with that of the certificate authority",
        "certificate of deploy.example.com: valid until 2027-01-15, from Test CA",
    ]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"clock": None, "clock_error": "nobody to ask"}, "clock: not checked: nobody to ask"),
        ({"server": ["10.0.0.2"]},
         "DNS: deploy.example.com leads to 8.8.4.4; this server, which has no public address of its own, cannot tell "
         "whose it is"),
        ({"asks": False, "public": False, "certificates": []}, "certificates: none is asked for: Godploy's own host"),
        ({"certificates": []}, "certificates: there is no host yet"),
        ({"certificates": [Standing(SHOP, State.ASKED)]}, "certificate of shop.example.com: it is being asked for"),
        ({"certificates": [Standing(SHOP, State.WAITING)]}, "certificate of shop.example.com: none yet: the server"),
    ],
)  # fmt: skip
def test_what_is_well_or_nobody_knows(change: dict[str, Any], says: str) -> None:
    lines = judge(replace(WELL, **change))
    assert {line.level for line in lines} == {Level.OK}
    assert any(f"{line.subject}: {line.text}".startswith(says) for line in lines)


@pytest.mark.parametrize(
    ("change", "level", "says"),
    [
        ({"names": [Named(OWN, [])]}, Level.BAD,
         "DNS: deploy.example.com leads nowhere: DNS has no address for it; this server is 8.8.4.4"),
        ({"names": [Named("*.apps.example.com", ["9.9.9.9"])]}, Level.WARN,
         "DNS: *.apps.example.com leads to 9.9.9.9, this server is 8.8.4.4"),
        ({"clock": 61.0}, Level.WARN, "clock: 61 s ahead of that of the certificate authority"),
        ({"clock": -4000.0}, Level.BAD, "clock: 4000 s behind that of the certificate authority"),
        ({"asks": False, "certificates": []}, Level.WARN, "certificates: none is asked for, since there is no e-mail"),
        ({"certificates": None}, Level.WARN, "certificates: which hosts there are stands in the database"),
        ({"certificates": [replace(VALID, error="it was not renewed in time")]}, Level.WARN,
         "certificate of deploy.example.com: valid until 2027-01-15, from Test CA; it was not renewed in time"),
        ({"certificates": [Standing(SHOP, State.WAITING, error="no way", next_at=NOW)]}, Level.WARN,
         "certificate of shop.example.com: there is none: no way; it is tried again at 2027-01-15 08:00 UTC"),
        ({"certificates": [Standing(SHOP, State.ASKED, error="no way")]}, Level.WARN,
         "certificate of shop.example.com: there is none: no way; it is being asked for again"),
    ],
)  # fmt: skip
def test_what_is_not_well(change: dict[str, Any], level: Level, says: str) -> None:
    (line,) = [line for line in judge(replace(WELL, **change)) if line.level is not Level.OK]
    assert line.level is level
    assert line.advice
    assert f"{line.subject}: {line.text}".startswith(says)
