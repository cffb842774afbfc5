"""What must hold between the services of a manifest, and between the keys of each, in one environment. Pure.

Every check looks at definitions as they are after merging and yields problems with paths as in the merged services;
the manifest finds the place in the file. What only the server can know (services of other stacks, secrets that are
set, hosts of other projects) is the plan's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from godploy.core import schema, template
from godploy.core.problems import Path, Problem
from godploy.core.references import BadReferenceError, Reference, references

Definitions = Mapping[str, Mapping[str, Any]]

OFFERED_BY_PORT = ("host", "port", "url")


def problems(
    services: Definitions, templates: Mapping[str, template.Template], *, unsound: frozenset[str] = frozenset()
) -> Iterator[Problem]:
    """All that contradicts itself. `unsound` services have mistakes of their own that were told already: what follows
    from them only is left out."""
    for name, service in services.items():
        yield from _image(name, service, services, unsound)
        if name not in unsound:
            yield from _without_port(name, service)
        yield from _keys(name, service)
        yield from _template(name, service, templates)
        for reference, path in mentions(name, service):
            if reference.kind == "services" and reference.name not in unsound:
                yield from _offer(reference, path, services, templates)
    yield from _circles(_images(services), "image_from goes in a circle")
    yield from _circles(_needs(services), "these services wait for each other")
    yield from _doubled_routes(services)


def mentions(name: str, service: Mapping[str, Any]) -> Iterator[tuple[Reference, Path]]:
    """Every reference in the values of a service, and where it stands."""
    texts: list[tuple[str, Path]] = []
    for variable, text in service.get("env", {}).items():
        texts.append((text, ("services", name, "env", variable)))
    for key in ("command", "entrypoint", "release_command"):
        texts += [(word, ("services", name, key, n)) for n, word in enumerate(service.get(key, ()))]
    for text, path in texts:
        try:
            found = references(text)
        except BadReferenceError:
            continue  # told where the value was read
        yield from ((reference, path) for reference in found)


def _without_port(name: str, service: Mapping[str, Any]) -> Iterator[Problem]:
    if "port" in service or "template" in service:
        return
    if "health" in service:
        yield Problem(
            ("services", name, "health"), "health asks the port of a service, and this one has none; add port"
        )
    if service.get("routes"):
        yield Problem(
            ("services", name, "routes"), "routes lead to the port of a service, and this one has none; add port"
        )


def _keys(name: str, service: Mapping[str, Any]) -> Iterator[Problem]:
    at: Path = ("services", name)
    port = service.get("port")
    if port is not None and "settle" in service.get("deploy", {}):
        yield Problem(
            (*at, "deploy", "settle"), "settle is for services without a port; with one, health says when it is up"
        )
    unshared = [volume["name"] for volume in service.get("volumes", ()) if not volume["shared"]]
    if unshared:
        one = f"the volume {unshared[0]} is for one container at a time; write shared: true with it, or "
        if service.get("replicas", 1) > 1:
            yield Problem((*at, "replicas"), f"{one}leave replicas out")
        if service.get("deploy", {}).get("strategy") == "rolling":
            yield Problem((*at, "deploy", "strategy"), f"{one}take the strategy replace")
    env = service.get("env", {})
    for number, secret in enumerate(service.get("secrets", ())):
        if secret in env:
            yield Problem((*at, "secrets", number), f"{secret} stands under env as well; leave one of them out")
    if port is not None and env.get("PORT", str(port)) != str(port):
        yield Problem((*at, "env", "PORT"), f"port is {port}, and the service is told so as PORT; leave this one out")


def _image(name: str, service: Mapping[str, Any], services: Definitions, unsound: frozenset[str]) -> Iterator[Problem]:
    other = service.get("image_from")
    path: Path = ("services", name, "image_from")
    if other is None or other in unsound:
        return
    if other not in services:
        yield Problem(path, f'there is no service "{other}" here{schema.near(other, services)}')
    elif "template" in services[other]:
        yield Problem(path, f"{other} comes from a template; its image is not for other services")


def _template(name: str, service: Mapping[str, Any], templates: Mapping[str, template.Template]) -> Iterator[Problem]:
    wanted = service.get("template")
    if wanted is None:
        return
    path: Path = ("services", name)
    if wanted not in templates:
        known = ", ".join(sorted(templates)) or "none"
        yield Problem(
            (*path, "template"), f'there is no template "{wanted}"{schema.near(wanted, templates)} There are: {known}'
        )
        return
    for parameter, message in template.complaints(templates[wanted], service.get("parameters", {})).items():
        yield Problem((*path, "parameters", parameter), message)


def _offer(
    reference: Reference, path: Path, services: Definitions, templates: Mapping[str, template.Template]
) -> Iterator[Problem]:
    """A service that is not in this manifest may live in another stack of the environment: that the plan knows."""
    service = services.get(reference.name)
    if service is None or reference.name == path[1]:
        return  # what refers to itself is told as a circle
    if "template" in service:
        known = templates.get(service["template"])
        offers = known.offers if known is not None else (reference.key,)
    elif "port" in service:
        offers = OFFERED_BY_PORT
    else:
        yield Problem(path, f"{reference}: {reference.name} has no port, so there is nothing to refer to")
        return
    if reference.key not in offers:
        yield Problem(path, f"{reference}: {reference.name} offers {', '.join(offers)}")


_Edges = Mapping[str, list[tuple[str, Path]]]


def _images(services: Definitions) -> _Edges:
    return {
        name: [(service["image_from"], ("services", name, "image_from"))]
        for name, service in services.items()
        if service.get("image_from") in services
    }


def _needs(services: Definitions) -> _Edges:
    edges: dict[str, list[tuple[str, Path]]] = {}
    for name, service in services.items():
        needed: list[tuple[str, Path]] = [
            (other, ("services", name, "depends_on", n)) for n, other in enumerate(service.get("depends_on", ()))
        ]
        needed += [(found.name, path) for found, path in mentions(name, service) if found.kind == "services"]
        edges[name] = [edge for edge in needed if edge[0] in services]
    return edges


def _circles(edges: _Edges, message: str) -> Iterator[Problem]:
    """Each circle once, at the edge that closes it. Depth first, with the way so far as the stack."""
    done: set[str] = set()
    told: set[frozenset[str]] = set()
    for start in edges:
        way: list[str] = []
        stack: list[tuple[str, Iterator[tuple[str, Path]]]] = []
        if start not in done:
            way.append(start)
            stack.append((start, iter(edges.get(start, ()))))
        while stack:
            name, following = stack[-1]
            edge = next(following, None)
            if edge is None:
                stack.pop()
                way.pop()
                done.add(name)
            elif edge[0] in way:
                circle = [*way[way.index(edge[0]) :], edge[0]]
                if frozenset(circle) in told:
                    continue
                told.add(frozenset(circle))
                yield Problem(edge[1], f"{message}: {' → '.join(circle)}")
            elif edge[0] not in done:
                way.append(edge[0])
                stack.append((edge[0], iter(edges.get(edge[0], ()))))


def _doubled_routes(services: Definitions) -> Iterator[Problem]:
    taken: dict[tuple[str, str, bool], str] = {}
    for name, service in services.items():
        for number, route in enumerate(service.get("routes", ())):
            host = f"auto of {name}" if route["host"] == "auto" else route["host"]
            key = (host, route["path"], route.get("inherited", False))
            if key in taken:
                yield Problem(
                    ("services", name, "routes", number),
                    f"{route['host']}{route['path']} leads to {taken[key]} already",
                )
            taken.setdefault(key, name)
    for name, service in services.items():
        for number, route in enumerate(service.get("routes", ())):
            for position, host in enumerate(route.get("redirect_from", ())):
                key = (host, "/", route.get("inherited", False))
                if key in taken:
                    yield Problem(
                        ("services", name, "routes", number, "redirect_from", position),
                        f"{host}/ leads to {taken[key]} already",
                    )
                taken[key] = name
