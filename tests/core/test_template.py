"""Templates: the shipped ones are sound, broken ones say why, and parameters never become structure."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from godploy.core import template
from godploy.core.naming import is_name
from godploy.core.sealing import generated_secrets
from godploy.core.specification import fill, held
from godploy.errors import Invalid

from .shop import FACTS, ROOT, TEMPLATES, Shop, schema

URLS = {
    "postgres": "postgresql://app:pw@db:5432/app",
    "redis": "redis://:pw@db:6379/0",
    "mongodb": "mongodb://app:pw@db:27017/app?authSource=admin",
}


def test_there_are_three() -> None:
    assert set(TEMPLATES) == {"postgres", "redis", "mongodb"}


@pytest.mark.parametrize("name", sorted(URLS))
def test_each_offers_an_address_with_its_generated_password(name: str) -> None:
    found = TEMPLATES[name]
    assert found.name == name
    assert is_name(name)
    rendered = template.render(found, "db", {})
    assert (
        fill(rendered["offers"]["url"], lambda reference: {"volumes.db-data.password@1": "pw"}[reference]) == URLS[name]
    )
    assert rendered["offers"]["host"] == "db"
    assert tuple(rendered["offers"]) == found.offers
    assert not held(rendered["image"])


@pytest.mark.parametrize("name", sorted(URLS))
def test_no_password_stands_in_a_command(name: str) -> None:
    rendered = template.render(TEMPLATES[name], "db", {})
    assert not [reference for word in rendered.get("command", ()) for reference in held(word)]


@pytest.mark.parametrize("name", sorted(URLS))
def test_each_becomes_a_service(name: str) -> None:
    shop = Shop()
    image = template.render(TEMPLATES[name], "db", {})["image"]
    shop.tells(images={**FACTS.images, image: next(iter(FACTS.images.values()))})
    shop.deploy({"db": {"template": name}})
    specification = shop.current["db"].specification
    assert specification.strategy == "replace"
    assert [mount.volume for mount in specification.mounts] == ["db-data"]
    assert generated_secrets(specification) == {"db-data": ("password",)}
    assert specification.health.path is None
    assert specification.health.start_timeout == 120


def test_the_manifest_has_the_last_word_on_limits() -> None:
    shop = Shop()
    shop.deploy({"db": {"template": "postgres", "resources": {"memory": "2G"}, "stop_grace_period": "5m"}})
    specification = shop.current["db"].specification
    assert (specification.memory, specification.stop_grace, specification.cpus) == (2 << 30, 300, 1.0)


@pytest.mark.parametrize(
    ("parameters", "wrong"),
    [
        ({"version": "15"}, set()),
        ({"version": "16.4-alpine", "database": "shop", "user": "me"}, set()),
        ({"version": "${secrets.X}"}, {"version"}),
        ({"version": "15\n"}, {"version"}),
        ({"database": "a b", "user": "x@y"}, {"database", "user"}),
        ({"databse": "x"}, {"databse"}),
    ],
)
def test_parameters(parameters: dict[str, str], wrong: set[str]) -> None:
    assert set(template.complaints(TEMPLATES["postgres"], parameters)) == wrong


@pytest.mark.parametrize(
    ("version", "major"), [("16", "16"), ("16.4-alpine", "16"), ("7.2", "7"), ("latest", "latest")]
)
def test_major(version: str, major: str) -> None:
    assert template.major(version) == major


def broken(**change: Any) -> str:
    tree = yaml.safe_load((ROOT / "templates/postgres/template.yaml").read_text())
    return yaml.safe_dump({**tree, **change})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", "while parsing"),
        (broken(privileged=True), "privileged"),
        (broken(port="5432"), "$.port"),
        (broken(image="x:${parameters.nope}"), "${parameters.nope} stands for nothing"),
        (broken(major="nope"), "major names nope"),
        (broken(env={"A": "${HOME}"}), "${HOME} stands for nothing"),
    ],
)
def test_broken_templates_say_why(text: str, said: str) -> None:
    with pytest.raises(Invalid) as raised:
        template.load(text, schema())
    assert any(said in problem for problem in raised.value.problems)


@pytest.mark.parametrize(
    ("pattern", "default", "said"),
    [("[0-9]+", "x", "does not match"), (".*", "1", "allows references"), ("[", "1", "not a regular expression")],
)
def test_a_parameter_must_be_safe(pattern: str, default: str, said: str) -> None:
    parameter = {"description": "x", "default": default, "pattern": pattern}
    with pytest.raises(Invalid) as raised:
        template.load(broken(image="x", parameters={"version": parameter}, env={}, offers={}), schema())
    assert any(said in problem for problem in raised.value.problems)
