"""What a plan decides for services: who is touched, who is not, why, and in which order."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from godploy.core import builds, defaults, describe, limits
from godploy.core import plan as planner
from godploy.core.facts import Context, ContextQuery, Neighbour, Policy, ResolvedImage
from godploy.core.specification import Health, Specification
from godploy.errors import Invalid

from .shop import FACTS, TEMPLATES, TREE, Shop, actions, order, reasons

WEB: dict[str, Any] = {"build": {}, "port": 8000}
DB: dict[str, Any] = {"template": "postgres", "parameters": {"version": "15"}}


def full() -> dict[str, Any]:
    return {
        "web": {**WEB, "env": {"DATABASE_URL": "${services.db.url}", "AT": "${deployment.commit}"}, "secrets": ["KEY"]},
        "worker": {"image_from": "web", "command": ["work"], "env": {"DATABASE_URL": "${services.db.url}"}},
        "cache": {"image": "nginx:1", "port": 80},
        "db": DB,
    }


@pytest.fixture
def shop() -> Shop:
    return Shop(replace(FACTS, secrets={"KEY": 3}))


def problems(shop: Shop, definitions: dict[str, Any], **more: Any) -> list[str]:
    with pytest.raises(Invalid) as raised:
        shop.plan(definitions, **more)
    return list(raised.value.problems)


def test_the_first_plan_creates_all_dependencies_first(shop: Shop) -> None:
    plan = shop.deploy(full())
    assert set(actions(plan).values()) == {"create"}
    assert order(plan).index("db") < order(plan).index("web")
    assert plan.volumes_created == {"db-data": ("password",)}
    assert plan.routes_added == ("web-shop.apps.test/ → web",)
    worker = next(s for s in plan.services if s.service == "worker")
    assert worker.image_from == "web"
    assert worker.specification is not None
    assert worker.specification.image == ""


def test_a_plan_of_what_runs_is_empty(shop: Shop) -> None:
    shop.deploy(full())
    plan = shop.plan(full())
    assert plan.empty
    assert describe.lines(plan) == ["nothing changed"]


def test_values_are_sealed(shop: Shop) -> None:
    shop.deploy(full())
    web = shop.current["web"].specification
    assert web.env == {
        "PORT": "8000",
        "GODPLOY_PROJECT": "shop",
        "GODPLOY_ENVIRONMENT": "production",
        "GODPLOY_SERVICE": "web",
        "DATABASE_URL": "postgresql://app:${volumes.db-data.password@1}@db:5432/app",
        "AT": "${deployment.commit}",
        "KEY": "${secrets.KEY@3}",
    }


@pytest.mark.parametrize(
    "world",
    [
        {"commit": "c2"},
        {
            "images": {
                **FACTS.images,
                "nginx:1": ResolvedImage("sha256:moved"),
                "postgres:15": ResolvedImage("sha256:m"),
            }
        },
        {"secrets": {"KEY": 4}},
    ],
    ids=["a new commit", "moved tags", "a secret whose deployment has not come"],
)
def test_what_the_world_does_restarts_nothing(shop: Shop, world: dict[str, Any]) -> None:
    shop.deploy(full())
    shop.tells(**world)
    assert shop.plan(full()).empty


def test_an_upgrade_restarts_nothing(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.deploy(full())
    monkeypatch.setattr(defaults, "MEMORY", 1 << 30)
    monkeypatch.setattr(defaults, "DRAIN", 99.0)
    monkeypatch.setattr(defaults, "HEALTH", Health(successes=9))
    monkeypatch.setattr(builds, "BUILDER", "dockerfile.2")
    newer = TEMPLATES["postgres"]
    tree = {**newer.tree, "env": {"NEW": "yes"}, "memory": "2G"}
    shop.templates = {**TEMPLATES, "postgres": replace(newer, revision=2, tree=tree)}
    assert shop.plan(full()).empty


def test_a_default_of_today_does_not_slip_in_with_another_change(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.deploy({"web": WEB})
    monkeypatch.setattr(defaults, "MEMORY", 1 << 30)
    monkeypatch.setattr(builds, "BUILDER", "dockerfile.2")
    plan = shop.deploy({"web": {**WEB, "env": {"A": "b"}}})
    assert reasons(plan, "web") == ("env A added",)
    assert shop.current["web"].specification.memory == 512 << 20
    shop.deploy({"web": {**WEB, "env": {"A": "b"}, "resources": {"cpus": 2}}})
    assert shop.current["web"].specification.memory == 1 << 30


def test_a_changed_tree_builds_one_and_who_takes_its_image(shop: Shop) -> None:
    shop.deploy(full())
    shop.tells(contexts={"web": Context("b" * 64, dockerfile=True)})
    plan = shop.plan(full())
    assert actions(plan) == {"web": "build", "worker": "update", "cache": "unchanged", "db": "unchanged"}
    assert reasons(plan, "web") == ("context tree aaaa… → bbbb…",)


def test_a_tree_that_was_built_before_is_not_built_again(shop: Shop) -> None:
    shop.deploy(full())
    first = shop.current["web"].specification
    shop.tells(contexts={"web": Context("b" * 64, dockerfile=True)})
    shop.deploy(full())
    assert first.build_key is not None
    shop.tells(contexts={}, built={first.build_key: ResolvedImage(first.image)})
    plan = shop.plan(full())
    assert actions(plan)["web"] == "update"
    assert all(service.build is None for service in plan.services)
    web = next(s.specification for s in plan.services if s.service == "web")
    assert web is not None
    assert web.image == first.image


@pytest.mark.parametrize(
    ("change", "action", "reason"),
    [
        ({"env": {"LOG": "debug"}}, "update", "env LOG changed"),
        ({"env": {}}, "update", "env LOG removed"),
        ({"env": {"LOG": "info", "NEW": "x"}}, "update", "env NEW added"),
        ({"port": 9000}, "update", "port 80 → 9000"),
        ({"image": "nginx:2"}, "update", "image nginx:1 → nginx:2"),
        ({"command": ["run"]}, "update", "command added"),
        ({"resources": {"memory": "1G"}}, "update", "resources.memory 256M → 1G"),
        ({"health": {"path": "/"}}, "update", "health added"),
        ({"secrets": ["KEY"]}, "update", "secret KEY added"),
        ({"replicas": 3}, "scale", "replicas 1 → 3"),
        ({"resources": {"memory": "256M", "cpus": 1}}, "unchanged", None),
        ({"deploy": {"drain": "10s"}}, "unchanged", None),
        ({"depends_on": ["other"]}, "unchanged", None),
        ({"replicas": 1}, "unchanged", None),
        ({"routes": [{"host": "shop.test", "path": "/"}]}, "unchanged", None),
    ],
)
def test_changes_and_their_reasons(shop: Shop, change: dict[str, Any], action: str, reason: str | None) -> None:
    site = {"image": "nginx:1", "port": 80, "env": {"LOG": "info"}, "resources": {"memory": "256M"}}
    other = {"image": "nginx:1", "port": 80}
    shop.deploy({"site": site, "other": other})
    plan = shop.plan({"site": {**site, **change}, "other": other})
    assert actions(plan) == {"site": action, "other": "unchanged"}
    assert reasons(plan, "site") == (() if reason is None else (reason,))


def test_a_carried_over_workload_takes_the_new_definition(shop: Shop) -> None:
    shop.deploy({"site": {"image": "nginx:1", "port": 80}})
    before = shop.current["site"]
    plan = shop.deploy({"site": {"image": "nginx:1", "port": 80, "replicas": 1, "depends_on": []}})
    assert actions(plan) == {"site": "unchanged"}
    assert not plan.empty  # the release records it
    assert describe.lines(plan)[-1] == "the manifest says it differently; what runs stays as it is"
    assert shop.current["site"].workload == before.workload
    assert "replicas" in shop.current["site"].definition


def test_another_tag_of_the_same_image_restarts_nothing_now_and_later(shop: Shop) -> None:
    shop.tells(images={"nginx:1": ResolvedImage("sha256:same"), "nginx:stable": ResolvedImage("sha256:same")})
    shop.deploy({"site": {"image": "nginx:1", "port": 80}})
    assert actions(shop.deploy({"site": {"image": "nginx:stable", "port": 80}})) == {"site": "unchanged"}
    shop.tells(images={"nginx:stable": ResolvedImage("sha256:moved")})
    assert shop.plan({"site": {"image": "nginx:stable", "port": 80}}).empty
    asked = planner.inputs({"site": {"image": "nginx:stable", "port": 80}}, shop.current, templates={})
    assert not asked.images


def test_a_changed_order_of_starting_takes_nothing_else_along(shop: Shop) -> None:
    shop.deploy(full())
    shop.tells(secrets={"KEY": 4})
    definitions = full()
    definitions["web"]["depends_on"] = ["db"]
    assert set(actions(shop.plan(definitions)).values()) == {"unchanged"}


def test_an_update_to_a_template_that_says_the_same_restarts_nothing(shop: Shop) -> None:
    shop.deploy({"db": DB})
    shop.templates = {**TEMPLATES, "postgres": replace(TEMPLATES["postgres"], revision=2)}
    assert actions(shop.plan({"db": DB}, updates=frozenset({"db"}))) == {"db": "unchanged"}


def test_an_explicit_update_resolves_anew(shop: Shop) -> None:
    shop.deploy(full())
    shop.tells(images={**FACTS.images, "nginx:1": ResolvedImage("sha256:moved")})
    plan = shop.plan(full(), updates=frozenset({"cache"}))
    assert actions(plan)["cache"] == "update"
    assert reasons(plan, "cache") == ("nginx:1 leads to another image: sha256:nginx:1 → sha256:moved",)


def test_an_updated_secret_is_taken_by_who_names_it(shop: Shop) -> None:
    shop.deploy(full())
    shop.tells(secrets={"KEY": 4})
    plan = shop.plan(full(), secret_updates=frozenset({"KEY"}))
    assert actions(plan) == {"web": "update", "worker": "unchanged", "cache": "unchanged", "db": "unchanged"}
    assert reasons(plan, "web") == ("secret KEY v3 → v4",)


def test_a_secret_of_a_build_rebuilds_when_it_is_updated(shop: Shop) -> None:
    definitions = {"web": {**WEB, "build": {"secrets": ["KEY"]}}}
    shop.deploy(definitions)
    shop.tells(secrets={"KEY": 4})
    assert shop.plan(definitions).empty
    plan = shop.plan(definitions, secret_updates=frozenset({"KEY"}))
    assert actions(plan) == {"web": "build"}
    assert reasons(plan, "web") == ("build secret KEY v3 → v4",)


def test_what_an_image_giver_keeps_its_taker_keeps(shop: Shop) -> None:
    shop.deploy(full())
    definitions = full()
    definitions["web"]["env"]["LOG"] = "x"
    plan = shop.plan(definitions)
    assert actions(plan) == {"web": "update", "worker": "unchanged", "cache": "unchanged", "db": "unchanged"}


def test_a_changed_reference_updates_who_refers(shop: Shop) -> None:
    definitions = {"api": {"image": "nginx:1", "port": 80}, "web": {**WEB, "env": {"API": "${services.api.url}"}}}
    shop.deploy(definitions)
    plan = shop.plan({**definitions, "api": {"image": "nginx:1", "port": 81}})
    assert actions(plan) == {"api": "update", "web": "update"}
    assert reasons(plan, "web") == ("${services.api.url} in env API has another value",)


def test_a_neighbours_value_is_taken_and_remembered(shop: Shop) -> None:
    shop.tells(neighbours={"db": Neighbour("s2", "the dashboard manifest", {"url": "postgresql://${volumes.db.p@1}"})})
    definitions = {"web": {**WEB, "env": {"URL": "${services.db.url}"}, "depends_on": ["db"]}}
    plan = shop.deploy(definitions)
    assert plan.references == {"db.url": "postgresql://${volumes.db.p@1}"}
    assert plan.volumes_created == {}
    assert shop.plan(definitions).references == plan.references
    shop.tells(neighbours={"db": Neighbour("s2", "the dashboard manifest", {"url": "postgresql://other"})})
    assert actions(shop.plan(definitions)) == {"web": "update"}


def test_a_removed_service_goes_last_and_detaches_its_volume(shop: Shop) -> None:
    shop.deploy(full())
    definitions = {"web": WEB, "cache": full()["cache"]}
    plan = shop.deploy(definitions)
    assert set(order(plan)[-2:]) == {"worker", "db"}
    assert actions(plan)["db"] == "remove"
    assert plan.volumes_detached == ("db-data",)
    assert not plan.destructive
    assert shop.facts.volumes == {"db-data": None}
    again = shop.plan(full())
    assert again.volumes_created == {}
    db = next(s.specification for s in again.services if s.service == "db")
    assert db is not None
    assert db.env["POSTGRES_PASSWORD"] == "${volumes.db-data.password@1}"


def test_what_replaces_comes_after_what_does_not(shop: Shop) -> None:
    definitions = {
        "worker": {"image": "nginx:1"},
        "db": DB,
        "web": {"image": "nginx:1", "port": 80, "depends_on": ["db"]},
        "site": {"image": "nginx:1", "port": 80},
    }
    assert order(shop.deploy(definitions)) == ["worker", "db", "web", "site"]
    changed = {name: {**d, "resources": {"memory": "300M"}} for name, d in definitions.items()}
    plan = shop.plan(changed)
    assert order(plan) == ["site", "worker", "db", "web"]
    why = {service.service: service.strategy_reason for service in plan.services}
    assert why["worker"] == "replace, since it has no port: two versions would work side by side"
    assert why["db"] == "replace, since only one container at a time may use the volume db-data"
    assert why["site"] == "rolling, since it has a port and no volume of its own"


def test_a_long_chain_of_dependencies_is_ordered(shop: Shop) -> None:
    count = 2000
    definitions: dict[str, Any] = {f"s{n}": {"image": "nginx:1", "depends_on": [f"s{n + 1}"]} for n in range(count - 1)}
    definitions[f"s{count - 1}"] = {"image": "nginx:1"}
    assert order(shop.plan(definitions)) == [f"s{n}" for n in reversed(range(count))]


def test_generations_rise_so_that_no_two_workloads_are_alike(shop: Shop) -> None:
    one, two = {"site": {"image": "nginx:1", "port": 80}}, {"site": {"image": "nginx:2", "port": 80}}
    for definitions in (one, two, one):
        shop.deploy(definitions)
    assert shop.current["site"].generation == 3


def test_a_stopped_service_is_said_to_stay_stopped(shop: Shop) -> None:
    shop.deploy(full())
    shop.tells(stopped=frozenset({"cache"}), contexts={})
    definitions = {**full(), "cache": {"image": "nginx:2", "port": 80}}
    assert shop.plan(definitions).notes == ("cache is stopped: the new version of it is recorded, not started",)


# What cannot be carried out.


def test_all_problems_come_at_once_with_places(shop: Shop) -> None:
    shop.tells(contexts={"web": Context(TREE, dockerfile=False)}, secrets={})
    found = problems(
        shop,
        {
            "web": {**WEB, "build": {"context": "docs"}, "secrets": ["ONE", "TWO"], "depends_on": ["nowhere"]},
            "api": {"image": "nginx:1", "env": {"A": "${services.gone.url}", "B": "${services.web.user}"}},
            "db": {"template": "postgres", "parameters": {"version": "new"}},
        },
    )
    assert found == [
        "godploy.yaml: services.web.build.dockerfile: web: there is no Dockerfile at docs/Dockerfile; "
        "add it, or name its place under services.web.build.dockerfile",
        'godploy.yaml: services.db.parameters.version: expected a version such as 16 or 16.4, found "new"',
        "godploy.yaml: services.web.secrets[0]: the secret ONE has no value in the environment production; "
        "godploy secrets set ONE --environment production",
        "godploy.yaml: services.web.secrets[1]: the secret TWO has no value in the environment production; "
        "godploy secrets set TWO --environment production",
        "godploy.yaml: services.api.env.A: ${services.gone.url}: the environment has no service gone",
        "godploy.yaml: services.api.env.B: ${services.web.user}: web does not offer user; it offers host, port, url",
        "godploy.yaml: services.web.depends_on[0]: the environment has no service nowhere",
    ]


@pytest.mark.parametrize(
    ("definition", "facts", "code"),
    [
        ({**WEB, "secrets": ["NO"]}, {}, "missing_secret"),
        (WEB, {"contexts": {"web": Context(TREE, dockerfile=False)}}, "missing_dockerfile"),
        ({"image": "nginx:9"}, {}, "image_not_found"),
        ({"image": "nginx:1", "depends_on": ["no"]}, {}, "invalid_manifest"),
    ],
)
def test_problems_of_one_kind_have_its_code(
    shop: Shop, definition: dict[str, Any], facts: dict[str, Any], code: str
) -> None:
    shop.tells(**facts)
    with pytest.raises(Invalid) as raised:
        shop.plan({"web": definition})
    assert raised.value.code == code
    assert raised.value.next_step


def test_no_context_is_a_problem(shop: Shop) -> None:
    with pytest.raises(Invalid) as raised:
        planner.plan({"web": WEB}, {}, FACTS, templates={}, current_routes=(), place=str)
    assert raised.value.code == "context_missing"


def test_a_secret_in_a_build_argument_is_refused(shop: Shop) -> None:
    found = problems(
        shop, {"web": {**WEB, "build": {"args": {"A": "${secrets.KEY}", "B": "${services.db.url}"}}}, "db": DB}
    )
    assert len(found) == 2
    assert all("use build.secrets" in problem for problem in found)


def test_a_service_that_others_use_is_not_removed(shop: Shop) -> None:
    shop.deploy(full())
    shop.tells(users_of={"db": ("repository blog",)})
    definitions = {"web": WEB}
    assert problems(shop, definitions) == [
        "godploy.yaml: services: db cannot be removed while it is used by repository blog"
    ]


def test_a_name_is_taken_once_in_an_environment(shop: Shop) -> None:
    shop.tells(neighbours={"web": Neighbour("s2", "repository blog", {})})
    assert problems(shop, {"web": WEB}) == [
        "godploy.yaml: services.web: the name web is taken in this environment by repository blog"
    ]


def test_policy_speaks_like_the_manifest(shop: Shop) -> None:
    shop.tells(policy=Policy(memory=256 << 20, cpus=0.5, replicas=2, registries=("ghcr.io", "*.example.com")))
    assert problems(shop, {"site": {"image": "nginx:1", "port": 80, "replicas": 3}}) == [
        "godploy.yaml: services.site.resources.memory: 512M of memory is more than the 256M "
        "that this server's policy allows",
        "godploy.yaml: services.site.resources.cpus: 1 CPUs are more than the 0.5 that this server's policy allows",
        "godploy.yaml: services.site.replicas: 3 replicas are more than the 2 that this server's policy allows",
        "godploy.yaml: services.site.image: this server's policy allows images from ghcr.io, *.example.com; "
        "nginx:1 is from docker.io",
    ]


def test_a_policy_of_today_stops_no_push_to_something_else(shop: Shop) -> None:
    site = {"image": "nginx:1", "port": 80}
    shop.deploy({"site": site})
    shop.tells(policy=Policy(cpus=0.5))
    plan = shop.plan({"site": site, "other": {**site, "resources": {"cpus": 0.5}}})
    assert actions(plan) == {"site": "unchanged", "other": "create"}


@pytest.mark.parametrize(
    ("image", "registry"),
    [
        ("nginx", "docker.io"),
        ("library/nginx:1", "docker.io"),
        ("ghcr.io/a/b", "ghcr.io"),
        ("registry:5000/a", "registry:5000"),
        ("localhost/a", "localhost"),
        ("nginx@sha256:0", "docker.io"),
    ],
)
def test_registries(image: str, registry: str) -> None:
    assert limits.registry_of(image) == registry


# Builds.


@pytest.mark.parametrize(
    "change",
    [
        {"build": {"target": "x"}},
        {"build": {"dockerfile": "x"}},
        {"args": {"A": "2"}},
        {"secrets": {"KEY": 2}},
        {"tree": "b" * 64},
        {"tree": TREE[:-1] + "b"},
        {"environment_class": "e2"},
    ],
)
def test_whatever_goes_into_a_build_is_in_its_key(change: dict[str, Any]) -> None:
    given: dict[str, Any] = {
        "build": {},
        "args": {"A": "1"},
        "secrets": {"KEY": 1},
        "tree": TREE,
        "environment_class": "e1",
    }

    def key(build: dict[str, Any], **more: Any) -> str:
        return builds.plan_build(build, "", **more).key

    assert key(**given) == key(**given)
    assert key(**{**given, **change}) != key(**given)
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", key(**given))  # so that it can be a tag


def test_a_key_does_not_depend_on_where_the_context_lies() -> None:
    more: dict[str, Any] = {"args": {}, "secrets": {}, "tree": TREE, "environment_class": "e1"}
    assert builds.plan_build({"context": "app"}, "", **more).key == builds.plan_build({}, "elsewhere", **more).key


# Volumes and what would not survive.


def mounting(shared: bool) -> dict[str, Any]:
    return {"image": "nginx:1", "port": 80, "volumes": [{"name": "files", "path": "/f", "shared": shared}]}


def test_an_unshared_volume_has_one_user(shop: Shop) -> None:
    assert len(problems(shop, {"a": mounting(False), "b": mounting(True)})) == 2
    shop.deploy({"a": mounting(True), "b": mounting(True)})
    assert shop.plan({"a": mounting(True), "b": mounting(True)}).empty


def test_a_volume_of_another_stack_is_in_use(shop: Shop) -> None:
    shop.tells(volumes={"files": "s2/blog"})
    (found,) = problems(shop, {"a": mounting(False)})
    assert "the volume files is mounted by the service blog of another stack" in found
    assert shop.plan({"a": mounting(True)}).volumes_created == {}


def test_a_volume_does_not_change_hands_in_one_push(shop: Shop) -> None:
    shop.deploy({"a": mounting(False)})
    (found,) = problems(shop, {"b": mounting(False)})
    assert "take it from a in one push" in found
    shop.deploy({})
    assert shop.deploy({"b": mounting(False)}).volumes_created == {}


def test_rolling_on_an_unshared_volume_is_refused(shop: Shop) -> None:
    (found,) = problems(shop, {"a": {**mounting(False), "deploy": {"strategy": "rolling"}}})
    assert found.startswith("godploy.yaml: services.a.deploy.strategy: two containers at a time")


def test_another_major_version_is_destructive(shop: Shop) -> None:
    shop.deploy({"db": DB})
    plan = shop.plan({"db": {"template": "postgres", "parameters": {"version": "16"}}})
    assert plan.destructive == (
        "db: PostgreSQL 15 → 16: the data in the volume db-data is not read by another major version",
    )
    assert reasons(plan, "db") == ("parameters.version 15 → 16",)


def test_another_product_on_the_volume_is_destructive(shop: Shop) -> None:
    shop.deploy({"db": DB})
    plan = shop.plan({"db": {"template": "redis"}})
    assert plan.destructive == ("db: the volume db-data holds data of PostgreSQL and would be given to Redis",)


def test_leaving_the_volume_behind_is_not_destructive(shop: Shop) -> None:
    shop.deploy({"db": DB})
    plan = shop.plan({"db": {"image": "nginx:1", "port": 80}})
    assert plan.destructive == ()
    assert plan.volumes_detached == ("db-data",)


def test_what_acted_at_the_first_start_cannot_change(shop: Shop) -> None:
    shop.deploy({"db": DB})
    (found,) = problems(shop, {"db": {"template": "postgres", "parameters": {"version": "15", "database": "store"}}})
    assert found.startswith('godploy.yaml: services.db.parameters.database: was "app" when the data was made')


def test_a_default_that_is_written_down_restarts_no_database(shop: Shop) -> None:
    shop.deploy({"db": DB})
    written = {"template": "postgres", "parameters": {"version": "15", "database": "app"}}
    assert actions(shop.plan({"db": written})) == {"db": "unchanged"}


# What is looked up, and how it reads.


def test_inputs(shop: Shop) -> None:
    definitions = {
        "web": {"build": {"context": "../app", "dockerfile": "docker/Dockerfile", "watch": ["../app/src/**"]}},
        "docs": {"build": {}},
        "site": {"image": "nginx:1", "routes": [{"host": "shop.test", "path": "/"}, {"host": "auto", "path": "/a"}]},
        "db": DB,
    }
    asked = planner.inputs(definitions, {}, templates=TEMPLATES, folder="deploy")
    assert asked.contexts == {
        "web": ContextQuery("app", "app/docker/Dockerfile", ("app/src/**",)),
        "docs": ContextQuery("deploy", "deploy/Dockerfile", None),
    }
    assert asked.images == {"nginx:1", "postgres:15"}
    assert asked.hosts == {"shop.test"}


def test_what_runs_is_not_looked_up_unless_asked_for(shop: Shop) -> None:
    shop.deploy(full())
    assert planner.inputs(full(), shop.current, templates=TEMPLATES).images == frozenset()
    updates = frozenset({"cache", "db"})
    assert planner.inputs(full(), shop.current, templates=TEMPLATES, updates=updates).images == {
        "nginx:1",
        "postgres:15",
    }


def test_the_digest_is_that_of_the_plan(shop: Shop) -> None:
    shop.deploy({"db": DB})
    major = {"db": {"template": "postgres", "parameters": {"version": "16"}}}
    first = describe.digest(shop.plan(major))
    shop.tells(commit="c2")
    assert describe.digest(shop.plan(major)) == first
    assert describe.digest(shop.plan({**major, "site": {"image": "nginx:1"}})) != first
    assert describe.to_json(shop.plan(major))["digest"] == first


def test_lines_tell_it_all(shop: Shop) -> None:
    shop.deploy({"web": {"image": "nginx:1", "port": 80}, "db": DB})
    plan = shop.plan({"web": {"image": "nginx:2", "port": 80, "routes": []}, "files": mounting(False)})
    assert describe.lines(plan) == [
        "~ web: update (image nginx:1 → nginx:2; rolling, since it has a port and no volume of its own)",
        "+ files: create (new service)",
        "- db: remove (the manifest no longer has it)",
        "- route web-shop.apps.test/ → web",
        "+ volume files",
        "- volume db-data is detached; its data stays",
    ]


def test_a_specification_survives_being_stored(shop: Shop) -> None:
    shop.deploy(full())
    for current in shop.current.values():
        stored = Specification.from_json(current.specification.to_json())
        assert stored.hash() == current.specification.hash()
        assert stored == current.specification
