"""Which hosts lead to which services: written ones are claimed, generated ones are made, each with its rules.

A host belongs to one project and acts in one environment of it; outside production a host of the top level becomes a
generated name, so that staging cannot take production's traffic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from godploy.core import naming
from godploy.core.complaints import Complaints
from godploy.core.facts import Facts, HostFact
from godploy.core.problems import Path
from godploy.core.routing import Route

AUTO = "auto"
PRODUCTION = "production"
_FREE = HostFact("free")


def written_hosts(definitions: Mapping[str, Mapping[str, Any]]) -> frozenset[str]:
    """The hosts that the definitions claim; those inherited from production are not claimed elsewhere."""
    found: set[str] = set()
    for service, definition in definitions.items():
        for route in wanted(service, definition):
            if not route.get("inherited"):
                found.update((route["host"], *route.get("redirect_from", ())))
    return frozenset(found - {AUTO})


def wanted(service: str, definition: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The routes as the manifest means them: `web` has a generated one where it says nothing, others have none."""
    if "routes" in definition:
        routes: Sequence[Mapping[str, Any]] = definition["routes"] or ()
        return routes
    if service == "web" and definition.get("port") is not None:
        return ({"host": AUTO, "path": "/"},)
    return ()


def resolve(
    definitions: Mapping[str, Mapping[str, Any]],
    facts: Facts,
    current: Sequence[Route],
    complaints: Complaints,
) -> tuple[Route, ...]:
    """The routes of the stack, by host and path; complains of hosts that it may not have."""
    names = _Names(facts, frozenset(route.host for route in current if route.generated))
    inherited = _inherited_names(definitions, names)
    routes: dict[str, Route] = {}
    for service, definition in definitions.items():
        port = definition.get("port")
        if port is None:
            continue
        for position, written in enumerate(wanted(service, definition)):
            path: Path = ("services", service, "routes", position)
            host, where, tls = written["host"], written.get("path", "/"), written.get("tls", "auto")
            moved = () if written.get("inherited") else tuple(written.get("redirect_from", ()))
            for other in moved:
                check_host(other, "/", facts, path, complaints)
            if host == AUTO:
                route = Route(names.of(service), where, service, port, generated=True, tls=tls, redirect_from=moved)
            elif written.get("inherited"):
                route = Route(inherited[host], where, service, port, generated=True, tls=tls)
            else:
                check_host(host, where, facts, path, complaints)
                route = Route(host, where, service, port, tls=tls, redirect_from=moved)
            first = routes.setdefault(route.name, route)
            if first.service != service:
                complaints.add(path, f"{route.name} leads to {first.service} already")
    return tuple(sorted(routes.values(), key=lambda route: (route.host, route.path)))


def check_host(host: str, where: str, facts: Facts, path: Path, complaints: Complaints) -> None:
    """Complains of a host that this environment may not have; whose it is instead stays untold."""
    fact = facts.hosts.get(host, _FREE)
    allowed = facts.policy.hosts
    if fact.owner == "refused":
        complaints.add(path, f"{host} may not be used here")
    elif fact.owner == "reserved":
        complaints.add(path, f"{host} is reserved for Godploy itself")
    elif fact.owner == "other":
        complaints.fail(path, "host_taken", host=host)
    elif fact.environment is not None and fact.environment != facts.environment:
        complaints.add(path, f"{host} is served by the environment {fact.environment} of this project")
    elif where in fact.paths:
        complaints.add(path, f"{host}{where} is served by the service {fact.paths[where]} of another stack")
    elif allowed is not None and not any(matches(host, pattern) for pattern in allowed):
        complaints.add(path, f"this server's policy allows the hosts {', '.join(allowed)}; {host} is none of them")


def matches(name: str, pattern: str) -> bool:
    """Whether a name is the pattern itself or, for `*.suffix`, anything below the suffix."""
    return name.endswith(pattern[1:]) if pattern.startswith("*.") else name == pattern


class _Names:
    """Makes generated hosts; a name that the stack has keeps being its own, also when a shorter one becomes free."""

    def __init__(self, facts: Facts, held: frozenset[str]) -> None:
        self._facts, self._held = facts, held

    def of(self, *parts: str) -> str:
        facts = self._facts
        whole = [*parts, facts.project]
        if facts.environment != PRODUCTION:
            whole.append(facts.environment)
        short = naming.generated_host(whole, facts.apps_domain)
        longer = naming.generated_host([*whole, facts.short_id], facts.apps_domain)
        if short in self._held:
            return short
        return longer if longer in self._held or short in facts.taken_names else short


def _inherited_names(definitions: Mapping[str, Mapping[str, Any]], names: _Names) -> dict[str, str]:
    """The generated name that stands for each host of the top level, shared by all services on it. It is named after
    the service at its shortest path; a further host of that service also carries its own name."""
    sharing: dict[str, list[tuple[int, str]]] = {}
    for service, definition in definitions.items():
        for route in wanted(service, definition):
            if route.get("inherited") and route["host"] != AUTO:
                sharing.setdefault(route["host"], []).append((len(route.get("path", "/")), service))
    made: dict[str, str] = {}
    named: set[str] = set()
    for host, users in sharing.items():
        service = min(users, key=lambda user: user[0])[1]
        made[host] = names.of(service) if service not in named else names.of(service, host)
        named.add(service)
    return made
