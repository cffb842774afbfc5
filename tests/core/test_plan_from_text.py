"""From the text of a manifest to a plan: the two halves fit, and what the plan complains of has its line and column."""

from __future__ import annotations

from dataclasses import replace

import pytest

from godploy.core import manifest
from godploy.core import plan as planner
from godploy.core.facts import Context, Neighbour
from godploy.errors import Invalid

from .shop import FACTS, IMAGES, TEMPLATES, TREE, Shop, actions, order

TEXT = """\
version: 1

services:
  web:
    build:
      context: .
      args: {APP_ENV: production, AT: "${deployment.commit}"}
      watch: ["app/**"]
    command: gunicorn "shop:app"
    port: 8000
    routes:
      - host: shop.example.com
        path: /
    health:
      path: /healthz
      status: 200-399
      start_timeout: 60s
    env:
      LOG_LEVEL: info
      PRICE: pa$$word
      DATABASE_URL: ${services.db.url}
    secrets: [STRIPE_KEY]
    release_command: [python, manage.py, migrate]
    replicas: 2
    resources: {cpus: 0.5, memory: 512M}
    volumes: [{name: uploads, path: /data/uploads, shared: true}]
    depends_on: [db]
    stop_grace_period: 30s
    deploy: {strategy: auto, drain: 10s, timeout: 10m}
  worker:
    image_from: web
    command: celery -A shop worker
  db:
    template: postgres
    parameters: {version: 15, database: shop}

environments:
  production: {branch: main}
  staging:
    branch: develop
    services: {web: {replicas: 1, env: {LOG_LEVEL: "${services.mail.url}"}}}
"""


def read(text: str = TEXT) -> manifest.Manifest:
    return manifest.parse(text, templates=TEMPLATES)


def test_the_example_goes_live_and_is_then_left_alone() -> None:
    shop = Shop(replace(FACTS, secrets={"STRIPE_KEY": 1}))
    plan = shop.deploy(read().definitions("production"))
    assert order(plan) == ["db", "web", "worker"]
    assert plan.routes_added == ("shop.example.com/ → web",)
    web = shop.current["web"].specification
    assert web.command == ("gunicorn", "shop:app")
    assert web.env["PRICE"] == "pa$$word"
    assert web.env["DATABASE_URL"] == "postgresql://app:${volumes.db-data.password@1}@db:5432/shop"
    assert (web.cpus, web.memory, web.health.path, web.timeout) == (0.5, 512 << 20, "/healthz", 600)
    build = next(service.build for service in plan.services if service.build)
    assert build.args == {"APP_ENV": "production", "AT": "${deployment.commit}"}
    again = read(f"# another commit, with a remark\n{TEXT}")
    assert shop.plan(again.definitions("production")).empty


def test_staging_has_its_own_name_and_values() -> None:
    shop = Shop(replace(FACTS, environment="staging", secrets={"STRIPE_KEY": 1}))
    shop.tells(neighbours={"mail": Neighbour("s2", "the dashboard manifest", {"url": "smtp://mail"})})
    plan = shop.deploy(read().definitions("staging"))
    assert [route.name for route in plan.routes] == ["web-shop-staging.apps.test/"]
    assert plan.references == {"mail.url": "smtp://mail"}
    assert set(actions(plan).values()) == {"create"}


def test_problems_stand_at_line_and_column() -> None:
    found = read()
    contexts = {"web": Context(TREE, dockerfile=False)}
    facts = replace(FACTS, environment="staging", contexts=contexts, images=IMAGES)
    with pytest.raises(Invalid) as raised:
        planner.plan(
            found.definitions("staging"),
            {},
            facts,
            templates=TEMPLATES,
            current_routes=(),
            place=lambda path: found.place(path, environment="staging"),
        )
    places = [problem.split(" ")[0] for problem in raised.value.problems]
    assert places == ["godploy.yaml:5:5:", "godploy.yaml:41:41:", "godploy.yaml:22:15:"]
