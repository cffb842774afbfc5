"""Pull requests on the command line; what strangers wrote moves no cursor."""

from __future__ import annotations

import subprocess

from .conftest import Run
from .fake_server import FakeServer


def test_a_list(run: Run, server: FakeServer) -> None:
    out = run("pulls").out
    first, *rest = out.splitlines()[1:]
    assert first.split()[0] == "7" and "builds web, updates worker" in first and "3f2a91c0d" in first
    assert [line.split()[0] for line in rest] == ["8", "3"]
    assert "\x1b" not in out and "\x07" not in out
    assert run("pulls", "list", "--state", "closed", "--limit", "5").out.splitlines()[1].split()[0] == "3"
    assert [query for _, path, query, _ in server.requests if path.endswith("/pulls")][-1] == {
        "state": "closed",
        "limit": "5",
    }
    assert run("pulls", "--json").json["pulls"][0]["number"] == 7


def test_one_of_them(run: Run, server: FakeServer) -> None:
    assert run("pulls", "show", "7").out.splitlines() == [
        "shop 7: A page",
        "page into main, open, by eve",
        "https://git.example.com/ada/shop/pulls/7",
        "",
        "3f2a91c0d: builds web, updates worker",
        "",
        "production",
        "  ~ web: build (context tree 3f2a… → 9bc1…)",
        "  ~ worker: update (web has another image)",
    ]
    run("pulls", "show", "7", "-r", "shop")
    assert [query for _, path, query, _ in server.requests if path.endswith("/pulls/7")] == [{}, {"repository": "shop"}]
    assert run("pulls", "show", "7", "--json").json["environments"][0]["name"] == "production"


def test_every_problem_is_shown_once(run: Run, server: FakeServer) -> None:
    assert run("pulls", "show", "8").out.splitlines()[-2:] == [
        "3f2a91c0d: godploy.yaml:5:5: services.web.helth: unknown key",
        "  godploy.yaml:6:5: services.web.prot: unknown key",
    ]
    assert run("pulls", "show", "seven").code == 2


def test_it_is_looked_for_in_the_whole_project(run: Run, server: FakeServer) -> None:
    """A checkout is linked to a repository that is pushed to Godploy, and such a one has no pull requests."""
    subprocess.run(["git", "init", "-q"], check=True)
    assert run("link", "shop").code == 0
    assert run("pulls", "show", "7").code == 0
    assert [query for _, path, query, _ in server.requests if path.endswith("/pulls/7")] == [{}]
