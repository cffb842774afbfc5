"""Whatever is pushed as a manifest, it is either one or refused in sentences; nothing else is ever raised."""

from __future__ import annotations

import re
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from godploy.core import compose, detect, dotenv, draft, schema
from godploy.errors import Invalid
from tests.core.manifests import mistakes, parse

_KEYS = sorted(
    {
        name
        for said in [schema.document(), *schema.document()["$defs"].values()]
        for form in [said, *said.get("anyOf", ())]
        for name in form.get("properties", {})
    }
)
_WORDS = ["web", "db", "production", "auto", "postgres", ".", "../..", "a.b", "x:/y", "${services.db.url}", "${", "10s"]

_scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.sampled_from(_WORDS), st.text(max_size=12)
)
_names = st.one_of(st.sampled_from([*_KEYS, *_WORDS]), st.text(max_size=6))
_trees: st.SearchStrategy[Any] = st.recursive(
    _scalars, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_names, inner, max_size=4))
)
_services = st.dictionaries(
    st.sampled_from(["web", "db", "worker"]),
    st.dictionaries(st.sampled_from(list(schema.document()["$defs"]["service"]["properties"])), _trees, max_size=5),
    max_size=3,
)
_environments = st.dictionaries(
    st.sampled_from(["production", "staging"]),
    st.fixed_dictionaries({}, optional={"services": _services, "branch": _scalars}),
)
_manifests = st.fixed_dictionaries(
    {"version": st.just(1), "services": _services}, optional={"environments": _environments}
)


def in_sentences(text: str | bytes) -> None:
    try:
        manifest = parse(text)
    except Invalid as error:
        assert error.problems
        assert all(re.match(r"godploy\.yaml(:\d+:\d+)?: \S", problem) for problem in error.problems)
        assert len(set(error.problems)) == len(error.problems)
        return
    for environment in manifest.environments():
        manifest.definitions(environment)


@given(st.binary(max_size=200))
def test_bytes(text: bytes) -> None:
    in_sentences(text)


@given(st.text(max_size=200))
def test_texts(text: str) -> None:
    in_sentences(text)


@given(st.text(alphabet="ab:-{}[],#&*!|>'\"%@` \n\t?~<1.$", max_size=60))
def test_what_is_nearly_yaml(text: str) -> None:
    in_sentences(f"version: 1\nservices:\n  web:\n    build: {text}\n")


@settings(max_examples=100, deadline=None)
@given(_trees)
def test_trees(tree: Any) -> None:
    in_sentences(yaml.safe_dump(tree, allow_unicode=True))


@settings(max_examples=100, deadline=None)
@given(_manifests)
def test_trees_that_are_nearly_manifests(tree: Any) -> None:
    in_sentences(yaml.safe_dump(tree, allow_unicode=True))


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["web", "db", "My_App"]), st.dictionaries(st.sampled_from(sorted(compose._CARRIED)), _trees)
    )
)
def test_compose_files(services: Any) -> None:
    text = yaml.safe_dump({"services": services}, allow_unicode=True)
    found = detect.detect({"compose.yaml": text, "Dockerfile": "FROM x\n"})
    assert not mistakes(found.manifest_text), (text, found.manifest_text)


@given(st.text(alphabet="abcAB_=#'\" \n$\\{}:@/", max_size=80))
def test_lines_of_variables(text: str) -> None:
    for name, value in dotenv.read(text).items():
        assert re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name)
        assert "\n" not in value
    found = detect.detect({"Dockerfile": "FROM x\n", ".env.example": text, "Procfile": f"web: {text}"})
    assert not mistakes(found.manifest_text)


@given(st.recursive(st.text(max_size=8), lambda inner: st.lists(inner, max_size=3)))
def test_what_is_drafted_is_read_back(value: Any) -> None:
    from godploy.core import yamltree

    try:
        read = yamltree.read(draft.dump({"a": value})).data
    except yamltree.YamlError as error:
        assert "cannot" in error.message or "nested" in error.message
        return
    assert read == {"a": value}
