"""The difference between the current release and what the manifest wants, with its reasons. Pure.

`inputs` says what must be looked up, `plan` decides. What a service is to be is compared with what runs in this order:
first the text of its definition, then what that text refers to, and only then the resolved specification; so nothing
is ever restarted because Godploy, a template or a tag moved on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from godploy.core import builds, defaults, holdings, hosts, limits, reasons, resolve
from godploy.core.builds import BuildPlan
from godploy.core.complaints import Complaints, Place
from godploy.core.facts import (
    Context,
    ContextQuery,
    Current,
    Facts,
    HostFact,
    Inputs,
    Neighbour,
    Policy,
    ResolvedImage,
)
from godploy.core.order import start_order
from godploy.core.routing import Route
from godploy.core.sealing import Sealer, own_offers, referred_services, secret_versions
from godploy.core.sources import Source, Sources, image_to_look_up, kept, pin_template
from godploy.core.specification import Specification
from godploy.core.template import Template

__all__ = [
    "BuildPlan",
    "Context",
    "ContextQuery",
    "Current",
    "Definitions",
    "Facts",
    "HostFact",
    "Inputs",
    "Neighbour",
    "Plan",
    "Policy",
    "ResolvedImage",
    "ServicePlan",
    "assemble",
    "inputs",
    "plan",
]

Definitions = Mapping[str, Mapping[str, Any]]  # service → what the manifest says of it, merged, without defaults

# A change of these makes no new workload: routes belong to the release, replicas scale, dependencies order a start.
_BESIDE = frozenset({"routes", "replicas", "depends_on"})


@dataclass(frozen=True, slots=True)
class ServicePlan:
    service: str
    action: str  # unchanged | build | update | restart | scale | create | remove
    reasons: tuple[str, ...]
    definition: Mapping[str, Any]
    specification: Specification | None  # None for remove; its image is "" where `build` or `image_from` is to give it
    replicas: int
    generation: int = 1
    workload: str | None = None  # the running workload: carried over (unchanged, scale) or replaced or removed
    build: BuildPlan | None = None
    image_from: str | None = None
    strategy_reason: str = ""
    destructive: tuple[str, ...] = ()

    @property
    def new(self) -> bool:
        """Whether a new workload is made."""
        return self.action in ("build", "update", "restart", "create")


@dataclass(frozen=True, slots=True)
class Plan:
    services: tuple[ServicePlan, ...]  # in the order in which they start: dependencies first; what goes comes last
    routes: tuple[Route, ...] = ()
    routes_added: tuple[str, ...] = ()  # "shop.example.com/ → web"
    routes_removed: tuple[str, ...] = ()
    volumes_created: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # name → generated secrets it keeps
    volumes_detached: tuple[str, ...] = ()
    references: Mapping[str, str] = field(default_factory=dict)  # "db.url" → sealed value taken from another stack
    release_commands: bool = True  # False for rollback
    rewritten: bool = False  # the manifest says something differently, which the release is to record
    notes: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do, nor to record."""
        untouched = all(service.action == "unchanged" for service in self.services)
        return untouched and not (self.routes_added or self.routes_removed or self.rewritten)

    @property
    def destructive(self) -> tuple[str, ...]:
        return tuple(text for service in self.services for text in service.destructive)

    @property
    def timeout(self) -> float:
        return max([s.specification.timeout for s in self.services if s.specification is not None], default=600.0)


def inputs(
    definitions: Definitions,
    current: Mapping[str, Current],
    *,
    templates: Mapping[str, Template],
    updates: frozenset[str] = frozenset(),
    folder: str = "",
) -> Inputs:
    """What must be looked up before `plan`; `folder` is the manifest's in the repository. An image text that what runs
    was resolved from is not looked up, unless its service is in `updates`."""
    contexts: dict[str, ContextQuery] = {}
    images: set[str] = set()
    for service, definition in definitions.items():
        running, update = current.get(service), service in updates
        text = definition.get("image")
        if "build" in definition:
            contexts[service] = builds.query(definition["build"] or {}, folder)
        elif "template" in definition:
            pinned = pin_template(service, definition, None if update else running, templates)
            text = None if pinned is None else pinned["rendered"]["image"]
        if text is not None and image_to_look_up(text, running, update=update):
            images.add(text)
    return Inputs(contexts=contexts, images=frozenset(images), hosts=hosts.written_hosts(definitions))


def plan(
    definitions: Definitions,
    current: Mapping[str, Current],
    facts: Facts,
    *,
    templates: Mapping[str, Template],
    current_routes: Sequence[Route],
    updates: frozenset[str] = frozenset(),
    secret_updates: frozenset[str] = frozenset(),
    place: Place,
) -> Plan:
    """What a deployment is to do. `updates` are services to resolve anew although their text is the same,
    `secret_updates` secrets whose current version is to be taken; `place` turns a path into "FILE:LINE:COL: PATH".

    Raises Invalid with all problems at once.
    """
    complaints = Complaints(place)
    offers = {
        service: _offers(service, definition, current.get(service), templates, service in updates)
        for service, definition in definitions.items()
    }
    sealer = Sealer(facts, offers, complaints)
    sources = Sources(facts, templates, sealer, complaints, updates, secret_updates)
    planner = _Planner(
        definitions, current, sealer, _all_sources(definitions, current, sources), updates, secret_updates
    )
    wanted = {service: planner.specification(service) for service in definitions}
    decided = [planner.decide(service, wanted[service]) for service in definitions]
    for decision in decided:
        _check(decision, definitions, facts, complaints)
        if decision.specification is not None and decision.new:
            running = current.get(decision.service)
            holdings.check_initial(decision.service, decision.specification, running, templates, complaints)
    for service in current:
        if service not in definitions:
            decided.append(removal(service, current[service], facts, complaints))
    holdings.check_volumes(wanted, current, facts, complaints)
    routes = hosts.resolve(definitions, facts, current_routes, complaints)
    complaints.raise_any()
    return assemble(decided, current, facts, routes=routes, current_routes=current_routes, taken=sealer.taken)


def removal(service: str, running: Current, facts: Facts, complaints: Complaints) -> ServicePlan:
    """The end of a service; complains where other stacks use it."""
    users = facts.users_of.get(service, ())
    if users:
        complaints.add(("services",), f"{service} cannot be removed while it is used by {', '.join(users)}")
    return ServicePlan(
        service=service,
        action="remove",
        reasons=("the manifest no longer has it",),
        definition=running.definition,
        specification=None,
        replicas=0,
        generation=running.generation,
        workload=running.workload,
    )


def assemble(
    decided: Sequence[ServicePlan],
    current: Mapping[str, Current],
    facts: Facts,
    *,
    routes: tuple[Route, ...],
    current_routes: Sequence[Route],
    taken: Mapping[str, str],
) -> Plan:
    """The plan of these decisions: their order, and what follows from them for routes and volumes."""
    by_name = {decision.service: decision for decision in decided}
    staying = {name: decision.specification for name, decision in by_name.items() if decision.specification is not None}
    needs = {name: _needs(by_name[name].definition) for name in staying}
    replacing = {name for name, spec in staying.items() if by_name[name].new and spec.strategy == "replace"}
    order = start_order(staying, needs, replacing & set(current))
    leaving = [decision for decision in decided if decision.specification is None]
    before, after = _told(current_routes), _told(routes)
    return Plan(
        services=(*(by_name[name] for name in order), *leaving),
        routes=routes,
        routes_added=tuple(name for name in after if name not in before),
        routes_removed=tuple(name for name in before if name not in after),
        volumes_created=holdings.created(staying, facts),
        volumes_detached=holdings.detached(staying, current),
        references=dict(taken),
        rewritten=any(name in current and by_name[name].definition != current[name].definition for name in staying),
        notes=tuple(
            f"{name} is stopped: the new version of it is recorded, not started"
            for name in order
            if by_name[name].new and name in facts.stopped
        ),
    )


@dataclass(frozen=True, slots=True)
class _Planner:
    """Decides service by service; the sources of all are found before."""

    definitions: Definitions
    current: Mapping[str, Current]
    sealer: Sealer
    sources: Mapping[str, Source]
    updates: frozenset[str]
    secret_updates: frozenset[str]

    def specification(self, service: str) -> Specification:
        definition, source, running = self.definitions[service], self.sources[service], self.current.get(service)
        if service in self.updates:
            return resolve.anew(service, definition, source, self.sealer, None)
        if running is None or not _same_text(definition, running.definition):
            return resolve.anew(service, definition, source, self.sealer, running)
        pinned: dict[str, int] = {}
        if replace(kept(running.specification), **source.fields()) == kept(running.specification):
            versions = secret_versions(running.specification).items()
            pinned = {name: version for name, version in versions if name not in self.secret_updates}
        refreshed = resolve.refresh(definition, running.specification, self.sealer, pinned)
        return replace(refreshed, **source.fields())

    def decide(self, service: str, specification: Specification) -> ServicePlan:
        definition, source, running = self.definitions[service], self.sources[service], self.current.get(service)
        replicas = definition.get("replicas", defaults.REPLICAS)
        _, why = resolve.choose_strategy(definition, specification.port, specification.mounts)
        if running is None:
            return ServicePlan(
                service, "create", ("new service",), definition, specification, replicas,
                build=source.build, image_from=source.image_from,
            )  # fmt: skip
        if specification.hash() == running.specification.hash():
            return carried_over(service, definition, running, replicas)
        return ServicePlan(
            service=service,
            action="build" if source.build is not None else "update",
            reasons=reasons.of_change(definition, specification, running),
            definition=definition,
            specification=specification,
            replicas=replicas,
            generation=running.generation + 1,
            workload=running.workload,
            build=source.build,
            image_from=source.image_from,
            strategy_reason=why,
            destructive=holdings.destroyed(specification, running),
        )


def carried_over(service: str, definition: Mapping[str, Any], running: Current, replicas: int) -> ServicePlan:
    """A workload that goes on as it is, with more or fewer replicas where their number changed."""
    scaled = replicas != running.replicas
    return ServicePlan(
        service=service,
        action="scale" if scaled else "unchanged",
        reasons=(reasons.of_scale(running.replicas, replicas),) if scaled else (),
        definition=definition,
        specification=running.specification,
        replicas=replicas,
        generation=running.generation,
        workload=running.workload,
    )


def _all_sources(definitions: Definitions, current: Mapping[str, Current], sources: Sources) -> dict[str, Source]:
    found = {
        service: sources.find(service, definition, current.get(service))
        for service, definition in definitions.items()
        if "image_from" not in definition
    }
    for service, definition in definitions.items():
        if "image_from" not in definition:
            continue
        root, passed = definition["image_from"], {service}
        while "image_from" in definitions.get(root, {}) and root not in passed:
            passed.add(root)
            root = definitions[root]["image_from"]
        if root not in found:
            sources.complaints.add(("services", service, "image_from"), f"{root} has no image of its own to take")
        giver = found.get(root, Source())
        found[service] = Source(
            image=giver.image,
            build_key=giver.build_key,
            build_secrets=giver.build_secrets,
            image_from=root if giver.build is not None else None,
        )
    return found


def _offers(
    service: str,
    definition: Mapping[str, Any],
    running: Current | None,
    templates: Mapping[str, Template],
    update: bool,
) -> Mapping[str, str]:
    if "template" not in definition:
        return own_offers(service, definition.get("port"))
    pinned = pin_template(service, definition, None if update else running, templates)
    return {} if pinned is None else pinned["rendered"].get("offers", {})


def _check(decision: ServicePlan, definitions: Definitions, facts: Facts, complaints: Complaints) -> None:
    service, definition, specification = decision.service, decision.definition, decision.specification
    if specification is None:
        return
    neighbour = facts.neighbours.get(service)
    if neighbour is not None:
        complaints.add(("services", service), f"the name {service} is taken in this environment by {neighbour.source}")
    for position, need in enumerate(definition.get("depends_on", ())):
        if need not in definitions and need not in facts.neighbours:
            message = f"the environment has no service {need}"
            complaints.add(("services", service, "depends_on", position), message)
    alone = [mount.volume for mount in specification.mounts if not mount.shared]
    if specification.strategy == "rolling" and alone:
        message = f"two containers at a time would use the volume {alone[0]}; use replace or auto"
        complaints.add(("services", service, "deploy", "strategy"), message)
    if decision.action != "unchanged":
        limits.check(specification, decision.replicas, facts, complaints)


def _same_text(definition: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    keys = (definition.keys() | before.keys()) - _BESIDE
    return all(definition.get(key) == before.get(key) for key in keys)


def _needs(definition: Mapping[str, Any]) -> set[str]:
    return {*definition.get("depends_on", ()), *referred_services(definition)}


def _told(routes: Sequence[Route]) -> list[str]:
    told = [f"{route.name} → {route.service}{', tls off' if route.tls == 'off' else ''}" for route in routes]
    return told + [f"{host} → {route.host}" for route in routes for host in route.redirect_from]
