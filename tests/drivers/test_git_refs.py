"""Heads of pull requests, what differs between two commits, and whole messages."""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
from pathlib import Path

import pytest

from godploy.core.access import Access
from godploy.drivers import git_objects
from godploy.drivers.git import Git
from godploy.drivers.git_program import GitError

from .conftest import Source


@pytest.fixture
def cache(git_daemon: str, tmp_path: Path) -> Git:
    return Git(tmp_path / "cache", [git_daemon])


@pytest.fixture
def access(git_daemon: str) -> Access:
    return Access(f"{git_daemon}/source")


async def failure(doing: object) -> GitError:
    with pytest.raises(GitError) as failed:
        await doing  # type: ignore[misc]
    return failed.value


class TestRefs:
    @pytest.mark.parametrize("ref", ["refs/pull/7/head", "refs/merge-requests/7/head", "refs/heads/main"])
    async def test_the_head_of_a_ref_is_kept(self, cache: Git, access: Access, source: Source, ref: str) -> None:
        commit = source.commit("first", file="1")
        source.git("update-ref", ref, commit)
        assert await cache.fetch_ref("web", access, ref, "7") == commit
        kept = subprocess.run(
            ["git", "-C", str(cache.directory("web")), "for-each-ref", "--format=%(refname) %(objectname)"],
            check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip
        assert kept == f"refs/godploy/pulls/7 {commit}\n"
        assert await cache.read("web", commit, "file") == b"1"

    async def test_a_forced_push_takes_its_place(self, cache: Git, access: Access, source: Source) -> None:
        source.commit("base")
        for message in ("one", "other"):
            source.git("commit", "--quiet", "--allow-empty", "--amend", "--message", message)
            source.git("update-ref", "refs/pull/7/head", source.head())
            assert await cache.fetch_ref("web", access, "refs/pull/7/head", "7") == source.head()

    async def test_a_ref_that_is_gone(self, cache: Git, access: Access, source: Source) -> None:
        source.commit()
        failed = await failure(cache.fetch_ref("web", access, "refs/pull/8/head", "8"))
        assert (failed.code, failed.facts) == ("branch_deleted", {"branch": "refs/pull/8/head"})

    async def test_a_tag_leads_to_its_commit_and_what_is_none_is_not_kept(
        self, cache: Git, access: Access, source: Source
    ) -> None:
        commit = source.commit()
        source.git("tag", "-a", "v1", "-m", "one")
        source.git("update-ref", "refs/pull/7/head", source.git("rev-parse", "refs/tags/v1"))
        assert await cache.fetch_ref("web", access, "refs/pull/7/head", "7") == commit
        source.git("update-ref", "refs/pull/8/head", source.blob(b"no commit"))
        assert (await failure(cache.fetch_ref("web", access, "refs/pull/8/head", "8"))).code == "unknown_commit"
        assert (await failure(cache.fetch_ref("web", None, "refs/godploy/pulls/8", "9"))).code == "branch_deleted"

    async def test_too_large(self, git_daemon: str, access: Access, source: Source, tmp_path: Path) -> None:
        (source.folder / "noise").write_bytes(os.urandom(3_000_000))
        source.commit()
        small = Git(tmp_path / "small", [git_daemon], max_pack=1024 * 1024)
        assert (await failure(small.fetch_ref("web", access, "refs/heads/main", "1"))).code == "repository_too_large"

    async def test_of_our_own_remote(self, tmp_path: Path, source: Source) -> None:
        commit = source.commit()
        own = Git(tmp_path / "own")
        await own.create("web")
        await asyncio.to_thread(source.git, "push", "--quiet", str(own.directory("web")), "main")
        assert await own.fetch_ref("web", None, "refs/heads/main", "7") == commit
        assert (await failure(own.fetch_ref("web", None, "refs/heads/gone", "7"))).code == "branch_deleted"

    @pytest.mark.parametrize(
        "ref", ["main", "refs/", "-x", "--upload-pack=id", "refs/heads/a b", "refs/a:b", "refs/a\n"]
    )
    async def test_a_ref_is_a_ref(self, cache: Git, access: Access, ref: str) -> None:
        with pytest.raises(ValueError, match="not the full name of a ref"):
            await cache.fetch_ref("web", access, ref, "7")

    @pytest.mark.parametrize("kept_as", ["", "x", "../7", "7\n", "-7", "²"])
    async def test_it_is_kept_by_a_number(self, cache: Git, access: Access, kept_as: str) -> None:
        with pytest.raises(ValueError, match="not a number"):
            await cache.fetch_ref("web", access, "refs/heads/main", kept_as)


class TestChanged:
    async def own(self, source: Source, tmp_path: Path, *refs: str) -> Git:
        own = Git(tmp_path / "own")
        await own.create("web")
        await asyncio.to_thread(source.git, "push", "--quiet", str(own.directory("web")), *(refs or ("main",)))
        return own

    async def test_files_by_all_their_names(self, source: Source, tmp_path: Path) -> None:
        old = source.commit(same="1", changed="1", removed="1", renamed__from="a long text that is the same " * 9)
        (source.folder / "removed").unlink()
        (source.folder / "renamed" / "from").rename(source.folder / "renamed" / "to\t\n")
        new = source.commit(changed="2", deep__down__added="1")
        own = await self.own(source, tmp_path)
        paths, whole = await own.changed("web", old, new)
        assert sorted(paths) == ["changed", "deep/down/added", "removed", "renamed/from", "renamed/to\t\n"]
        assert whole
        assert await own.changed("web", new, new) == ([], True)

    async def test_they_are_bounded(self, source: Source, tmp_path: Path) -> None:
        old = source.commit()
        new = source.commit(**{f"f{number}": "" for number in range(5)})
        own = await self.own(source, tmp_path)
        assert await own.changed("web", old, new, limit=5) == ([f"f{number}" for number in range(5)], True)
        assert await own.changed("web", old, new, limit=4) == ([f"f{number}" for number in range(4)], False)

    async def bomb(self, source: Source, tmp_path: Path, leaf: str) -> tuple[Git, str, str]:
        """A repository with a commit, and another with 10^10 folders, in each of which is the leaf."""
        old = source.commit()
        tree = source.git("mktree", stdin=leaf.encode())
        for _ in range(10):
            tree = source.git("mktree", stdin="".join(f"040000 tree {tree}\t{n}\n" for n in range(10)).encode())
        new = source.git("commit-tree", tree, "-m", "bomb")
        return await self.own(source, tmp_path, "main", f"{new}:refs/heads/bomb"), old, new

    async def test_more_files_than_memory_are_cut_off(
        self, source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Git collects them all before it says one."""
        monkeypatch.setattr(git_objects, "_COMPARING_MEMORY", 32 * 1024 * 1024)
        own, old, new = await self.bomb(source, tmp_path, f"100644 blob {source.blob(b'boom')}\tf\n")
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        assert await own.changed("web", old, new) == ([], False)
        assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss <= max(before, 64 * 1024)  # KiB

    async def test_folders_without_files_are_cut_off(
        self, source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Git says nothing of them, and walks on; the test's own time limit is the proof."""
        monkeypatch.setattr(git_objects, "_COMPARING", 0.5)
        own, old, new = await self.bomb(source, tmp_path, "")
        assert await own.changed("web", old, new) == ([], False)

    async def test_a_commit_that_is_not_here(self, source: Source, tmp_path: Path) -> None:
        commit = source.commit()
        own = await self.own(source, tmp_path)
        assert (await failure(own.changed("web", "1" * 40, commit))).code == "git_failed"
        with pytest.raises(ValueError, match="full name"):
            await own.changed("web", "--output=x", commit)

    async def test_messages(self, source: Source, tmp_path: Path) -> None:
        whole = source.commit("subject\n\nbody [skip ci]\x1b[2J\n\nend: größe")
        long = source.commit("subject\n\n" + "x" * 100_000)
        own = await self.own(source, tmp_path)
        assert await own.message("web", whole) == "subject\n\nbody [skip ci][2J\n\nend: größe"
        assert len(await own.message("web", long)) == 64 * 1024
        assert (await failure(own.message("web", "1" * 40))).code == "unknown_commit"
