"""What a plan does to data: which volumes are made, attached and detached, and what would not survive.

A volume outlives its service. It is mounted by one service at a time unless it is shared, and what initialised it, a
generated password or a major version, stays with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from godploy.core.complaints import Complaints
from godploy.core.facts import Current, Facts
from godploy.core.problems import Path
from godploy.core.sealing import generated_secrets
from godploy.core.specification import Specification
from godploy.core.template import Template

Specifications = Mapping[str, Specification]


def check_volumes(wanted: Specifications, current: Mapping[str, Current], facts: Facts, complaints: Complaints) -> None:
    """Complains of a volume that two would use at a time, one of them alone."""
    mounts = [(service, mount) for service, spec in wanted.items() for mount in spec.mounts]
    for service, mount in mounts:
        path: Path = ("services", service, "volumes")
        others = [(other, at) for other, at in mounts if at.volume == mount.volume and other != service]
        for other, at in others:
            if not (mount.shared and at.shared):
                complaints.fail(path, "volume_in_use", service=service, volume=mount.volume, owner=other)
        holder = (facts.volumes.get(mount.volume) or "").rpartition("/")[2]
        if not holder or mount.shared or holder == service or holder in {other for other, _ in others}:
            continue
        if holder not in current:
            owner = f"the service {holder} of another stack"
            complaints.fail(path, "volume_in_use", service=service, volume=mount.volume, owner=owner)
        else:
            # Both would run between start and drain, and the old one must come back if the new one fails.
            message = f"the volume {mount.volume} is mounted by {holder} until this is live"
            complaints.add(path, f"{message}; take it from {holder} in one push and mount it here in the next")


def created(wanted: Specifications, facts: Facts) -> dict[str, tuple[str, ...]]:
    """Volumes that are not there yet → the generated secrets that they are to keep."""
    secrets: dict[str, tuple[str, ...]] = {}
    for spec in wanted.values():
        generated = generated_secrets(spec)
        for mount in spec.mounts:
            if mount.volume not in facts.volumes:
                secrets.setdefault(mount.volume, generated.get(mount.volume, ()))
    return secrets


def detached(wanted: Specifications, current: Mapping[str, Current]) -> tuple[str, ...]:
    """Volumes that are mounted now and no longer will be; they and what is in them stay."""
    after = {mount.volume for spec in wanted.values() for mount in spec.mounts}
    before = {mount.volume for running in current.values() for mount in running.specification.mounts}
    return tuple(sorted(before - after))


def destroyed(specification: Specification, current: Current | None) -> tuple[str, ...]:
    """What a service's data would not survive: another product or major version on the same volume."""
    old = current.specification.template if current is not None else None
    new = specification.template
    if current is None or old is None:
        return ()
    volumes = {m.volume for m in specification.mounts} & {m.volume for m in current.specification.mounts}
    if not volumes:
        return ()
    volume, service = sorted(volumes)[0], specification.service
    was = old["rendered"]
    if new is None or old["name"] != new["name"]:
        successor = "another image" if new is None else new["rendered"]["title"]
        return (f"{service}: the volume {volume} holds data of {was['title']} and would be given to {successor}",)
    if was.get("major") == new["rendered"].get("major"):
        return ()
    versions = f"{was['title']} {was['major']} → {new['rendered']['major']}"
    return (f"{service}: {versions}: the data in the volume {volume} is not read by another major version",)


def check_initial(
    service: str,
    specification: Specification,
    current: Current | None,
    templates: Mapping[str, Template],
    complaints: Complaints,
) -> None:
    """Complains of a changed parameter that acted only when the volume was first filled."""
    old = current.specification.template if current is not None else None
    new = specification.template
    if old is None or new is None or old["name"] != new["name"] or new["name"] not in templates:
        return
    before: Mapping[str, Any] = old["rendered"]["parameters"]
    after: Mapping[str, Any] = new["rendered"]["parameters"]
    for name, parameter in templates[new["name"]].parameters.items():
        if parameter.initial and name in before and before[name] != after.get(name):
            path: Path = ("services", service, "parameters", name)
            message = f'was "{before[name]}" when the data was made, and cannot become "{after.get(name)}"'
            complaints.add(path, f"{message}; change it inside {new['rendered']['title']}, or use a new service")
