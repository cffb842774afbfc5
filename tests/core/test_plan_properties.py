"""Laws of planning, over generated manifests: what runs is left alone, and every plan can be carried out in order."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from godploy.core import describe
from godploy.core.facts import Facts, ResolvedImage
from godploy.core.model import Kind
from godploy.core.specification import Specification

from .shop import FACTS, IMAGES, Shop, order

NAMES = ["web", "api", "worker", "site", "jobs"]
SECRETS = {"KEY": 2, "TOKEN": 5}


@st.composite
def service(draw: st.DrawFn, index: int) -> dict[str, Any]:
    earlier = NAMES[:index]
    texts = ["plain", "pa$$word", "$${literal}", "${secrets.KEY}-x", "${environment.name}", "${deployment.commit}"]
    texts += [f"${{services.{name}.host}}" for name in earlier if name != "worker"]
    source: dict[str, Any] = draw(
        st.sampled_from([{"image": "nginx:1"}, {"image": "nginx:2"}, {"build": {}}, {"build": {"secrets": ["TOKEN"]}}])
    )
    optional = {
        "env": st.dictionaries(st.sampled_from(["A", "B", "PORT"]), st.sampled_from(texts), max_size=3),
        "secrets": st.lists(st.sampled_from(sorted(SECRETS)), unique=True),
        "command": st.lists(st.sampled_from(["run", "$${x}", "${secrets.TOKEN}"]), min_size=1, max_size=2),
        "replicas": st.integers(1, 3),
        "resources": st.fixed_dictionaries({}, optional={"memory": st.sampled_from(["256M", "512M", "1G"])}),
        "deploy": st.fixed_dictionaries({}, optional={"drain": st.sampled_from(["5s", "10s"])}),
        "health": st.fixed_dictionaries({}, optional={"path": st.just("/healthz"), "status": st.just("200-299")}),
        "depends_on": st.lists(st.sampled_from(earlier), unique=True) if earlier else st.just([]),
    }
    said: dict[str, Any] = {**source, **draw(st.fixed_dictionaries({}, optional=optional))}
    return said if NAMES[index] == "worker" else {**said, "port": draw(st.sampled_from([80, 8000]))}


@st.composite
def manifest(draw: st.DrawFn) -> dict[str, Any]:
    count = draw(st.integers(1, len(NAMES)))
    services = {NAMES[index]: draw(service(index)) for index in range(count)}
    if draw(st.booleans()):
        services["db"] = {"template": "postgres", "parameters": draw(st.sampled_from([{}, {"version": "15"}]))}
    return services


def started() -> Shop:
    return Shop(replace(FACTS, secrets=SECRETS))


def elsewhere(facts: Facts) -> dict[str, Any]:
    moved = {text: ResolvedImage(f"{image.id}-moved") for text, image in IMAGES.items()}
    return {"commit": "another", "images": moved, "secrets": {name: version + 1 for name, version in SECRETS.items()}}


@settings(deadline=None, max_examples=150)
@given(manifest())
def test_what_runs_is_left_alone_whatever_the_world_does(definitions: dict[str, Any]) -> None:
    shop = started()
    shop.deploy(definitions)
    assert shop.plan(definitions).empty
    shop.tells(**elsewhere(shop.facts))
    assert shop.plan(definitions).empty


@settings(deadline=None, max_examples=150)
@given(manifest(), manifest())
def test_any_manifest_follows_any_other_and_then_is_left_alone(one: dict[str, Any], two: dict[str, Any]) -> None:
    shop = started()
    shop.deploy(one)
    before = shop.copy()
    plan = shop.deploy(two)
    assert describe.lines(plan)
    assert sorted(order(plan)) == sorted({*one, *two})
    for decided in plan.services:
        assert decided.action == "unchanged" or decided.reasons
    assert shop.plan(two).empty
    back = shop.become(shop.return_to(Kind.ROLLBACK, before))
    assert shop.plan(one).empty
    assert not back.release_commands


@settings(deadline=None, max_examples=100)
@given(manifest())
def test_dependencies_start_before_who_needs_them(definitions: dict[str, Any]) -> None:
    shop = started()
    started_in = order(shop.plan(definitions))
    for name, definition in definitions.items():
        for need in definition.get("depends_on", ()):
            assert started_in.index(need) < started_in.index(name)


@settings(deadline=None, max_examples=100)
@given(manifest())
def test_specifications_survive_being_stored(definitions: dict[str, Any]) -> None:
    shop = started()
    shop.deploy(definitions)
    for current in shop.current.values():
        assert Specification.from_json(current.specification.to_json()) == current.specification
