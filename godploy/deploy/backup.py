"""Godploy's own state as one file, and from it a Godploy on a clean directory.

The database is copied first and the repositories after it: what is pushed in between is in a repository and not in the
database, which after a restore is just a push that catch-up has yet to find. What volumes hold is not in a backup.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from godploy import __version__
from godploy.core.remote import is_branch
from godploy.drivers import archive, git_bundle, keyring, lock
from godploy.drivers.archive import Contents
from godploy.drivers.lock import Lock
from godploy.errors import Conflict, Invalid, NotFound
from godploy.store import Store, database, repositories

_DATABASE = "godploy.db"
_KEPT_FOLDERS = ("tls", "acme")
_HEADS = "refs/heads/"


@dataclass(frozen=True, slots=True)
class Summary:
    """What a backup holds, for people."""

    repositories: int
    certificates: bool
    settings: bool
    bytes: int
    made: float
    version: str


async def make(data: Path, target: Path, passphrase: str) -> Summary:
    """Writes the state of `data` to a new file, and reads it again before it gets its name; the server may be running.

    Raises NotFound, Conflict where the file exists, Invalid, GitError, KeyUnusable and OSError.
    """
    if not await asyncio.to_thread((data / _DATABASE).is_file):
        raise NotFound(f"{data} holds no database of Godploy", next_step="give the server's directory with --data DIR")
    if await asyncio.to_thread(os.path.lexists, target):
        raise Conflict(f"{target} exists already", next_step="give the backup another name")
    draft = Path(await asyncio.to_thread(_draft, target))
    try:
        contents = await _collect(data, draft)
        return await asyncio.to_thread(_write, target, draft, contents, passphrase)
    finally:
        await asyncio.to_thread(shutil.rmtree, draft, ignore_errors=True)


async def restore(source: Path, data: Path, passphrase: str) -> Summary:
    """Makes the data directory that a backup was made of, in a new or empty one; no server can start there meanwhile.

    Raises Conflict for a directory with anything in it or in another's use, Invalid, SchemaTooNewError, GitError and
    OSError.
    """
    await asyncio.to_thread(_must_be_clean, data)
    with await asyncio.to_thread(source.open, "rb") as file:
        size = (await asyncio.to_thread(source.stat)).st_size
        checked = await asyncio.to_thread(archive.read, file, passphrase, None)
        await asyncio.to_thread(data.mkdir, mode=0o700, parents=True, exist_ok=True)
        held = await asyncio.to_thread(Lock, data)
        try:
            await asyncio.to_thread(_must_be_clean, data)  # now that nobody else can begin with it
            await _fill(file, data, passphrase, checked)
        finally:
            held.close()
    return _summary(checked, size)


async def _fill(file: BinaryIO, data: Path, passphrase: str, checked: Contents) -> None:
    draft = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix=".restoring.", dir=data))
    try:
        await asyncio.to_thread(file.seek, 0)
        await asyncio.to_thread(archive.read, file, passphrase, draft)
        await _settle(draft, checked)
        await asyncio.to_thread(_move_in, draft, data)
    finally:
        await asyncio.to_thread(shutil.rmtree, draft, ignore_errors=True)


async def _collect(data: Path, draft: Path) -> Contents:
    """The files of a backup, gathered in `draft`."""
    await asyncio.to_thread(database.copy, data / _DATABASE, draft / _DATABASE)
    files = [_DATABASE, *await asyncio.to_thread(_copy_files, data, draft)]
    store = Store(draft / _DATABASE)  # not opened: that would migrate it, and a backup is to be as its server is
    try:
        every = await store.read(repositories.every)
    finally:
        await store.close()
    heads: dict[str, str] = {}
    for repository in every:
        directory = data / "repositories" / f"{repository.id}.git"
        if repository.url is None and await asyncio.to_thread(directory.is_dir):
            name = f"repositories/{repository.id}.bundle"
            heads[repository.id] = await git_bundle.write(directory, draft / name)
            files += [name] if await asyncio.to_thread((draft / name).is_file) else []
    key = await asyncio.to_thread(keyring.read, data / "key")
    return Contents(key, tuple(sorted(files)), {"heads": heads, "made": time.time(), "version": __version__})


def _copy_files(data: Path, draft: Path) -> list[str]:
    """Settings, certificates and the state of ACME."""
    (draft / "repositories").mkdir()
    found = [data / "config.yaml"]
    for folder in _KEPT_FOLDERS:
        (draft / folder).mkdir()
        found += sorted((data / folder).glob("*"))
    names = [str(path.relative_to(data)) for path in found if path.is_file() and not path.is_symlink()]
    kept = [name for name in names if archive.holds(name)]
    for name in kept:
        shutil.copyfile(data / name, draft / name)
    return kept


def _draft(target: Path) -> str:
    if not target.parent.is_dir():
        raise NotFound(f"there is no directory {target.parent}")
    return tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent)


def _write(target: Path, draft: Path, contents: Contents, passphrase: str) -> Summary:
    unnamed = draft / "backup"
    with os.fdopen(os.open(unnamed, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "w+b") as file:
        archive.write(file, draft, contents, passphrase)
        file.seek(0)
        again = archive.read(file, passphrase, None)
    if again != contents:
        raise Invalid("the backup that was written does not read as it should", next_step="look at the disk")
    size = unnamed.stat().st_size
    try:
        os.link(unnamed, target)  # unlike a rename it never replaces a file that somebody made meanwhile
    except FileExistsError as error:
        raise Conflict(f"{target} exists already", next_step="give the backup another name") from error
    _sync(target.parent)
    return _summary(contents, size)


def _must_be_clean(data: Path) -> None:
    if data.is_dir() and any(path.name != lock.NAME for path in data.iterdir()):
        raise Conflict(
            f"{data} is not empty: a backup is restored to a new or an empty directory",
            next_step="end the Godploy that works there, move the directory away, and restore again",
        )


async def _settle(draft: Path, contents: Contents) -> None:
    """Repositories, key and database as a server has them."""
    await asyncio.to_thread(database.examine, draft / _DATABASE)
    await asyncio.to_thread((draft / "repositories").mkdir, mode=0o700, exist_ok=True)
    for repository, head in _heads(contents).items():
        bundle = draft / "repositories" / f"{repository}.bundle"
        there = await asyncio.to_thread(bundle.is_file)
        await git_bundle.read(bundle.with_suffix(".git"), bundle if there else None, head)
        await asyncio.to_thread(bundle.unlink, missing_ok=True)
    await asyncio.to_thread(keyring.put, draft / "key", contents.key)


def _heads(contents: Contents) -> dict[str, str]:
    """repository → what its HEAD names. Raises Invalid for what is neither: both become paths and words for git."""
    heads: dict[str, str] = contents.facts["heads"]
    for repository, head in heads.items():
        known = archive.holds(f"repositories/{repository}.bundle")
        if not known or not head.startswith(_HEADS) or not is_branch(head.removeprefix(_HEADS)):
            raise Invalid("the backup names a repository that no Godploy has", next_step="use another backup")
    return heads


def _move_in(draft: Path, data: Path) -> None:
    """To their places, with the directory's owner; the database last, without which nothing counts as restored."""
    owner = data.stat()
    for path in (draft, *draft.rglob("*")):
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)
    for path in sorted(draft.iterdir(), key=lambda path: path.name == _DATABASE):
        path.rename(data / path.name)
    _sync(data)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _summary(contents: Contents, size: int) -> Summary:
    return Summary(
        repositories=len(contents.facts["heads"]),
        certificates=any(name.startswith(_KEPT_FOLDERS) for name in contents.files),
        settings="config.yaml" in contents.files,
        bytes=size,
        made=contents.facts["made"],
        version=contents.facts["version"],
    )
