"""What plans do, in the one sentence that stands beside a commit at its provider."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from godploy.core.plan import Plan, ServicePlan

LONGEST = 140  # characters that GitHub shows of a status: https://docs.github.com/en/rest/commits/statuses
_BUILT = "builds and creates"
_VERBS = {
    "build": "builds",
    "create": "creates",
    "update": "updates",
    "restart": "restarts",
    "scale": "scales",
    "remove": "removes",
}
_LEFT = "is not fed any more, what runs there stays"


def sentence(plans: Mapping[str, Plan | None]) -> str:
    """environment → its plan, or None where the manifest no longer names it: "builds web, restarts worker, 1
    destructive", with the environment's name where there are several. Where names would make it too long, it counts."""
    if not plans:
        return "feeds no environment"
    for named in (True, False):
        told = "; ".join(_of_environment(name, plan, len(plans) > 1, named) for name, plan in plans.items())
        if len(told) <= LONGEST:
            return told
    changed = sum(plan is None or not plan.empty for plan in plans.values())
    lost = sum(len(plan.destructive) for plan in plans.values() if plan is not None)
    parts = [f"changes {changed} of {len(plans)} environments", *_destructive(lost)] if len(plans) > 1 else [told]
    return ", ".join(parts)


def _of_environment(name: str, plan: Plan | None, several: bool, named: bool) -> str:
    if plan is None:
        return f"{name} {_LEFT}"
    return f"{name}: {_of_plan(plan, named)}" if several else _of_plan(plan, named)


def _of_plan(plan: Plan, named: bool) -> str:
    return ", ".join(_parts(plan, named)) or ("changes nothing" if plan.empty else "changes nothing that runs")


def _parts(plan: Plan, named: bool) -> Iterator[str]:
    for verb in (_BUILT, *_VERBS.values()):
        names = [service.service for service in plan.services if _verb(service) == verb]
        if names:
            yield f"{verb} {', '.join(names) if named else _count(len(names), 'service')}"
    for verb, count, noun in (
        ("adds", len(plan.routes_added), "route"),
        ("removes", len(plan.routes_removed), "route"),
        ("detaches", len(plan.volumes_detached), "volume"),
    ):
        if count:
            yield f"{verb} {_count(count, noun)}"
    yield from _destructive(len(plan.destructive))


def _verb(service: ServicePlan) -> str | None:
    if service.action == "create" and service.build is not None:
        return _BUILT
    return _VERBS.get(service.action)


def _destructive(count: int) -> Iterator[str]:
    if count:
        yield f"{count} destructive"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
