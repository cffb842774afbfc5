"""A plan in words, for the log, the terminal and a pull request, and as JSON."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from godploy.core.plan import Plan, ServicePlan

_SIGNS = {"create": "+", "build": "~", "update": "~", "restart": "~", "scale": "~", "remove": "-", "unchanged": "="}


def lines(plan: Plan) -> list[str]:
    """One line for each thing that happens; a plan without any says so. Nothing secret is in it."""
    if plan.empty:
        return ["nothing changed", *_notes(plan)]
    told = [_service(service) for service in plan.services]
    told += [f"+ route {route}" for route in plan.routes_added]
    told += [f"- route {route}" for route in plan.routes_removed]
    told += [f"+ volume {name}" for name in plan.volumes_created]
    told += [f"- volume {name} is detached; its data stays" for name in plan.volumes_detached]
    if plan.rewritten and all(service.action == "unchanged" for service in plan.services):
        told.append("the manifest says it differently; what runs stays as it is")
    told += [f"! destructive: {text}" for text in plan.destructive]
    return told + _notes(plan)


def to_json(plan: Plan) -> dict[str, Any]:
    """The plan for programs: what happens and why, without the specifications themselves."""
    return {
        "empty": plan.empty,
        "services": [_service_json(service) for service in plan.services],
        "routes_added": list(plan.routes_added),
        "routes_removed": list(plan.routes_removed),
        "volumes_created": sorted(plan.volumes_created),
        "volumes_detached": list(plan.volumes_detached),
        "destructive": list(plan.destructive),
        "release_commands": plan.release_commands,
        "notes": list(plan.notes),
        "digest": digest(plan),
    }


def digest(plan: Plan) -> str:
    """Twelve characters that stay the same as long as the plan does, whatever commit it is made for."""
    tree = [
        *(_service_json(service) for service in plan.services),
        plan.routes_added,
        plan.routes_removed,
        sorted(plan.volumes_created),
        plan.volumes_detached,
        plan.destructive,
    ]
    return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()[:12]


def _service(service: ServicePlan) -> str:
    sign = _SIGNS[service.action]
    details = list(service.reasons)
    if service.new and service.workload is not None and service.strategy_reason:
        details.append(service.strategy_reason)
    return f"{sign} {service.service}: {service.action}" + (f" ({'; '.join(details)})" if details else "")


def _service_json(service: ServicePlan) -> dict[str, Any]:
    specification = service.specification
    return {
        "service": service.service,
        "action": service.action,
        "reasons": list(service.reasons),
        "replicas": service.replicas,
        "strategy": None if specification is None else specification.strategy,
        "strategy_reason": service.strategy_reason,
        "specification": None if specification is None else specification.hash(),
        "build": None if service.build is None else service.build.key,
        "image_from": service.image_from,
        "destructive": list(service.destructive),
    }


def _notes(plan: Plan) -> list[str]:
    return [f"note: {note}" for note in plan.notes]
