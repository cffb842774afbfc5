"""The repositories: one bare repository for each, pushed into (our own remote) or fetched into (any other).

Plain git, started anew for each question. GitPython was considered and left: it keeps `cat-file` processes open (two
per repository until closed) and is advised against for daemons by its own README.
"""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakValueDictionary

from godploy import resources
from godploy.core.access import Access
from godploy.core.remote import Remote, is_branch, is_commit, parse
from godploy.drivers import git_objects, git_ssh
from godploy.drivers.git_objects import MAX_BYTES, MAX_ENTRIES, Entry
from godploy.drivers.git_program import GitError, call, command, environment, must
from godploy.drivers.git_reach import Way, reach
from godploy.drivers.process import Result, TooMuchOutput

_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_KEPT = "refs/godploy/kept"
_FETCHED = "refs/godploy/fetched"
_PULLS = "refs/godploy/pulls"
_NUMBER = re.compile(r"[0-9]{1,18}")
_REFUSES_A_COMMIT = (
    b"not our ref",
    b"unadvertised object",
    b"couldn't find remote ref",
    b"Cannot obtain needed object",
)
_NO_SUCH_BRANCH = b"couldn't find remote ref"
_LISTING_LIMIT = "16 MiB of branches and tags"
_OVER_THE_LIMIT = (b"died of signal 25", b"File too large")  # SIGXFSZ, EFBIG


@dataclass(frozen=True, slots=True)
class Heads:
    """Where a repository's branches and tags are, those whose names `is_branch` knows. `default` is the branch that
    HEAD names, None where that has no commit yet; a tag's commit is the one that it leads to in the end."""

    default: str | None
    branches: Mapping[str, str]
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class CommitInfo:
    """A commit as text for people, and the id of its tree; `time` in seconds since 1970."""

    commit: str
    tree: str
    subject: str
    author: str
    email: str
    time: int


class Git:
    """`private` are the bases of the server's setting, `max_pack` bounds what one fetch or push brings, in bytes.

    Where a method takes an `access`, None means our own remote. Expected failures are GitErrors. A repository is named
    by its id, a commit by its full name; anything else is a ValueError.
    """

    def __init__(self, root: Path, private: Sequence[str] = (), max_pack: int = 2 * 1024**3) -> None:
        self._root = root
        self._private = tuple(private)
        self._max_pack = max_pack
        self._writing = asyncio.Lock()
        self._written = False  # git-ssh, by this process
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def directory(self, repository: str) -> Path:
        if not _ID.fullmatch(repository):
            raise ValueError(f"not the id of a repository: {repository!r}")
        return self._root / f"{repository}.git"

    async def create(self, repository: str, *, hashes: str = "") -> None:
        """Makes it, empty; fine where it exists. `hashes`: "sha1" or "sha256" rather than git's usual ones."""
        directory = self.directory(repository)
        await asyncio.to_thread(self._root.mkdir, parents=True, exist_ok=True)
        more = (f"--object-format={hashes}",) if hashes else ()
        await must(command(directory, "init", "--bare", "--quiet", "--template=", "--initial-branch=main", *more))

    async def remove(self, repository: str) -> None:
        """Removes it and all that it holds; fine where there is none."""
        async with self._lock(repository):
            await asyncio.to_thread(shutil.rmtree, self.directory(repository), ignore_errors=True)

    def serving(self, hooks: Path) -> dict[str, str]:
        """The environment in which git's `http-backend` serves these repositories; `hooks` is the folder with ours."""
        return {
            **environment(
                {
                    "core.hooksPath": str(hooks),
                    "http.receivepack": "true",
                    "receive.maxInputSize": str(self._max_pack),
                    "receive.autogc": "false",
                }
            ),
            "GIT_PROJECT_ROOT": str(self._root),
            "GIT_HTTP_EXPORT_ALL": "1",
        }

    async def heads(self, repository: str, access: Access | None, timeout: float = 30.0) -> Heads:
        """Asks the remote, or our own repository."""
        if access is None:
            return await self._own_heads(self.directory(repository))
        remote = self._remote(access)
        way = await self._reach(remote, access)
        wanted = ("HEAD", "refs/heads/*", "refs/tags/*")
        listing = command(self._root, "ls-remote", "--symref", "--", remote.url, *wanted)
        try:
            result = await call(way.taken(listing), timeout=timeout)
        except TooMuchOutput as error:
            raise GitError("repository_too_large", url=remote.url, limit=_LISTING_LIMIT) from error
        except TimeoutError as error:
            raise way.silence(timeout) from error
        if result.code != 0:
            raise way.trouble(result)
        return _remote_heads(_lines(result.stdout))

    async def _own_heads(self, directory: Path) -> Heads:
        form = "--format=%(HEAD)%(objectname) %(*objectname) %(refname)"
        try:
            raw = await must(command(directory, "for-each-ref", form, "refs/heads", "refs/tags"))
        except TooMuchOutput as error:
            raise GitError("repository_too_large", url=directory.name, limit=_LISTING_LIMIT) from error
        default: str | None = None
        branches: dict[str, str] = {}
        tags: dict[str, str] = {}
        for line in _lines(raw):
            name, peeled, ref = line[1:].split(" ", 2)
            short = ref.removeprefix("refs/heads/").removeprefix("refs/tags/")
            if not is_branch(short):
                continue
            if ref.startswith("refs/tags/"):
                tags[short] = peeled or name
                continue
            branches[short] = name
            if line[0] == "*":
                default = short
        return Heads(default, branches, tags)

    async def fetch(
        self, repository: str, access: Access | None, commit: str, branch: str | None, timeout: float = 120.0
    ) -> None:
        """Brings a commit and its history here, and keeps it. By its name or, where the server refuses that, by its
        branch. Raises GitError: repository_unreachable, unknown_commit, branch_deleted, repository_too_large."""
        _must_be_commit(commit)
        if branch is not None and not is_branch(branch):
            raise ValueError(f"not the name of a branch: {branch!r}")
        remote = self._remote(access) if access is not None else None
        async with self._lock(repository):
            # The object alone proves nothing: what an interrupted fetch left may lack its files.
            if access is not None and remote is not None and not await self._is_kept(repository, commit):
                await self._prepare(repository, commit)
                await self._bring(repository, await self._reach(remote, access), commit, branch, timeout)
            await self._keep_commit(repository, commit)

    async def _prepare(self, repository: str, commit: str) -> None:
        """Makes it, with hashes as long as the remote's; an empty one with others is made anew."""
        await self.create(repository)
        wanted = "sha1" if len(commit) == 40 else "sha256"
        directory = self.directory(repository)
        has = (await must(command(directory, "rev-parse", "--show-object-format"))).decode().strip()
        if has == wanted or await must(command(directory, "for-each-ref", "--count=1")):
            return
        await asyncio.to_thread(shutil.rmtree, directory)
        await self.create(repository, hashes=wanted)

    async def fetch_ref(
        self, repository: str, access: Access | None, ref: str, kept_as: str, timeout: float = 120.0
    ) -> str:
        """Brings what a full ref (`refs/pull/7/head`) leads to, keeps it under the number `kept_as`, in the place of
        what was kept there, and gives its commit. Raises what `fetch` raises; branch_deleted (branch) for a ref that is
        gone."""
        if not ref.startswith("refs/") or not is_branch(ref.removeprefix("refs/")):
            raise ValueError(f"not the full name of a ref: {ref!r}")
        if not _NUMBER.fullmatch(kept_as):
            raise ValueError(f"not a number to keep a ref by: {kept_as!r}")
        here = f"{_PULLS}/{kept_as}"
        remote = self._remote(access) if access is not None else None
        async with self._lock(repository):
            if access is not None and remote is not None:
                await self.create(repository)
                way = await self._reach(remote, access)
                result = await self._fetch(repository, way, f"+{ref}:{here}", timeout)
                if result.code != 0:
                    raise _gone_or(way, result, ref)
            return await self._keep_ref(repository, ref if access is None else here, here)

    async def let_go_of_ref(self, repository: str, kept_as: str) -> None:
        """The next `tidy` may remove what `fetch_ref` kept under the number. Fine where nothing is."""
        if not _NUMBER.fullmatch(kept_as):
            raise ValueError(f"not a number to keep a ref by: {kept_as!r}")
        await must(command(self.directory(repository), "update-ref", "-d", f"{_PULLS}/{kept_as}"))

    async def _keep_ref(self, repository: str, ref: str, here: str) -> str:
        """Keeps the commit that a ref of this repository leads to as `here`, and gives it."""
        directory = self.directory(repository)
        asked = command(directory, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
        found = (await call(asked)).stdout.decode().strip()
        if found:
            await must(command(directory, "update-ref", here, found))
            return found
        if ref != here:
            raise GitError("branch_deleted", branch=ref)
        await must(command(directory, "update-ref", "-d", here))
        raise GitError("unknown_commit", commit="at the ref that was asked for")

    async def _bring(self, repository: str, way: Way, commit: str, branch: str | None, timeout: float) -> None:
        result = await self._fetch(repository, way, f"{commit}:{_KEPT}/{commit}", timeout)
        if result.code == 0:
            return
        if not any(sign in result.stderr for sign in _REFUSES_A_COMMIT):
            raise way.trouble(result)
        if branch is None:
            raise GitError("unknown_commit", commit=commit)
        here = f"{_FETCHED}/{branch}"
        result = await self._fetch(repository, way, f"+refs/heads/{branch}:{here}", timeout)
        if result.code != 0:
            raise _gone_or(way, result, branch)
        if not await self._has(repository, commit, here):
            raise GitError("unknown_commit", commit=commit)

    async def _fetch(self, repository: str, way: Way, refspec: str, timeout: float) -> Result:
        arguments = ("fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head")
        url = way.remote.url
        fetching = command(self.directory(repository), *(*arguments, "--", url, refspec), max_file=self._max_pack)
        try:
            result = await call(way.taken(fetching), timeout=timeout)
        except TimeoutError as error:
            raise way.silence(timeout) from error
        if result.code != 0 and any(sign in result.stderr for sign in _OVER_THE_LIMIT):
            raise GitError("repository_too_large", url=url, limit=f"{self._max_pack >> 20} MiB")
        return result

    def _remote(self, access: Access) -> Remote:
        return parse(access.url, self._private, ssh=bool(access.key))

    async def _reach(self, remote: Remote, access: Access) -> Way:
        program = self._root / "git-ssh"
        if remote.scheme == "ssh":
            async with self._writing:
                if not self._written:
                    await asyncio.to_thread(resources.write_program, program, git_ssh.__file__)
                self._written = True
        return await reach(remote, access, program)

    async def keep(self, repository: str, commit: str) -> None:
        """Whatever happens to its branch, the commit stays until `let_go`."""
        _must_be_commit(commit)
        await must(command(self.directory(repository), "update-ref", f"{_KEPT}/{commit}", commit))

    async def let_go(self, repository: str, commit: str) -> None:
        """The next `tidy` may remove the commit, if no branch has it. Fine where it is not kept."""
        _must_be_commit(commit)
        await must(command(self.directory(repository), "update-ref", "-d", f"{_KEPT}/{commit}"))

    async def tidy(self, repository: str, timeout: float = 600.0) -> None:
        """Packs the repository and removes what nothing needs any more."""
        async with self._lock(repository):
            await must(command(self.directory(repository), "gc", "--quiet", "--prune=1.hour.ago"), timeout=timeout)

    async def set_head(self, repository: str, branch: str) -> None:
        """Makes it the default branch."""
        if not is_branch(branch):
            raise ValueError(f"not the name of a branch: {branch!r}")
        await must(command(self.directory(repository), "symbolic-ref", "HEAD", f"refs/heads/{branch}"))

    async def commit(self, repository: str, commit: str) -> CommitInfo:
        """Who made it, when, and its subject. Raises GitError unknown_commit."""
        _must_be_commit(commit)
        form = "--format=%T%x00%s%x00%an%x00%ae%x00%ct"
        asked = command(self.directory(repository), "log", "-1", "--no-show-signature", form, commit)
        result = await call(asked, limit=1024 * 1024)
        if result.code != 0:
            raise GitError("unknown_commit", commit=commit)
        tree, subject, author, email, time = result.stdout.decode(errors="replace").removesuffix("\n").split("\0")
        return CommitInfo(commit, tree, _plain(subject), _plain(author), _plain(email), int(time))

    async def message(self, repository: str, commit: str) -> str:
        """The whole message of a commit, no more than 64 KiB of it. Raises GitError unknown_commit."""
        _must_be_commit(commit)
        text = await git_objects.read_message(self.directory(repository), commit)
        return "".join(character for character in text if character == "\n" or character.isprintable())

    async def changed(self, repository: str, old: str, new: str, limit: int = 1000) -> tuple[list[str], bool]:
        """The paths of files that differ between two commits that are here, a renamed one by both its names; and
        whether these are all: no more than `limit` are given. Raises GitError git_failed where one is not here."""
        _must_be_commit(old)
        _must_be_commit(new)
        return await git_objects.list_changed(self.directory(repository), old, new, limit)

    async def tree(
        self, repository: str, commit: str, max_entries: int = MAX_ENTRIES, max_bytes: int = MAX_BYTES
    ) -> list[Entry]:
        """Every file and folder of a commit. Raises git_objects.TreeTooLarge."""
        _must_be_commit(commit)
        return await git_objects.list_tree(self.directory(repository), commit, max_entries, max_bytes)

    async def read(self, repository: str, commit: str, path: str, limit: int = 64 * 1024) -> bytes | None:
        """One file of a commit, None where there is none; see `read_all`."""
        return (await self.read_all(repository, commit, (path,), limit))[path]

    async def read_all(
        self, repository: str, commit: str, paths: Sequence[str], limit: int = 64 * 1024
    ) -> dict[str, bytes | None]:
        """Several files of a commit, by one process. Raises git_objects.NotARegularFile where a part of a path is a
        symbolic link or a submodule, or its end no file, and FileTooLarge beyond `limit` bytes."""
        _must_be_commit(commit)
        return await git_objects.read_files(self.directory(repository), commit, paths, limit)

    async def export(
        self, repository: str, commit: str, folder: str, destination: Path, exclude: Iterable[str] = ()
    ) -> None:
        """Writes a folder of a commit ("" is its root) into `destination`, which is new or empty, as git itself checks
        files out, without `.git`. Paths of `exclude` count from the repository's root. Submodules are empty folders.

        The index stands beside the destination for the time; both are the caller's to remove after a failure.
        """
        _must_be_commit(commit)
        index = destination.with_name(f"{destination.name}.index")
        await asyncio.to_thread(destination.mkdir, parents=True, exist_ok=True)
        env = {"GIT_INDEX_FILE": str(index), "GIT_WORK_TREE": str(destination)}
        directory = self.directory(repository)
        tree = f"{commit}:{folder}" if folder else f"{commit}^{{tree}}"
        try:
            await must(command(directory, "read-tree", tree, env=env), timeout=120)
            prefix = f"{folder}/" if folder else ""
            left_out = [path.removeprefix(prefix) for path in exclude if path.startswith(prefix)]
            if left_out:
                listed = "".join(f"{path}\0" for path in left_out).encode()
                removal = ("update-index", "--force-remove", "-z", "--stdin")
                await must(command(directory, *removal, env=env, stdin=listed), timeout=120)
            await must(command(directory, "checkout-index", "--all", "--quiet", env=env), timeout=600)
        finally:
            await asyncio.to_thread(index.unlink, missing_ok=True)

    async def _keep_commit(self, repository: str, commit: str) -> None:
        result = await call(command(self.directory(repository), "cat-file", "-t", commit))
        if result.stdout.strip() != b"commit":
            await self.let_go(repository, commit)
            raise GitError("unknown_commit", commit=commit)
        await self.keep(repository, commit)

    async def _is_kept(self, repository: str, commit: str) -> bool:
        asked = command(self.directory(repository), "show-ref", "--verify", "--quiet", f"{_KEPT}/{commit}")
        return (await call(asked)).code == 0

    async def _has(self, repository: str, ancestor: str, name: str) -> bool:
        asked = command(self.directory(repository), "merge-base", "--is-ancestor", ancestor, name)
        return (await call(asked)).code == 0

    def _lock(self, repository: str) -> asyncio.Lock:
        """git locks single refs only; two fetches of one commit would fail on that."""
        return self._locks.setdefault(repository, asyncio.Lock())


def _lines(output: bytes) -> list[str]:
    """Lines as git means them: names may hold what Python's `splitlines` would take for an end."""
    return output.decode(errors="replace").removesuffix("\n").split("\n") if output else []


def _remote_heads(lines: Sequence[str]) -> Heads:
    default: str | None = None
    branches: dict[str, str] = {}
    tags: dict[str, str] = {}
    for line in lines:
        name, _, ref = line.partition("\t")
        short = ref.removeprefix("refs/heads/").removeprefix("refs/tags/").removesuffix("^{}")
        if ref == "HEAD" and name.startswith("ref: refs/heads/"):
            default = name.removeprefix("ref: refs/heads/")
        elif not is_branch(short):
            continue
        elif ref.startswith("refs/heads/"):
            branches[short] = name
        elif ref.startswith("refs/tags/"):
            tags[short] = name  # "^{}": what the line before leads to
    return Heads(default if default in branches else None, branches, tags)


def _must_be_commit(commit: str) -> None:
    if not is_commit(commit):
        raise ValueError(f"not the full name of a commit: {commit!r}")


def _plain(text: str) -> str:
    return "".join(character for character in text if character.isprintable())


def _gone_or(way: Way, result: Result, branch: str) -> GitError:
    """Why the fetch of a ref by its name failed."""
    return GitError("branch_deleted", branch=branch) if _NO_SUCH_BRANCH in result.stderr else way.trouble(result)
