"""The OpenAPI document as the server reads it: what each operation takes, checked before a handler sees it.

One document is the contract with the command line and the dashboard and the check of what comes in, so the two cannot
drift apart. `x-expected` says in words what belongs in a place.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import yaml

from godploy import resources
from godploy.errors import Invalid

_AT_A_GLANCE = frozenset(
    {"type", "enum", "pattern", "minLength", "maxLength", "default", "description", "examples", "x-expected"}
)
_METHODS = ("get", "put", "post", "delete")


@cache
def document() -> Mapping[str, Any]:
    """`schemas/openapi.yaml`. Reads a file, so it is called once before the event loop has anything to do."""
    text = (resources.root("schemas") / "openapi.yaml").read_text("utf-8")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load(text, Loader=loader)  # type: ignore[no-any-return]  # noqa: S506  # both loaders are safe ones


def schema(reference: str) -> Mapping[str, Any]:
    """What a `$ref` of the document names."""
    found: Any = document()
    for step in reference.removeprefix("#/").split("/"):
        found = found[step]
    return found  # type: ignore[no-any-return]


def _resolved(tree: Mapping[str, Any]) -> Mapping[str, Any]:
    return schema(tree["$ref"]) if "$ref" in tree else tree


@dataclass(frozen=True)
class Parameter:
    name: str
    place: str  # "path", "query" or "header"
    required: bool
    schema: Mapping[str, Any]

    def read(self, text: str) -> Any:
        """The text as the schema's type wants it; unchanged where it does not fit, which the check then tells."""
        kind = self.schema.get("type")
        if kind == "integer" and re.fullmatch(r"-?[0-9]{1,18}", text):
            return int(text)
        if kind == "boolean" and text in ("true", "false"):
            return text == "true"
        return text

    def plainly_fits(self, value: Any) -> bool:
        """Whether a text is what the schema wants, where that can be said at a glance: every call has parameters, and
        a validator takes ten times as long."""
        schema = self.schema
        if not isinstance(value, str) or not value.isprintable() or not schema.keys() <= _AT_A_GLANCE:
            return False
        if "enum" in schema:
            return value in schema["enum"]
        return (
            schema.get("type") == "string"
            and schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value))
            and ("pattern" not in schema or re.fullmatch(schema["pattern"], value) is not None)
        )


@dataclass(frozen=True)
class Operation:
    """One method of one path."""

    id: str
    method: str
    path: str
    permission: str
    parameters: tuple[Parameter, ...]
    body: Mapping[str, Any] | None  # the schema; None where there is no body
    body_required: bool
    verifies_itself: bool  # the handler reads the raw body, since its signature comes before everything else

    def read_parameters(self, path: Mapping[str, str], query: Mapping[str, str]) -> dict[str, Any]:
        """Path and query parameters, converted, with the defaults of those that are missing. Raises Invalid."""
        values: dict[str, Any] = {}
        problems = [f"{name}: unknown parameter" for name in query if name not in self._of_query]
        for parameter in self.parameters:
            given = {"path": path, "query": query}.get(parameter.place)
            if given is None:
                continue
            if parameter.name in given:
                values[parameter.name] = parameter.read(given[parameter.name])
                if not parameter.plainly_fits(values[parameter.name]):
                    problems += complaints(parameter.schema, values[parameter.name], parameter.name)
            elif parameter.required:
                problems.append(f"{parameter.name}: missing")
            else:
                values[parameter.name] = parameter.schema.get("default")
        if problems:
            raise _wrong(problems)
        return values

    def read_body(self, raw: bytes) -> dict[str, Any]:
        """The JSON body, with the defaults of missing keys at its top. Raises Invalid."""
        if self.body is None:
            if raw:
                raise Invalid("this call takes no body")
            return {}
        if not raw and not self.body_required:
            tree: Any = {}
        else:
            tree = parse(raw)
        problems = complaints(self.body, tree)
        if problems:
            raise _wrong(problems)
        properties = _resolved(self.body)["properties"]
        defaults = {key: _resolved(value).get("default") for key, value in properties.items()}
        return {**defaults, **tree}

    @cached_property
    def _of_query(self) -> frozenset[str]:
        return frozenset(parameter.name for parameter in self.parameters if parameter.place == "query")


def _wrong(problems: list[str]) -> Invalid:
    if len(problems) == 1:
        return Invalid(problems[0])
    return Invalid(f"the request has {len(problems)} mistakes", problems)


@cache
def operations() -> Mapping[tuple[str, str], Operation]:
    """(method, path) → the operation."""
    return {(found.method, found.path): found for found in _operations()}


def _operations() -> Iterator[Operation]:
    for path, item in document()["paths"].items():
        for method in _METHODS:
            if method not in item:
                continue
            tree = item[method]
            parameters = [_resolved(found) for found in (*item.get("parameters", ()), *tree.get("parameters", ()))]
            body = _resolved(tree["requestBody"]) if "requestBody" in tree else None
            yield Operation(
                id=tree["operationId"],
                method=method.upper(),
                path=path,
                permission=tree["x-permission"],
                parameters=tuple(
                    Parameter(p["name"], p["in"], p.get("required", False), _resolved(p["schema"])) for p in parameters
                ),
                body=_resolved(body["content"]["application/json"]["schema"]) if body else None,
                body_required=bool(body and body.get("required")),
                verifies_itself=tree.get("x-signed", False),
            )


def parse(raw: bytes) -> Any:
    """JSON from outside: UTF-8, no duplicate keys, no NaN, bounded depth. Raises Invalid."""
    try:
        return json.loads(raw.decode("utf-8"), object_pairs_hook=_without_duplicates, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Invalid("the body is not valid JSON (UTF-8, without duplicate keys)") from error


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    tree = dict(pairs)
    if len(tree) != len(pairs):
        raise ValueError("duplicate key")
    return tree


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def complaints(schema: Mapping[str, Any], data: Any, at: str = "") -> list[str]:
    """What the schema does not allow in `data`, as sentences with their places."""
    found = {_sentence(error, at): None for error in _validator(json.dumps(schema, sort_keys=True)).iter_errors(data)}
    if not found and _unprintable(data):
        found = {f"{at or 'the body'}: holds half a character (a lone surrogate)": None}
    return list(found)


@cache
def _validator(schema: str) -> Any:
    # jsonschema takes time and megabytes to import, and a server without requests needs none of it.
    from jsonschema import Draft202012Validator, ValidationError, validators

    def pattern(_: Any, expression: str, instance: Any, schema: Any) -> Iterator[Any]:
        # The library searches, and Python's `$` also matches before a trailing newline.
        if isinstance(instance, str) and not re.fullmatch(expression, instance):
            yield ValidationError("pattern")

    kind: Any = validators.extend(Draft202012Validator, {"pattern": pattern})  # type: ignore[no-untyped-call]
    return kind({"components": document()["components"], "allOf": [json.loads(schema)]})


def _sentence(error: Any, at: str) -> str:
    place = ".".join([at, *map(str, error.absolute_path)] if at else map(str, error.absolute_path)) or "the body"
    if error.validator == "required":
        missing = [key for key in error.validator_value if key not in error.instance]
        return f"{place}: {', '.join(missing)} is missing"
    if error.validator == "additionalProperties" and error.validator_value is False:
        unknown = [key for key in error.instance if key not in error.schema["properties"]]
        return f"{place}: unknown key {', '.join(map(json.dumps, unknown))}"
    return f"{place}: expected {_expected(error)}"


def _expected(error: Any) -> str:
    if "x-expected" in error.schema:
        return str(error.schema["x-expected"])
    value = error.validator_value
    match error.validator:
        case "type":
            return " or ".join(value) if isinstance(value, list) else str(value)
        case "enum":
            return "one of " + ", ".join(map(str, value))
        case "minimum" | "minLength" | "minItems" | "minProperties":
            return f"at least {value}"
        case "maximum" | "maxLength" | "maxItems" | "maxProperties":
            return f"at most {value}"
    return f"what the schema says ({error.validator})"


def _unprintable(data: Any) -> bool:
    """Whether a text in it cannot be written down as UTF-8."""
    try:
        json.dumps(data, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False
