"""What plans do, in a sentence that a provider shows whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from godploy.core import summary
from godploy.core.facts import Context
from godploy.core.plan import Plan

from .shop import FACTS, Shop

WEB: dict[str, Any] = {"build": {}, "port": 8000}
WORKER: dict[str, Any] = {"image_from": "web", "command": ["work"]}
SITE: dict[str, Any] = {"image": "nginx:1", "port": 80}
DB: dict[str, Any] = {"template": "postgres", "parameters": {"version": "15"}}


def plan(before: Mapping[str, Any], after: Mapping[str, Any], tree: str = "a" * 40) -> Plan:
    """From one manifest to another, whose built services have these files."""
    shop = Shop(replace(FACTS, secrets={}))
    if before:
        shop.deploy(before)
    shop.tells(contexts={name: Context(tree, True) for name, service in after.items() if "build" in service})
    return shop.plan(after)


def many(image: str, count: int = 20) -> dict[str, Any]:
    return {f"service-{number}": {"image": image, "port": 80} for number in range(count)}


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ({}, {}, "changes nothing"),
        ({"web": WEB}, {"web": WEB, "worker": WORKER}, "builds web, creates worker"),
        ({"web": WEB, "worker": WORKER}, {"web": WEB, "worker": WORKER}, "builds web, updates worker"),
        ({"site": SITE}, {"site": SITE}, "changes nothing"),
        ({}, {"web": WEB, "site": SITE}, "builds and creates web, creates site, adds 1 route"),
        ({"site": SITE}, {"site": {**SITE, "image": "nginx:2"}}, "updates site"),
        ({"site": SITE}, {"site": {**SITE, "replicas": 3}}, "scales site"),
        ({"site": SITE, "web": SITE}, {"site": SITE}, "removes web, removes 1 route"),
        (
            {"site": SITE},
            {"site": {**SITE, "routes": [{"host": "a.test", "path": "/"}, {"host": "b.test", "path": "/"}]}},
            "adds 2 routes",
        ),
        ({"db": DB}, {}, "removes db, detaches 1 volume"),
        ({"db": DB}, {"db": {**DB, "parameters": {"version": "16"}}}, "updates db, 1 destructive"),
        ({"site": SITE}, {"site": {**SITE, "depends_on": []}}, "changes nothing that runs"),
        (many("nginx:1"), many("nginx:2"), "updates 20 services"),
    ],
)
def test_the_sentence(before: Mapping[str, Any], after: Mapping[str, Any], told: str) -> None:
    assert summary.sentence({"production": plan(before, after, "b" * 40)}) == told


def test_environments_are_named_where_there_are_several() -> None:
    changed, same = plan({"web": WEB}, {"web": WEB}, "b" * 40), plan({"site": SITE}, {"site": SITE})
    told = summary.sentence({"production": changed, "staging": same})
    assert told == "production: builds web; staging: changes nothing"
    assert summary.sentence({"production": None, "staging": same}).startswith("production is not fed any more")
    assert summary.sentence({}) == "feeds no environment"


def test_what_is_destructive_is_never_cut_off() -> None:
    newer = {"db": {**DB, "parameters": {"version": "16"}}}
    several = many("nginx:1")
    lost = plan({**several, "db": DB}, {**many("nginx:2"), **newer})
    assert summary.sentence({"production": lost}) == "updates 21 services, 1 destructive"
    same = plan({}, {})
    told = summary.sentence({f"environment-{n}": lost if n < 3 else same for n in range(9)})
    assert told == "changes 3 of 9 environments, 3 destructive"
    assert len(told) <= summary.LONGEST
