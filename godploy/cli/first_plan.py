"""What a first deployment of a manifest would make, told without a server: the same planner, on assumed facts.

Assumed is a server that has nothing yet, finds every image, has every secret, and no domain for generated names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from godploy.core import coherence, describe, plan
from godploy.core.facts import Context, ContextQuery, Facts, ResolvedImage
from godploy.core.manifest import Manifest
from godploy.core.references import references
from godploy.core.template import Template
from godploy.errors import Invalid

_WORKING_TREE = "working tree"
_COMMIT = "0" * 40


def first_plan(
    manifest: Manifest, environment: str, *, top: Path, project: str, templates: Mapping[str, Template]
) -> dict[str, Any]:
    """In the shape in which a server answers. `top` is the folder that would be the repository's root.

    Raises Invalid where the plan could not be carried out, or for an environment that the manifest does not name.
    """
    if environment not in manifest.environments():
        known = ", ".join(manifest.environments())
        raise Invalid(f"the manifest names no environment {environment}", next_step=f"choose one of {known}")
    definitions = manifest.definitions(environment)
    folder = manifest.filename.rpartition("/")[0]
    inputs = plan.inputs(definitions, {}, templates=templates, folder=folder)
    secrets = sorted(set(_secrets(definitions)))
    facts = Facts(
        project=project,
        environment=environment,
        environment_class=environment,
        apps_domain="localhost",
        commit=_COMMIT,
        folder=folder,
        contexts={service: context for service, query in inputs.contexts.items() if (context := _context(top, query))},
        images={text: ResolvedImage(text) for text in inputs.images},
        secrets=dict.fromkeys(secrets, 1),
    )
    made = plan.plan(
        definitions,
        {},
        facts,
        templates=templates,
        current_routes=(),
        place=lambda path: manifest.place(path, environment),
    )
    needed = [f"note: set its value first: godploy secrets set {name} --environment {environment}" for name in secrets]
    return {
        "lines": [*describe.lines(made), *needed],
        "plan": describe.to_json(made),
        "digest": describe.digest(made),
        "destructive": list(made.destructive),
    }


def _context(top: Path, query: ContextQuery) -> Context | None:
    if not (top / query.context).is_dir():
        return None
    dockerfile = top / query.dockerfile
    return Context(_WORKING_TREE, dockerfile.is_file() and not dockerfile.is_symlink())


def _secrets(definitions: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """The names of all secrets that the services use."""
    for name, definition in definitions.items():
        yield from definition.get("secrets", ())
        build = definition.get("build") or {}
        yield from build.get("secrets", ())
        mentioned = [reference for reference, _ in coherence.mentions(name, definition)]
        mentioned += [reference for text in build.get("args", {}).values() for reference in references(text)]
        yield from (reference.name for reference in mentioned if reference.kind == "secrets")
