"""A manifest in the making: what was found in a repository, and the text that is written from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from godploy.core import schema, yamltree
from godploy.core.problems import dotted, printable
from godploy.core.shape import Shape

_ORDER = (
    "template", "parameters", "build", "image", "image_from", "entrypoint", "command", "port", "routes", "health",
    "env", "secrets", "release_command", "replicas", "resources", "volumes", "depends_on",
    "stop_grace_period", "deploy",
)  # fmt: skip


@dataclass(slots=True)
class Draft:
    """`services` as they are written in a manifest; `comments` stand above a service; `notes` tell what could not be
    carried over and what is left to do, each a sentence with its reason."""

    services: dict[str, dict[str, Any]] = field(default_factory=dict)
    comments: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


def render(draft: Draft, server: str) -> str:
    """The text of the manifest. `server` is the address from which editors take the schema."""
    lines = [f"# yaml-language-server: $schema={server}/schemas/godploy.schema.json", "version: 1", ""]
    if not draft.services:
        return "\n".join([*lines, "services: {}", ""])
    lines.append("services:")
    for name, service in draft.services.items():
        lines += [f"  # {comment}" for comment in draft.comments.get(name, ())]
        lines.append(f"  {dump(name)}:")
        ordered = {key: service[key] for key in _ORDER if key in service}
        lines += [f"    {line}" if line else "" for line in dump(ordered).splitlines()]
    return "\n".join([*lines, ""])


def leave_out_invalid(draft: Draft, source: str) -> None:
    """Drops what a manifest would be refused for, with a note of what would be said: the file that a draft is carried
    over from may hold anything. A service without what it runs goes as a whole."""
    try:
        tree = yamltree.read(render(draft, ""))
    except yamltree.YamlError as error:
        draft.services.clear()
        draft.note(f"{source} is not used: {error.message}.")
        return
    found = schema.problems(tree.data)
    unsound = frozenset(problem.path[:length] for problem in found for length in range(1, len(problem.path) + 1))
    shape = Shape(tree.texts, "", unsound)
    for name, said in tree.data["services"].items():
        shape.service(said, ("services", name))
    for problem in [*found, *shape.problems]:
        service, key = str(problem.path[1]), str(problem.path[2]) if len(problem.path) > 2 else None
        if key in (None, "build", "image"):
            draft.services.pop(service, None)
        else:
            draft.services.get(service, {}).pop(str(key), None)
        draft.note(f"{source}: {printable(f'{dotted(problem.path[1:])} is left out: {problem.message}')}.")


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _list(dumper: _Dumper, items: list[Any]) -> yaml.Node:
    """A list of plain values on one line, as people write commands and names."""
    flow = not any(isinstance(item, Mapping | list) or "\n" in str(item) for item in items)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=flow)


def _str(dumper: _Dumper, text: str) -> yaml.Node:
    # Line breaks of Unicode are folded into blanks when they are read, unless they stand as escapes.
    style = '"' if any(character in text for character in "\x85\u2028\u2029") else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(list, _list)
_Dumper.add_representer(str, _str)


def dump(value: Any) -> str:
    """A value as YAML that `core.yamltree` reads back as the same, without a final newline."""
    dumped = yaml.dump(
        value, Dumper=_Dumper, sort_keys=False, default_flow_style=False, width=10_000, allow_unicode=True
    )
    return dumped.removesuffix("...\n").rstrip("\n")
