"""A stack of the project "shop" that lives in memory: it plans, and then is what was planned."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from godploy.core import plan as planner
from godploy.core import template
from godploy.core.facts import Context, Current, Facts, ResolvedImage
from godploy.core.model import Kind
from godploy.core.plan import Plan, ServicePlan
from godploy.core.problems import dotted
from godploy.core.replan import replan
from godploy.core.routing import Route
from godploy.core.template import Template

ROOT = Path(__file__).resolve().parents[2]


def schema() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / "schemas/template.schema.json").read_text())
    return found


def templates() -> dict[str, Template]:
    directories = sorted((ROOT / "templates").iterdir())
    return {d.name: template.load((d / "template.yaml").read_text(), schema()) for d in directories}


TEMPLATES = templates()
TREE = "a" * 64
IMAGES = {
    text: ResolvedImage(f"sha256:{text}") for text in ("nginx:1", "nginx:2", "postgres:15", "postgres:16", "redis:7")
}
FACTS = Facts(
    project="shop",
    environment="production",
    environment_class="e1",
    apps_domain="apps.test",
    commit="c1",
    images=IMAGES,
    short_id="x7k",
)


@dataclass
class Shop:
    facts: Facts = FACTS
    current: dict[str, Current] = field(default_factory=dict)
    routes: tuple[Route, ...] = ()
    templates: Mapping[str, Template] = field(default_factory=lambda: TEMPLATES)
    ids: Any = field(default_factory=lambda: itertools.count(1))

    def tells(self, **facts: Any) -> None:
        self.facts = replace(self.facts, **facts)

    def plan(self, definitions: Mapping[str, Any], **more: Any) -> Plan:
        """A plan; what the definitions ask for is looked up where the facts do not say otherwise."""
        asked = planner.inputs(
            definitions, self.current, templates=self.templates, updates=more.get("updates", frozenset())
        )
        contexts = {service: Context(TREE, dockerfile=True) for service in asked.contexts}
        facts = replace(self.facts, contexts={**contexts, **self.facts.contexts})
        return planner.plan(
            definitions,
            self.current,
            facts,
            templates=self.templates,
            current_routes=self.routes,
            place=lambda path: f"godploy.yaml: {dotted(path)}",
            **more,
        )

    def deploy(self, definitions: Mapping[str, Any], **more: Any) -> Plan:
        return self.become(self.plan(definitions, **more))

    def return_to(self, kind: Kind, target: Shop | None = None, **more: Any) -> Plan:
        was = target or self
        return replan(kind, was.current, was.routes, self.current, self.facts, current_routes=self.routes, **more)

    def become(self, plan: Plan) -> Plan:
        """The plan is carried out: builds give images, new services run, volumes are there."""
        made = {s.service: self._made(s, plan) for s in plan.services if s.specification is not None}
        self.current, self.routes = made, plan.routes
        mounted = {m.volume: f"s1/{name}" for name, c in made.items() for m in c.specification.mounts}
        self.facts = replace(self.facts, volumes={**dict.fromkeys(self.facts.volumes), **mounted})
        return plan

    def copy(self) -> Shop:
        return replace(self, current=dict(self.current))

    def _made(self, service: ServicePlan, plan: Plan) -> Current:
        specification = service.specification
        assert specification is not None
        if not specification.image:
            specification = specification.with_image(f"sha256:{specification.build_key}")
        workload = f"w{next(self.ids)}" if service.new else service.workload
        assert workload is not None
        return Current(workload, service.definition, specification, service.generation, service.replicas)


def actions(plan: Plan) -> dict[str, str]:
    return {service.service: service.action for service in plan.services}


def reasons(plan: Plan, service: str) -> tuple[str, ...]:
    return next(s.reasons for s in plan.services if s.service == service)


def order(plan: Plan) -> list[str]:
    return [service.service for service in plan.services]
