"""Connections by token, by consent and by App; what was agreed to in a browser counts once its code is typed here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from godploy.cli import consents

from .conftest import Run
from .fake_server import FakeServer

CONSENTS = "/api/v1/consents"
CONNECTIONS = "/api/v1/connections"


def test_a_token_comes_from_a_file_or_from_standard_input(run: Run, server: FakeServer, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("a-token-of-ada\n")
    more = ("--name", "hub", "--expires", "2999-01-31")
    made = run("connections", "add", "github", "--token-file", str(tmp_path / "token"), *more, "--json")
    assert made.json["name"] == "hub", made.err
    done = run("connections", "add", "gitea", "--url", "https://g.example/", "--token-file", "-", stdin="another-one\n")
    assert done.out == "gitea: https://g.example/ as ada by token, usable\n", done.err
    assert server.said("POST", CONNECTIONS) == [
        {"provider": "github", "name": "hub", "token": "a-token-of-ada", "expires_at": "2999-01-31T00:00:00+00:00"},
        {"provider": "gitea", "url": "https://g.example/", "token": "another-one"},
    ]
    assert "a-token-of-ada" not in made.out + made.err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("github",), "nobody is there to connect: give an access token by --token-file FILE or -"),
        (("github", "--token"), "nobody is there to be asked for the access token"),
        (("github", "--app"), "nobody is there to agree in a browser"),
        (("github", "--app", "--token-file", "-"), "--token-file does not go with --app"),
        (("github", "--token-file", "-", "--expires", "2020-01-31"), "--expires 2020-01-31 is over"),
        (("gitea", "--token-file", "-"), "say which with --url"),
        (("gitea", "--url", "https://g.example", "--app"), "connected by token, oauth, not by app"),
        (("github", "--token-file", "-", "--owner", "acme"), "--owner belongs to --app"),
        (("github", "--token-file", "-", "--expires", "soon"), "--expires takes a date such as 2027-01-31"),
    ],
)
def test_what_cannot_be_is_a_wrong_usage(run: Run, server: FakeServer, arguments: tuple[str, ...], reason: str) -> None:
    done = run("connections", "add", *arguments, stdin="a-token-of-ada")
    assert done.code == 2 and reason in done.err
    assert not server.providers.connections and not server.said("POST", CONSENTS)


def test_an_unknown_provider_and_an_empty_token_are_refused(run: Run, server: FakeServer) -> None:
    done = run("connections", "add", "sourceforge", "--token-file", "-", stdin="a-token-of-ada")
    assert done.code == 1 and "choose one of: github, gitea" in done.err
    assert "is empty" in run("connections", "add", "github", "--token-file", "-", stdin=" \n").err
    assert "cannot be read" in run("connections", "add", "github", "--token-file", "nowhere").err


@pytest.mark.usefixtures("somebody")
def test_a_token_is_asked_for_after_the_page_where_it_is_made(run: Run, server: FakeServer) -> None:
    done = run("connections", "add", "gitea", "--url", "https://g.example/x", stdin="a-token-of-ada\n")
    assert done.code == 0, done.err
    assert "https://g.example/x/user/settings/applications\nwith repo, admin:repo_hook." in done.err
    assert "a-token-of-ada" not in done.out + done.err


@pytest.mark.usefixtures("somebody")
@pytest.mark.parametrize(
    ("provider", "arguments", "kind"),
    [
        ("github", (), "app"),
        ("github", ("--app", "--owner", "acme"), "app"),
        ("github", ("--oauth",), "oauth"),
        ("gitea", ("--url", "https://g.example"), "oauth"),
    ],
)
def test_the_way_is_the_providers_best(
    run: Run, server: FakeServer, provider: str, arguments: tuple[str, ...], kind: str
) -> None:
    run("oauth", "add", "gitea", "--url", "https://g.example", "--client-id", "i", "--secret-file", "-", stdin="secret")
    done = run("connections", "add", provider, *arguments, "--json", stdin="AB12-CD34\n")
    assert done.code == 0, done.err
    assert done.json["kind"] == kind and done.json["state"] == "usable"
    assert server.said("POST", CONSENTS)[0]["kind"] == kind
    assert server.said("POST", CONSENTS)[0].get("owner") == ("acme" if "--owner" in arguments else None)
    assert "https://deploy.example.com/oauth/github/app?state=s" in done.err and "says you are ada.\n" in done.err
    assert server.providers.consents == []


@pytest.mark.usefixtures("somebody")
def test_an_app_is_waited_for_until_it_is_installed(run: Run, server: FakeServer) -> None:
    server.providers.app_looks = 2
    done = run("connections", "add", "github", stdin="AB12-CD34\n")
    assert done.out == "github: https://github.com as ada by app, usable\n", done.err
    assert "https://github.com/apps/g/installations/new" in done.err
    assert len(server.said("POST", f"{CONNECTIONS}/github/check")) == 3


@pytest.mark.usefixtures("somebody")
def test_an_app_that_nobody_installs_stays_a_connection(
    run: Run, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.providers.app_looks = 1000
    look, seen = consents.look, []

    def late(*arguments: object) -> object:
        seen.append(1)
        if len(seen) == 3:
            monkeypatch.setattr(consents, "_PATIENCE", 0.0)
            monkeypatch.setattr(consents.time, "monotonic", lambda: float("inf"))
        return look(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(consents, "look", late)
    done = run("connections", "add", "github", stdin="AB12-CD34\n")
    assert done.code == 1 and "once it is installed: godploy connections check github" in done.err
    assert "github" in server.providers.connections and len(seen) == 3


@pytest.mark.usefixtures("somebody")
def test_a_wrong_code_is_asked_for_again_and_too_many_end_it(run: Run, server: FakeServer) -> None:
    done = run("connections", "add", "github", "--oauth", stdin="WRONG\nAB12-CD34\n")
    assert done.code == 0 and done.err.count("this is not the code that the page shows") == 1
    server.providers.connections.clear()
    server.providers.guesses = 2
    done = run("connections", "add", "github", "--oauth", stdin="WRONG\nWRONG\nAB12-CD34\n")
    assert done.code == 1 and "you said no\n" in done.err and not server.providers.connections


@pytest.mark.usefixtures("somebody")
def test_a_refused_consent_says_why(run: Run, server: FakeServer) -> None:
    server.providers.stages = ["waiting", "answering", "failed"]
    done = run("connections", "add", "github")
    assert done.code == 1 and "error: you said no\n" in done.err and "\x07" not in done.err


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _nobody_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consents.time, "sleep", _interrupt)


def _at_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("click.termui.visible_prompt_func", _interrupt)


@pytest.mark.usefixtures("somebody")
@pytest.mark.parametrize("moment", [_nobody_comes, _at_the_code])
def test_an_interruption_takes_the_consent_back(
    run: Run, server: FakeServer, monkeypatch: pytest.MonkeyPatch, moment: Callable[[pytest.MonkeyPatch], None]
) -> None:
    moment(monkeypatch)
    assert run("connections", "add", "github").code == 130
    assert server.said("DELETE", f"{CONSENTS}/n1") == [None] and not server.providers.connections


def test_a_list_says_what_is_wrong_and_moves_no_cursor(run: Run, server: FakeServer) -> None:
    assert "no connections yet" in run("connections").err
    server.providers.connect("github", kind="app", repositories=["shop/api"])
    server.providers.connect(
        "gitea", state="refused", trouble="it was revoked\x07", next_step="renew it: godploy connections renew gitea"
    )
    done = run("connections")
    assert "shop/api" in done.out and "refused" in done.out and "it was revoked\n" in done.out
    assert done.err == "gitea: renew it: godploy connections renew gitea\n"
    assert len(run("connections", "--json").json["connections"]) == 2


def test_a_check_fails_where_the_connection_is_not_usable(run: Run, server: FakeServer) -> None:
    server.providers.connect("github")
    assert run("connections", "check", "github").code == 0
    server.providers.connect("github", state="refused", trouble="it was revoked", next_step="renew it")
    done = run("connections", "check", "github", "--json")
    assert (done.code, done.err) == (1, "error: it was revoked\nnext: renew it\n") and done.json["state"] == "refused"


def test_a_token_is_renewed_by_a_token(run: Run, server: FakeServer) -> None:
    server.providers.connect("github")
    assert run("connections", "renew", "github", "--token-file", "-", stdin="a-newer-token").code == 0
    assert server.said("PUT", f"{CONNECTIONS}/github/token") == [{"token": "a-newer-token"}]
    assert "godploy connections" in run("connections", "renew", "hub", "--token-file", "-", stdin="a-newer-token").err


@pytest.mark.usefixtures("somebody")
def test_a_consent_is_renewed_by_a_consent(run: Run, server: FakeServer) -> None:
    server.providers.connect("github", kind="oauth")
    assert run("connections", "renew", "github", "--token-file", "-", stdin="a-newer-token").code == 2
    assert run("connections", "renew", "github", stdin="AB12-CD34\n").code == 0
    assert server.said("POST", CONSENTS) == [{"provider": "github", "kind": "oauth", "renews": "github"}]


def test_removing_says_what_happens_and_asks(run: Run, server: FakeServer) -> None:
    server.providers.left = ["the hook of ada/shop is left: GitHub\x07 is down"]
    server.providers.connect("github", repositories=["shop/api"])
    done = run("connections", "remove", "github")
    assert done.code == 2 and "--yes" in done.err and "shop/api: attached as before" in done.err
    assert "github" in server.providers.connections
    done = run("connections", "remove", "github", "--yes")
    assert done.out == "removed github\nthe hook of ada/shop is left: GitHub is down\n"
    assert server.providers.connections == {}


@pytest.mark.usefixtures("somebody")
def test_removing_needs_a_yes(run: Run, server: FakeServer) -> None:
    server.providers.connect("github")
    assert run("connections", "remove", "github", stdin="n\n").code != 0 and server.providers.connections
    assert run("connections", "remove", "github", stdin="y\n").code == 0 and not server.providers.connections


def test_what_can_be_attached(run: Run, server: FakeServer) -> None:
    server.providers.connect("github")
    done = run("connections", "repositories", "github")
    assert "ada/shop" in done.out and "ada/Other_Thing" in done.out and "there are more" not in done.err
    assert "there are more" in run("connections", "repositories", "github", "--limit", "1").err
    assert "ada/shop" not in run("connections", "repositories", "github", "other").out
    assert run("connections", "branches", "github", "ada/shop").out == "dev\nmain\n"


def test_oauth_clients(run: Run, server: FakeServer) -> None:
    add = ("oauth", "add", "gitea", "--client-id", "an-id")
    assert run(*add, "--secret-file", "-", stdin="a-secret").code == 2  # it has no usual address
    url = ("--url", "https://g.example/x/")
    refused = run(*add, *url)
    assert refused.code == 2 and "--secret-file" in refused.err
    done = run(*add, *url, "--secret-file", "-", stdin="a-secret\n")
    assert done.out == "entered an-id for https://g.example/x\n", done.err
    for word in (
        "https://g.example/x/user/settings/applications",
        "https://deploy.example.com/oauth/gitea/callback",
        "repo",
    ):
        assert word in done.err
    assert "a-secret" not in done.out + done.err
    assert "an-id" in run("oauth").out
    assert run("oauth", "remove", "gitea", *url).code == 0
    assert run("oauth", "--json").json == {"oauth_clients": []}
