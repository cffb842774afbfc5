"""A repository behind a login: the credential goes to its server, and is seen nowhere else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from godploy.core.access import Access
from godploy.core.failures import failure as told
from godploy.core.remote import parse
from godploy.drivers.git import Git
from godploy.drivers.git_program import GitError
from godploy.drivers.git_reach import reach
from godploy.errors import Invalid
from tests.e2e.secrecy import forms, found_in_files

from .conftest import Source, until
from .git_http import GitHttp, basic, served

LOGIN = ("deployer", "correct-horse!battery/staple")


@pytest.fixture
async def server(source: Source) -> AsyncIterator[GitHttp]:
    async with served(GitHttp(source.folder.parent, LOGIN)) as serving:
        yield serving


@pytest.fixture
def cache(server: GitHttp, tmp_path: Path) -> Git:
    return Git(tmp_path / "cache", [server.base])


async def failure(doing: object) -> GitError:
    with pytest.raises(GitError) as failed:
        await doing  # type: ignore[misc]
    return failed.value


def at(server: GitHttp, login: tuple[str, str] | None = LOGIN) -> Access:
    return Access(f"{server.base}/source/.git", login)


def shows(text: str) -> list[bytes]:
    """The forms of the password that a text holds."""
    return [form for form in forms(LOGIN[1]) if form in text.encode()]


async def test_it_is_read_with_the_login(server: GitHttp, cache: Git, source: Source) -> None:
    commit = source.commit("first", file="1")
    assert (await cache.heads("web", at(server))).branches == {"main": commit}
    await cache.fetch("web", at(server), commit, "main")
    assert await cache.read("web", commit, "file") == b"1"
    source.git("update-ref", "refs/pull/7/head", commit)
    assert await cache.fetch_ref("web", at(server), "refs/pull/7/head", "7") == commit
    assert {shown for _, shown in server.asked} == {basic(*LOGIN)}


@pytest.mark.parametrize("login", [None, (LOGIN[0], "wrong-password"), ("somebody", LOGIN[1])])
async def test_a_login_that_is_not_accepted(
    server: GitHttp, cache: Git, source: Source, login: tuple[str, str] | None
) -> None:
    commit = source.commit()
    for doing in (
        cache.heads("web", at(server, login)),
        cache.fetch("web", at(server, login), commit, "main"),
        cache.fetch_ref("web", at(server, login), "refs/heads/main", "7"),
    ):
        failed = await failure(doing)
        assert failed.code == "repository_denied"
        assert failed.facts["url"] == at(server).url
        detail = str(failed.facts["detail"])
        assert ("does not accept the login" in detail) is (login is not None)
        assert ("asks for a login" in detail) is (login is None)
        assert not shows(f"{failed} {failed.facts}")
        assert "godploy connections check" in told(failed.code, **failed.facts).next_step


@pytest.mark.parametrize(
    ("status", "code", "says"),
    [
        (403, "repository_denied", "does not accept"),
        (404, "repository_unreachable", "no such repository"),
        (500, "repository_unreachable", "500"),
        (302, "repository_unreachable", "redirects"),
    ],
)
async def test_what_else_the_server_may_answer(
    server: GitHttp, cache: Git, source: Source, status: int, code: str, says: str
) -> None:
    source.commit()
    server.status = status
    failed = await failure(cache.heads("web", at(server)))
    assert failed.code == code
    assert says in str(failed.facts["detail"])


@pytest.mark.parametrize("said", ["you are {login}", LOGIN[1], "x" + LOGIN[1] + "y"])
async def test_a_server_that_repeats_the_credential_does_not_get_it_told(
    server: GitHttp, cache: Git, source: Source, said: str
) -> None:
    source.commit()
    server.status, server.says = 500, said
    failed = await failure(cache.heads("web", at(server)))
    assert "•••" in str(failed.facts["detail"])
    assert not shows(f"{failed} {failed.facts}")
    assert basic(*LOGIN)[6:] not in f"{failed}"


@pytest.mark.parametrize(
    ("login", "said", "told"),
    [
        ((LOGIN[0], "Ab1"), "your password is Ab1", "not told"),  # too short for a redactor
        (("token-as-a-name", ""), "you are token-as-a-name", "•••"),
        ((LOGIN[0], ""), "no password", "no password"),
    ],
)
async def test_short_and_missing_passwords(
    server: GitHttp, cache: Git, source: Source, login: tuple[str, str], said: str, told: str
) -> None:
    source.commit()
    server.login, server.status, server.says = login, 500, said
    failed = await failure(cache.heads("web", at(server, login)))
    assert told in str(failed.facts["detail"])
    assert (login[1] or "token-as-a-name") not in f"{failed}"


async def test_it_is_in_no_argument_and_no_file(server: GitHttp, cache: Git, source: Source, tmp_path: Path) -> None:
    commit = source.commit(file="1")
    server.open.clear()
    fetching = asyncio.create_task(cache.fetch("web", at(server), commit, "main"))
    await until(lambda: bool(server.asked))
    arguments = b"".join(await asyncio.to_thread(_arguments))
    files = await asyncio.to_thread(lambda: [*found_in_files(tmp_path, [LOGIN[1]])])
    server.open.set()
    await fetching
    assert at(server).url.encode() in arguments  # it was looked at while git ran
    assert not [form for form in forms(LOGIN[1]) if form in arguments]
    assert not files
    assert not await asyncio.to_thread(lambda: [*found_in_files(tmp_path, [LOGIN[1]])])
    assert not shows(repr(at(server)))
    assert not shows(repr(await reach(parse(at(server).url, [server.base]), at(server), tmp_path)))


def _arguments() -> list[bytes]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes())
        except OSError:  # it has ended meanwhile
            continue
    return found


async def test_the_header_is_for_the_one_server(tmp_path: Path) -> None:
    """No other gets it, wherever git might go."""
    for url, key in (
        ("http://127.0.0.1:3000/web.git", "http.http://127.0.0.1:3000/.extraHeader"),
        ("http://[::1]:3000/web.git", "http.http://[::1]:3000/.extraHeader"),
        ("https://127.0.0.1/web.git", "http.https://127.0.0.1/.extraHeader"),
    ):
        remote = parse(url, ["http://127.0.0.1:3000", "http://[::1]:3000", "https://127.0.0.1"])
        env = (await reach(remote, Access(url, LOGIN), tmp_path)).env
        pairs = {env[f"GIT_CONFIG_KEY_{n}"]: env[f"GIT_CONFIG_VALUE_{n}"] for n in range(int(env["GIT_CONFIG_COUNT"]))}
        assert pairs[key] == f"Authorization: {basic(*LOGIN)}"
        assert [name for name, value in pairs.items() if "Basic" in value] == [key]


async def test_a_redirect_does_not_take_it_along(server: GitHttp, cache: Git, source: Source) -> None:
    source.commit()
    async with served(GitHttp(source.folder.parent)) as other:
        server.status, server.location = 302, f"{other.base}/source/.git/info/refs?service=git-upload-pack"
        failed = await failure(cache.heads("web", at(server)))
    assert "redirects" in str(failed.facts["detail"])
    assert other.asked == []


async def test_no_helper_and_no_file_of_the_user_is_asked(
    server: GitHttp, cache: Git, source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source.commit()
    home = tmp_path / "home"
    home.mkdir()
    canary = home / "canary"
    helper = home / "helper"
    helper.write_text(f"#!/bin/sh\ntouch {canary}\necho {LOGIN[1]}\n")
    helper.chmod(0o755)
    host = server.base.removeprefix("http://")
    (home / ".netrc").write_text(f"machine {host.partition(':')[0]} login {LOGIN[0]} password {LOGIN[1]}\n")
    (home / ".gitconfig").write_text(f"[credential]\n\thelper = {helper}\n[core]\n\taskPass = {helper}\n")
    for name, value in (("HOME", str(home)), ("GIT_ASKPASS", str(helper)), ("SSH_ASKPASS", str(helper))):
        monkeypatch.setenv(name, value)
    await cache.create("web")
    config = cache.directory("web") / "config"
    await asyncio.to_thread(config.write_text, f"[credential]\n\thelper = {helper}\n")
    assert (await failure(cache.fetch("web", at(server, None), source.head(), "main"))).code == "repository_denied"
    assert not canary.exists()
    assert all(shown is None for _, shown in server.asked)


@pytest.mark.parametrize(
    ("access", "says"),
    [
        (Access("git://127.0.0.1/x", LOGIN), "a login is for https"),
        (Access("ssh://127.0.0.1/x", LOGIN, key="k"), "a login is for https"),
        (Access("https://127.0.0.1/x", key="k"), "a key is for ssh"),
        (Access("https://127.0.0.1/x", ("a:b", "secret-word")), "no login can hold"),
        (Access("https://127.0.0.1/x", ("a", "secret-word\r\nX: y")), "no login can hold"),
        (Access("https://127.0.0.1/x", ("a\n", "secret-word")), "no login can hold"),
        (Access("http://example.com/x", LOGIN), "private bases"),
    ],
)
async def test_a_credential_belongs_to_its_scheme(tmp_path: Path, access: Access, says: str) -> None:
    git = Git(tmp_path, ["git://127.0.0.1", "ssh://127.0.0.1", "https://127.0.0.1"])
    with pytest.raises(Invalid, match=says) as refused:
        await git.heads("web", access)
    assert "secret-word" not in str(refused.value.to_json())
