"""Links, repositories and the other things of a project."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from .conftest import Run
from .fake_server import TOKEN, FakeServer


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], capture_output=True, text=True).stdout.strip()


def test_link_makes_what_is_new_and_adds_a_remote_without_a_token(run: Run, server: FakeServer) -> None:
    git("init", "-q", "-b", "trunk")
    done = run("link", "store")
    assert done.code == 0, done.err
    assert "store" in server.projects
    # The path is the server's word, the host is the one that this machine reaches it by.
    assert git("config", "remote.godploy.url") == f"{server.url}/git/default/store/shop.git"
    assert TOKEN not in Path(".git/config").read_text()
    assert "git push godploy trunk" in done.err
    again = run("link", "store", "--json").json
    assert (again["created"], again["repository"]) == (False, "shop")
    assert len(server.said("POST", "/api/v1/projects")) == 1
    assert len(server.said("POST", "/api/v1/projects/store/repositories")) == 1


def test_link_corrects_a_remote_and_needs_a_checkout(run: Run, server: FakeServer) -> None:
    assert "not a git checkout" in run("link").err
    git("init", "-q")
    git("remote", "add", "godploy", "https://old.example/git/a/b/c.git")
    assert run("link", "shop", "--repository", "api").code == 0
    assert git("config", "remote.godploy.url") == f"{server.url}/git/default/shop/api.git"


def test_a_linked_checkout_tells_the_project_and_the_repository(run: Run, server: FakeServer) -> None:
    server.add_project("other")
    assert run("deployments").code == 1
    git("init", "-q")
    run("link", "shop")
    Path("below").mkdir()
    assert run("deployments").code == 0
    assert run("deploy", "--no-wait").code == 0
    assert server.said("POST", "/api/v1/projects/shop/deployments") == [{"repository": "shop"}]
    assert run("secrets", "list").code == 0
    assert run("deploy", "--no-wait", "-p", "other", "-e", "staging").code == 0
    assert server.said("POST", "/api/v1/projects/other/deployments") == [{"environment": "staging"}]


def test_which_project_is_asked_only_where_there_are_several(run: Run, server: FakeServer) -> None:
    assert run("deployments").code == 0
    server.add_project("other")
    done = run("deployments")
    assert done.code == 1 and "which project? There are shop, other" in done.err
    server.projects.clear()
    assert "godploy link NAME makes one" in run("deployments").err


def test_a_hook_is_explained_by_a_call_that_works(run: Run, server: FakeServer, tmp_path: Path) -> None:
    done = run("repositories", "add", "api", "--url", "https://git.example.com/api.git")
    assert done.code == 0 and "hook-secret" in done.out
    script = done.out[done.out.index("  secret=") :].replace("the secret above", "hook-secret")
    # The example is run as it stands, with a curl that shows what it was given.
    fake = tmp_path / "bin"
    fake.mkdir()
    (fake / "curl").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (fake / "curl").chmod(0o755)
    ran = subprocess.run(
        ["sh", "-eu", "-c", script], capture_output=True, text=True, env={"PATH": f"{fake}:/usr/bin:/bin"}
    )
    words = ran.stdout.splitlines()
    headers = dict(word.split(": ", 1) for word in words if word.startswith(("X-", "Content-")))
    body = words[words.index("--data") + 1]
    assert body == '{"event": "push", "ref": "refs/heads/main"}'
    import hashlib
    import hmac

    signed = f"{headers['X-Godploy-Timestamp']}.{body}".encode()
    expected = hmac.new(b"hook-secret", signed, hashlib.sha256).hexdigest()
    assert headers["X-Godploy-Signature-256"] == f"sha256={expected}", ran.stderr
    assert "signed hook" in run("repositories").out
    assert "another-secret" in run("repositories", "hook-secret", "api").out
    assert "is cloned from" in run("link", "shop", "--repository", "api").err


def test_volumes_are_destroyed_by_name_only(run: Run, server: FakeServer) -> None:
    for number, environment in enumerate(("production", "staging")):
        server.volumes.append(
            {
                "id": f"v{number}",
                "name": "db-data",
                "environment": environment,
                "service": None,
                "created_at": "2026-03-01T12:00:00Z",
            }
        )
    assert run("volumes", "-e", "staging").out.count("db-data") == 1
    assert "production, staging" in run("volumes", "delete", "db-data").err
    refused = run("volumes", "delete", "db-data", "-e", "staging", stdin="yes\n")
    assert refused.code == 1 and "nothing was destroyed" in refused.err
    assert run("volumes", "delete", "db-data", "-e", "staging", "--confirm", "db-data").code == 0
    assert [one["environment"] for one in server.volumes] == ["production"]
    assert run("volumes", "delete", "db-data", stdin="db-data\n").code == 0
    assert server.volumes == []
    assert run("volumes", "delete", "db-data").code == 1


def test_hosts_templates_and_projects(run: Run, server: FakeServer) -> None:
    assert run("hosts", "give", "shop.example.com").code == 0
    assert "shop.example.com" in run("hosts").out
    assert run("hosts", "release", "shop.example.com").code == 0
    assert server.hosts == []
    assert "${services.NAME.url}" in run("templates").out
    assert run("projects").out == "PROJECT  ORGANIZATION\nshop     default\n"


def test_the_servers_words_are_passed_on(run: Run, server: FakeServer) -> None:
    server.refusals["PUT /api/v1/projects/shop/hosts/a.example"] = (
        403,
        {
            "code": "forbidden",
            "message": "no\x07",
            "next_step": "ask",
            "retry": False,
            "fields": {"problems": ["p"]},
        },
    )
    done = run("hosts", "give", "a.example")
    assert (done.code, done.err) == (1, "p\nerror: no\nnext: ask\n")


@pytest.mark.parametrize("arguments", [("manifest", "save", "-"), ("manifest", "save", "-", "-r", "docs")])
def test_manifests_are_saved_and_shown(run: Run, server: FakeServer, arguments: tuple[str, ...]) -> None:
    more = arguments[3:]
    assert run("manifest", *more).code == 1
    done = run(*arguments, "--no-wait", stdin="version: 1\n")
    assert done.out.startswith("saved revision 1\ndeployment 1 is queued")
    assert run("manifest", "show", *more).out == "version: 1\n"


def test_a_manifest_is_edited_until_it_is_right(
    run: Run, server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor = tmp_path / "editor"
    editor.write_text("#!/bin/sh\nprintf 'more\\n' >> \"$1\"\n")
    editor.chmod(0o755)
    monkeypatch.setenv("VISUAL", str(editor))
    path = "PUT /api/v1/projects/shop/manifest"
    error = {
        "code": "invalid_manifest",
        "message": "wrong",
        "next_step": "",
        "retry": False,
        "fields": {"problems": ["3:1"]},
    }
    server.refusals[path] = (422, error)
    done = run("manifest", "edit", stdin="n\n")
    assert done.code == 1 and "3:1" in done.err
    server.refusals.clear()
    assert run("manifest", "edit", "--no-wait").code == 0
    assert server.manifest == (1, "version: 1\n\nservices: {}\nmore\n")
