"""The manifest's JSON Schema: loads it, and turns what the validator finds into sentences for people.

The schema carries what the sentences need: `x-expected` says what belongs in a place, `x-messages` holds whole
sentences for rules between keys, and `title` names the section under which a foreign word is looked up.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any

from godploy import resources
from godploy.core.problems import Path, Problem


@cache
def document() -> Mapping[str, Any]:
    """The schema itself, as shipped."""
    return _shipped("godploy.schema.json")


@cache
def _foreign_words() -> Mapping[str, Mapping[str, str]]:
    return _shipped("foreign-words.json")


def _shipped(name: str) -> Mapping[str, Any]:
    return json.loads((resources.root("schemas") / name).read_text("utf-8"))  # type: ignore[no-any-return]


@cache
def _validator(definition: str | None) -> Any:
    # jsonschema takes 64 ms and some megabytes to import, and most runs of the program need none of it.
    from jsonschema import Draft202012Validator, validators

    def pattern(_: Any, expression: str, instance: Any, schema: Any) -> Iterator[Any]:
        # The library searches, and Python's `$` also matches before a trailing newline.
        if isinstance(instance, str) and not re.fullmatch(expression, instance):
            yield _error(f"{instance!r} does not match {expression!r}")

    def is_integer(_: Any, instance: Any) -> bool:
        return isinstance(instance, int) and not isinstance(instance, bool)

    checker = Draft202012Validator.TYPE_CHECKER.redefine("integer", is_integer)
    kind: Any = validators.extend(  # type: ignore[no-untyped-call]
        Draft202012Validator, {"pattern": pattern}, type_checker=checker
    )
    schema = document()
    return kind(schema if definition is None else {"$defs": schema["$defs"], "$ref": f"#/$defs/{definition}"})


def _error(message: str) -> Any:
    from jsonschema import ValidationError

    return ValidationError(message)


def problems(data: Any, *, definition: str | None = None, at: Path = ()) -> list[Problem]:
    """Everything in `data` that the schema, or one of its `$defs`, does not allow. `at` is the path of `data`."""
    errors = list(_validator(definition).iter_errors(data))
    of_wrong_type = {tuple(error.absolute_path) for error in errors if error.validator == "type"}
    found: dict[Problem, None] = {}
    for error in errors:
        # What is no mapping also lacks every key that a mapping would need; once is enough.
        if error.validator != "type" and tuple(error.absolute_path) in of_wrong_type:
            continue
        for problem in _explain(error):
            found[Problem((*at, *problem.path), problem.message)] = None
    return list(found)


def near(word: str, known: Iterable[str]) -> str:
    """`; did you mean "health"?` where one of `known` resembles `word`, else nothing."""
    matches = difflib.get_close_matches(word.lower(), list(known), n=1)
    return f'; did you mean "{matches[0]}"?' if matches else ""


def _explain(error: Any) -> Iterator[Problem]:
    schema, keyword, path = error.schema, error.validator, tuple(error.absolute_path)
    message = schema.get("x-messages", {}).get(keyword)
    if keyword == "oneOf":
        present = [key for form in error.validator_value for key in form["required"] if key in error.instance]
        yield Problem(path, f"{message}; found {' and '.join(present) or 'none of them'}")
    elif "propertyNames" in error.relative_schema_path:
        yield Problem((*path, error.instance), message or f"expected {schema['x-expected']}")
    elif message:
        yield Problem(path, message)
    elif keyword == "anyOf":
        yield from _alternatives(error, path)
    elif keyword == "additionalProperties":
        for key in error.instance:
            if key not in schema["properties"]:
                yield Problem((*path, key), _unknown(key, schema))
    elif keyword == "required":
        missing = [key for key in error.validator_value if key not in error.instance]
        yield Problem(path, f"expected {schema['x-expected']}; {' and '.join(missing)} is missing")
    else:
        yield Problem(path, _expected(schema, error.instance))


def _alternatives(error: Any, path: Path) -> Iterator[Problem]:
    """Of several forms the one that was meant is told by its type; only its errors help."""
    forms: dict[int, list[Any]] = {}
    for inner in error.context:
        forms.setdefault(inner.relative_schema_path[0], []).append(inner)
    meant = [
        inner
        for inner in forms.values()
        if not any(e.validator == "type" and tuple(e.absolute_path) == path for e in inner)
    ]
    if len(meant) != 1 and "x-expected" not in error.schema:  # a form, or null: the form says what it expects
        meant = [forms[0]]
    if len(meant) != 1:
        yield Problem(path, _expected(error.schema, error.instance))
        return
    for inner in meant[0]:
        below = inner.validator == "additionalProperties" or tuple(inner.absolute_path) != path
        if below or "x-expected" in inner.schema or "x-messages" in inner.schema:
            yield from _explain(inner)
        else:
            yield Problem(path, _expected(error.schema, error.instance))


def foreign(section: str, key: str) -> str | None:
    """What to say of a key that people bring from elsewhere, in a section of the schema (its title)."""
    return _foreign_words().get(section, {}).get(key)


def _unknown(key: str, schema: Mapping[str, Any]) -> str:
    word = foreign(schema.get("title", ""), key)
    if word is not None:
        return f"unknown key; {word}"
    return f"unknown key{near(key, schema['properties'])}"


def _expected(schema: Mapping[str, Any], instance: Any) -> str:
    return f"expected {schema['x-expected']}, found {_found(instance)}"


def _found(instance: Any) -> str:
    if instance is None:
        return "nothing"
    if isinstance(instance, dict):
        return "a mapping" if instance else "an empty mapping"
    if isinstance(instance, list):
        return "a list" if instance else "an empty list"
    text = json.dumps(instance, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}…"
