"""Written values become sealed texts: references resolved, secrets left as names with versions.

What a value refers to is either offered by a service of the same manifest, whose offers are known before anything is
resolved, or by another stack of the environment; what was taken from there is remembered for the release.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from godploy.core.complaints import Complaints
from godploy.core.facts import Facts
from godploy.core.problems import Path
from godploy.core.references import BadReferenceError, Reference, parse_text, references, render
from godploy.core.specification import Specification, held

Versions = Mapping[str, int]

_TEXTS = ("command", "entrypoint", "release_command")


@dataclass(slots=True)
class Sealer:
    """`offers` are those of this manifest's services; `pinned` says which version of a secret a value keeps, where it
    is not to take the current one."""

    facts: Facts
    offers: Mapping[str, Mapping[str, str]]
    complaints: Complaints
    taken: dict[str, str] = field(default_factory=dict)  # "db.url" → sealed value of another stack

    def text(self, written: str, path: Path, pinned: Versions) -> str:
        """The sealed text; complains of what it refers to in vain."""
        try:
            parts = parse_text(written)
        except BadReferenceError as error:
            self.complaints.add(path, str(error))
            return ""
        return render(parts, lambda reference: self._value(reference, path, pinned))

    def argv(self, definition: Mapping[str, Any], key: str, path: Path, pinned: Versions) -> tuple[str, ...] | None:
        words = definition.get(key)
        return None if words is None else tuple(self.text(word, (*path, key), pinned) for word in words)

    def environment(self, definition: Mapping[str, Any], path: Path, pinned: Versions) -> dict[str, str]:
        """The variables that the definition itself names: its `env`, and its `secrets` under their own names."""
        sealed = {
            name: self.text(written, (*path, "env", name), pinned)
            for name, written in definition.get("env", {}).items()
        }
        for position, name in enumerate(definition.get("secrets", ())):
            version = self.version(name, (*path, "secrets", position), pinned)
            sealed[name] = _secret(name, version)
        return sealed

    def build_arguments(self, build: Mapping[str, Any], path: Path) -> dict[str, str]:
        sealed = {}
        for name, written in build.get("args", {}).items():
            place = (*path, "args", name)
            text = self.text(written, place, {})
            if any(reference != "deployment.commit" for reference in held(text)):
                self.complaints.add(
                    place, "build arguments are kept in the image, so no secret may be in them; use build.secrets"
                )
            sealed[name] = text
        return sealed

    def version(self, name: str, path: Path, pinned: Versions) -> int:
        """The version of a secret that a value takes; complains of a secret without a value."""
        current = self.facts.secrets.get(name)
        if current is None:
            self.complaints.fail(path, "missing_secret", name=name, environment=self.facts.environment)
            return 0
        return pinned.get(name, current)

    def _value(self, reference: Reference, path: Path, pinned: Versions) -> str:
        if reference.kind == "secrets":
            return _secret(reference.name, self.version(reference.name, path, pinned))
        if reference.kind == "environment":
            return self.facts.environment
        if reference.kind == "deployment":
            return "${deployment.commit}"
        return self._offered(reference, path)

    def _offered(self, reference: Reference, path: Path) -> str:
        name, key = reference.name, reference.key
        offers = self.offers.get(name)
        if offers is None and name in self.facts.neighbours:
            offers = self.facts.neighbours[name].offers
            if key in offers:
                self.taken[f"{name}.{key}"] = offers[key]
        if offers is None:
            self.complaints.add(path, f"{reference}: the environment has no service {name}")
            return ""
        if key not in offers:
            known = f"it offers {', '.join(sorted(offers))}" if offers else "it has no port and offers nothing"
            self.complaints.add(path, f"{reference}: {name} does not offer {key}; {known}")
            return ""
        return offers[key]


def own_offers(service: str, port: int | None) -> dict[str, str]:
    """What a service that is no template offers to others."""
    if port is None:
        return {}
    return {"host": service, "port": str(port), "url": f"http://{service}:{port}"}


def secret_versions(specification: Specification) -> dict[str, int]:
    """The secrets in a workload's values, as it was resolved: name → version. Those of its build are
    `Specification.build_secrets`."""
    return {name: version for kind, name, version in _held(specification) if kind == "secrets"}


def generated_secrets(specification: Specification) -> dict[str, tuple[str, ...]]:
    """The generated secrets that a workload refers to: volume → their names."""
    found: dict[str, dict[str, None]] = {}
    for kind, name, _ in _held(specification):
        if kind == "volumes":
            volume, _, secret = name.partition(".")
            found.setdefault(volume, {})[secret] = None
    return {volume: tuple(names) for volume, names in found.items()}


def referred_services(definition: Mapping[str, Any]) -> set[str]:
    """The services that a definition's values refer to."""
    return {
        reference.name for text in _written(definition) for reference in _known(text) if reference.kind == "services"
    }


def referring_texts(written: str) -> tuple[str, ...]:
    """The references in a written value as people write them, for reasons."""
    return tuple(str(reference) for reference in _known(written))


def _written(definition: Mapping[str, Any]) -> Iterator[str]:
    yield from definition.get("env", {}).values()
    for key in _TEXTS:
        yield from definition.get(key) or ()
    yield from (definition.get("build") or {}).get("args", {}).values()


def _known(text: str) -> list[Reference]:
    try:
        return references(text)
    except BadReferenceError:  # complained of where the value is sealed
        return []


def _held(specification: Specification) -> Iterator[tuple[str, str, int]]:
    for text in [*specification.sealed_texts(), *specification.offers.values()]:
        for reference in held(text):
            name, at, version = reference.rpartition("@")
            if at:
                kind, _, rest = name.partition(".")
                yield kind, rest, int(version)


def _secret(name: str, version: int) -> str:
    return f"${{secrets.{name}@{version}}}"
