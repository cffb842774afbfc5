"""What runs: shown, logged, stopped, started anew, and beside it one-off commands with their exit codes."""

from __future__ import annotations

import pytest

from .conftest import Run
from .fake_server import NOW, FakeServer, failure

ADDRESS = "http://web-shop.localhost/"
HEAD = "SERVICE  STATE    HEALTH   REPLICAS  CPU    MEMORY    NET IN/OUT  RUNS       RELEASE  ADDRESS"


def test_ps_is_an_aligned_table_with_figures_and_addresses(run: Run, server: FakeServer) -> None:
    server.add_service("web", routes=[ADDRESS])
    server.add_service("db", state="stopped", cpu=None, memory=None, received=None, commit=None, health=None)
    done = run("ps")
    head, web, db = done.out.splitlines()
    assert head == HEAD
    figures = ["12.5%", "52M/512M", "1.5K/10M"]
    assert web.split() == ["web", "running", "healthy", "1/2", *figures, "3f2a91c0d", "4", ADDRESS]
    assert db.split() == ["db", "stopped", "1/2", "0123", "4"]
    assert head.index("RUNS") == web.index("3f2a91c0d") == db.index("0123")
    assert server.requests[-1][2] == {"stats": "true"}
    assert run("ps", "--json").json["services"][0]["cpu"] == 0.125


def test_ps_names_environments_where_there_are_several(run: Run, server: FakeServer) -> None:
    assert "nothing runs here yet" in run("ps").err
    server.add_service("web")
    server.add_service("web", environment="staging")
    assert "ENVIRONMENT" in run("ps").out


def test_logs_of_a_service_are_harmless_text(run: Run, server: FakeServer) -> None:
    server.service_lines = [{"at": NOW, "replica": 1, "text": f"line {n}\x1b]0;x\x07"} for n in range(3)]
    assert run("logs", "web", "--tail", "2").out == "12:00:00 web  line 1\n12:00:00 web  line 2\n"
    assert run("logs", "web", "--json").out.count('"replica": 1') == 3


def test_stop_start_and_restart(run: Run, server: FakeServer) -> None:
    server.add_service("web")
    server.add_service("db", source="dashboard")
    assert run("stop", "web", "-e", "staging").out == "web in staging is stopped\n"
    assert run("start", "web").out == "web in production is started\n"
    assert run("restart", "web", "db", "--no-wait").code == 0
    assert run("restart", "--no-wait", "-r", "shop").code == 0
    assert server.said("POST", "/api/v1/projects/shop/restart") == [
        {"repository": "shop", "services": ["web"]},
        {"repository": "dashboard", "services": ["db"]},
        {"repository": "shop"},
    ]
    done = run("restart", "wbe")
    assert done.code == 1 and "choose one of web, db" in done.err


@pytest.mark.parametrize(("code", "expected"), [(0, 0), (3, 3), (137, 137), (-9, 1)])
def test_the_exit_code_of_a_run_is_passed_on(run: Run, server: FakeServer, code: int, expected: int) -> None:
    server.run_events = [("line", {"text": "a\tb"}), ("line", {"text": ""}), ("end", {"exit_code": code})]
    done = run("run", "-s", "web", "--", "ls", "-l", "--json")
    assert (done.code, done.out) == (expected, "a\tb\n\n")
    assert server.said("POST", "/api/v1/projects/shop/runs") == [{"argv": ["ls", "-l", "--json"], "service": "web"}]


def test_a_run_that_cannot_go_on_is_a_failure(run: Run, server: FakeServer) -> None:
    server.run_events = [("error", failure("engine_down", "the engine does not answer"))]
    assert run("run", "--", "ls").err.endswith("error: the engine does not answer\n")
    server.run_events = [("line", {"text": "a"})]
    assert "ended before the command did" in run("run", "--", "ls").err
    assert run("run").code == 2


def test_open_prints_the_address(run: Run, server: FakeServer) -> None:
    assert run("open").code == 1
    server.add_service("db")
    server.add_service("web", routes=["http://web-shop.localhost/", "http://shop.example.com/"])
    assert run("open").out == "http://web-shop.localhost/\n"
    assert run("open", "web", "--json").json["addresses"][1] == "http://shop.example.com/"
    assert "db has no address" in run("open", "db").err


def test_secrets_are_read_never_named_on_the_command_line(run: Run, server: FakeServer) -> None:
    refused = run("secrets", "set", "KEY=hunter2")
    assert refused.code == 2 and "hunter2" not in refused.err
    assert run("secrets", "set", "KEY", "--no-wait", stdin="a value\n").out.startswith(
        "set KEY in production\ndeployment 1"
    )
    assert (
        run("secrets", "set", "CERT=-", "--no-deploy", "-e", "staging", stdin="a\nb\n\n").out == "set CERT in staging\n"
    )
    assert server.secrets == {"production": {"KEY": "a value"}, "staging": {"CERT": "a\nb\n"}}
    assert "is empty" in run("secrets", "set", "KEY", stdin="\n").err
    listed = run("secrets")
    assert "KEY" in listed.out and "a value" not in listed.out
    assert run("secrets", "remove", "KEY").out == "removed KEY\n"
    assert server.secrets["production"] == {}


def test_secrets_are_imported_from_a_file(run: Run, server: FakeServer) -> None:
    done = run("secrets", "import", "-", "--no-deploy", stdin="A='x y'\nexport B=\"1\\n2\" # note\n")
    assert done.code == 0 and done.out == "set A, B in production\n"
    assert server.secrets["production"] == {"A": "x y", "B": "1\n2"}
    wrong = run("secrets", "import", "-", stdin="A=1\nhunter2\n")
    assert wrong.code == 1 and "-:2: expected NAME=VALUE" in wrong.err and "hunter2" not in wrong.err
    assert run("secrets", "import", "missing.env").code == 2
