"""Reads objects of a repository from its database, never through a file system, and never more than asked for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from godploy.drivers.git_program import GitError, command
from godploy.drivers.process import Process, spawn

MAX_ENTRIES = 100_000
MAX_BYTES = 2 * 1024**3
_TREE_LIMIT = 8 * 1024 * 1024
_RECORD_LIMIT = 64 * 1024
_MESSAGE_LIMIT = 64 * 1024
_COMPARING = 20.0  # seconds
_COMPARING_MEMORY = 128 * 1024 * 1024
_REGULAR = ("100644", "100755", "100664")
_KINDS = {"120000": "a symbolic link", "160000": "a submodule", "40000": "a folder"}


class Entry(NamedTuple):
    """One line of a commit's whole tree. `kind` is blob, tree or commit (a submodule); `size` is in bytes, 0 for all
    but blobs; `path` counts from the repository's root, bytes that are no UTF-8 written as `\\xff`."""

    mode: str
    kind: str
    id: str
    size: int
    path: str

    @property
    def is_symlink(self) -> bool:
        return self.mode == "120000"


class TreeTooLarge(Exception):
    """The commit holds more than the limit. `found` is where reading stopped, in `unit` ("entries" or "bytes")."""

    def __init__(self, found: int, unit: str, limit: int) -> None:
        super().__init__(f"{found} {unit}, more than {limit}")
        self.found, self.unit, self.limit = found, unit, limit


class NotARegularFile(Exception):
    """A path leads over a symbolic link or into a submodule, or is not a file: `path` is that part, `found` says what
    it is."""

    def __init__(self, path: str, found: str) -> None:
        super().__init__(f"{path} is {found}")
        self.path, self.found = path, found


class FileTooLarge(Exception):
    """A file is longer than the caller reads; sizes in bytes."""

    def __init__(self, path: str, size: int, limit: int) -> None:
        super().__init__(f"{path} has {size} bytes, more than {limit}")
        self.path, self.size, self.limit = path, size, limit


@dataclass(frozen=True, slots=True)
class _Object:
    id: str
    kind: str
    content: bytes


async def list_tree(directory: Path, commit: str, max_entries: int, max_bytes: int) -> list[Entry]:
    """Every file and folder of a commit, cut off at the limits while git is still unpacking: a tree of a few hundred
    bytes can unfold to millions of entries. Raises TreeTooLarge, GitError."""
    entries: list[Entry] = []
    size = 0
    listing = command(directory, "ls-tree", "-r", "-t", "-l", "-z", "--full-tree", commit)
    async with spawn(listing) as process:
        async for record in _records(process):
            entry = _entry(record)
            entries.append(entry)
            size += entry.size
            if len(entries) > max_entries:
                raise TreeTooLarge(len(entries), "entries", max_entries)
            if size > max_bytes:
                raise TreeTooLarge(size, "bytes", max_bytes)
        code = await process.wait()
    if code < 0:  # nested so deep that git's own recursion gave up
        raise TreeTooLarge(len(entries), "entries", max_entries)
    if code != 0:
        raise GitError("git_failed", detail=process.stderr.decode(errors="replace").strip())
    return entries


async def list_changed(directory: Path, old: str, new: str, limit: int) -> tuple[list[str], bool]:
    """The paths that differ, and whether these are all. A tree of a few hundred bytes can unfold to millions of files,
    which git collects before it says one, or of folders without a file, of which it says nothing: hence the limits of
    memory and time. Raises GitError."""
    paths: list[str] = []
    arguments = ("diff-tree", "-r", "--name-only", "-z", "--no-renames")
    comparing = command(directory, *arguments, old, new, max_memory=_COMPARING_MEMORY)
    async with spawn(comparing) as process:
        try:
            async with asyncio.timeout(_COMPARING):
                async for record in _records(process):
                    if len(paths) == limit:
                        return paths, False
                    paths.append(record.decode(errors="backslashreplace"))
                code = await process.wait()
        except (TimeoutError, TreeTooLarge):
            return paths, False
    if b"out of memory" in process.stderr.lower():
        return paths, False
    if code != 0:
        raise GitError("git_failed", detail=process.stderr.decode(errors="replace").strip())
    return paths, True


async def read_message(directory: Path, commit: str) -> str:
    """The message of a commit, cut off where it is too long. Raises GitError unknown_commit."""
    async with spawn(command(directory, "log", "-1", "--no-show-signature", "--format=%B", commit)) as process:
        text = b""
        while len(text) < _MESSAGE_LIMIT and (chunk := await process.stdout.read(_MESSAGE_LIMIT - len(text))):
            text += chunk
        if not text and await process.wait() != 0:
            raise GitError("unknown_commit", commit=commit)
    return text.decode(errors="replace").rstrip("\n")


async def _records(process: Process) -> AsyncIterator[bytes]:
    held = b""
    while chunk := await process.stdout.read(_RECORD_LIMIT):
        *records, held = (held + chunk).split(b"\0")
        for record in records:
            yield record
        if len(held) > _RECORD_LIMIT:
            raise TreeTooLarge(len(held), "bytes", _RECORD_LIMIT)


def _entry(record: bytes) -> Entry:
    facts, _, path = record.partition(b"\t")
    mode, kind, name, size = facts.decode("ascii").split()
    return Entry(mode, kind, name, int(size) if size != "-" else 0, path.decode(errors="backslashreplace"))


async def read_files(directory: Path, commit: str, paths: Sequence[str], limit: int) -> dict[str, bytes | None]:
    """The content of each path at a commit, None where there is nothing, by one process.

    Raises NotARegularFile, FileTooLarge, TreeTooLarge, GitError.
    """
    async with _opened(directory) as batch:
        return {path: await batch.file(commit, path, limit) for path in paths}


@asynccontextmanager
async def _opened(directory: Path) -> AsyncIterator[_Batch]:
    async with spawn(command(directory, "cat-file", "--batch")) as process:
        yield _Batch(process)


class _Batch:
    """A conversation with `git cat-file --batch`: https://git-scm.com/docs/git-cat-file#_batch_output"""

    def __init__(self, process: Process) -> None:
        self._process = process

    async def file(self, commit: str, path: str, limit: int) -> bytes | None:
        """Walks down from the root, so that each part of the path is seen for what it is."""
        parts = path.split("/")
        if any(part in ("", ".", "..") for part in parts) or "\0" in path:
            raise ValueError(f"not a path inside a repository: {path!r}")
        tree = await self._object(f"{commit}^{{tree}}", "tree", _TREE_LIMIT)
        for depth, part in enumerate(parts, start=1):
            found = _find(tree.content, part.encode(), len(commit) // 2)
            if found is None:
                return None
            mode, name = found
            here = "/".join(parts[:depth])
            if depth < len(parts):
                if mode in _REGULAR:
                    return None
                if mode != "40000":
                    raise NotARegularFile(here, _KINDS.get(mode, "not a file"))
                tree = await self._object(name, "tree", _TREE_LIMIT)
            elif mode not in _REGULAR:
                raise NotARegularFile(here, _KINDS.get(mode, "not a file"))
        return (await self._object(name, "blob", limit, path)).content

    async def _object(self, name: str, kind: str, limit: int, path: str = "") -> _Object:
        self._process.stdin.write(name.encode("ascii") + b"\n")
        await self._process.stdin.drain()
        head = (await self._process.stdout.readline()).decode("ascii", errors="replace").split()
        if len(head) != 3 or head[1] != kind:
            raise GitError("git_failed", detail=f"no {kind} {name} in the repository")
        size = int(head[2])
        if size > limit:
            raise FileTooLarge(path, size, limit) if kind == "blob" else TreeTooLarge(size, "bytes", limit)
        content = await self._process.stdout.readexactly(size + 1)
        return _Object(head[0], head[1], content[:-1])


def _find(tree: bytes, name: bytes, id_length: int) -> tuple[str, str] | None:
    """Mode and id of one name in a tree object: `mode SP name NUL id` again and again,
    https://git-scm.com/book/en/v2/Git-Internals-Git-Objects"""
    position = 0
    while position < len(tree):
        space = tree.index(b" ", position)
        end = tree.index(b"\0", space)
        next_position = end + 1 + id_length
        if tree[space + 1 : end] == name:
            return tree[position:space].decode("ascii").lstrip("0"), tree[end + 1 : next_position].hex()
        position = next_position
    return None
