"""What people do with what runs: scale, restart, stop, secrets, rollbacks, one-off commands, cancelling; and what
Godploy mends by itself. All of it on one project that has a dashboard manifest beside its repository."""

from __future__ import annotations

import json
import subprocess
import time

import pytest
import yaml

from tests.e2e.installation import clean_environment, until
from tests.e2e.load import Load
from tests.e2e.person import App, Person

pytestmark = pytest.mark.engine

DASHBOARD = {
    "version": 1,
    "services": {
        "store": {
            "image": "busybox:stable",
            "command": ["httpd", "-f", "-p", "9000"],
            "port": 9000,
            "stop_grace_period": "1s",
        }
    },
}


@pytest.fixture(scope="module")
def club(person: Person) -> App:
    """A web service in the repository that refers to one of the dashboard's."""
    manifest = {
        "version": 1,
        "services": {
            "web": {
                "build": ".",
                "port": 8000,
                "health": {"path": "/healthz", "interval": "1s"},
                "env": {"STORE": "${services.store.url}"},
                "secrets": ["TOKEN"],
                "deploy": {"drain": "2s"},
            }
        },
    }
    app = person.app("club", manifest)
    app.godploy("manifest", "save", "-", stdin=yaml.safe_dump(DASHBOARD))
    app.godploy("secrets", "set", "TOKEN", stdin="the first\n")
    app.live(app.push())
    return app


def environment(app: App) -> dict[str, str]:
    found: dict[str, str] = json.loads(app.ask("/env").text)
    return found


def test_a_repository_refers_to_a_service_of_the_dashboard(club: App) -> None:
    assert environment(club)["STORE"] == "http://store:9000"
    sources = {found["service"]: found["source"] for found in services(club)}
    assert sources == {"web": "club", "store": "dashboard"}
    taken_away = club.godploy("manifest", "save", "-", stdin="version: 1\nservices: {}\n", code=1)
    assert "store" in taken_away.err
    assert "club" in taken_away.err, "it says who uses it"
    club.godploy("manifest", "save", "-", stdin=yaml.safe_dump(DASHBOARD))


def services(app: App) -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads(app.godploy("ps", "--json").out)["services"]
    return found


def test_a_changed_value_of_another_stack_is_passed_on(club: App) -> None:
    """The dashboard's service moves to another port: the repository's stack gets a deployment of its own."""
    moved = json.loads(json.dumps(DASHBOARD))
    moved["services"]["store"] |= {"command": ["httpd", "-f", "-p", "9001"], "port": 9001}
    club.godploy("manifest", "save", "-", stdin=yaml.safe_dump(moved))
    until(lambda: environment(club)["STORE"] == "http://store:9001")
    club.godploy("manifest", "save", "-", stdin=yaml.safe_dump(DASHBOARD))
    until(lambda: environment(club)["STORE"] == "http://store:9000")
    until(lambda: club.last()["state"] == "succeeded")


def test_a_changed_secret_is_deployed_and_a_rollback_brings_it_back(club: App) -> None:
    club.godploy("secrets", "set", "TOKEN", stdin="the second\n")
    assert environment(club)["TOKEN"] == "the second"
    assert club.last()["kind"] == "config"
    club.godploy("rollback")
    assert environment(club)["TOKEN"] == "the first"
    club.deploy()
    assert environment(club)["TOKEN"] == "the first", "the push does not bring the bad one again"


def test_a_secret_may_wait_for_the_next_push(club: App) -> None:
    club.godploy("secrets", "set", "TOKEN", "--no-deploy", stdin="the third\n")
    assert environment(club)["TOKEN"] == "the first"
    club.git("commit", "-q", "--allow-empty", "-m", "Nothing of its own")
    seen = club.live(club.push())
    assert "secret TOKEN v1 → v3" in seen
    assert environment(club)["TOKEN"] == "the third"


def test_scaling_loses_no_request(club: App) -> None:
    """From one to three to two, while requests come in; the containers that were there stay."""
    first = club.running()["web"]
    with Load(club.server.http, club.host) as load:
        club.manifest["services"]["web"]["replicas"] = 3
        club.commit_manifest()
        club.live(club.push())
        hosts = {club.ask("/host").text for _ in range(12)}
        assert len(hosts) == 3
        assert club.running()["web"] == first
        club.manifest["services"]["web"]["replicas"] = 2
        club.commit_manifest()
        club.live(club.push())
        until(lambda: len(replicas(club)) == 2)
        time.sleep(1)  # whoever is sent to what was removed shows now
    assert load.tally.failures == []
    assert load.tally.rate >= 50
    assert len({club.ask("/host").text for _ in range(8)}) == 2


def replicas(app: App) -> list[str]:
    """The containers of the web service."""
    name = app.server.engine.containers.get(app.running()["web"]).name or ""
    label = {"label": [f"godploy.instance={app.server.name}", f"godploy.workload={name.split('-')[-2]}"]}
    return [str(each.id) for each in app.server.engine.containers.list(filters=label)]


def test_a_restart_loses_no_request(club: App) -> None:
    before = club.running()["web"]
    with Load(club.server.http, club.host) as load:
        club.godploy("restart", "web")
        assert club.running()["web"] != before
    assert load.tally.failures == []


def test_a_container_that_is_removed_comes_back(club: App) -> None:
    web = club.running()["web"]
    club.server.engine.containers.get(web).remove(force=True)
    until(lambda: len({club.ask("/host").text for _ in range(8)}) == 2)
    assert club.ask().status == 200
    kinds = "SELECT kind, message FROM event WHERE kind = 'drift'"
    assert until(lambda: club.server.rows(kinds)), "the correction is an event"


def test_a_stopped_service_answers_503_and_a_push_leaves_it_stopped(club: App) -> None:
    club.godploy("stop", "web")
    assert club.ask().status == 503
    club.commit()
    assert "is stopped" in club.live(club.push())
    assert club.ask().status == 503
    club.godploy("start", "web")
    assert club.ask().text == f"version {club.version}\n"


def test_a_one_off_command_has_the_environment_and_its_own_exit_code(club: App) -> None:
    code = "import os, sys; print(os.environ['TOKEN'], os.environ['STORE']); sys.exit(42)"
    done = club.godploy("run", "-s", "web", "--", "python", "-c", code, code=42)
    assert "http://store:9000" in done.out
    assert "the third" not in done.out, "secrets are masked"


def test_a_cancelled_build_ends_at_once(club: App) -> None:
    serving, before = club.ask(), club.server.settled()
    dockerfile = (club.folder / "Dockerfile").read_text()
    club.write("Dockerfile", f"{dockerfile}RUN sleep 300\n")
    club.commit()
    pushing = subprocess.Popen(
        ["git", "push", "godploy", "main"],
        cwd=club.folder,
        env=clean_environment(club.person.home),
        stderr=subprocess.PIPE,
        text=True,
    )
    until(lambda: club.last()["stage"] == "build" and club.last()["state"] == "running")
    assert pushing.stderr is not None
    asked = time.monotonic()
    club.godploy("cancel", str(club.last()["number"]))
    until(lambda: club.last()["state"] == "cancelled", 5)
    seen = pushing.communicate(timeout=20)[1]
    assert time.monotonic() - asked < 10
    assert "cancelled by" in seen
    assert club.ask() == serving
    assert club.server.settled() == before
    club.write("Dockerfile", dockerfile)
