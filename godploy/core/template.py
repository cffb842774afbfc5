"""Predefined services as data: a template and its parameters become what a definition would say. Pure.

Placeholders are put in value by value on the parsed tree, never on YAML text, so no parameter can become structure.
A generated secret stays a reference to the volume that it initialised (`${volumes.db-data.password@1}`): whoever
attaches that volume again has the same password again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import Any

from godploy import resources
from godploy.core.specification import literal
from godploy.errors import Invalid

_PLACEHOLDER = re.compile(r"\$\{([^}]*)\}")


@dataclass(frozen=True, slots=True)
class Parameter:
    """What a manifest may set. An `initial` one acts only when the volume is first filled."""

    description: str
    default: str
    pattern: str
    expects: str
    initial: bool = False


@dataclass(frozen=True, slots=True)
class Template:
    """A checked template file; `tree` is what it says, placeholders included."""

    name: str
    title: str
    description: str
    revision: int
    parameters: Mapping[str, Parameter]
    offers: tuple[str, ...]  # keys for ${services.NAME.KEY}
    generated: tuple[str, ...]  # secrets that are made with the volume
    major: str | None  # the parameter that begins with the major version
    tree: Mapping[str, Any] = field(repr=False, default_factory=dict)


@cache
def shipped() -> Mapping[str, Template]:
    """The templates that this installation has, by name. Read once."""
    schema = json.loads((resources.root("schemas") / "template.schema.json").read_text("utf-8"))
    files = sorted(resources.root("templates").glob("*/template.yaml"))
    loaded = (load(file.read_text("utf-8"), schema) for file in files)
    return MappingProxyType({template.name: template for template in loaded})


def load(text: str, schema: Mapping[str, Any]) -> Template:
    """The template in a file's text; `schema` is `schemas/template.schema.json`, parsed.

    Raises Invalid with all that is wrong: a template is shipped data, so this is met by its author, not by users.
    """
    import jsonschema  # rarely needed and heavy
    import yaml

    try:
        tree = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise Invalid("the template is not YAML", [str(error)]) from error
    errors = jsonschema.Draft202012Validator(dict(schema)).iter_errors(tree)
    problems = [f"{error.json_path}: {error.message}" for error in errors]
    if problems:
        raise Invalid("the template does not follow its schema", problems)
    template = _from_tree(tree)
    problems = _contradictions(template)
    if problems:
        raise Invalid(f"the template {template.name} contradicts itself", problems)
    return template


def complaints(template: Template, parameters: Mapping[str, str]) -> dict[str, str]:
    """What is wrong with the parameters that a manifest gives: name → message, without its place."""
    wrong = {}
    for name, value in parameters.items():
        parameter = template.parameters.get(name)
        if parameter is None:
            wrong[name] = f"{template.title} has no such parameter; it has {', '.join(sorted(template.parameters))}"
        elif not re.fullmatch(parameter.pattern, value):
            wrong[name] = f'expected {parameter.expects}, found "{value}"'
    return wrong


def render(template: Template, service: str, parameters: Mapping[str, str]) -> dict[str, Any]:
    """What the template says for a service of this name, as plain JSON that is stored with the workload.

    Keys as in a manifest where they are the same (`image`, `command`, `port`, `health`, `stop_grace_period`), plus
    `memory`, `volume` ({"name", "path"}) and `offers`; `parameters` are complete and `major` is the major version.
    Texts of `command`, `env` and `offers` are sealed. The parameters must have passed `complaints`.
    """
    chosen = {name: parameters.get(name, known.default) for name, known in template.parameters.items()}
    volume = f"{service}-data"

    def value(placeholder: str) -> str:
        kind, _, name = placeholder.partition(".")
        if kind == "service":
            return service
        return literal(chosen[name]) if kind == "parameters" else f"${{volumes.{volume}.{name}@1}}"

    kept = ("image", "command", "port", "env", "health", "memory", "stop_grace_period", "offers")
    rendered = {key: _substituted(template.tree[key], value) for key in kept if key in template.tree}
    if "volume" in template.tree:
        rendered["volume"] = {"name": volume, "path": template.tree["volume"]["path"]}
    if template.major is not None:
        rendered["major"] = major(chosen[template.major])
    return {**rendered, "title": template.title, "parameters": chosen}


def major(version: str) -> str:
    """The leading number of a version: `16` of `16.4-alpine`."""
    found = re.match(r"[0-9]+", version)
    return found[0] if found else version


def _substituted(tree: Any, value: Callable[[str], str]) -> Any:
    if isinstance(tree, str):
        return _PLACEHOLDER.sub(lambda match: value(match[1]), tree)
    if isinstance(tree, Mapping):
        return {key: _substituted(inner, value) for key, inner in tree.items()}
    if isinstance(tree, list):
        return [_substituted(inner, value) for inner in tree]
    return tree


def _from_tree(tree: Mapping[str, Any]) -> Template:
    parameters = {
        name: Parameter(
            description=said["description"],
            default=said["default"],
            pattern=said["pattern"],
            expects=said.get("expects", f"what matches {said['pattern']}"),
            initial=said.get("initial", False),
        )
        for name, said in tree["parameters"].items()
    }
    return Template(
        name=tree["name"],
        title=tree["title"],
        description=tree["description"],
        revision=tree["revision"],
        parameters=parameters,
        offers=tuple(tree.get("offers", {})),
        generated=tuple(tree.get("generated", ())),
        major=tree.get("major"),
        tree=tree,
    )


def _contradictions(template: Template) -> list[str]:
    """What a schema cannot see: placeholders of nothing, defaults that are not allowed, dollars in parameters."""
    known = {"service"}
    known |= {f"parameters.{name}" for name in template.parameters}
    known |= {f"generated.{name}" for name in template.generated}
    used: set[str] = set()

    def note(placeholder: str) -> str:
        used.add(placeholder)
        return ""

    _substituted(template.tree, note)
    problems = [f"${{{placeholder}}} stands for nothing" for placeholder in sorted(used - known)]
    for name, parameter in template.parameters.items():
        try:
            matches = re.fullmatch(parameter.pattern, parameter.default) is not None
            dollar = re.fullmatch(parameter.pattern, "${") is not None
        except re.error as error:
            problems.append(f"parameters.{name}.pattern is not a regular expression: {error}")
            continue
        if not matches:
            problems.append(f"parameters.{name}.default does not match its own pattern")
        if dollar:
            problems.append(f"parameters.{name}.pattern allows references")
    if template.major is not None and template.major not in template.parameters:
        problems.append(f"major names {template.major}, which is no parameter")
    return problems
