"""Writes docs/manifest.md from the schema, so that the page cannot say anything else than what is checked.

python -m godploy.core.reference_page > docs/manifest.md
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from godploy.core import schema
from godploy.core.draft import Draft, dump, render

_INTRODUCTION = """\
# `godploy.yaml`

<!-- Generated from schemas/godploy.schema.json: python -m godploy.core.reference_page > docs/manifest.md -->

One file at the root of a repository says what runs. It is read from the commit being deployed, and whatever it says is
checked before anything is built: `godploy validate` does the same on your machine, and `godploy init` drafts the file
by looking at the repository. The smallest useful one:

```yaml
{smallest}```

With the first line an editor that speaks YAML completes the keys; put your server's address there. A file with nearly
everything in it:

```yaml
{full}```
"""

_RULES = """\
## How values are written

- **Strict.** An unknown key is an error, and all errors of a file come at once, each with its line and column:
  `godploy.yaml:9:5: services.web.helth: unknown key; did you mean "health"?`
- **YAML without surprises.** Only `true` and `false` are booleans: `no`, `22:22` and `0123` are the texts that they
  look like. Anchors, aliases, tags, keys given twice and a second document are errors. At most 64 KiB and 20 levels.
- **Names** of services, environments and volumes are lower-case letters, digits and hyphens, begin with a letter and
  have at most 40 characters. Variables and secrets are letters, digits and `_`.
- **Sizes** are written `512M` or `2G` (binary), **durations** `10s`, `5m`, `1h` or `7d`.
- **Values** under `env`, `args` and `parameters` are taken as they are written: `16.10` stays `16.10`.
- **References** are filled in, value by value, in `env` and in commands: `${services.NAME.KEY}`, `${secrets.NAME}`,
  `${environment.name}`, `${deployment.commit}`. Only `${` is special, and `$${` is a literal `${`; `pa$$word` is safe.
  A service with a port offers `host`, `port` and `url`; a template says what it offers, for databases also `user`,
  `password` and `database`.
- **Commands** are lists of words, or strings that are split into words. They are never run by a shell: where one is
  needed, write `["sh", "-c", "…"]`.
- **Paths** under `build` are relative to the folder of the manifest (`dockerfile` to the context); `..` may climb to
  the root of the repository, no further.
- **What cannot be said:** privileged mode, capabilities, devices, host namespaces, host paths, volume drivers, labels
  and published ports. There is no key for any of them.
"""

_SECTIONS = (
    ("", ""),
    ("service", "services.NAME"),
    ("build", "services.NAME.build"),
    ("route", "services.NAME.routes[]"),
    ("health", "services.NAME.health"),
    ("resources", "services.NAME.resources"),
    ("volume", "services.NAME.volumes[]"),
    ("deploy", "services.NAME.deploy"),
    ("environment", "environments.NAME"),
)
_TYPES = {
    "string": "text",
    "integer": "number",
    "number": "number",
    "boolean": "true or false",
    "array": "list",
    "object": "mapping",
    "null": "null",
}


def page() -> str:
    """The whole page as Markdown."""
    root = schema.document()
    smallest, full = (_example(example) for example in root["examples"])
    parts = [_INTRODUCTION.format(smallest=smallest, full=full)]
    for definition, path in _SECTIONS:
        described = root["$defs"][definition] if definition else root
        parts.append("\n".join(_section(described, path)))
    return "\n".join([*parts, _RULES])


def _example(tree: Mapping[str, Any]) -> str:
    text = render(Draft(services=dict(tree["services"])), "https://deploy.example.com")
    rest = {key: tree[key] for key in tree if key not in ("version", "services")}
    return f"{text}\n{dump(rest)}\n" if rest else text


def _section(described: Mapping[str, Any], path: str) -> Iterator[str]:
    # Where a short form stands beside a mapping, the mapping has the keys.
    forms = [form for form in described.get("anyOf", ()) if "properties" in form]
    tree = forms[0] if forms else described
    yield f"## {f'`{path}`' if path else 'The file'}"
    yield f"\n{described['description']}\n"
    yield "| key | meaning | type | default | example |"
    yield "|---|---|---|---|---|"
    for key, said in tree["properties"].items():
        needed = " (needed)" if key in tree.get("required", ()) else ""
        yield _row(key, resolved(said), needed)
    yield ""


def _row(key: str, said: Mapping[str, Any], needed: str) -> str:
    default = f"`{_flow(said['default'])}`" if "default" in said else ""
    examples = ", ".join(f"`{_flow(example)}`" for example in said.get("examples", ()))
    return f"| `{key}`{needed} | {said['description']} | {_type(said)} | {default} | {examples} |".replace("  ", " ")


def resolved(said: Mapping[str, Any]) -> dict[str, Any]:
    """A part of the schema with what its `$ref` leads to; what stands beside the reference comes first."""
    reference = said.get("$ref")
    if reference is None:
        return dict(said)
    target: Any = schema.document()
    for step in reference.removeprefix("#/").split("/"):
        target = target[step]
    return {**resolved(target), **{key: value for key, value in said.items() if key != "$ref"}}


def _type(said: Mapping[str, Any]) -> str:
    if "enum" in said:
        return ", ".join(f"`{value}`" for value in said["enum"])
    if "anyOf" in said:
        return " or ".join(dict.fromkeys(_type(resolved(form)) for form in said["anyOf"]))
    named = said["type"]
    return _TYPES[named] if isinstance(named, str) else " or ".join(dict.fromkeys(_TYPES[name] for name in named))


def _flow(value: Any) -> str:
    """A value on one line, as it is written in YAML."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_flow(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_flow(inner) for inner in value) + "]"
    text = dump(value)
    return f'"{value}"' if isinstance(value, str) and any(c in value for c in "{}[],*") else text


if __name__ == "__main__":
    print(page(), end="")
