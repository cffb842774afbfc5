"""Plans that start from a release instead of a commit: rollback, restart, and a changed secret or referenced value.

Nothing is fetched or built: a workload of the release comes back exactly as it was specified then, with the secrets and
the values of its neighbours as they are now. What already runs like that is carried over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from godploy.core import holdings, hosts, reasons, resolve
from godploy.core.complaints import Complaints
from godploy.core.facts import Current, Facts
from godploy.core.model import Kind
from godploy.core.plan import Plan, ServicePlan, assemble, carried_over, removal
from godploy.core.problems import Path, dotted
from godploy.core.routing import Route
from godploy.core.sealing import Sealer, secret_versions
from godploy.core.specification import Specification

_NOT_ROLLED_BACK = "data is not rolled back, and release commands are not run: what a migration changed stays changed"


def replan(
    kind: Kind,
    target: Mapping[str, Current],
    target_routes: Sequence[Route],
    current: Mapping[str, Current],
    facts: Facts,
    *,
    current_routes: Sequence[Route],
    restart: frozenset[str] | None = None,
    former_secrets: Mapping[str, int] = MappingProxyType({}),
    changed_secrets: frozenset[str] | None = None,
) -> Plan:
    """The plan that makes `target`, the services of an existing release, the current one. For `restart` and `config`
    that is the current release itself.

    `restart`: the services to restart, None for all. `former_secrets`: versions to return to, name → version.
    `changed_secrets`: the secrets that a `config` deployment is about, while others keep their version; None takes all
    as they are now. Raises Invalid, before anything stops, for a secret, a neighbour or a host that is gone, and for a
    service to restart that there is none of.
    """
    complaints = Complaints(_place)
    sealer = Sealer(facts, {name: was.specification.offers for name, was in target.items()}, complaints)
    restarted: frozenset[str] = frozenset()
    if kind is Kind.RESTART:
        restarted = frozenset(target) if restart is None else restart
        for name in sorted(restarted - target.keys()):
            complaints.add(("services",), f"there is no service {name} in this stack")
    wanted = {}
    for name, was in target.items():
        pinned = {**_kept_versions(was, changed_secrets), **former_secrets}
        wanted[name] = resolve.refresh(was.definition, was.specification, sealer, pinned)
    decided = [
        _decide(was, wanted[name], current.get(name), restarted=name in restarted) for name, was in target.items()
    ]
    decided += [
        replace(removal(name, running, facts, complaints), reasons=("the release does not have it",))
        for name, running in current.items()
        if name not in target
    ]
    holdings.check_volumes(wanted, current, facts, complaints)
    for route in target_routes:
        if not route.generated:
            hosts.check_host(route.host, route.path, facts, ("services", route.service, "routes"), complaints)
        for host in route.redirect_from:
            hosts.check_host(host, "/", facts, ("services", route.service, "routes"), complaints)
    complaints.raise_any()
    routes = tuple(target_routes)
    made = assemble(decided, current, facts, routes=routes, current_routes=current_routes, taken=sealer.taken)
    if kind is not Kind.ROLLBACK:
        return made
    return replace(made, release_commands=False, notes=(_NOT_ROLLED_BACK, *made.notes))


def _kept_versions(was: Current, changed_secrets: frozenset[str] | None) -> dict[str, int]:
    if changed_secrets is None:
        return {}
    versions = secret_versions(was.specification)
    return {name: version for name, version in versions.items() if name not in changed_secrets}


def _decide(was: Current, specification: Specification, running: Current | None, *, restarted: bool) -> ServicePlan:
    name, definition = specification.service, was.definition
    if running is not None and not restarted and specification.hash() == running.specification.hash():
        return carried_over(name, definition, running, was.replicas)
    _, why = resolve.choose_strategy(definition, specification.port, specification.mounts)
    told: tuple[str, ...]
    if running is None:
        action, told = "create", ("the release has it",)
    elif restarted:
        action, told = "restart", ("asked for", *reasons.of_secrets(specification, running.specification))
    else:
        action, told = "update", reasons.of_change(definition, specification, running)
    return ServicePlan(
        service=name,
        action=action,
        reasons=told,
        definition=definition,
        specification=specification,
        replicas=was.replicas,
        generation=max(was.generation, running.generation if running is not None else 0) + 1,
        workload=None if running is None else running.workload,
        strategy_reason=why,
        destructive=holdings.destroyed(specification, running),
    )


def _place(path: Path) -> str:
    """Where there is no manifest at hand, the path itself is the place."""
    return dotted(path)
