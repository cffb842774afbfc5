"""Which names lead where: written and generated hosts, and the rules between projects and environments."""

from __future__ import annotations

from typing import Any

import pytest

from godploy.core.facts import HostFact, Policy
from godploy.core.hosts import written_hosts
from godploy.errors import Invalid

from .shop import Shop

WEB: dict[str, Any] = {"image": "nginx:1", "port": 80}


def routed(*routes: Any, **more: Any) -> dict[str, Any]:
    written = []
    for route in routes:
        host, slash, path = route.partition("/")
        written.append({"host": host, "path": f"/{path}" if slash else "/", **more})
    return {**WEB, "routes": written}


def names(shop: Shop, definitions: dict[str, Any]) -> list[str]:
    return [f"{route.name} → {route.service}" for route in shop.plan(definitions).routes]


def problem(shop: Shop, definitions: dict[str, Any]) -> str:
    with pytest.raises(Invalid) as raised:
        shop.plan(definitions)
    (only,) = raised.value.problems
    return only


@pytest.mark.parametrize(
    ("environment", "definitions", "expected"),
    [
        ("production", {"web": WEB}, ["web-shop.apps.test/ → web"]),
        ("staging", {"web": WEB}, ["web-shop-staging.apps.test/ → web"]),
        ("production", {"api": WEB}, []),
        ("production", {"web": {"image": "nginx:1"}}, []),
        ("production", {"web": routed()}, []),
        ("production", {"api": routed("auto/v1")}, ["api-shop.apps.test/v1 → api"]),
        ("production", {"web": routed("shop.test", "auto")}, ["shop.test/ → web", "web-shop.apps.test/ → web"]),
    ],
)
def test_names(environment: str, definitions: dict[str, Any], expected: list[str]) -> None:
    shop = Shop()
    shop.tells(environment=environment)
    assert names(shop, definitions) == expected


def test_a_host_of_the_top_level_becomes_one_generated_name_elsewhere() -> None:
    shop = Shop()
    shop.tells(environment="staging")
    definitions = {
        "api": routed("shop.test/api", inherited=True),
        "web": routed("shop.test", "admin.shop.test", inherited=True),
    }
    assert names(shop, definitions) == [
        "web-admin-shop-test-shop-staging.apps.test/ → web",
        "web-shop-staging.apps.test/ → web",
        "web-shop-staging.apps.test/api → api",
    ]


def test_a_generated_name_that_is_taken_gets_an_id_and_keeps_it() -> None:
    shop = Shop()
    shop.tells(taken_names=frozenset({"web-shop.apps.test"}))
    shop.deploy({"web": WEB})
    assert [route.host for route in shop.routes] == ["web-shop-x7k.apps.test"]
    shop.tells(taken_names=frozenset())
    assert shop.plan({"web": WEB}).empty


def test_a_name_that_we_have_is_kept_whoever_else_wants_it() -> None:
    shop = Shop()
    shop.deploy({"web": WEB})
    shop.tells(taken_names=frozenset({"web-shop.apps.test"}))
    assert shop.plan({"web": WEB}).empty


@pytest.mark.parametrize(
    ("fact", "said"),
    [
        (HostFact("other"), "shop.test belongs to another project; choose another host"),
        (HostFact("reserved"), "shop.test is reserved for Godploy itself"),
        (HostFact("project", "staging"), "shop.test is served by the environment staging of this project"),
        (HostFact("project", "production", {"/": "blog"}), "shop.test/ is served by the service blog of another stack"),
    ],
)
def test_hosts_that_one_may_not_have(fact: HostFact, said: str) -> None:
    shop = Shop()
    shop.tells(hosts={"shop.test": fact})
    found = problem(shop, {"web": routed("shop.test")})
    assert found.startswith(f"godploy.yaml: services.web.routes[0]: {said}")


@pytest.mark.parametrize(
    "fact", [HostFact("free"), HostFact("project"), HostFact("project", "production", {"/a": "x"})]
)
def test_hosts_that_one_may_have(fact: HostFact) -> None:
    shop = Shop()
    shop.tells(hosts={"shop.test": fact})
    assert names(shop, {"web": routed("shop.test")}) == ["shop.test/ → web"]


def test_hosts_are_held_to_the_policy() -> None:
    shop = Shop()
    shop.tells(policy=Policy(hosts=("*.shop.test",)))
    assert names(shop, {"web": routed("a.shop.test")})
    assert "policy allows the hosts *.shop.test; shop.test is none of them" in problem(
        shop, {"web": routed("shop.test")}
    )


def test_two_services_on_one_place() -> None:
    assert problem(Shop(), {"a": routed("shop.test"), "b": routed("shop.test")}).endswith("leads to a already")


def test_changed_routes_touch_no_service() -> None:
    shop = Shop()
    shop.deploy({"web": routed("shop.test")})
    plan = shop.plan({"web": routed("www.shop.test")})
    assert plan.services[0].action == "unchanged"
    assert plan.routes_added == ("www.shop.test/ → web",)
    assert plan.routes_removed == ("shop.test/ → web",)
    assert not plan.empty


def test_hosts_that_redirect_are_had_as_hosts_are() -> None:
    shop = Shop()
    definitions = {"web": routed("shop.test", redirect_from=["www.shop.test"])}
    plan = shop.plan(definitions)
    assert plan.routes_added == ("shop.test/ → web", "www.shop.test → shop.test")
    assert written_hosts(definitions) == {"shop.test", "www.shop.test"}
    shop.tells(hosts={"www.shop.test": HostFact("other")})
    assert "www.shop.test" in problem(shop, definitions)
    inherited = {"web": routed("shop.test", redirect_from=["www.shop.test"], inherited=True)}
    assert written_hosts(inherited) == frozenset()
    shop.tells(environment="staging")
    assert [route.redirect_from for route in shop.plan(inherited).routes] == [()]


def test_a_route_without_certificates_is_another_route() -> None:
    shop = Shop()
    definitions = {"web": routed("shop.test", tls="off")}
    plan = shop.plan(definitions)
    assert [route.tls for route in plan.routes] == ["off"]
    assert plan.routes_added == ("shop.test/ → web, tls off",)
