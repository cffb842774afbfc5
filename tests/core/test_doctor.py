"""Each fact that is not well, and the line that it gives."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from godploy.core.doctor import Facts, Level, judge

WELL = Facts(
    versions={"engine API": "1.44", "git": "2.50.1", "aiohttp": "3.14.5", "runc": "1.3.3", "Traefik": "3.7.15"},
    ports={80: True},
    disks={"/data": 0.5},
    modes={"/data": 0o700, "/data/key": 0o600},
    builder="docker",
    cgroups="2",
    traefik="running",
    memory=0.5,
    schema=3,
    newest_schema=3,
)


def test_all_is_well() -> None:
    assert {(line.level, line.advice) for line in judge(WELL)} == {(Level.OK, "")}


@pytest.mark.parametrize(
    ("change", "level", "says"),
    [
        ({"engine_error": "no socket"}, Level.BAD, "engine: no socket"),
        ({"versions": {**WELL.versions, "engine API": "1.40"}}, Level.BAD, "engine: its API is 1.40"),
        ({"versions": {**WELL.versions, "engine API": "1.41"}}, Level.WARN, "engine API: 1.41 is older than 1.44"),
        (
            {"versions": {**WELL.versions, "runc": "1.1.5+ds1"}},
            Level.WARN,
            "runc: 1.1.5+ds1 is older than 1.2.8",
        ),
        ({"versions": {**WELL.versions, "runc": "1.3.2"}}, Level.WARN, "runc: 1.3.2 is older than 1.3.3"),
        (
            {"versions": {**WELL.versions, "Traefik": "3.7.2"}},
            Level.WARN,
            "Traefik: 3.7.2 is older than 3.7.3",
        ),
        ({"versions": {**WELL.versions, "Traefik": None}}, Level.BAD, "Traefik: its version could not be had"),
        ({"versions": {**WELL.versions, "git": "2.39.5"}}, Level.WARN, "git: 2.39.5 is older than 2.43.7"),
        ({"versions": {**WELL.versions, "git": "2.50.0"}}, Level.WARN, "git: 2.50.0 is older than 2.50.1"),
        ({"versions": {**WELL.versions, "git": None}}, Level.BAD, "git: its version"),
        ({"builder": "", "builder_error": "no buildx"}, Level.BAD, "BuildKit: no buildx"),
        ({"cgroups": "1"}, Level.WARN, "cgroups: version 1"),
        ({"traefik": None, "ports": {}}, Level.BAD, "Traefik: there is no container"),
        ({"traefik": "exited", "ports": {}}, Level.BAD, "Traefik: its container is exited"),
        ({"ports": {80: False}}, Level.BAD, "port 80: nothing answers"),
        ({"disks": {"/data": 0.8}}, Level.WARN, "disk: 80% of the disk of /data"),
        ({"disks": {"/data": 0.9}}, Level.BAD, "disk: 90%"),
        ({"memory": 0.01}, Level.WARN, "memory: 1% is available"),
        ({"modes": {"/data/key": 0o644}}, Level.BAD, "permissions: others may read /data/key"),
        ({"modes": {"/data": 0o755}}, Level.WARN, "permissions: others may look into /data"),
        ({"schema": None}, Level.BAD, "database: there is none"),
        ({"schema": 2}, Level.WARN, "database: at schema 2 of 3"),
        ({"schema": 4}, Level.BAD, "database: at schema 4, known is 3"),
        ({"trial": True}, Level.WARN, "upgrade: a new version is on trial"),
    ],
)
def test_what_is_not_well(change: dict[str, Any], level: Level, says: str) -> None:
    (line,) = [line for line in judge(replace(WELL, **change)) if line.level is not Level.OK]
    assert line.level is level and line.advice
    assert f"{line.subject}: {line.text}".startswith(says)


def test_a_port_that_another_program_has() -> None:
    lines = {line.subject: line for line in judge(replace(WELL, traefik="exited"))}
    assert lines["port 80"].level is Level.BAD
    assert lines["port 80"].text.startswith("another program has it")
    assert "ss -ltnp" in lines["port 80"].advice
