"""The schema is contract, documentation and example at once; these tests keep the three together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from godploy import resources
from godploy.core import defaults, draft, reference_page, schema, units
from tests.core.manifests import mistakes

_LATER = ("output", "spa", "jobs", "previews", "wait_for_ci", "bake", "submodules", "lfs")


def parts(tree: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema in the schema, with its path."""
    if not isinstance(tree, dict):
        return
    yield path, tree
    for group in ("properties", "$defs"):
        for name, inner in tree.get(group, {}).items():
            yield from parts(inner, f"{path}/{group}/{name}")
    for name in ("items", "additionalProperties", "propertyNames"):
        yield from parts(tree.get(name), f"{path}/{name}")
    for number, inner in enumerate(tree.get("anyOf", ())):
        yield from parts(inner, f"{path}/anyOf/{number}")


ALL = dict(parts(schema.document()))
PROPERTIES = {
    path: inner
    for path, inner in ALL.items()
    if "/properties/" in path and path.rpartition("/")[0].endswith("properties")
}


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(schema.document())


@pytest.mark.parametrize("path", [path for path in PROPERTIES if "service_override" not in path])
def test_every_property_has_a_description_and_examples_that_are_valid(path: str) -> None:
    said = reference_page.resolved(PROPERTIES[path])
    assert said["description"].endswith("."), path
    assert said["examples"], path
    check = jsonschema.Draft202012Validator({"$defs": schema.document()["$defs"], **PROPERTIES[path]})
    for example in said["examples"]:
        check.validate(example)


def test_an_environment_can_override_every_key_of_a_service() -> None:
    definitions = schema.document()["$defs"]
    assert definitions["service_override"]["properties"].keys() == definitions["service"]["properties"].keys()


def test_whatever_can_be_wrong_has_words_for_it() -> None:
    for path, said in ALL.items():
        if said.keys() & {"pattern", "enum", "const", "minimum", "anyOf"} and "anyOf/" not in path:
            bare_override = "service_override/properties" in path
            assert bare_override or said.keys() & {"x-expected", "x-messages"}, path


def test_mappings_are_closed() -> None:
    for path, said in ALL.items():
        if said.get("type") == "object" and "properties" in said:
            assert said["additionalProperties"] is False, path
            assert said["title"], path


def test_keys_of_later_capabilities_are_not_there() -> None:
    names = {path.rpartition("/")[2] for path in PROPERTIES}
    assert not names & set(_LATER)


def test_foreign_words_are_foreign_and_stand_in_sections_that_exist() -> None:
    sections = {said["title"]: said["properties"] for said in ALL.values() if "properties" in said}
    for section, words in schema._foreign_words().items():
        assert section in sections, section
        assert not words.keys() & sections[section].keys(), section
        assert not [sentence for sentence in words.values() if sentence.endswith((".", "!"))]


@pytest.mark.parametrize("number", range(len(schema.document()["examples"])))
def test_the_examples_are_manifests(number: int) -> None:
    assert not mistakes(draft.dump(schema.document()["examples"][number]))


def test_the_page_is_the_one_that_the_schema_gives() -> None:
    checked_in = (resources.root("schemas").parent / "docs" / "manifest.md").read_text()
    assert checked_in == reference_page.page(), "run: python -m godploy.core.reference_page > docs/manifest.md"


def test_the_defaults_that_are_promised_are_those_of_the_plan() -> None:
    definitions = schema.document()["$defs"]
    promised = {
        name: said["default"] for name, said in definitions["health"]["properties"].items() if "default" in said
    }
    assert units.status_range(promised.pop("status")) == (defaults.HEALTH.status_from, defaults.HEALTH.status_to)
    for name, default in promised.items():
        said = units.seconds(default) if isinstance(default, str) else default
        assert said == getattr(defaults.HEALTH, name), name
    deploy = definitions["deploy"]["properties"]
    for name in ("drain", "settle", "timeout"):
        assert units.seconds(deploy[name]["default"]) == getattr(defaults, name.upper())
    service = definitions["service"]["properties"]
    assert units.seconds(service["stop_grace_period"]["default"]) == defaults.STOP_GRACE
    assert service["replicas"]["default"] == defaults.REPLICAS
    assert definitions["resources"]["properties"]["cpus"]["default"] == defaults.CPUS
    assert units.size(definitions["resources"]["properties"]["memory"]["default"]) == defaults.MEMORY
    assert definitions["build"]["properties"]["context"]["default"] == defaults.CONTEXT
    assert definitions["build"]["properties"]["dockerfile"]["default"] == defaults.DOCKERFILE
