"""`init`, `validate` and `plan` on real files, without a server and against one."""

from __future__ import annotations

import subprocess
from pathlib import Path

from .conftest import Run
from .fake_server import FakeServer

VALID = """\
version: 1
services:
  web:
    build: .
    port: 8000
    env: {DATABASE_URL: "${services.db.url}"}
    secrets: [STRIPE_KEY]
  db:
    template: postgres
environments:
  production: {}
  staging: {branch: develop}
"""


def test_init_writes_what_validate_accepts_and_never_overwrites_unasked(run: Run) -> None:
    Path("Dockerfile").write_text("FROM python:3.11-slim\nEXPOSE 8080\n")
    Path(".env").write_text("PASSWORD=hunter2\n")
    Path(".env.example").write_text("STRIPE_KEY=\nLOG_LEVEL=info\n")
    done = run("init")
    assert done.code == 0, done.err
    written = Path("godploy.yaml").read_text()
    assert "port: 8080" in written and "STRIPE_KEY" in written
    assert "hunter2" not in written + done.out + done.err
    assert run("validate").code == 0
    Path("godploy.yaml").write_text("mine")
    again = run("init")
    assert again.code == 1 and "godploy init --force" in again.err
    assert Path("godploy.yaml").read_text() == "mine"
    assert run("init", "--force", "--json").json["manifest"] == written


def test_init_looks_at_what_git_would_commit(run: Run) -> None:
    subprocess.run(["git", "init", "-q"], check=True)
    Path(".gitignore").write_text("vendor/\n")
    Path("vendor").mkdir()
    Path("vendor/Dockerfile").write_text("FROM scratch\nEXPOSE 9\n")
    Path("Dockerfile").write_text("FROM scratch\nEXPOSE 8080\n")
    assert run("init").code == 0
    assert "9" not in Path("godploy.yaml").read_text().replace("8080", "").split("services:")[1]


def test_validate_tells_every_mistake_with_its_place(run: Run) -> None:
    Path("godploy.yaml").write_text(VALID)
    done = run("validate")
    assert (done.code, done.err) == (0, "")
    assert done.out == "godploy.yaml is valid\n  production: db, web\n  staging: db, web\n"
    Path("godploy.yaml").write_text(VALID.replace("port:", "prot:").replace("postgres", "postgras"))
    done = run("validate")
    assert done.code == 1
    assert 'godploy.yaml:5:5: services.web.prot: unknown key; did you mean "port"?\n' in done.err
    assert "godploy.yaml:9:" in done.err and "error: " in done.err
    assert len(run("validate", "--json").json["problems"]) >= 2


def test_validate_reads_standard_input_and_names_what_is_missing(run: Run) -> None:
    assert run("validate", "-", stdin=VALID).code == 0
    done = run("validate")
    assert done.code == 1 and done.err == "error: there is no godploy.yaml here\nnext: godploy init writes one\n"
    Path("bad.yaml").write_bytes(b"version: 1\n\xff\n")
    assert "bad.yaml is not valid UTF-8 (line 2)" in run("validate", "bad.yaml").err


def test_a_place_is_told_from_the_top_of_the_checkout(run: Run) -> None:
    subprocess.run(["git", "init", "-q"], check=True)
    Path("apps").mkdir()
    Path("apps/godploy.yaml").write_text("version: 2\n")
    assert "apps/godploy.yaml:1:" in run("validate", "apps/godploy.yaml").err


def test_plan_without_a_server_tells_what_a_first_deployment_makes(run: Run) -> None:
    Path("Dockerfile").write_text("FROM scratch\n")
    Path("godploy.yaml").write_text(VALID)
    done = run("plan")
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert any(line.startswith("+ web: create") for line in lines)
    assert "+ route web-shop.localhost/ → web" in lines
    assert "+ volume db-data" in lines
    assert "note: set its value first: godploy secrets set STRIPE_KEY --environment production" in lines
    staging = run("plan", "--environment", "staging", "--json").json
    assert "+ route web-shop-staging.localhost/ → web" in staging["lines"]


def test_plan_without_a_server_finds_what_cannot_be_built(run: Run) -> None:
    Path("godploy.yaml").write_text(VALID)
    done = run("plan")
    assert done.code == 1 and "Dockerfile" in done.err and "godploy.yaml:4:" in done.err
    assert "choose one of production, staging" in run("plan", "-e", "qa").err


def test_plan_against_a_server_shows_its_answer(run: Run, server: FakeServer) -> None:
    Path("godploy.yaml").write_text(VALID)
    done = run("plan", "--against", server.url, "-e", "staging", "-r", "shop")
    assert done.code == 0
    assert done.out == "~ web: build\n! destructive: x\n"
    assert "godploy deploy --confirm abc123" in done.err
    assert server.said("POST", "/api/v1/projects/shop/plan") == [
        {"text": VALID, "environment": "staging", "repository": "shop"}
    ]
    run("plan", "-p", "shop", "-r", "dashboard")
    assert server.said("POST", "/api/v1/projects/shop/plan")[1] == {"text": VALID}
