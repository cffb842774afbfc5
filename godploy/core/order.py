"""In which order services start: dependencies first, and what must stop its predecessor after all that need not."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

Needs = Mapping[str, Collection[str]]  # service → the services of the same stack that it depends on


def start_order(services: Iterable[str], needs: Needs, replacing: Collection[str]) -> list[str]:
    """`replacing` are those that stop what runs before they start. They, and whatever depends on them, come last, so
    that nothing is down while the others still may fail. Within that, dependencies first and else the order given.
    A circle, which the manifest's check refuses, is cut where it closes."""
    given = list(services)
    ordered = _dependencies_first(given, needs)
    late: set[str] = set()
    for service in ordered:  # dependencies come first, so one pass sees through chains
        if service in replacing or any(need in late for need in needs.get(service, ())):
            late.add(service)
    return [s for s in ordered if s not in late] + [s for s in ordered if s in late]


def _dependencies_first(services: list[str], needs: Needs) -> list[str]:
    position = {service: index for index, service in enumerate(services)}
    ordered: dict[str, None] = {}
    entered: set[str] = set()
    waiting = list(reversed(services))  # a stack of our own: a chain may be longer than Python's
    while waiting:
        service = waiting.pop()
        if service in ordered:
            continue
        before = [n for n in needs.get(service, ()) if n in position and n not in ordered and n not in entered]
        if before:
            waiting.append(service)
            waiting.extend(sorted(before, key=position.__getitem__, reverse=True))
            entered.add(service)
        else:
            ordered[service] = None
    return list(ordered)
