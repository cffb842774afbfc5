"""Repositories, friendly and hostile, read by the real git."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from godploy.core.access import Access
from godploy.core.remote import parse
from godploy.drivers import git_reach
from godploy.drivers.git import Git
from godploy.drivers.git_objects import FileTooLarge, NotARegularFile, TreeTooLarge
from godploy.drivers.git_program import GitError
from godploy.errors import Invalid

from .conftest import Source

NOWHERE = "1" * 40


@pytest.fixture
def own(tmp_path: Path) -> Git:
    return Git(tmp_path / "repositories")


async def pushed(own: Git, source: Source, *refs: str) -> None:
    """As after a push to our own remote; without refs, everything."""
    await own.create("web")
    await asyncio.to_thread(source.git, "push", "--quiet", str(own.directory("web")), *(refs or ("--all",)))


async def failure(doing: object) -> GitError:
    with pytest.raises(GitError) as failed:
        await doing  # type: ignore[misc]
    return failed.value


class TestOwnRemote:
    async def test_an_empty_one_has_no_heads(self, own: Git) -> None:
        await own.create("web")
        await own.create("web")
        heads = await own.heads("web", None)
        assert (heads.default, heads.branches, heads.tags) == (None, {}, {})

    async def test_heads(self, own: Git, source: Source) -> None:
        first = source.commit()
        source.git("tag", "light")
        source.git("tag", "-a", "v1", "-m", "one")
        source.git("branch", "develop")
        second = source.commit("second")
        await pushed(own, source, "main", "develop", "--tags")
        heads = await own.heads("web", None)
        assert heads.default == "main"
        assert heads.branches == {"main": second, "develop": first}
        assert heads.tags == {"light": first, "v1": first}
        await own.set_head("web", "develop")
        assert (await own.heads("web", None)).default == "develop"

    async def test_a_fetched_commit_survives_a_forced_push(self, own: Git, source: Source) -> None:
        lost = source.commit("lost", file="lost")
        await pushed(own, source)
        await own.fetch("web", None, lost, None)
        source.git("commit", "--quiet", "--amend", "--message", "forced")
        await pushed(own, source, "+main")
        directory = str(own.directory("web"))
        subprocess.run(["git", "-C", directory, "gc", "--quiet", "--prune=now"], check=True)
        assert await own.read("web", lost, "file") == b"lost"
        await own.let_go("web", lost)
        await own.let_go("web", lost)
        subprocess.run(["git", "-C", directory, "gc", "--quiet", "--prune=now"], check=True)
        assert (await failure(own.fetch("web", None, lost, None))).code == "unknown_commit"

    async def test_tidying_keeps_what_is_needed(self, own: Git, source: Source) -> None:
        commit = source.commit(file="kept")
        await pushed(own, source)
        await own.tidy("web")
        assert await own.read("web", commit, "file") == b"kept"

    async def test_removing(self, own: Git) -> None:
        await own.create("web")
        await own.remove("web")
        await own.remove("web")
        assert not own.directory("web").exists()

    async def test_served_it_hides_what_it_keeps_and_checks_what_comes(self, own: Git, source: Source) -> None:
        commit = source.commit()
        await pushed(own, source)
        await own.keep("web", commit)
        env = {"PATH": "/usr/bin:/bin", **own.serving(Path("/nowhere"))}
        shown = subprocess.run(
            ["git", "upload-pack", "--advertise-refs", str(own.directory("web"))],
            env=env, check=True, capture_output=True,
        ).stdout  # fmt: skip
        assert b"refs/heads/main" in shown
        assert b"refs/godploy" not in shown
        asked = ("receive.fsckObjects", "core.hooksPath", "http.receivepack", "receive.maxInputSize")
        for key, value in zip(asked, ("true", "/nowhere", "true", str(2 * 1024**3)), strict=True):
            got = subprocess.run(["git", "config", key], env=env, check=True, capture_output=True, text=True)
            assert got.stdout.strip() == value


class TestForeign:
    async def test_heads(self, own: Git, source: Source, git_daemon: str, tmp_path: Path) -> None:
        first = source.commit()
        source.git("tag", "-a", "v1", "-m", "one")
        source.git("switch", "--quiet", "-c", "develop")
        second = source.commit()
        source.git("switch", "--quiet", "main")
        heads = await Git(tmp_path, [git_daemon]).heads("web", Access(f"{git_daemon}/source"))
        assert (heads.default, heads.branches) == ("main", {"main": first, "develop": second})
        assert heads.tags == {"v1": first}

    async def test_fetch_by_commit_brings_its_history_alone(
        self, source: Source, git_daemon: str, tmp_path: Path
    ) -> None:
        first = source.commit("first", file="1")
        second = source.commit("second", file="2")
        third = source.commit("third", file="3")
        cache = Git(tmp_path / "cache", [git_daemon])
        await cache.fetch("web", Access(f"{git_daemon}/source"), second, None)
        assert await cache.read("web", second, "file") == b"2"
        assert (await cache.commit("web", first)).subject == "first"
        assert (await failure(cache.commit("web", third))).code == "unknown_commit"
        assert (await cache.heads("web", None)).branches == {}

    async def test_what_is_here_is_not_fetched_again(self, source: Source, git_daemon: str, tmp_path: Path) -> None:
        commit = source.commit(file="1")
        url = f"{git_daemon}/source"
        cache = Git(tmp_path / "cache", [git_daemon])
        await asyncio.gather(*(cache.fetch("web", Access(url), commit, "main") for _ in range(4)))
        source.folder.rename(source.folder.with_name("gone"))
        await cache.fetch("web", Access(url), commit, "main")

    @pytest.mark.parametrize("kind", ["old", "dumb"])
    async def test_servers_that_give_no_commit_by_its_name_are_asked_for_the_branch(
        self, source: Source, old_server: str, dumb_server: str, tmp_path: Path, kind: str
    ) -> None:
        first = source.commit(file="1")
        second = source.commit(file="2")
        source.git("update-server-info")
        base = old_server if kind == "old" else dumb_server
        url = f"{base}/source/.git"
        cache = Git(tmp_path / "cache", [base])
        await cache.fetch("web", Access(url), first, "main")
        assert await cache.read("web", first, "file") == b"1"
        assert (await failure(cache.fetch("web", Access(url), NOWHERE, "main"))).code == "unknown_commit"
        assert (await failure(cache.fetch("web", Access(url), NOWHERE, None))).code == "unknown_commit"
        gone = await failure(cache.fetch("other", Access(url), NOWHERE, "gone"))
        assert (gone.code, gone.facts) == ("branch_deleted", {"branch": "gone"})
        assert (await cache.heads("web", Access(url))).branches == {"main": second}

    async def test_unknown_commit_and_deleted_branch(self, source: Source, git_daemon: str, tmp_path: Path) -> None:
        source.commit()
        cache = Git(tmp_path / "cache", [git_daemon])
        url = f"{git_daemon}/source"
        assert (await failure(cache.fetch("web", Access(url), NOWHERE, "main"))).code == "unknown_commit"
        assert (await failure(cache.fetch("web", Access(url), NOWHERE, "gone"))).code == "branch_deleted"

    async def test_what_is_no_commit_is_not_taken_for_one(
        self, source: Source, git_daemon: str, tmp_path: Path
    ) -> None:
        source.commit()
        source.git("tag", "-a", "v1", "-m", "one")
        tag = source.git("rev-parse", "refs/tags/v1")
        cache = Git(tmp_path / "cache", [git_daemon])
        assert (await failure(cache.fetch("web", Access(f"{git_daemon}/source"), tag, None))).code == "unknown_commit"

    async def test_unreachable(self, own: Git, tmp_path: Path, free_port: int, git_daemon: str) -> None:
        base = f"http://127.0.0.1:{free_port}"
        cache = Git(tmp_path / "cache", [base, git_daemon])
        for url in (f"{base}/web.git", f"{git_daemon}/nothing"):
            for doing in (cache.heads("web", Access(url)), cache.fetch("web", Access(url), NOWHERE, "main")):
                failed = await failure(doing)
                assert failed.code == "repository_unreachable"
                assert failed.facts["url"] == url
                assert failed.facts["detail"]

    async def test_a_silent_server_is_given_up(self, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            base = f"git://127.0.0.1:{listener.getsockname()[1]}"
            cache = Git(tmp_path / "cache", [base])
            began = time.monotonic()
            failed = await failure(cache.fetch("web", Access(f"{base}/x.git"), NOWHERE, None, timeout=0.3))
        assert failed.code == "repository_unreachable"
        assert "0.3 s" in str(failed.facts["detail"])
        assert time.monotonic() - began < 5

    async def test_too_large(self, source: Source, git_daemon: str, tmp_path: Path) -> None:
        (source.folder / "noise").write_bytes(os.urandom(3_000_000))
        commit = source.commit()
        cache = Git(tmp_path / "cache", [git_daemon], max_pack=1024 * 1024)
        failed = await failure(cache.fetch("web", Access(f"{git_daemon}/source"), commit, "main"))
        assert (failed.code, failed.facts["limit"]) == ("repository_too_large", "1 MiB")

    async def test_a_redirect_is_not_followed(self, tmp_path: Path) -> None:
        asked: list[bytes] = []

        async def redirect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            asked.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(b"HTTP/1.1 301 Moved\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(redirect, "127.0.0.1", 0)
        async with server:
            base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            failed = await failure(Git(tmp_path, [base]).heads("web", Access(f"{base}/web.git")))
        assert "redirects" in str(failed.facts["detail"])
        assert len(asked) == 1

    async def test_one_that_wants_a_password_says_so(self, tmp_path: Path) -> None:
        async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b'HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm="x"\r\nContent-Length: 0\r\n\r\n')
            await writer.drain()

        server = await asyncio.start_server(refuse, "127.0.0.1", 0)
        async with server:
            base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            failed = await failure(Git(tmp_path, [base]).heads("web", Access(f"{base}/web.git")))
        assert failed.code == "repository_denied"
        assert "asks for a login" in str(failed.facts["detail"])

    @pytest.mark.parametrize(
        "url", ["ext::sh -c id", "file:///etc", "-u", "/etc", "http://127.0.0.1/x", "git://127.0.0.1/x"]
    )
    async def test_other_addresses_never_reach_git(self, own: Git, url: str) -> None:
        with pytest.raises(Invalid):
            await own.heads("web", Access(url))
        with pytest.raises(Invalid):
            await own.fetch("web", Access(url), NOWHERE, "main")

    async def test_a_name_that_leads_inside_is_refused_at_each_use(self, own: Git) -> None:
        failed = await failure(own.heads("web", Access("https://localhost/web.git")))
        assert failed.code == "repository_unreachable"
        assert "private address" in str(failed.facts["detail"])
        assert (await failure(own.fetch("web", Access("https://localhost/web.git"), NOWHERE, None))).code == failed.code

    async def test_git_is_held_to_the_addresses_that_were_checked(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        found = [(socket.AF_INET, 1, 6, "", (address, 443)) for address in ("93.184.216.34", "2606:4700::1111")]

        async def answer(*_: object, **__: object) -> object:
            return found

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", answer)
        remote = parse("https://git.example.com/web.git")
        env = (await git_reach.reach(remote, Access(remote.url), tmp_path)).env
        pairs = {env[f"GIT_CONFIG_KEY_{n}"]: env[f"GIT_CONFIG_VALUE_{n}"] for n in range(int(env["GIT_CONFIG_COUNT"]))}
        assert pairs["http.curloptResolve"] == "git.example.com:443:93.184.216.34,[2606:4700::1111]"
        assert env["GIT_ALLOW_PROTOCOL"] == "https"
        found.append((socket.AF_INET, 1, 6, "", ("10.0.0.1", 443)))
        assert "10.0.0.1" in str((await failure(git_reach.reach(remote, Access(remote.url), tmp_path))).facts)


class TestNames:
    @pytest.mark.parametrize("repository", ["", "../x", "a/b", "-x", "A", "a\n", "a" * 65])
    async def test_an_id_cannot_leave_the_folder(self, own: Git, repository: str) -> None:
        with pytest.raises(ValueError, match="not the id"):
            await own.create(repository)

    @pytest.mark.parametrize("commit", ["", "main", "--output=x", "HEAD", "a" * 39, "a" * 40 + "\n", "A" * 40])
    async def test_a_commit_is_a_full_name(self, own: Git, commit: str) -> None:
        await own.create("web")
        for doing in (
            own.read("web", commit, "x"),
            own.tree("web", commit),
            own.commit("web", commit),
            own.fetch("web", None, commit, None),
            own.keep("web", commit),
        ):
            with pytest.raises(ValueError, match="not the full name"):
                await doing

    @pytest.mark.parametrize("branch", ["-x", "--upload-pack=id", "a..b", "a b", "x:y", "a\n"])
    async def test_a_branch_is_a_branch(self, own: Git, branch: str) -> None:
        with pytest.raises(ValueError, match="not the name of a branch"):
            await own.fetch("web", None, NOWHERE, branch)
        with pytest.raises(ValueError, match="not the name of a branch"):
            await own.set_head("web", branch)


class TestObjects:
    async def test_commit(self, own: Git, source: Source) -> None:
        commit = source.commit("Größe \x1b[31mred\n\nbody")
        await pushed(own, source)
        info = await own.commit("web", commit)
        assert (info.subject, info.author, info.email, info.time) == (
            "Größe [31mred", "Ada", "ada@example.com", 1700000000,
        )  # fmt: skip
        assert info.tree == source.git("rev-parse", "HEAD^{tree}")
        assert (await failure(own.commit("web", NOWHERE))).code == "unknown_commit"

    async def test_tree(self, own: Git, source: Source) -> None:
        (source.folder / "link").symlink_to("/etc/passwd")
        (source.folder / "run.sh").write_text("#!/bin/sh\n")
        (source.folder / "run.sh").chmod(0o755)
        (source.folder / "a\tb\n").write_text("odd")
        commit = source.commit(src__app_dot_py="print()\n")
        await pushed(own, source)
        entries = {entry.path: entry for entry in await own.tree("web", commit)}
        assert {path: (entry.mode, entry.kind, entry.size) for path, entry in entries.items()} == {
            "link": ("120000", "blob", 11),
            "run.sh": ("100755", "blob", 10),
            "a\tb\n": ("100644", "blob", 3),
            "src": ("040000", "tree", 0),
            "src/app.py": ("100644", "blob", 8),
        }
        assert entries["link"].is_symlink
        assert entries["src"].id == source.git("rev-parse", "HEAD:src")

    async def test_the_tree_has_limits(self, own: Git, source: Source) -> None:
        commit = source.commit(a="12345", b="12345", c="12345")
        await pushed(own, source)
        assert len(await own.tree("web", commit, max_entries=3, max_bytes=15)) == 3
        with pytest.raises(TreeTooLarge) as found:
            await own.tree("web", commit, max_entries=2)
        assert (found.value.found, found.value.unit, found.value.limit) == (3, "entries", 2)
        with pytest.raises(TreeTooLarge) as found:
            await own.tree("web", commit, max_bytes=14)
        assert found.value.unit == "bytes"

    async def test_a_tree_bomb_is_cut_off_at_once(self, own: Git, source: Source) -> None:
        tree = source.git("mktree", stdin=f"100644 blob {source.blob(b'boom')}\tf\n".encode())
        for _ in range(10):  # 10^10 files
            tree = source.git("mktree", stdin="".join(f"040000 tree {tree}\t{n}\n" for n in range(10)).encode())
        commit = source.git("commit-tree", tree, "-m", "bomb")
        await pushed(own, source, f"{commit}:refs/heads/main")
        began = time.monotonic()
        with pytest.raises(TreeTooLarge):
            await own.tree("web", commit)
        assert time.monotonic() - began < 5
        assert await own.read("web", commit, "0/0/0/0/0/0/0/0/0/0/f") == b"boom"

    async def test_read(self, own: Git, source: Source) -> None:
        commit = source.commit(godploy_dot_yaml="version: 1\n", sub__deep__file="x", empty="")
        await pushed(own, source)
        paths = ["godploy.yaml", "sub/deep/file", "empty"]
        nothing = ["missing", "sub/missing", "godploy.yaml/x", "sub/deep/file/x"]
        assert await own.read_all("web", commit, [*paths, *nothing]) == {
            "godploy.yaml": b"version: 1\n",
            "sub/deep/file": b"x",
            "empty": b"",
            **dict.fromkeys(nothing),
        }

    async def test_read_has_a_limit(self, own: Git, source: Source) -> None:
        commit = source.commit(big="x" * 11)
        await pushed(own, source)
        with pytest.raises(FileTooLarge) as found:
            await own.read("web", commit, "big", limit=10)
        assert (found.value.path, found.value.size, found.value.limit) == ("big", 11, 10)
        assert await own.read("web", commit, "big", limit=11) == b"x" * 11

    async def test_no_link_is_followed(self, own: Git, source: Source) -> None:
        (source.folder / "real").mkdir()
        (source.folder / "real" / "file").write_text("x")
        (source.folder / "godploy.yaml").symlink_to("/etc/passwd")
        (source.folder / "inner.yaml").symlink_to("real/file")
        (source.folder / "folder").symlink_to("real")
        commit = source.commit()
        module = source.commit_tree(f"160000 commit {commit}\tmodule\0".encode())
        await pushed(own, source, "main", f"{module}:refs/heads/module")
        for path, part, what in (
            ("godploy.yaml", "godploy.yaml", "a symbolic link"),
            ("inner.yaml", "inner.yaml", "a symbolic link"),
            ("folder/file", "folder", "a symbolic link"),
            ("real", "real", "a folder"),
        ):
            with pytest.raises(NotARegularFile) as found:
                await own.read("web", commit, path)
            assert (found.value.path, found.value.found) == (part, what)
        for path in ("module", "module/file"):
            with pytest.raises(NotARegularFile, match="module is a submodule"):
                await own.read("web", module, path)

    @pytest.mark.parametrize("path", ["", "/etc/passwd", "../x", "a/../b", "./a", "a//b", "a/", "a\0b"])
    async def test_a_path_is_plain(self, own: Git, source: Source, path: str) -> None:
        commit = source.commit()
        await pushed(own, source)
        with pytest.raises(ValueError, match="not a path"):
            await own.read("web", commit, path)

    async def test_a_replaced_object_is_not_read(self, own: Git, source: Source) -> None:
        commit = source.commit(file="true")
        old = source.blob(b"true")
        source.git("replace", old, source.blob(b"fake"))
        await pushed(own, source, "main", "refs/replace/*:refs/replace/*")
        assert await own.read("web", commit, "file") == b"true"


class TestExport:
    async def export(self, own: Git, commit: str, destination: Path, folder: str = "", *exclude: str) -> dict[str, str]:
        await own.export("web", commit, folder, destination, exclude)
        return {
            str(path.relative_to(destination)): path.read_text()
            for path in destination.rglob("*")
            if path.is_file() and not path.is_symlink()
        }

    async def test_a_folder_without_what_is_left_out(self, own: Git, source: Source, tmp_path: Path) -> None:
        commit = source.commit(
            godploy_dot_yaml="m", Dockerfile="FROM x", app__a="1", app__sub__b="2", app__godploy_dot_yaml="n"
        )
        await pushed(own, source)
        assert await self.export(own, commit, tmp_path / "all", "", "godploy.yaml", "not/there") == {
            "Dockerfile": "FROM x", "app/a": "1", "app/sub/b": "2", "app/godploy.yaml": "n",
        }  # fmt: skip
        assert await self.export(own, commit, tmp_path / "app", "app", "godploy.yaml", "app/godploy.yaml") == {
            "a": "1", "sub/b": "2",
        }  # fmt: skip
        assert sorted(path.name for path in tmp_path.iterdir()) == ["all", "app", "repositories", "source"]

    async def test_modes_and_links_are_kept_as_they_are(self, own: Git, source: Source, tmp_path: Path) -> None:
        (source.folder / "link").symlink_to("/etc/passwd")
        (source.folder / "run.sh").write_text("x")
        (source.folder / "run.sh").chmod(0o755)
        commit = source.commit()
        await pushed(own, source)
        await self.export(own, commit, tmp_path / "out")
        assert (tmp_path / "out" / "link").readlink() == Path("/etc/passwd")
        assert (tmp_path / "out" / "run.sh").stat().st_mode & 0o777 == 0o755

    async def test_no_filter_of_the_repository_runs(self, own: Git, source: Source, tmp_path: Path) -> None:
        canary = tmp_path / "canary"
        commit = source.commit(file="plain\n", _dot_gitattributes="* filter=evil\n")
        await pushed(own, source)
        config = own.directory("web") / "config"
        assert "filter" not in config.read_text()
        assert (await self.export(own, commit, tmp_path / "out"))["file"] == "plain\n"
        assert not canary.exists()

    @pytest.mark.parametrize("name", ["../escape", ".git/hooks/post-checkout", ".GIT/config", "a/../../escape"])
    async def test_names_that_leave_or_bite_are_refused(
        self, own: Git, source: Source, tmp_path: Path, name: str
    ) -> None:
        source.commit()
        tree = source.blob(b"evil")
        mode = "100644 blob"
        for part in reversed(name.split("/")):
            raw = mode.split()[0].lstrip("0").encode() + b" " + part.encode() + b"\0" + bytes.fromhex(tree)
            tree = source.git("hash-object", "-t", "tree", "-w", "--literally", "--stdin", stdin=raw)
            mode = "040000 tree"
        commit = source.git("commit-tree", tree, "-m", "evil")
        await pushed(own, source, f"{commit}:refs/heads/main")
        assert (await failure(own.export("web", commit, "", tmp_path / "out"))).code == "git_failed"
        assert list((tmp_path / "out").iterdir()) == []
        assert not (tmp_path / "escape").exists()

    async def test_a_link_is_not_written_through(self, own: Git, source: Source, tmp_path: Path) -> None:
        """A tree with both a link `a` and a folder `a`: the file must not land where the link leads."""
        source.commit()
        outside = tmp_path / "outside"
        outside.mkdir()
        inner = source.git("mktree", stdin=f"100644 blob {source.blob(b'evil')}\tfile\n".encode())
        link = source.blob(str(outside).encode())
        raw = b"120000 a\0" + bytes.fromhex(link) + b"40000 a\0" + bytes.fromhex(inner)
        tree = source.git("hash-object", "-t", "tree", "-w", "--literally", "--stdin", stdin=raw)
        commit = source.git("commit-tree", tree, "-m", "evil")
        await pushed(own, source, f"{commit}:refs/heads/main")
        with suppress(GitError):
            await own.export("web", commit, "", tmp_path / "out")
        assert list(outside.iterdir()) == []

    async def test_an_unknown_folder(self, own: Git, source: Source, tmp_path: Path) -> None:
        commit = source.commit()
        await pushed(own, source)
        assert (await failure(own.export("web", commit, "missing", tmp_path / "out"))).code == "git_failed"


async def test_a_deployment_s_share_is_quick(source: Source, git_daemon: str, tmp_path: Path) -> None:
    """Fetch, commit, tree, two files and the export of a small change: far below the half second that we may add."""
    source.commit(**{f"file{n}": str(n) for n in range(50)})
    cache = Git(tmp_path / "cache", [git_daemon])
    url = f"{git_daemon}/source"
    await cache.fetch("web", Access(url), source.head(), "main")
    commit = source.commit(file1="changed", godploy_dot_yaml="version: 1")
    began = time.monotonic()
    await cache.fetch("web", Access(url), commit, "main")
    await cache.commit("web", commit)
    await cache.tree("web", commit)
    await cache.read_all("web", commit, ["godploy.yaml", "Dockerfile"])
    await cache.export("web", commit, "", tmp_path / "out", ["godploy.yaml"])
    took = time.monotonic() - began
    print(f"git's share: {took * 1000:.0f} ms")
    assert took < 1
