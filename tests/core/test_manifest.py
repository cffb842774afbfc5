"""What a manifest means, and every mistake with the sentence and the place that tell it."""

# ruff: noqa: E501
# A row of a table is one line: what was written, and what is said of it.

from __future__ import annotations

import time

import pytest

from godploy.core.model import Feed
from tests.core.manifests import mistakes, parse

FULL = """\
version: 1
services:
  web:
    build:
      context: app
      args: {APP_ENV: production, VERSION: 16.10, ZERO: 0123, YES: true}
      secrets: [NPM_TOKEN]
      watch: ["app/**", ../pyproject.toml]
    command: gunicorn "shop:app"
    port: 8000
    routes: [Shop.Example.com, {host: shop.example.com, path: /api/}]
    health: {path: /healthz, status: 204}
    env: {DATABASE_URL: "${services.db.url}", EMPTY: "", N: 0123}
    secrets: [STRIPE_KEY]
    replicas: 1
    volumes: ["uploads:/data/uploads/"]
    depends_on: [db]
    resources: {cpus: 0.5, memory: 512M}
  worker: {image_from: web, command: [sleep, 3600], deploy: {settle: 3s}}
  db:
    template: postgres
    parameters: {version: 16.10, database: shop}
environments:
  production: {branch: main}
  staging:
    branch: develop
    services:
      web: {replicas: 1, routes: [staging.example.com], env: {N: null, M: 1}, health: {status: 200-299}}
      worker: null
      mail: {image: "mailhog:1", port: 80}
  qa: {tag: "v*"}
"""


def test_definitions_have_one_shape_and_no_defaults() -> None:
    manifest = parse(FULL, filename="shop/godploy.yaml")
    assert manifest.definitions("production") == {
        "web": {
            "build": {
                "context": "app",
                "args": {"APP_ENV": "production", "VERSION": "16.10", "ZERO": "0123", "YES": "true"},
                "secrets": ["NPM_TOKEN"],
                "watch": ["app/**", "../pyproject.toml"],
            },
            "command": ["gunicorn", "shop:app"],
            "port": 8000,
            "routes": [{"host": "shop.example.com", "path": "/"}, {"host": "shop.example.com", "path": "/api"}],
            "health": {"path": "/healthz", "status": "204"},
            "env": {"DATABASE_URL": "${services.db.url}", "EMPTY": "", "N": "0123"},
            "secrets": ["STRIPE_KEY"],
            "replicas": 1,
            "volumes": [{"name": "uploads", "path": "/data/uploads", "shared": False}],
            "depends_on": ["db"],
            "resources": {"cpus": 0.5, "memory": "512M"},
        },
        "worker": {"image_from": "web", "command": ["sleep", "3600"], "deploy": {"settle": "3s"}},
        "db": {"template": "postgres", "parameters": {"version": "16.10", "database": "shop"}},
    }


def test_environments_are_merged_key_by_key() -> None:
    manifest = parse(FULL, filename="shop/godploy.yaml")
    staging = manifest.definitions("staging")
    assert list(staging) == ["web", "db", "mail"]
    assert staging["web"]["env"] == {"DATABASE_URL": "${services.db.url}", "EMPTY": "", "M": "1"}
    assert staging["web"]["health"] == {"path": "/healthz", "status": "200-299"}
    assert staging["web"]["routes"] == [{"host": "staging.example.com", "path": "/"}]
    assert staging["mail"] == {"image": "mailhog:1", "port": 80}
    assert manifest.environments() == {"production": Feed("main"), "staging": Feed("develop"), "qa": Feed(tag="v*")}


@pytest.mark.parametrize("environment", ["qa", "never-named"])
def test_hosts_of_the_top_level_are_inherited_outside_production(environment: str) -> None:
    assert parse(FULL, filename="shop/godploy.yaml").definitions(environment)["web"]["routes"] == [
        {"host": "shop.example.com", "path": "/", "inherited": True},
        {"host": "shop.example.com", "path": "/api", "inherited": True},
    ]


@pytest.mark.parametrize("said", ["", "environments: {}\n"])
def test_without_environments_there_is_production(said: str) -> None:
    manifest = parse(f"version: 1\nservices: {{web: {{build: .}}}}\n{said}")
    assert manifest.environments() == {"production": Feed()}
    assert manifest.definitions("production") == {"web": {"build": {"context": "."}}}


def test_an_environment_without_a_feed_takes_the_default_branch() -> None:
    manifest = parse("version: 1\nservices: {}\nenvironments: {staging: {}, qa: }\n")
    assert manifest.environments() == {"staging": Feed(), "qa": Feed()}


def test_null_removes_a_key_below_an_environment() -> None:
    manifest = parse(
        "version: 1\nservices: {web: {build: ., port: 80}}\n"
        "environments: {staging: {services: {web: {build: null, image: nginx}}}}\n"
    )
    assert manifest.definitions("staging") == {"web": {"image": "nginx", "port": 80}}


def test_places_of_merged_values() -> None:
    manifest = parse(FULL, filename="shop/godploy.yaml")
    at = "shop/godploy.yaml"
    assert manifest.place(("services", "web", "port")) == f"{at}:10:5: services.web.port"
    assert manifest.place(("services", "web", "port"), "staging") == f"{at}:10:5: services.web.port"
    overridden = f"{at}:28:13: environments.staging.services.web.replicas"
    assert manifest.place(("services", "web", "replicas"), "staging") == overridden
    assert manifest.place(("services", "web", "replicas"), "qa") == f"{at}:15:5: services.web.replicas"
    # A part that is not written stands where the rest of its path does.
    assert manifest.place(("services", "web", "routes", 0, "host"), "qa") == f"{at}:11:14: services.web.routes[0]"
    assert manifest.place(("services", "web", "deploy", "drain")) == f"{at}:3:3: services.web"


WEB = "version: 1\nservices:\n  web:\n    build: .\n    port: 8000\n"


def service(*lines: str) -> str:
    return WEB + "".join(f"    {line}\n" for line in lines)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "1:1: expected a mapping with version and services, found nothing"),
        ("[]", "1:1: expected a mapping with version and services, found an empty list"),
        ("version: 1", "1:1: expected a mapping with version and services; services is missing"),
        ("services: {}", "1:1: expected a mapping with version and services; version is missing"),
        ("version: 2\nservices: {}", "1:1: version: expected 1, the version of this format, found 2"),
        ("version: '1'\nservices: {}", '1:1: version: expected 1, the version of this format, found "1"'),
        ("a: b: c", "1:5: this cannot be read as YAML"),
        (service("helth: {}"), '6:5: services.web.helth: unknown key; did you mean "health"?'),
        (service("zzz: 1"), "6:5: services.web.zzz: unknown key"),
        (service("environment: {A: 1}"), '6:5: services.web.environment: unknown key; here it is "env"'),
        (service("ports: ['80:80']"), '6:5: services.web.ports: unknown key; here it is "port"'),
        (service("healthcheck: {}"), '6:5: services.web.healthcheck: unknown key; here it is "health"'),
        (service("domains: [a.b]"), '6:5: services.web.domains: unknown key; here it is "routes"'),
        (service("privileged: true"), "6:5: services.web.privileged: unknown key; a manifest cannot ask for power"),
        (service("deploy: {replicas: 2}"), "6:14: services.web.deploy.replicas: unknown key; here it stands directly"),
        (service("jobs: {}"), "6:5: services.web.jobs: unknown key"),
        (service("port: 80"), "6:5: services.web.port: this key stands here a second time"),
        (service("replicas: two"), '6:5: services.web.replicas: expected a number of replicas from 1 to 50, found "two"'),
        (service("replicas: 0"), "6:5: services.web.replicas: expected a number of replicas from 1 to 50, found 0"),
        (service("replicas: 2.0"), "expected a number of replicas from 1 to 50, found 2.0"),
        (service("replicas:"), "expected a number of replicas from 1 to 50, found nothing"),
        (service("image: nginx"), "3:3: services.web: expected exactly one of build, image, image_from, template; found"),
        ("version: 1\nservices: {a: {}}", "2:12: services.a: expected exactly one of build, image, image_from, template"),
        ("version: 1\nservices: {a: 3}", "2:12: services.a: expected a mapping with one of build, image"),
        ("version: 1\nservices: {A_b: {build: .}}", "2:12: services.A_b: expected a name of lower-case letters"),
        ('version: 1\nservices: {"a\\n": {build: .}}', "expected a name of lower-case letters"),
        (service("env: {A: [1]}"), "6:11: services.web.env.A: expected a text, a number, true or false, found a list"),
        (service("env: {A: }"), "6:11: services.web.env.A: expected a text, a number, true or false, found nothing"),
        (service("env: {A-B: 1}"), "6:11: services.web.env.A-B: expected the name of a variable"),
        (service("env: {A: '${HOME}'}"), "6:11: services.web.env.A: ${HOME} is nothing that Godploy fills in; use env or"),
        (service("env: {PORT: 3000}"), "6:11: services.web.env.PORT: port is 8000"),
        (service("env: {A: 1}", "secrets: [A]"), "7:15: services.web.secrets[0]: A stands under env as well"),
        (service("secrets: [A, A]"), "6:5: services.web.secrets: the same name stands here twice"),
        (service("command: a && b"), '6:5: services.web.command: &&: a command is not run by a shell; write ["sh", "-c"'),
        (service("command: [a, '${X}']"), "6:18: services.web.command[1]: ${X} is nothing that Godploy fills in"),
        (service("command: {a: b}"), "services.web.command: expected a list of words, or a string, found a mapping"),
        (service("command: []"), "services.web.command: expected a list of words, or a string, found an empty list"),
        (service("health: {interval: 10}"), "6:14: services.web.health.interval: expected a duration such as 10s, 5m"),
        (service("health: {interval: 0s}"), "services.web.health.interval: expected a duration such as 10s, 5m"),
        (service("health: {status: 399-200}"), "services.web.health.status: the range 399-200 is empty"),
        (service("health: {path: healthz}"), "services.web.health.path: expected a path such as /healthz"),
        (service("resources: {memory: 512}"), "services.web.resources.memory: expected a size such as 512M or 2G, found 512"),
        (service("resources: {memory: 5M}"), "services.web.resources.memory: a container needs at least 6M"),
        (service("volumes: [/var:/data]"), 'services.web.volumes[0]: expected NAME:PATH such as uploads:/data/uploads'),
        (service("volumes: ['a:/x/../y']"), "services.web.volumes[0]: \"/x/../y\" is no folder of a container"),
        (service("volumes: ['a:/x', 'b:/x/']"), "services.web.volumes[1]: /x is the place of the volume a already"),
        (service("volumes: ['a:/x']", "replicas: 2"), "7:5: services.web.replicas: the volume a is for one container"),
        (service("volumes: ['a:/x']", "deploy: {strategy: rolling}"), "services.web.deploy.strategy: the volume a is for one"),
        (service("deploy: {settle: 5s}"), "services.web.deploy.settle: settle is for services without a port"),
        (service("routes: [{path: /}]"), "6:14: services.web.routes[0]: expected a mapping with host, path, redirect_from and tls; host is"),
        (service("routes: [{host: a.b, path: x}]"), "services.web.routes[0].path: expected a path such as / or /api"),
        (service("routes: [{host: a.b, path: /a/../b}]"), 'services.web.routes[0].path: a path cannot contain "."'),
        (service("routes: [{host: a.b, redirect_from: [c.b, a.b]}]"),
         "services.web.routes[0].redirect_from[1]: a.b/ leads to web already"),
        (service("routes: [{host: a.b, redirect_from: [auto]}]"),
         "services.web.routes[0].redirect_from[0]: only hosts that are written out can redirect"),
        (service("routes: [{host: a.b, redirect_from: ['c.b/x']}]"),
         "services.web.routes[0].redirect_from[0]: expected a host without a path"),
        (service("routes: [{host: a.b, tls: on}]"), "services.web.routes[0].tls: expected auto or off"),
        (service("routes: [http://a.b]"), '6:14: services.web.routes[0]: expected a host without a scheme; write "a.b"'),
        (service("routes: [a.b, A.B]"), "services.web.routes[1]: a.b/ leads to web already"),
        (service("depends_on: [web]"), "services.web.depends_on[0]: these services wait for each other: web → web"),
        (service("env: {A: '${services.web.url}'}"), "these services wait for each other: web → web"),
        (service("parameters: {a: 1}"), "services.web: parameters belong to a template; this service has none"),
    ],
)  # fmt: skip
def test_mistakes_are_told_with_their_place(text: str, problem: str) -> None:
    found = mistakes(text)
    assert len(found) == 1, found
    assert found[0].startswith("godploy.yaml:")
    assert problem in found[0]


@pytest.mark.parametrize(
    ("services", "problem"),
    [
        ("{a: {image_from: b}}", 'services.a.image_from: there is no service "b" here'),
        ("{web: {build: .}, a: {image_from: wep}}", 'there is no service "wep" here; did you mean "web"?'),
        ("{a: {image_from: b}, b: {image_from: a}}", "image_from goes in a circle: a → b → a"),
        ("{a: {image_from: b}, b: {template: postgres}}", "b comes from a template; its image is not for other services"),
        ("{a: {build: ., depends_on: [b]}, b: {build: ., depends_on: [c]}, c: {build: ., depends_on: [a]}}",
         "these services wait for each other: a → b → c → a"),
        ("{a: {build: ., port: 1, depends_on: [b]}, b: {build: ., env: {A: '${services.a.url}'}}}",
         "services.b.env.A: these services wait for each other: a → b → a"),
        ("{a: {build: ., env: {A: '${services.b.url}'}}, b: {build: .}}", "b has no port, so there is nothing to refer to"),
        ("{a: {build: ., env: {A: '${services.b.user}'}}, b: {build: ., port: 1}}", "b offers host, port, url"),
        ("{a: {build: ., env: {A: '${services.b.uri}'}}, b: {template: postgres}}", "b offers url, host, port, user"),
        ("{a: {template: postgress}}", 'there is no template "postgress"; did you mean "postgres"? There are: mongodb'),
        ("{a: {template: postgres, parameters: {versio: 1}}}", "services.a.parameters.versio: PostgreSQL has no such"),
        ("{a: {template: postgres, parameters: {version: x}}}", "services.a.parameters.version: expected a version such"),
        ("{a: {template: postgres, env: {A: 1}}}", "services.a.env: beside template a service has only parameters"),
        ("{a: {build: ., health: {path: /}}}", "services.a.health: health asks the port of a service, and this one has none"),
        ("{a: {build: ., routes: [auto]}}", "services.a.routes: routes lead to the port of a service, and this one has"),
        ("{a: {build: ., port: 1, routes: [a.b]}, b: {build: ., port: 1, routes: [a.b]}}",
         "services.b.routes[0]: a.b/ leads to a already"),
        ("{a: {build: {context: ..}}}", 'services.a.build.context: ".." leads out of the repository'),
        ("{a: {build: ../x}}", 'services.a.build: "../x" leads out of the repository'),
        ("{a: {build: /srv}}", "services.a.build: expected a path inside the repository; this one is absolute"),
        ("{a: {build: {context: x, dockerfile: ../../D}}}", 'services.a.build.dockerfile: "../../D" leads out'),
        ("{a: {build: {watch: [x, ../y]}}}", 'services.a.build.watch[1]: "../y" leads out of the repository'),
        ("{a: {build: {builder: nixpacks}}}", 'services.a.build.builder: expected auto or dockerfile, found "nixpacks"'),
        ("{a: {build: {args: {A: '${secrets.T}'}}}}", "a build argument stays in the image; list T under build.secrets"),
        ("{a: {build: {args: {A: '${services.b.url}'}}}}", "a build reaches no service"),
        ("{a: {build: {contxt: .}}}", 'services.a.build.contxt: unknown key; did you mean "context"?'),
    ],
)  # fmt: skip
def test_contradictions_between_keys_and_services(services: str, problem: str) -> None:
    found = mistakes(f"version: 1\nservices: {services}\n")
    assert len(found) == 1, found
    assert problem in found[0]


@pytest.mark.parametrize(
    ("environments", "problem"),
    [
        ("{staging: {branch: a, tag: b}}", "environments.staging: expected branch or tag, not both"),
        ("{staging: {branch: 'a b'}}", "environments.staging.branch: expected a branch such as main or a pattern such as release/*"),
        ("{Staging: {}}", "environments.Staging: expected a name of lower-case letters"),
        ("{staging: {env: {}}}", 'environments.staging.env: unknown key; here it stands under "services"'),
        ("{staging: {wait_for_ci: true}}", "environments.staging.wait_for_ci: unknown key"),
        ("{staging: {services: {web: {image: x}}}}",
         "environments.staging.services.web: expected exactly one of build, image, image_from, template; found build and"),
        ("{staging: {services: {other: {port: 1}}}}", "environments.staging.services.other: expected exactly one of build"),
        ("{staging: {services: {web: {replicas: 0}}}}", "environments.staging.services.web.replicas: expected a number"),
        ("{staging: {services: {web: {volumes: ['a:/x'], replicas: 2}}}}",
         "environments.staging.services.web.replicas: the volume a is for one container"),
        ("{production: {}, staging: {services: {web: {port: null}}}}",
         "services.web.health: health asks the port of a service, and this one has none; add port (in staging)"),
        ("{production: {}, staging: {services: {web: {routes: [shop.example.com]}}}}",
         "environments.staging.services.web.routes[0]: shop.example.com/ belongs to the environment production already"),
        ("{staging: {services: {web: null}}}", 'services.worker.image_from: there is no service "web" here'),
    ],
)  # fmt: skip
def test_mistakes_of_environments(environments: str, problem: str) -> None:
    routes = "routes: [shop.example.com], " if "shop.example.com" in environments else ""
    services = f"{{web: {{build: ., port: 80, {routes}health: {{path: /}}}}, worker: {{image_from: web}}}}"
    found = mistakes(f"version: 1\nservices: {services}\nenvironments: {environments}\n")
    assert len(found) == 1, found
    assert problem in found[0]


def test_all_mistakes_come_at_once_in_the_order_of_the_file() -> None:
    found = mistakes(service("helth: {}", "replicas: two", "command: a | b", "env: {H: '${HOME}'}", "routes: [a b]"))
    assert [line.split(":")[1] for line in found] == ["6", "7", "8", "9", "10"]


def test_a_mistake_does_not_bring_others_that_follow_from_it() -> None:
    text = service("port: x", "health: {path: /}", "routes: [auto]").replace("    port: 8000\n", "")
    assert len(mistakes(text + "  b: {build: ., env: {A: '${services.web.url}'}}\n")) == 1


def test_services_of_other_stacks_are_left_to_the_plan() -> None:
    assert not mistakes(service("depends_on: [db]", "env: {A: '${services.db.url}'}"))


def test_paths_may_climb_to_the_root_of_the_repository() -> None:
    text = "version: 1\nservices: {a: {build: {context: ../.., dockerfile: docker/../D, watch: [../x]}}}\n"
    assert not mistakes(text, filename="apps/shop/godploy.yaml")
    assert len(mistakes(text, filename="shop/godploy.yaml")) == 1


def test_an_unnamed_environment_must_hold_together_too() -> None:
    text = (
        "version: 1\nservices: {web: {image_from: base}}\nenvironments: {staging: {services: {base: {image: nginx}}}}\n"
    )
    manifest = parse(text)
    assert list(manifest.definitions("staging")) == ["web", "base"]
    with pytest.raises(Exception, match="does not hold together in the environment qa"):
        manifest.definitions("qa")


def test_a_dashboard_manifest_takes_nothing_from_a_repository() -> None:
    text = (
        "version: 1\nservices: {web: {image: nginx, env: {C: '${deployment.commit}'}}, b: {build: .}}\n"
        "environments: {production: {branch: main}}\n"
    )
    found = mistakes(text, dashboard=True)
    assert len(found) == 3, found
    assert not mistakes(text)


def test_a_parse_is_quick() -> None:
    parse(FULL, filename="shop/godploy.yaml")
    started = time.perf_counter()
    parse(FULL, filename="shop/godploy.yaml")
    assert time.perf_counter() - started < 0.03
