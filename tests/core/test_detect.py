"""What is drafted for a repository is valid, carries over what acts, and tells of the rest."""

from __future__ import annotations

from typing import Any

import pytest

from godploy.core import dotenv, yamltree
from godploy.core.detect import Detected, detect, implied
from tests.core.manifests import mistakes, parse

COMPOSE = r"""
x-base: &base
  restart: always
services:
  web:
    <<: *base
    build: {context: ./app, args: [A=1, NPM_TOKEN=x], cache_from: [a]}
    command: ["sh", "-c", "echo $$HOME"]
    ports: ["8080:80", "127.0.0.1:9090:9090"]
    environment:
      - DATABASE_URL=postgresql+asyncpg://shop:pw@db_main:5432/shop
      - PGPASSWORD=pw
      - STRIPE_KEY
      - LEVEL=${LEVEL:-info}
      - FULL=http://${HOST}/x
      - SWITCH=no
      - REDIS_URL=redis://cache:6379/1
    env_file: [.env]
    depends_on: {db_main: {condition: service_healthy}}
    volumes: ["uploads:/data/up", "./src:/app", "/var/run/docker.sock:/var/run/docker.sock"]
    healthcheck: {test: ["CMD", "curl", "-f", "http://localhost:80/healthz"], interval: 1m30s, retries: 5}
    deploy: {replicas: 3, resources: {limits: {cpus: "0.50", memory: 512M}}, placement: {}}
    labels: ["traefik.http.routers.w.rule=Host(`Shop.Example.com`)"]
    container_name: foo
    stop_grace_period: 1m
    privileged: true
  Worker_1:
    image: "ghcr.io/x/y:${TAG:-1}"
    volumes: ["uploads:/data/up"]
    command: celery -A x worker
  db_main:
    image: postgres:15-alpine
    environment: {POSTGRES_DB: shop, POSTGRES_USER: shop, POSTGRES_PASSWORD: pw}
    volumes: ["pg:/var/lib/postgresql/data"]
  cache: {image: "redis:7"}
  proxy: {image: "traefik:v3"}
  nothing: {ports: ["1:1"]}
volumes: {uploads: , pg: }
"""


def services(found: Detected) -> dict[str, Any]:
    said = yamltree.read(found.manifest_text).data["services"]
    assert isinstance(said, dict)
    return said


def one(compose: str, **files: str | None) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The service `a` of a compose file, as it was carried over, and the notes."""
    found = detect({"compose.yaml": f"services:\n  a: {compose}\n", **files})
    return services(found)["a"], found.notes


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"README.md": None},
        {"Dockerfile": "FROM x\nEXPOSE 3000\n"},
        {"Dockerfile": None},
        {"package.json": "{}"},
        {"requirements.txt": None, "Procfile": "web: gunicorn app:app\nworker: rq worker"},
        {"api/Dockerfile": "EXPOSE 80", "Web_App/Dockerfile": ""},
        {"docker/Dockerfile": "EXPOSE 5000"},
        {"Dockerfile": "FROM x", "Procfile": "web: a --bind 0.0.0.0:${PORT:-1}\nrelease: b && c\nWorker_1: d 'e f'"},
        {"Dockerfile": "FROM x", ".env.example": "A=1\nSECRET_KEY=\nDATABASE_URL=postgres://u:p@localhost/x\nPORT=3"},
        {"compose.yaml": COMPOSE},
        {"docker-compose.yml": "web:\n  image: x\n", "Dockerfile": "FROM x"},
        {"compose.yaml": "services: [", "Dockerfile": "FROM x"},
        {"compose.yaml": "services: {a: {image: 'x y'}}"},
        {"compose.yaml": "services: {a: &x {b: *x}}"},
        {"compose.yaml": "services: {a: {build: https://github.com/x/y.git}, b: {build: ../other}}"},
        {"compose.yaml": "services: {web: {image: x, network_mode: host, ports: ['53:53/udp', '8000-8010:80-90']}}"},
        {"compose.yaml": "services: {db: {image: 'mongo:7', command: x}, web: {image: app, depends_on: [db, other]}}"},
    ],
)  # fmt: skip
def test_whatever_is_found_the_draft_is_valid(files: dict[str, str | None]) -> None:
    found = detect(files)
    assert not mistakes(found.manifest_text), found.manifest_text
    assert found.manifest_text.startswith("# yaml-language-server: $schema=https://")
    assert services(found)


def test_the_schema_is_that_of_the_server() -> None:
    found = detect({"Dockerfile": "EXPOSE 1"}, server="https://paas.example.org")
    assert found.manifest_text.startswith(
        "# yaml-language-server: $schema=https://paas.example.org/schemas/godploy.schema.json\n"
    )
    assert found.notes == ()


@pytest.mark.parametrize(
    ("dockerfile", "port"),
    [("FROM x\nEXPOSE 3000", 3000), ("FROM x\nEXPOSE 1\nFROM y\nEXPOSE 2 3", 2), ("FROM x", 8000), (None, 8000)],
)
def test_the_port_is_the_one_that_the_last_stage_exposes(dockerfile: str | None, port: int) -> None:
    assert services(detect({"Dockerfile": dockerfile}))["web"] == {"build": ".", "port": port}
    assert parse(implied({"Dockerfile": dockerfile})).definitions("production")["web"]["port"] == port


def test_without_a_dockerfile_it_says_so() -> None:
    found = detect({"package.json": None, "Procfile": "web: node ."})
    assert "This looks like a Node.js app, but there is no Dockerfile" in found.notes[0]
    assert "# A Dockerfile is needed" in found.manifest_text


def test_a_procfile_becomes_services_of_one_image() -> None:
    procfile = "web: gunicorn a:b --bind :$PORT\nrelease: ./migrate --all\nworker: rq worker\nclock: a; b\n"
    said = services(detect({"Dockerfile": "EXPOSE 80", "Procfile": procfile, ".env.example": "MODE=x\nAPI_KEY=\n"}))
    shared = {"env": {"MODE": "x"}, "secrets": ["API_KEY"]}
    assert said == {
        "web": {
            "build": ".",
            "command": ["sh", "-c", "exec gunicorn a:b --bind :$PORT"],
            "port": 80,
            "release_command": ["./migrate", "--all"],
            **shared,
        },
        "worker": {"image_from": "web", "command": ["rq", "worker"], **shared},
        "clock": {"image_from": "web", "command": ["sh", "-c", "a; b"], **shared},
    }


def test_an_example_of_env_tells_secrets_values_and_databases_apart() -> None:
    found = detect(
        {
            "Dockerfile": "EXPOSE 80",
            ".env.example": "export MODE='a b' # c\nTOKEN=abc\nEMPTY=\nKEYBOARD=de\nPUBLIC_KEY=x\n"
            "REDIS_URL=redis://localhost:6379\nOTHER=postgres://db.example.com/x\nNO=no\n",
        }
    )
    said = services(found)
    assert said["web"]["env"] == {
        "MODE": "a b",
        "KEYBOARD": "de",
        "PUBLIC_KEY": "x",
        "REDIS_URL": "${services.redis.url}",
        "OTHER": "postgres://db.example.com/x",
        "NO": "no",
    }
    assert said["web"]["secrets"] == ["TOKEN", "EMPTY"]
    assert said["redis"] == {"template": "redis"}
    assert "TOKEN, EMPTY" in " ".join(found.notes)


def test_a_compose_file_is_carried_over() -> None:
    said = services(detect({"compose.yaml": COMPOSE, "app/Dockerfile": "EXPOSE 81"}))
    part = "${{services.db-main.{}}}".format
    address = f"{part('user')}:{part('password')}@{part('host')}:{part('port')}/{part('database')}"
    assert said == {
        "web": {
            "build": {"context": "app", "args": {"A": "1"}},
            "command": ["sh", "-c", "echo $HOME"],
            "port": 80,
            "routes": ["shop.example.com"],
            "health": {"path": "/healthz", "interval": "90s", "failures": 5},
            "env": {
                "DATABASE_URL": f"postgresql+asyncpg://{address}",
                "PGPASSWORD": "${services.db-main.password}",
                "LEVEL": "info",
                "FULL": "http://${secrets.HOST}/x",
                "SWITCH": "no",
                "REDIS_URL": "${services.cache.url}",
            },
            "secrets": ["STRIPE_KEY"],
            "replicas": 3,
            "resources": {"memory": "512M", "cpus": 0.5},
            "volumes": [{"name": "uploads", "path": "/data/up", "shared": True}],
            "depends_on": ["db-main", "cache"],
            "stop_grace_period": "60s",
        },
        "worker-1": {
            "image": "ghcr.io/x/y:1",
            "command": ["celery", "-A", "x", "worker"],
            "volumes": [{"name": "uploads", "path": "/data/up", "shared": True}],
        },
        "db-main": {
            "template": "postgres",
            "parameters": {"version": "15-alpine", "database": "shop", "user": "shop"},
        },
        "cache": {"template": "redis", "parameters": {"version": "7"}},
    }


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("web: restart", "a service that ends is always started again"),
        ("web: build.args.NPM_TOKEN", "looks like a secret; see build.secrets"),
        ("web: build.cache_from", "layers are cached on the server"),
        ("web: port 9090", "a service has one port"),
        ("web: env_file .env", "it is not in the repository; godploy secrets import takes its values"),
        ("web: volume ./src", "a folder of the host cannot be mounted"),
        ("web: volume /var/run/docker.sock", "a folder of the host cannot be mounted"),
        ("web: deploy.placement", "there is one machine"),
        ("web: container_name", "containers are named by Godploy"),
        ("web: privileged", "a manifest cannot ask for power over the host"),
        ("proxy: the service", "Godploy has its own Traefik"),
        ("nothing: the service", "it has neither build nor image"),
        ("STRIPE_KEY became a secret", "godploy secrets set STRIPE_KEY"),
        ("HOST became a secret", "godploy secrets set HOST"),
        ("db_main became the template postgres", "a new, empty volume"),
    ],
)
def test_what_a_compose_file_says_in_vain_is_told_with_its_reason(what: str, reason: str) -> None:
    notes = [note for note in detect({"compose.yaml": COMPOSE}).notes if what in note]
    assert len(notes) == 1
    assert reason in notes[0]


@pytest.mark.parametrize(
    ("compose", "key", "value"),
    [
        ("{image: x, ports: ['80']}", "port", 80),
        ("{image: x, ports: [{target: 80, published: 8080}]}", "port", 80),
        ("{image: x, ports: ['[::1]:8080:80/tcp']}", "port", 80),
        ("{image: x, expose: ['9000']}", "port", 9000),
        ("{image: x, ports: ['22:22']}", "port", 22),
        ("{build: ., ports: ['80:80']}", "routes", ["auto"]),
        ("{image: x, environment: {PORT: 5000}}", "port", 5000),
        ("{image: x, environment: {A: , B: 0123, C: on}}", "env", {"B": "0123", "C": "on"}),
        ("{image: x, environment: ['A=${B}']}", "env", {"A": "${secrets.B}"}),
        ("{image: x, environment: ['A=${A}']}", "secrets", ["A"]),
        ("{image: x, environment: ['A=$${B}']}", "env", {"A": "$${B}"}),
        ("{image: x, environment: {PASSWORD: hunter2}}", "secrets", ["PASSWORD"]),
        ("{image: x, mem_limit: 1g, cpus: 2}", "resources", {"memory": "1024M", "cpus": 2.0}),
        ("{image: x, mem_limit: 1048576}", "resources", {"memory": "6M"}),
        ("{image: x, volumes: ['data:/data:ro']}", "volumes", ["data:/data"]),
        ("{image: x, volumes: [{type: volume, source: data, target: /data}]}", "volumes", ["data:/data"]),
        ("{image: x, entrypoint: /a b, command: 'c \"d e\"'}", "command", ["c", "d e"]),
        ("{image: x, scale: 2}", "replicas", 2),
        ("{build: .}", "build", "."),
        ("{build: {dockerfile: D, target: t}}", "build", {"context": ".", "dockerfile": "D", "target": "t"}),
        ("{build: ./x, image: y}", "build", "x"),
    ],
)
def test_the_forms_of_compose(compose: str, key: str, value: object) -> None:
    assert one(compose)[0][key] == value


def test_values_of_an_env_file_in_the_repository_are_taken() -> None:
    said, _ = one("{image: x, env_file: .env}", **{".env.example": "A=1\nTOKEN=\n"})
    assert said == {"image": "x", "env": {"A": "1"}, "secrets": ["TOKEN"]}


def test_a_foreign_image_does_not_become_public_by_itself() -> None:
    said, notes = one("{image: rabbitmq, ports: ['5672:5672']}")
    assert said == {"image": "rabbitmq", "port": 5672}
    assert any("a: ports is left out" in note for note in notes)


def test_a_volume_for_one_container_allows_no_replicas() -> None:
    said, notes = one("{image: x, volumes: ['v:/v'], deploy: {replicas: 2}}")
    assert "replicas" not in said
    assert any("its volume is for one container at a time" in note for note in notes)


def test_bombs_are_left_alone() -> None:
    rows = "\n".join(f"x{n}: &x{n} {{<<: [{', '.join([f'*x{n - 1}'] * 9)}]}}" for n in range(1, 30))
    bomb = f"x0: &x0 {{image: y}}\n{rows}\nservices: {{a: {{<<: *x29, build: .}}}}\n"
    for text in (bomb, "services: " + "[" * 20_000, "a: b\n" * 100_000):
        assert not mistakes(detect({"compose.yaml": text, "Dockerfile": ""}).manifest_text)


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("STRIPE_SECRET_KEY", "sk_test", True),
        ("API_KEY", "x", True),
        ("DB_PASSWORD", "x", True),
        ("ANYTHING", "", True),
        ("ANYTHING", "changeme", True),
        ("SOME_URL", "amqp://user:pw@host/x", True),
        ("SOME_URL", "https://example.com/x", False),
        ("KEYBOARD", "de", False),
        ("MONKEY", "x", False),
        ("NEXT_PUBLIC_API_KEY", "x", False),
        ("STRIPE_PUBLISHABLE_KEY", "x", False),
        ("TLS_KEY_FILE", "/x", False),
        ("PASSENGERS", "3", False),
    ],
)
def test_what_looks_like_a_secret(name: str, value: str, secret: bool) -> None:
    assert dotenv.is_secret(name, value) is secret


def test_lines_of_an_env_file() -> None:
    text = "# c\nA=1\n export B = x y # c\nC='a # b' # c\nD=\"q\"\nE=#\nF\n1G=x\nA=2\nH=a#b\n"
    assert dotenv.read(text) == {"A": "2", "B": "x y", "C": "a # b", "D": "q", "E": "", "H": "a#b"}
