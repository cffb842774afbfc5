"""The configuration that Traefik is given, as data."""

from __future__ import annotations

import json

import pytest

from godploy.core.routing import Encryption, Route, own, rule, traefik

ROUTES = (
    Route("shop.test", "/", "web", 8000),
    Route("shop.test", "/api/", "api", 9000),
    Route("web-shop.apps.test", "/", "web", 8000, generated=True),
)


def test_a_stack() -> None:
    config = traefik("s1", "r1", ROUTES, {"web": ["http://10.0.0.2:8000"], "api": ["http://10.0.0.3:9000"]})
    http = config["http"]
    assert http["routers"]["s1-0"] == {
        "rule": "Host(`shop.test`)",
        "service": "s1-web-8000",
        "middlewares": ["s1-release"],
        "priority": 1000,
        "entryPoints": ["web"],
    }
    assert http["routers"]["s1-1-tls"] == {
        "rule": "Host(`shop.test`) && (Path(`/api`) || PathPrefix(`/api/`))",
        "service": "s1-api-9000",
        "middlewares": ["s1-release"],
        "priority": 1004,
        "entryPoints": ["websecure"],
        "tls": {},
    }
    assert http["services"] == {
        "s1-web-8000": {"loadBalancer": {"servers": [{"url": "http://10.0.0.2:8000"}], "passHostHeader": True}},
        "s1-api-9000": {"loadBalancer": {"servers": [{"url": "http://10.0.0.3:9000"}], "passHostHeader": True}},
    }
    assert http["middlewares"] == {"s1-release": {"headers": {"customResponseHeaders": {"X-Godploy-Release": "r1"}}}}
    assert len(http["routers"]) == 6
    json.dumps(config)


def test_a_stopped_service_has_no_servers_whatever_runs() -> None:
    config = traefik("s1", "r1", ROUTES[:1], {"web": ["http://10.0.0.2:8000"]}, frozenset({"web"}))
    assert config["http"]["services"]["s1-web-8000"]["loadBalancer"]["servers"] == []


def test_nothing_to_route_is_no_file() -> None:
    assert traefik("s1", "r1", (), {}) == {}


@pytest.mark.parametrize(
    "host",
    ["", "a`) || Host(`b", "*.shop.test", "Shop.test", "shop.test.", "shop..test", "-a.test", "a b", "a/b", "a:80",
     "a\n", "a" * 64 + ".test", ".".join(["a" * 60] * 5)],
)  # fmt: skip
def test_only_hosts_become_rules(host: str) -> None:
    with pytest.raises(ValueError, match="is not a host"):
        rule(host)


@pytest.mark.parametrize("path", ["", "api", "/a`", "/a b", "/a\n", '/"', "/{x}", "/%zz", "/a\\b", "/" + "a" * 1024])
def test_only_paths_become_rules(path: str) -> None:
    with pytest.raises(ValueError, match="is not a path"):
        rule("shop.test", path)


@pytest.mark.parametrize(
    "url", ["https://10.0.0.2:80", "http://10.0.0.2", "file:///etc", "http://a b:80", "http://:80"]
)
def test_only_addresses_become_servers(url: str) -> None:
    with pytest.raises(ValueError, match="address of a server"):
        traefik("s1", "r1", ROUTES[:1], {"web": [url]})


def test_our_own_route() -> None:
    http = own(["deploy.test", "localhost"], "http://127.0.0.1:8400", Encryption(https_port=8443))["http"]
    assert http["routers"]["godploy-0-tls"]["entryPoints"] == ["websecure"]
    assert (
        http["routers"]["godploy-0-hooks"]["rule"] == "Host(`deploy.test`) && (Path(`/hooks`) || PathPrefix(`/hooks/`))"
    )
    assert "ClientIP" in http["routers"]["godploy-1-loopback"]["rule"]
    assert http["routers"]["godploy-0-https"]["middlewares"] == ["godploy-https"]
    assert http["middlewares"]["godploy-https"]["redirectScheme"]["port"] == "8443"
    by_priority = sorted(
        (r["priority"], name) for name, r in http["routers"].items() if r["entryPoints"] == ["web"] and "-0-" in name
    )
    assert [name for _, name in by_priority] == ["godploy-0-https", "godploy-0-loopback", "godploy-0-hooks"]
    app = traefik("s1", "r1", [Route("a.test", "/" + "x" * 1000, "web", 80)], {})
    assert max(r["priority"] for r in app["http"]["routers"].values()) < by_priority[0][0]


def test_routes_are_stored_as_json() -> None:
    assert [Route.from_json(json.loads(json.dumps(route.to_json()))) for route in ROUTES] == list(ROUTES)


def test_hosts_with_and_without_certificates() -> None:
    routes = [
        Route("asked.test", "/", "web", 80),
        Route("has.test", "/", "web", 80),
        Route("has.test", "/open", "web", 80, tls="off"),
        Route("none.test", "/", "web", 80),
    ]
    encryption = Encryption(frozenset({"asked.test", "has.test"}), frozenset({"has.test"}), 8443)
    http = traefik("s1", "r1", routes, {"web": ["http://10.0.0.2:80"]}, encryption=encryption)["http"]
    routers = http["routers"]
    assert [routers[f"s1-{number}-tls"]["tls"] for number in range(4)] == [
        {"certResolver": "acme"}, {"certResolver": "acme"}, {}, {},
    ]  # fmt: skip
    assert [routers[f"s1-{number}"]["middlewares"][1:] for number in range(4)] == [[], ["s1-https"], [], []]
    assert http["middlewares"]["s1-https"] == {
        "redirectScheme": {"scheme": "https", "permanent": False, "port": "8443"}
    }
    ours = own(["has.test", "localhost"], "http://127.0.0.1:8400", encryption)["http"]["routers"]
    assert ours["godploy-0-tls"]["tls"] == {"certResolver": "acme"}
    assert ours["godploy-1-tls"]["tls"] == {}


@pytest.mark.parametrize(
    ("encryption", "target"),
    [
        (Encryption(), "http://a.test/${1}"),
        (Encryption(http_port=8080), "http://a.test:8080/${1}"),
        (Encryption(frozenset({"a.test", "www.test"}), frozenset({"a.test"})), "https://a.test/${1}"),
        (Encryption(frozenset({"www.test"}), frozenset({"www.test"})), "http://a.test/${1}"),
    ],
)
def test_hosts_that_redirect(encryption: Encryption, target: str) -> None:
    route = Route("a.test", "/api", "web", 80, redirect_from=("www.test",))
    assert Route.from_json(json.loads(json.dumps(route.to_json()))) == route
    http = traefik("s1", "r1", [route], {"web": ["http://10.0.0.2:80"]}, encryption=encryption)["http"]
    plain, encrypted = http["routers"]["s1-0-from-0"], http["routers"]["s1-0-from-0-tls"]
    assert plain["rule"] == encrypted["rule"] == "Host(`www.test`)"
    assert encrypted["tls"] == ({"certResolver": "acme"} if "www.test" in encryption.asked else {})
    (name,) = plain["middlewares"]
    moved = http["middlewares"][name]["redirectRegex"]
    assert (moved["replacement"], moved["permanent"]) == (target, True)


def test_a_route_from_before_there_were_certificates_is_auto() -> None:
    old = {"host": "a.test", "path": "/", "service": "web", "port": 80, "generated": False}
    assert Route.from_json(old).tls == "auto"
