"""The server's policy, checked against what a manifest asks for; its complaints read like any other of the manifest."""

from __future__ import annotations

from godploy.core.complaints import Complaints
from godploy.core.facts import Facts
from godploy.core.hosts import matches
from godploy.core.problems import Path
from godploy.core.specification import Specification

_UNITS = (("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10))


def check(specification: Specification, replicas: int, facts: Facts, complaints: Complaints) -> None:
    """Complains of every limit that the service is over. Hosts are checked where routes are."""
    policy = facts.policy
    path: Path = ("services", specification.service)
    if policy.memory is not None and specification.memory > policy.memory:
        said = f"{size(specification.memory)} of memory is more than the {size(policy.memory)}"
        complaints.add((*path, "resources", "memory"), f"{said} that this server's policy allows")
    if policy.cpus is not None and specification.cpus > policy.cpus:
        said = f"{specification.cpus:g} CPUs are more than the {policy.cpus:g}"
        complaints.add((*path, "resources", "cpus"), f"{said} that this server's policy allows")
    if policy.replicas is not None and replicas > policy.replicas:
        said = f"{replicas} replicas are more than the {policy.replicas}"
        complaints.add((*path, "replicas"), f"{said} that this server's policy allows")
    image = specification.image_text
    if policy.registries is not None and image is not None:
        registry = registry_of(image)
        if not any(matches(registry, pattern) for pattern in policy.registries):
            key = "image" if specification.template is None else "template"
            known = (
                f"this server's policy allows images from {', '.join(policy.registries)}; {image} is from {registry}"
            )
            untold = f"this server's policy allows no images from {registry}"
            complaints.add((*path, key), known if facts.policy_told else untold)


def registry_of(image: str) -> str:
    """The registry that an image text names; Docker's own where it names none
    (https://pkg.go.dev/github.com/distribution/reference)."""
    first, slash, _ = image.partition("/")
    named = slash and ("." in first or ":" in first or first == "localhost")
    return first if named else "docker.io"


def size(amount: int) -> str:
    """Bytes as a manifest writes them."""
    for unit, factor in _UNITS:
        if amount % factor == 0:
            return f"{amount // factor}{unit}"
    return f"{amount} bytes"
