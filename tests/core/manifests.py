"""The shipped templates, and a short way to the mistakes of a manifest."""

from __future__ import annotations

import json
from functools import cache

from godploy import resources
from godploy.core import manifest, template
from godploy.errors import Invalid


@cache
def templates() -> dict[str, template.Template]:
    schema = json.loads((resources.root("schemas") / "template.schema.json").read_text())
    files = resources.root("templates").glob("*/template.yaml")
    return {loaded.name: loaded for loaded in (template.load(file.read_text(), schema) for file in files)}


def parse(text: str | bytes, **more: object) -> manifest.Manifest:
    return manifest.parse(text, templates=templates(), **more)  # type: ignore[arg-type]


def mistakes(text: str | bytes, **more: object) -> list[str]:
    """The sentences with which a manifest is refused; none for one that is fine."""
    try:
        parse(text, **more)
    except Invalid as error:
        return list(error.problems)
    return []
