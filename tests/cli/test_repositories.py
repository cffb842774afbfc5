"""Repositories at providers and at other git servers: chosen, announced by a hook that proved itself, compared."""

from __future__ import annotations

from typing import Any

import pytest

from godploy.cli import attaching

from . import fake_server
from .conftest import Run
from .fake_providers import KEY
from .fake_server import FakeServer

REPOSITORIES = "/api/v1/projects/shop/repositories"
SSH = "git@git.example.com:ada/shop.git"


@pytest.fixture
def github(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> FakeServer:
    """The server with a connection; the head that is attached has been found already."""
    server.providers.connect("github")
    server.begin("push", {})["source"] = "shop"
    monkeypatch.setattr(attaching, "_PAUSE", 0.0)
    monkeypatch.setattr(attaching, "_FIRST_DEPLOYMENT", 0.0)
    return server


def test_a_repository_is_attached_by_its_full_name(run: Run, github: FakeServer) -> None:
    done = run("repositories", "add", "--connection", "github", "--from", "ada/Other_Thing", "--branch", "dev")
    assert done.code == 0, done.err
    assert github.said("POST", REPOSITORIES) == [
        {"name": "other-thing", "connection": "github", "full_name": "ada/Other_Thing", "branch": "dev"}
    ]
    assert "waiting up to 30 s for GitHub's first delivery\nthe hook works\n" in done.err
    listed = run("repositories").out
    assert "GitHub" in listed and "github" in listed and "working" in listed


def test_json_is_the_repository_with_its_hook(run: Run, github: FakeServer) -> None:
    github.providers.hook_state = "silent"
    done = run("repositories", "add", "api", "--connection", "github", "--from", "ada/shop", "--json")
    assert done.json["name"] == "api" and done.json["hook"]["state"] == "silent"
    assert "could not reach https://deploy.example.com; pushes will be found" in done.err and "\x07" not in done.err


def test_without_a_hook_it_is_attached_nevertheless(run: Run, github: FakeServer) -> None:
    github.refusals[f"POST {REPOSITORIES}/shop/hook"] = (502, fake_server.failure("provider", "GitHub is down\x07"))
    done = run("repositories", "add", "--connection", "github", "--from", "ada/shop")
    assert done.code == 0
    assert "GitHub is down; pushes will be found by polling\n" in done.err
    assert "godploy repositories hook shop" in done.err


@pytest.mark.usefixtures("somebody")
@pytest.mark.parametrize(
    ("answers", "full_name", "branch"),
    [
        ("1\n\n", "ada/shop", None),
        ("1\n2\n", "ada/shop", "dev"),
        ("9\n0\nother\n1\nnone\nmain\n", "ada/Other_Thing", "main"),
        ("nothing like it\nSHOP\n1\ndev\n", "ada/shop", "dev"),
    ],
)
def test_a_repository_and_its_branch_are_chosen(
    run: Run, github: FakeServer, answers: str, full_name: str, branch: str | None
) -> None:
    github.deployments[0]["source"] = attached = full_name.partition("/")[2].lower().replace("_", "-")
    done = run("repositories", "add", "--connection", "github", stdin=answers)
    assert done.code == 0, done.err
    (told,) = github.said("POST", REPOSITORIES)
    assert (told["name"], told["full_name"], told.get("branch")) == (attached, full_name, branch)
    assert "built web" in done.out


@pytest.mark.usefixtures("somebody")
def test_secrets_that_are_missing_are_asked_for_until_it_is_live(
    run: Run, github: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = "; ".join(f"godploy secrets set {name} --environment production" for name in ("STRIPE_KEY", "DB_PASSWORD"))
    error = fake_server.failure("missing_secret", "the plan cannot be carried out: 2 problems", step)
    live = {"state": "succeeded", "result": "live in 3.1 s", "error": None}
    github.end = {"state": "failed", "result": None, "error": error}
    set_secrets = fake_server._OPERATIONS["set_secrets"]

    def answer(it: FakeServer, *more: Any) -> Any:
        it.end = live
        return set_secrets(it, *more)

    monkeypatch.setitem(fake_server._OPERATIONS, "set_secrets", answer)
    done = run("repositories", "add", "--connection", "github", "--from", "ada/shop", stdin="sk-1\n\npw-2\n")
    assert done.code == 0, done.err
    assert github.secrets == {"production": {"STRIPE_KEY": "sk-1", "DB_PASSWORD": "pw-2"}}
    body = {"environment": "production", "repository": "shop"}
    assert github.said("POST", "/api/v1/projects/shop/deployments") == [body]
    assert "sk-1" not in done.out + done.err


@pytest.mark.usefixtures("somebody")
def test_another_failure_of_the_first_deployment_is_told(run: Run, github: FakeServer) -> None:
    github.end = {"state": "failed", "result": None, "error": fake_server.failure("build_failed", "no")}
    done = run("repositories", "add", "--connection", "github", "--from", "ada/shop")
    assert done.code == 1 and "error: no" in done.err
    github.deployments.clear()
    done = run("repositories", "add", "--connection", "github", "--from", "ada/shop")
    assert done.code == 0 and "nothing was found to deploy yet" in done.err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--connection", "github"), "nobody is there to choose"),
        (("shop", "--from", "ada/shop"), "--from belongs to --connection"),
        (("--connection", "github", "--url", "https://g.example/a/b"), "--url does not go with --connection"),
        ((), "say what it is called here"),
        (("shop", "--url", SSH, "--username", "ada"), "--username belongs to an https --url"),
        (("shop", "--url", "https://g.example/a/b", "--host-key", KEY), "--host-key belongs to an ssh --url"),
        (("shop", "--url", "https://g.example/a/b", "--password-file", "-"), "--password-file belongs to --username"),
        (("shop", "--url", SSH), "give it with --host-key"),
        (("shop", "--url", "https://g.example/a/b", "--username", "ada"), "--password-file"),
    ],
)
def test_what_does_not_fit_is_a_wrong_usage(
    run: Run, github: FakeServer, arguments: tuple[str, ...], reason: str
) -> None:
    done = run("repositories", "add", *arguments)
    assert done.code == 2 and reason in done.err
    assert github.said("POST", REPOSITORIES) == []


def test_an_ssh_servers_key_is_given(run: Run, server: FakeServer) -> None:
    done = run("repositories", "add", "shop", "--url", SSH, "--host-key", KEY)
    assert server.said("POST", REPOSITORIES) == [{"name": "shop", "url": SSH, "host_keys": [KEY]}]
    assert "ssh-ed25519 AAAAkey godploy" in done.out and "hook-secret" in done.out
    assert server.said("POST", "/api/v1/host-keys") == []


@pytest.mark.usefixtures("somebody")
@pytest.mark.parametrize("url", [SSH, "ssh://git@git.example.com:2222/ada/shop.git"])
def test_an_ssh_servers_key_is_compared(run: Run, server: FakeServer, url: str) -> None:
    refused = run("repositories", "add", "shop", "--url", url, stdin="n\n")
    assert refused.code != 0 and f"ssh-ed25519 {KEY}" in refused.err and server.said("POST", REPOSITORIES) == []
    assert run("repositories", "add", "shop", "--url", url, stdin="y\n").code == 0
    assert server.said("POST", REPOSITORIES)[0]["host_keys"] == [KEY]
    assert run("repositories", "host-key", "shop", stdin="n\n").code != 0
    assert run("repositories", "host-key", "shop", stdin="y\n").code == 0
    assert server.said("PUT", f"{REPOSITORIES}/shop/host-keys") == [{"host_keys": [KEY]}]


def test_a_login_is_never_an_argument(run: Run, server: FakeServer) -> None:
    url = "https://g.example/a/b"
    more = ("--url", url, "--username", "ada", "--password-file", "-")
    done = run("repositories", "add", "shop", *more, stdin="hunter22\n")
    assert server.said("POST", REPOSITORIES) == [
        {"name": "shop", "url": url, "username": "ada", "password": "hunter22"}
    ], done.err
    assert run("repositories", "login", "shop", "--username", "eve").code == 2
    done = run("repositories", "login", "shop", "--username", "eve", "--password-file", "-", stdin="hunter23")
    assert done.out == "shop is cloned as eve\n" and "hunter23" not in done.err
    assert server.said("PUT", f"{REPOSITORIES}/shop/login") == [{"username": "eve", "password": "hunter23"}]
    assert "not cloned over ssh" in run("repositories", "host-key", "shop", "--host-key", KEY).err


@pytest.mark.parametrize(
    ("state", "code", "said"),
    [("working", 0, "the hook works\n"), ("silent", 0, "could not reach"), ("refused", 1, "could not reach")],
)
def test_a_hook_is_mended_and_proved(run: Run, github: FakeServer, state: str, code: int, said: str) -> None:
    run("repositories", "add", "--connection", "github", "--from", "ada/shop")
    github.providers.hook_state = state
    done = run("repositories", "hook", "shop")
    assert done.code == code and said in done.out and "\x07" not in done.out


def test_what_becomes_of_one_at_a_provider(run: Run, github: FakeServer) -> None:
    run("repositories", "add", "--connection", "github", "--from", "ada/shop")
    assert "GitHub was given the new secret" in run("repositories", "hook-secret", "shop").out
    done = run("repositories", "connect", "shop", "--connection", "hub")
    assert done.out == "shop is reached by hub; the hook works\n"
    assert run("repositories", "connect", "shop").code == 2


def test_a_delivery_is_shown_whole(run: Run, server: FakeServer) -> None:
    assert run("deliveries", "show", "v7").out.splitlines() == [
        "shop, by hook on 2026-03-01 12:00:00: push refs/heads/main 3f2a91c0d",
        "verdict: branch main feeds production",
        "",
        "headers:",
        "  X-GitHub-Event: push",
        "",
        "told:",
        "  kind: push",
        '  changes: [{"ref": "refs/heads/main"}]',
        "",
        "deployments:",
        "  7 (push 3f2a91c0d to production): succeeded live in 3.1 s",
    ]
    assert run("deliveries", "show", "v7", "--json").json["id"] == "v7"
