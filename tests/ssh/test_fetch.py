"""A repository behind a real ssh server: with one key, from one server that is known, and with nobody else's files."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from godploy.core.access import Access
from godploy.core.failures import failure as told
from godploy.core.remote import parse
from godploy.drivers import git_program, git_reach, process, ssh
from godploy.drivers.git import Git
from godploy.drivers.git_program import GitError, call, command
from godploy.errors import Invalid
from tests.drivers.conftest import Source, until
from tests.e2e.secrecy import found_in_files

from .conftest import Sshd, new_host_key


@pytest.fixture
def cache(sshd: Sshd, tmp_path: Path) -> Git:
    return Git(tmp_path / "cache", [sshd.base])


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    yield
    assert _secret_folders() == []


def _secret_folders() -> list[Path]:
    return [*Path("/dev/shm").glob(f"godploy-secrets-{os.getpid()}-*")]


async def failure(doing: object) -> GitError:
    with pytest.raises(GitError) as failed:
        await doing  # type: ignore[misc]
    return failed.value


def body(key: str) -> list[str]:
    """The lines of a private key that hold it."""
    return [line for line in key.splitlines() if line and "PRIVATE KEY" not in line]


class TestWithTheKey:
    async def test_it_is_read(self, sshd: Sshd, cache: Git, source: Source) -> None:
        first = source.commit("first", file="1")
        second = source.commit("second", file="2")
        source.git("update-ref", "refs/pull/7/head", first)
        assert (await cache.heads("web", sshd.access())).branches == {"main": second}
        await cache.fetch("web", sshd.access(), first, "main")
        assert await cache.read("web", first, "file") == b"1"
        assert await cache.fetch_ref("web", sshd.access(), "refs/pull/7/head", "7") == first
        assert (await failure(cache.fetch_ref("web", sshd.access(), "refs/pull/8/head", "8"))).code == "branch_deleted"
        assert (await failure(cache.fetch("web", sshd.access(), "1" * 40, "main"))).code == "unknown_commit"

    async def test_any_pinned_key_will_do(self, sshd: Sshd, cache: Git, source: Source, tmp_path: Path) -> None:
        source.commit()
        other = new_host_key(tmp_path, "rsa")
        assert (await cache.heads("web", sshd.access(host_keys=(other, sshd.host_key)))).branches

    async def test_a_repository_that_is_not_there(self, sshd: Sshd, cache: Git) -> None:
        failed = await failure(cache.heads("web", sshd.access(url=f"{sshd.url}x")))
        assert failed.code == "repository_unreachable"
        assert "no such repository" in str(failed.facts["detail"])

    async def test_it_is_held_to_the_address_that_was_checked(
        self, sshd: Sshd, source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The name leads nowhere on this machine: what was found once is where the connection goes, and the server is
        known by its name all the same."""

        async def answer(*_: object, **__: object) -> object:
            return [(socket.AF_INET, 1, 6, "", ("127.0.0.1", sshd.port))]

        commit = source.commit()
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", answer)
        url = sshd.url.replace("127.0.0.1", "git.example.invalid")
        assert "private address" in str((await failure(Git(tmp_path).heads("web", sshd.access(url=url)))).facts)
        monkeypatch.setattr(git_program, "is_public", lambda _: True)
        assert (await Git(tmp_path).heads("web", sshd.access(url=url))).branches == {"main": commit}


class TestRefused:
    async def test_a_key_that_the_server_does_not_know(self, sshd: Sshd, cache: Git, source: Source) -> None:
        commit = source.commit()
        other, _ = ssh.new_key()
        for doing in (
            cache.heads("web", sshd.access(key=other)),
            cache.fetch("web", sshd.access(key=other), commit, "main"),
            cache.heads("web", sshd.access(key="no key at all")),
        ):
            failed = await failure(doing)
            assert failed.code == "repository_denied"
            assert "does not accept the deploy key" in str(failed.facts["detail"])
            assert not [line for line in body(other) if line in f"{failed}"]

    @pytest.mark.parametrize("kind", ["ed25519", "ecdsa"])
    async def test_a_server_with_another_key(
        self, sshd: Sshd, cache: Git, source: Source, tmp_path: Path, kind: str
    ) -> None:
        commit = source.commit()
        pinned = new_host_key(tmp_path, kind)
        access = sshd.access(host_keys=(pinned,))
        for doing in (cache.heads("web", access), cache.fetch("web", access, commit, "main")):
            failed = await failure(doing)
            assert failed.code == "host_key_changed"
            assert failed.facts["pinned"] == [ssh.read_host_key(pinned).fingerprint]
        if kind == "ed25519":
            assert failed.facts["seen"] == ssh.read_host_key(sshd.host_key).fingerprint
        words = told(failed.code, **failed.facts)
        assert ssh.read_host_key(pinned).fingerprint in words.message
        assert "godploy repositories host-key NAME" in words.next_step
        assert "Accepted publickey" not in sshd.log

    async def test_a_server_of_which_nothing_is_pinned(self, sshd: Sshd, cache: Git) -> None:
        failed = await failure(cache.heads("web", sshd.access(host_keys=())))
        assert (failed.code, failed.facts["pinned"]) == ("host_key_changed", [])
        assert "Accepted publickey" not in sshd.log

    @pytest.mark.parametrize("line", ["ssh-ed25519", "ssh-ed25519 AAAA\n* ssh-rsa AAAA", "@cert-authority * x", ""])
    async def test_what_is_no_host_key_is_not_pinned(self, sshd: Sshd, cache: Git, line: str) -> None:
        with pytest.raises(Invalid, match="not the public key"):
            await cache.heads("web", sshd.access(host_keys=(line,)))

    async def test_ssh_without_a_key(self, sshd: Sshd, cache: Git) -> None:
        with pytest.raises(Invalid, match="needs a key"):
            await cache.heads("web", sshd.access(key=""))

    async def test_without_the_program_it_says_what_to_install(
        self, sshd: Sshd, cache: Git, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PATH", str(bare_path(tmp_path, "git", "prlimit")))
        failed = await failure(cache.heads("web", sshd.access()))
        assert failed.code == "repository_unreachable"
        assert "openssh-client" in str(failed.facts["detail"])


def bare_path(folder: Path, *programs: str) -> Path:
    """A folder with these programs alone."""
    path = folder / "bin"
    path.mkdir()
    for name in programs:
        found = shutil.which(name)
        assert found is not None
        (path / name).symlink_to(found)
    return path


class TestNothingElse:
    """Neither the machine's nor a user's configuration, agent or files."""

    async def test_no_agent_is_asked(self, sshd: Sshd, cache: Git, source: Source, tmp_path: Path) -> None:
        source.commit()
        agent = tmp_path / "agent"
        with subprocess.Popen(["ssh-agent", "-D", "-a", str(agent)], stdout=subprocess.DEVNULL) as running:
            try:
                await until(agent.exists)
                key = tmp_path / "key"
                key.write_text(sshd.key)
                key.chmod(0o600)
                env = {**os.environ, "SSH_AUTH_SOCK": str(agent)}
                subprocess.run(["ssh-add", "-q", str(key)], env=env, check=True)
                other, _ = ssh.new_key()
                failed = await self.listed(sshd, cache, sshd.access(key=other), SSH_AUTH_SOCK=str(agent))
                assert b"Permission denied" in failed.stderr
                plain = await self.listed(sshd, cache, sshd.access(), SSH_AUTH_SOCK=str(agent))
                assert plain.code == 0
            finally:
                running.terminate()

    async def listed(self, sshd: Sshd, cache: Git, access: Access, **env: str) -> process.Result:
        """As `heads` asks, in an environment that holds more."""
        await failure(cache.heads("web", sshd.access(host_keys=())))  # writes the program
        remote = parse(access.url, [sshd.base], ssh=True)
        way = await git_reach.reach(remote, access, cache.directory("web").with_name("git-ssh"))
        return await call(way.taken(command(cache.directory("web"), "ls-remote", "--", remote.url, env=env)))

    async def test_only_our_configuration_is_read(self, sshd: Sshd, cache: Git) -> None:
        await failure(cache.heads("web", sshd.access(host_keys=())))
        program = cache.directory("web").with_name("git-ssh")
        way = await git_reach.reach(parse(sshd.url, [sshd.base], ssh=True), sshd.access(), program)
        asked = process.Command((str(program), "-v", "-o", "LogLevel=DEBUG1", "-G", "127.0.0.1"))
        said = await process.run(way.taken(asked), timeout=10)
        read = [line for line in said.stderr.decode().splitlines() if "Reading configuration data" in line]
        assert len(read) == 1
        assert "godploy-secrets-" in read[0]
        options = dict(line.split(" ", 1) for line in said.stdout.decode().lower().splitlines() if " " in line)
        assert {name: options[name] for name in _HELD} == _HELD
        assert not {"proxycommand", "proxyjump", "localcommand", "remotecommand", "knownhostscommand"} & options.keys()
        assert "/dev/shm/godploy-secrets-" in options["identityfile"]
        assert "/dev/shm/godploy-secrets-" in options["userknownhostsfile"]

    async def test_no_shell_is_given_anything(
        self, sshd: Sshd, cache: Git, source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Git's own variables that name a command go nowhere, even where the process has them."""
        source.commit()
        canary = tmp_path / "canary"
        monkeypatch.setenv("GIT_SSH_COMMAND", f"touch {canary};")
        monkeypatch.setenv("GIT_PROXY_COMMAND", f"touch {canary}")
        assert (await cache.heads("web", sshd.access())).branches
        assert not canary.exists()


_HELD = {
    "batchmode": "yes",
    "identitiesonly": "yes",
    "identityagent": "none",
    "stricthostkeychecking": "true",
    "globalknownhostsfile": "/dev/null",
    "updatehostkeys": "false",
    "checkhostip": "no",
    "verifyhostkeydns": "false",
    "forwardagent": "no",
    "forwardx11": "no",
    "clearallforwardings": "yes",
    "permitlocalcommand": "no",
    "passwordauthentication": "no",
    "kbdinteractiveauthentication": "no",
    "gssapiauthentication": "no",
    "controlmaster": "false",
    "canonicalizehostname": "false",
    "requesttty": "false",
    "hostkeyalias": "127.0.0.1",
}


class TestSecrecy:
    @pytest.fixture
    async def silent(self) -> AsyncIterator[tuple[int, asyncio.Event]]:
        """A server that takes connections and says nothing."""
        connected = asyncio.Event()

        async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connected.set()
            await reader.read()
            writer.close()

        listening = await asyncio.start_server(hold, "127.0.0.1", 0)
        async with listening:
            yield listening.sockets[0].getsockname()[1], connected

    async def test_the_key_is_in_memory_for_the_call_and_nowhere_else(
        self, silent: tuple[int, asyncio.Event], tmp_path: Path
    ) -> None:
        port, connected = silent
        key, _ = ssh.new_key()
        base = f"ssh://127.0.0.1:{port}"
        pinned = new_host_key(tmp_path)
        (tmp_path / "host_key").unlink()
        cache = Git(tmp_path / "cache", [base])
        access = Access(f"{base}/x", key=key, host_keys=(pinned,))
        fetching = asyncio.create_task(cache.fetch("web", access, "1" * 40, "main"))
        async with asyncio.timeout(10):
            await connected.wait()
        (folder,) = _secret_folders()
        arguments = await asyncio.to_thread(_arguments)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {
            "config": 0o600, "key": 0o600, "known_hosts": 0o600,
        }  # fmt: skip
        assert [line for line in arguments if str(folder).encode() in line]  # it was looked at while ssh ran
        assert not [line for line in body(key) if line.encode() in b"".join(arguments)]
        assert not await asyncio.to_thread(lambda: [*found_in_files(tmp_path, body(key))])
        fetching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await fetching
        assert _secret_folders() == []
        assert not [line for line in await asyncio.to_thread(_arguments) if str(folder).encode() in line]
        assert not await asyncio.to_thread(lambda: [*found_in_files(tmp_path, body(key))])

    async def test_a_silent_server_is_given_up(self, silent: tuple[int, asyncio.Event], tmp_path: Path) -> None:
        base = f"ssh://127.0.0.1:{silent[0]}"
        key, _ = ssh.new_key()
        failed = await failure(Git(tmp_path, [base]).heads("web", Access(f"{base}/x", key=key), timeout=0.5))
        assert failed.code == "repository_unreachable"
        assert "0.5 s" in str(failed.facts["detail"])

    async def test_it_is_in_no_repr(self, sshd: Sshd, tmp_path: Path) -> None:
        way = await git_reach.reach(parse(sshd.url, [sshd.base], ssh=True), sshd.access(), tmp_path)
        shown = repr(way) + repr(way.access)
        assert sshd.url in shown
        assert not [line for line in body(sshd.key) if line in shown]


def _arguments() -> list[bytes]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes())
        except OSError:  # it has ended meanwhile
            continue
    return found


async def test_the_program_costs_no_time_worth_telling(sshd: Sshd, cache: Git) -> None:
    """It is started by this interpreter, without the modules that make a start slow."""
    await failure(cache.heads("web", sshd.access(host_keys=())))
    first = cache.directory("web").with_name("git-ssh").read_text().splitlines()[0]
    assert first == f"#!{sys.executable} -IS"
