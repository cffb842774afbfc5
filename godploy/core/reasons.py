"""Why a service is touched, as facts: what stood in the manifest or the world before, and what stands there now.

Values of variables are never shown, since people write secrets where they should not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from godploy.core.builds import tree_of
from godploy.core.facts import Current
from godploy.core.sealing import referring_texts, secret_versions
from godploy.core.sources import KEYS
from godploy.core.specification import Specification

_SHOWN = ("port", "image", "image_from", "template", "stop_grace_period")  # short values, worth reading
_TOLD_APART = frozenset({*KEYS, "env", "secrets", "routes", "replicas", "depends_on", "resources"})


def of_change(definition: Mapping[str, Any], specification: Specification, current: Current) -> tuple[str, ...]:
    """What differs between what runs and what is wanted; at least one reason."""
    before, running = current.definition, current.specification
    told = [
        *_source(definition, specification, current),
        *_mapping("env", before.get("env", {}), definition.get("env", {})),
        *_references(definition, specification, current),
        *_secrets(specification, running),
        *_mapping("resources.", before.get("resources", {}), definition.get("resources", {}), shown=True),
    ]
    keys = dict.fromkeys([*before, *definition])
    for key in keys:
        if key not in _TOLD_APART and before.get(key) != definition.get(key):
            told.append(_changed(key, before.get(key), definition.get(key)))
    return tuple(dict.fromkeys(told)) or ("explicitly updated",)


def of_scale(before: int, after: int) -> str:
    return f"replicas {before} → {after}"


def of_secrets(specification: Specification, running: Specification) -> tuple[str, ...]:
    return tuple(_secrets(specification, running))


def _source(definition: Mapping[str, Any], specification: Specification, current: Current) -> list[str]:
    before, running = current.definition, current.specification
    told = [
        _changed(key, before.get(key), definition.get(key))
        for key in ("build", "image", "image_from", "template")
        if (key in before) != (key in definition) or (key != "build" and before.get(key) != definition.get(key))
    ]
    told += _mapping("parameters.", before.get("parameters", {}), definition.get("parameters", {}), shown=True)
    if "build" in before and "build" in definition:
        told += _mapping("build.", before["build"] or {}, definition["build"] or {})
    if specification.build_key != running.build_key and specification.build_key and running.build_key:
        old, new = tree_of(running.build_key), tree_of(specification.build_key)
        if old != new:
            told.append(f"context tree {old[:4]}… → {new[:4]}…")
    told += [
        f"build secret {name} v{running.build_secrets[name]} → v{version}"
        for name, version in specification.build_secrets.items()
        if name in running.build_secrets and running.build_secrets[name] != version
    ]
    if not told and specification.image != running.image:
        told.append(_moved(definition, specification, running))
    return told


def _moved(definition: Mapping[str, Any], specification: Specification, running: Specification) -> str:
    if "image_from" in definition:
        return f"{definition['image_from']} has another image"
    if specification.image_text is not None:
        return f"{specification.image_text} leads to another image: {running.image} → {specification.image}"
    return "what its build arguments refer to changed"


def _references(definition: Mapping[str, Any], specification: Specification, current: Current) -> list[str]:
    """Variables whose text stayed while what they refer to did not."""
    before, running = current.definition.get("env", {}), current.specification
    told = []
    for name, written in definition.get("env", {}).items():
        if before.get(name) == written and specification.env.get(name) != running.env.get(name):
            told += [f"{reference} in env {name} has another value" for reference in referring_texts(written)]
    return [reason for reason in told if not reason.startswith("${secrets.")]  # told by version


def _secrets(specification: Specification, running: Specification) -> list[str]:
    old, new = secret_versions(running), secret_versions(specification)
    told = [f"secret {name} added" for name in new if name not in old]
    told += [f"secret {name} removed" for name in old if name not in new]
    told += [f"secret {name} v{old[name]} → v{new[name]}" for name in new if name in old and old[name] != new[name]]
    return told


def _mapping(prefix: str, before: Mapping[str, Any], after: Mapping[str, Any], *, shown: bool = False) -> list[str]:
    said = prefix if prefix.endswith(".") else f"{prefix} "
    told = []
    for key in dict.fromkeys([*before, *after]):
        if before.get(key) == after.get(key):
            continue
        if shown:
            told.append(_arrow(f"{said}{key}", before.get(key), after.get(key)))
        else:
            told.append(_change(f"{said}{key}", key in before, key in after))
    return told


def _changed(key: str, before: Any, after: Any) -> str:
    if key in _SHOWN:
        return _arrow(key, before, after)
    return _change(key, before is not None, after is not None)


def _change(name: str, was: bool, is_now: bool) -> str:
    if was and is_now:
        return f"{name} changed"
    return f"{name} added" if is_now else f"{name} removed"


def _arrow(name: str, before: Any, after: Any) -> str:
    if before is None:
        return f"{name} added: {after}"
    if after is None:
        return f"{name} removed (was {before})"
    return f"{name} {before} → {after}"
