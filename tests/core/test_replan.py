"""Rollback, restart and config: plans from a release that is there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from godploy.core.facts import Context, HostFact, Neighbour
from godploy.core.model import Kind
from godploy.errors import Invalid

from .shop import FACTS, Shop, actions, order, reasons


def definitions(image: str = "nginx:1") -> dict[str, Any]:
    return {
        "web": {"build": {}, "port": 8000, "env": {"URL": "${services.db.url}"}, "secrets": ["KEY"]},
        "site": {"image": image, "port": 80, "replicas": 2},
        "db": {"template": "postgres", "parameters": {"version": "15"}},
    }


@pytest.fixture
def shop() -> Shop:
    shop = Shop(replace(FACTS, secrets={"KEY": 3, "OTHER": 1}))
    shop.deploy(definitions())
    return shop


def test_rollback_brings_back_what_differs_and_nothing_else(shop: Shop) -> None:
    old = shop.copy()
    shop.tells(contexts={"web": Context("b" * 64, dockerfile=True)})
    shop.deploy({**definitions(), "added": {"image": "nginx:1", "port": 80}})
    plan = shop.return_to(Kind.ROLLBACK, old)
    assert actions(plan) == {"db": "unchanged", "web": "update", "site": "unchanged", "added": "remove"}
    assert reasons(plan, "web") == ("context tree bbbb… → aaaa…",)
    assert not plan.release_commands
    assert "data is not rolled back" in plan.notes[0]
    web = next(s for s in plan.services if s.service == "web")
    assert web.specification == old.current["web"].specification
    assert web.workload == shop.current["web"].workload
    assert web.generation == shop.current["web"].generation + 1
    assert shop.become(plan).routes == old.routes
    assert shop.return_to(Kind.ROLLBACK, old).empty


def test_rollback_takes_secrets_as_they_are_now(shop: Shop) -> None:
    old = shop.copy()
    shop.tells(secrets={"KEY": 4})
    shop.deploy(definitions("nginx:2"), secret_updates=frozenset({"KEY"}))
    plan = shop.return_to(Kind.ROLLBACK, old)
    assert actions(plan) == {"db": "unchanged", "web": "unchanged", "site": "update"}


def test_rollback_from_a_changed_secret_takes_the_former_version(shop: Shop) -> None:
    old = shop.copy()
    shop.tells(secrets={"KEY": 4})
    shop.become(shop.return_to(Kind.CONFIG))
    plan = shop.return_to(Kind.ROLLBACK, old, former_secrets={"KEY": 3})
    assert actions(plan)["web"] == "update"
    assert reasons(plan, "web") == ("secret KEY v4 → v3",)


def test_rollback_to_a_lost_secret_fails_before_anything_stops(shop: Shop) -> None:
    old = shop.copy()
    shop.tells(secrets={})
    with pytest.raises(Invalid) as raised:
        shop.return_to(Kind.ROLLBACK, old)
    assert raised.value.code == "missing_secret"
    assert raised.value.next_step == "godploy secrets set KEY --environment production"


def test_rollback_to_a_lost_host_or_neighbour_fails(shop: Shop) -> None:
    shop.tells(neighbours={"mail": Neighbour("s2", "the dashboard manifest", {"url": "smtp://mail"})})
    site = {"image": "nginx:1", "port": 80, "env": {"MAIL": "${services.mail.url}"}}
    shop.deploy({"site": {**site, "routes": [{"host": "shop.test", "path": "/"}]}})
    old = shop.copy()
    shop.deploy({"site": {"image": "nginx:2", "port": 80}})
    shop.tells(neighbours={}, hosts={"shop.test": HostFact("other")})
    with pytest.raises(Invalid) as raised:
        shop.return_to(Kind.ROLLBACK, old)
    assert raised.value.problems == (
        "services.site.env.MAIL: ${services.mail.url}: the environment has no service mail",
        "services.site.routes: shop.test belongs to another project; "
        "choose another host, or ask a server administrator for it",
    )


def test_rollback_over_a_major_version_is_destructive(shop: Shop) -> None:
    old = shop.copy()
    newer = {**definitions(), "db": {"template": "postgres", "parameters": {"version": "16"}}}
    shop.deploy(newer)
    assert shop.return_to(Kind.ROLLBACK, old).destructive


def test_rollback_scales_where_only_replicas_differ(shop: Shop) -> None:
    old = shop.copy()
    shop.deploy({**definitions(), "site": {"image": "nginx:1", "port": 80, "replicas": 5}})
    plan = shop.return_to(Kind.ROLLBACK, old)
    assert actions(plan) == {"db": "unchanged", "web": "unchanged", "site": "scale"}
    assert reasons(plan, "site") == ("replicas 5 → 2",)


def test_restart_of_one_and_of_all(shop: Shop) -> None:
    plan = shop.return_to(Kind.RESTART, restart=frozenset({"site"}))
    assert actions(plan) == {"db": "unchanged", "web": "unchanged", "site": "restart"}
    assert next(s.generation for s in plan.services if s.service == "site") == 2
    assert plan.release_commands
    plan = shop.return_to(Kind.RESTART)
    assert set(actions(plan).values()) == {"restart"}
    assert order(plan)[0] == "site"


def test_restart_of_nobody_is_refused(shop: Shop) -> None:
    with pytest.raises(Invalid) as raised:
        shop.return_to(Kind.RESTART, restart=frozenset({"wbe"}))
    assert raised.value.problems == ("services: there is no service wbe in this stack",)


def test_restart_takes_waiting_secrets(shop: Shop) -> None:
    shop.tells(secrets={"KEY": 4})
    plan = shop.return_to(Kind.RESTART, restart=frozenset({"site"}))
    assert actions(plan) == {"db": "unchanged", "web": "update", "site": "restart"}


def test_config_touches_who_names_the_secret(shop: Shop) -> None:
    shop.tells(secrets={"KEY": 4, "OTHER": 2})
    plan = shop.return_to(Kind.CONFIG, changed_secrets=frozenset({"KEY"}))
    assert actions(plan) == {"db": "unchanged", "web": "update", "site": "unchanged"}
    assert reasons(plan, "web") == ("secret KEY v3 → v4",)
    assert shop.return_to(Kind.CONFIG, changed_secrets=frozenset({"OTHER"})).empty


def test_config_follows_a_neighbours_value(shop: Shop) -> None:
    shop.tells(neighbours={"mail": Neighbour("s2", "the dashboard manifest", {"url": "smtp://mail"})})
    shop.deploy({"site": {"image": "nginx:1", "port": 80, "env": {"MAIL": "${services.mail.url}"}}})
    shop.tells(neighbours={"mail": Neighbour("s2", "the dashboard manifest", {"url": "smtp://post"})})
    plan = shop.return_to(Kind.CONFIG)
    assert reasons(plan, "site") == ("${services.mail.url} in env MAIL has another value",)
    assert plan.references == {"mail.url": "smtp://post"}
