"""Deployments: started, followed to their end whatever happens to the connection, and told by exit codes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from .conftest import Run
from .fake_server import FakeServer, deployment, failure


def test_a_deployment_is_followed_to_its_end(run: Run, server: FakeServer) -> None:
    done = run("deploy", "--commit", "3f2a91c", "--confirm", "abc123", "--update", "db", "-e", "staging")
    assert done.code == 0, done.err
    assert done.out.splitlines() == server.lines
    assert "deployment 1 (manual 3f2a91c0d to staging)" in done.err
    assert server.said("POST", "/api/v1/projects/shop/deployments") == [
        {"environment": "staging", "commit": "3f2a91c", "confirm": "abc123", "update": ["db"]}
    ]


@pytest.mark.parametrize(
    ("end", "message"),
    [
        (
            {"state": "failed", "result": None, "error": failure("build_failed", "web: exit code 1", "read the log")},
            "error: web: exit code 1\nnext: read the log\n",
        ),
        (
            {"state": "superseded", "result": "superseded by 9bc1", "error": None},
            "error: deployment 1 was superseded: superseded by 9bc1\n",
        ),
        ({"state": "cancelled", "result": None, "error": None}, "error: deployment 1 was cancelled\n"),
    ],
)
def test_every_end_but_success_is_a_failure(run: Run, server: FakeServer, end: dict, message: str) -> None:
    server.end = end
    done = run("rollback", "3")
    assert done.code == 1 and done.err.endswith(message)
    assert server.said("POST", "/api/v1/projects/shop/rollback") == [{"release": 3}]


def test_following_outlives_a_broken_connection_and_repeats_nothing(run: Run, server: FakeServer) -> None:
    server.break_after = [1, 0, 1]
    done = run("deploy")
    assert done.code == 0
    assert done.out.splitlines() == server.lines
    assert done.err.count("trying again") == 3


def test_a_server_that_stays_away_is_told(run: Run, server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("godploy.cli.following._PATIENCE", 0.05)
    server.break_after = [1]
    server.refusals["GET /api/v1/projects/shop/deployments/1/log"] = (503, failure("unavailable", "x", retry=True))
    done = run("deploy")
    assert (done.code, done.err.splitlines()[-1]) == (1, "error: x")


def test_json_is_one_document_with_the_end(run: Run, server: FakeServer) -> None:
    server.end = {"state": "failed", "result": None, "error": failure("x", "broken")}
    done = run("deploy", "--json")
    assert done.code == 1
    assert done.json["deployments"][0]["state"] == "failed"
    assert run("deploy", "--json", "--no-wait").json["deployments"][0]["state"] == "queued"


def test_an_interruption_says_that_the_deployment_goes_on(server: FakeServer) -> None:
    server.hold.clear()
    # What a shell starts in the background ignores the signal, and so would everything below it, this program included.
    program = ["env", "--default-signal=INT", sys.executable, "-m", "godploy.cli.main", "deploy"]
    process = subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1)
    assert process.stdout is not None
    assert [process.stdout.readline().strip() for _ in server.lines] == server.lines
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=10)
    assert process.returncode == 130
    assert "deployment 1 goes on; watch it with: godploy logs 1 -f" in err and "Traceback" not in err


def test_a_closed_pipe_is_no_traceback(server: FakeServer) -> None:
    server.lines = ["x" * 1000] * 2000
    process = subprocess.Popen(
        [sys.executable, "-m", "godploy.cli.main", "deploy"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    err = process.stderr.read()
    assert process.wait(10) == 1 and "Traceback" not in err and "Exception" not in err


def test_logs_of_a_deployment(run: Run, server: FakeServer) -> None:
    assert "nothing was deployed here yet" in run("logs").err
    server.deployments = [deployment(1), deployment(2)]
    assert run("logs", "1").out.splitlines() == server.lines
    assert run("logs", "--tail", "1").out.splitlines() == server.lines[-1:]
    assert run("logs", "2", "--tail", "2", "-f").out.splitlines() == server.lines[-2:]
    assert run("logs", "1", "--tail", "0").out == ""
    assert run("logs", "1", "--json", "-f").out.count('"n"') == 3


def test_lists(run: Run, server: FakeServer) -> None:
    server.deployments = [
        deployment(1, state="failed", error=failure("x", "broken")),
        deployment(2, state="running", stage="build", commit=None, revision=3),
    ]
    rows = run("deployments").out.splitlines()
    assert rows[1].split()[:3] == ["2", "running", "(build)"] and "revision 3" in rows[1]
    assert rows[2].split()[:2] == ["1", "failed"] and rows[2].endswith("broken")
    assert "live" in run("releases").out.splitlines()[1]
    assert run("cancel", "1").out == "deployment 1: cancelled\n"
    assert "branch main feeds production" in run("deliveries", "--limit", "5").out
    assert "v2" in run("deliveries", "replay", "v1").out
    assert run("deployments", "--json").json["deployments"][0]["number"] == 2


@pytest.mark.parametrize(
    "arguments", [("rollback", "x"), ("rollback", "0"), ("cancel",), ("deploi",), ("deploy", "--x")]
)
def test_wrong_usage_is_2_with_a_way_to_help(run: Run, arguments: tuple[str, ...]) -> None:
    done = run(*arguments)
    assert done.code == 2 and done.err.startswith("error: ") and "next: godploy" in done.err


def test_the_program_starts_quickly() -> None:
    program = [sys.executable, "-m", "godploy.cli.main", "version"]
    times = []
    for _ in range(3):
        began = time.perf_counter()
        subprocess.run(program, check=True, capture_output=True)
        times.append(time.perf_counter() - began)
    loaded = subprocess.run(
        [sys.executable, "-X", "importtime", *program[1:]], check=True, capture_output=True, text=True
    ).stderr
    assert not [
        name
        for name in ("aiohttp", "docker", "asyncio", "yaml", "cryptography", "jsonschema")
        if f"| {name}\n" in loaded
    ]
    assert min(times) < 1.0  # about 0.1 s on an idle machine
