"""Routes, and the Traefik configuration that serves them, as data. Pure.

The words are those of Traefik's file provider, https://doc.traefik.io/traefik/reference/routing-configuration/; what
is marked [measured] was tried on Traefik 3.7.15. A rule is text in Traefik's own small language, so it is put together
from hosts and paths that were matched whole against an allow-list here, whoever checked them before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from godploy.core import naming
from godploy.core.certificates import RESOLVER

RELEASE_HEADER = "X-Godploy-Release"

_PLAIN, _ENCRYPTED = "web", "websecure"
# Any route of an app stays below Godploy's own; among themselves the longer path wins.
_APP_PRIORITY, _OWN_PRIORITY = 1_000, 1_000_000
_LOOPBACK = "(ClientIP(`127.0.0.0/8`) || ClientIP(`::1/128`))"  # one address range per matcher [measured]


@dataclass(frozen=True, slots=True)
class Route:
    """Host and path → the port of a service."""

    host: str
    path: str
    service: str
    port: int
    generated: bool = False  # a name that we made; a written host is claimed by the project
    tls: str = "auto"  # or "off": no certificate, and plain HTTP stays
    redirect_from: tuple[str, ...] = ()  # other hosts, each of which leads to this one as a whole

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, tree: Mapping[str, Any]) -> Route:
        return cls(**{**tree, "redirect_from": tuple(tree.get("redirect_from", ()))})

    @property
    def name(self) -> str:
        return f"{self.host}{self.path}"

    @property
    def hosts(self) -> tuple[str, ...]:
        """Every host that leads to it."""
        return (self.host, *self.redirect_from)


@dataclass(frozen=True, slots=True)
class Encryption:
    """`asked`: hosts whose certificates Traefik gets and renews; `certified`: hosts that have one now."""

    asked: frozenset[str] = frozenset()
    certified: frozenset[str] = frozenset()
    https_port: int = 443
    http_port: int = 80

    def tls(self, host: str) -> dict[str, str]:
        """Of a router; without a resolver it serves what certificate there is."""
        return {"certResolver": RESOLVER} if host in self.asked else {}

    def redirect(self) -> dict[str, Any]:
        """To https, for now: browsers keep a permanent one also when the host has lost its certificate."""
        scheme: dict[str, Any] = {"scheme": "https", "permanent": False}
        if self.https_port != 443:
            scheme["port"] = str(self.https_port)
        return {"redirectScheme": scheme}


def rule(host: str, path: str = "/") -> str:
    """The routing rule for a host and everything at or below a path: `/api` is not `/apiary`, which Traefik's bare
    PathPrefix would take, too. Raises ValueError for what is not a host or a path."""
    if not naming.is_host(host):
        raise ValueError(f"{host!r} is not a host")
    if not naming.is_path(path):
        raise ValueError(f"{path!r} is not a path")
    inner = path.rstrip("/")
    if not inner:
        return f"Host(`{host}`)"
    return f"Host(`{host}`) && (Path(`{inner}`) || PathPrefix(`{inner}/`))"


def traefik(
    stack: str,
    release: str,
    routes: Sequence[Route],
    servers: Mapping[str, Sequence[str]],
    stopped: frozenset[str] = frozenset(),
    encryption: Encryption = Encryption(),
) -> dict[str, Any]:
    """The file of one stack: its routes on both entry points, each answer marked with the release.

    `servers` gives the addresses (`http://10.213.0.5:8000`) of each service. A service without servers, which a
    stopped one is made to be, is answered with 503, the header included [measured]; nothing else is as simple, and
    the route keeps its host from falling through to another. Plain HTTP of a host that has a certificate is sent to
    HTTPS, the mark of the release included. Without routes the result is empty, and so may the file.
    Raises ValueError for a host, path or address that is none.
    """
    if not routes:
        return {}
    release_mark, to_https = f"{stack}-release", f"{stack}-https"
    middlewares: dict[str, Any] = {release_mark: {"headers": {"customResponseHeaders": {RELEASE_HEADER: release}}}}
    routers: dict[str, Any] = {}
    services: dict[str, Any] = {}
    for number, route in enumerate(sorted(routes, key=lambda route: (route.host, route.path))):
        service = f"{stack}-{route.service}-{route.port}"
        router: dict[str, Any] = {
            "rule": rule(route.host, route.path),
            "service": service,
            "middlewares": [release_mark],
            "priority": _APP_PRIORITY + len(route.path.rstrip("/")),
        }
        plain = {**router, "entryPoints": [_PLAIN]}
        if route.tls == "auto" and route.host in encryption.certified:
            plain["middlewares"] = [release_mark, to_https]
            middlewares[to_https] = encryption.redirect()
        tls = encryption.tls(route.host) if route.tls == "auto" else {}
        routers[f"{stack}-{number}"] = plain
        routers[f"{stack}-{number}-tls"] = {**router, "entryPoints": [_ENCRYPTED], "tls": tls}
        for position, host in enumerate(route.redirect_from):
            moved = f"{stack}-{number}-from-{position}"
            middlewares[moved] = _moved(route, encryption)
            ways = {"rule": rule(host), "service": service, "middlewares": [moved], "priority": _APP_PRIORITY}
            routers[moved] = {**ways, "entryPoints": [_PLAIN]}
            tls = encryption.tls(host) if route.tls == "auto" else {}
            routers[f"{moved}-tls"] = {**ways, "entryPoints": [_ENCRYPTED], "tls": tls}
        services[service] = _balancer(() if route.service in stopped else servers.get(route.service, ()))
    return {"http": {"routers": routers, "services": services, "middlewares": middlewares}}


def _moved(route: Route, encryption: Encryption) -> dict[str, Any]:
    """To the route's host at once, for good, and to HTTPS where it has a certificate."""
    secure = route.tls == "auto" and route.host in encryption.certified
    scheme, port, usual = ("https", encryption.https_port, 443) if secure else ("http", encryption.http_port, 80)
    host = route.host if port == usual else f"{route.host}:{port}"
    return {"redirectRegex": {"regex": "^https?://[^/]+/?(.*)$", "replacement": f"{scheme}://{host}/${{1}}",
                              "permanent": True}}  # fmt: skip


def own(hosts: Sequence[str], url: str, encryption: Encryption = Encryption()) -> dict[str, Any]:
    """The file of Godploy itself, which listens at `url` (`http://127.0.0.1:8400`).

    On https every host of `hosts` (the reserved one, `localhost`, the machine's addresses) is the dashboard, the API
    and the git remote. On plain http `/hooks/` is answered, since some git servers cannot verify our certificate, and
    clients on the loopback address get everything; all others are sent to https, whose certificate is the machine's own
    until there is a better one.
    Raises ValueError for a host or address that is none.
    """
    routers: dict[str, Any] = {}
    for number, host in enumerate(hosts):
        whole, hooks = rule(host), rule(host, "/hooks")
        forward = {"service": "godploy"}
        routers[f"godploy-{number}-tls"] = {
            **forward, "rule": whole, "entryPoints": [_ENCRYPTED], "tls": encryption.tls(host),
            "priority": _OWN_PRIORITY,
        }  # fmt: skip
        plain = {"entryPoints": [_PLAIN]}
        routers[f"godploy-{number}-hooks"] = {**forward, **plain, "rule": hooks, "priority": _OWN_PRIORITY + 2}
        routers[f"godploy-{number}-loopback"] = {
            **forward, **plain, "rule": f"{whole} && {_LOOPBACK}", "priority": _OWN_PRIORITY + 1,
        }  # fmt: skip
        routers[f"godploy-{number}-https"] = {
            **forward, **plain, "rule": whole, "priority": _OWN_PRIORITY, "middlewares": ["godploy-https"],
        }  # fmt: skip
    middlewares = {"godploy-https": encryption.redirect()}
    return {"http": {"routers": routers, "services": {"godploy": _balancer((url,))}, "middlewares": middlewares}}


def _balancer(urls: Sequence[str]) -> dict[str, Any]:
    for url in urls:
        scheme, _, address = url.partition("://")
        host, _, port = address.rpartition(":")
        if scheme != "http" or not naming.is_host(host) or not port.isdecimal():
            raise ValueError(f"{url!r} is not the address of a server")
    # Without a `servers` key Traefik takes the service as well; an explicit empty list reads as what it is.
    return {"loadBalancer": {"servers": [{"url": url} for url in urls], "passHostHeader": True}}
