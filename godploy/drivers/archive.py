"""The file that a backup is: a tar of plain files, an index with their checksums, and the key under a passphrase.

The key is sealed together with the index, and the index names every other file's SHA-256: who knows the passphrase
sees that nothing was changed, and a file that was cut off or damaged is never taken for a good one. Only members of
known names are read, and written under those names: whatever else a tar can say (links, devices, paths) is refused.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from godploy.errors import Invalid

FORMAT = 1
INDEX = "godploy-backup.json"
_KEY = "key.sealed"
_INDEX_LIMIT = 4 * 1024**2  # bytes; some 20,000 files
_NAME = re.compile(r"godploy\.db|config\.yaml|(tls|acme)/[A-Za-z0-9][\w.-]{0,99}|repositories/[a-z0-9-]{1,64}\.bundle")
_SALT_LENGTH = 16
_NONCE_LENGTH = 12
_CHUNK = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Contents:
    """What a backup holds: files by name, and facts about them (JSON values)."""

    key: bytes
    files: tuple[str, ...]
    facts: Mapping[str, Any]


def holds(name: str) -> bool:
    """Whether a backup may hold a file of this name."""
    return _NAME.fullmatch(name) is not None


def write(target: IO[bytes], folder: Path, contents: Contents, passphrase: str) -> None:
    """Writes the files of `folder` that `contents` names. Blocking. Raises ValueError for a name that none may have."""
    files = {name: _described(folder / name) for name in sorted(contents.files) if _may(name)}
    index = json.dumps({"format": FORMAT, "facts": dict(contents.facts), "files": files}, sort_keys=True).encode()
    with tarfile.open(fileobj=target, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        _add(tar, INDEX, len(index), io.BytesIO(index))
        sealed = _seal(contents.key, passphrase, index)
        _add(tar, _KEY, len(sealed), io.BytesIO(sealed))
        for name, described in files.items():
            with (folder / name).open("rb") as file:
                _add(tar, name, described["size"], file)
    target.flush()
    os.fsync(target.fileno())


def read(source: IO[bytes], passphrase: str, folder: Path | None) -> Contents:
    """Checks all of a backup and, where a folder is given, puts its files there. Blocking.

    Raises Invalid for one that is damaged, no backup at all, of a newer Godploy, or closed to this passphrase.
    """
    try:
        with tarfile.open(fileobj=source, mode="r:") as tar:
            index, tree = _index(tar)
            key = _unseal(_small(tar, _KEY), passphrase, index)
            files = tree["files"]
            for name, described in files.items():
                member = _next(tar, name)
                if not holds(name) or member.size != described["size"]:
                    raise _damaged(f"{name} is not as the index has it")
                _copy(tar, member, described["sha256"], folder)
            if tar.next() is not None:
                raise _damaged("it holds more than its index names")
            return Contents(key, tuple(files), tree["facts"])
    except (tarfile.TarError, EOFError, KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise _damaged(str(error)) from error


def _index(tar: tarfile.TarFile) -> tuple[bytes, dict[str, Any]]:
    index = _small(tar, INDEX)
    tree = json.loads(index)
    if tree["format"] != FORMAT:
        raise Invalid(
            f"this backup has format {tree['format']}, this Godploy reads format {FORMAT}",
            next_step="restore with the Godploy that made it, or a newer one",
        )
    return index, tree


def _next(tar: tarfile.TarFile, name: str) -> tarfile.TarInfo:
    member = tar.next()
    if member is None:
        raise _damaged(f"it ends before {name}")
    if member.name != name or not member.isreg():
        raise _damaged(f"{name} was expected where something else stands")
    return member


def _small(tar: tarfile.TarFile, name: str) -> bytes:
    member = _next(tar, name)
    file = tar.extractfile(member)
    if file is None or member.size > _INDEX_LIMIT:
        raise _damaged(f"{name} is too large")
    content = file.read()
    if len(content) != member.size:
        raise _damaged(f"it ends within {name}")
    return content


def _copy(tar: tarfile.TarFile, member: tarfile.TarInfo, expected: str, folder: Path | None) -> None:
    target = Path(os.devnull) if folder is None else folder / member.name
    if folder is not None:
        target.parent.mkdir(mode=0o700, exist_ok=True)
    found = hashlib.sha256()
    file = tar.extractfile(member)
    assert file is not None
    with os.fdopen(os.open(target, os.O_WRONLY | (os.O_CREAT | os.O_EXCL if folder else 0), 0o600), "wb") as out:
        while chunk := file.read(_CHUNK):
            found.update(chunk)
            out.write(chunk)
        if folder is not None:
            out.flush()
            os.fsync(out.fileno())
    if found.hexdigest() != expected:
        raise _damaged(f"{member.name} has changed since it was written")


def _may(name: str) -> bool:
    if not holds(name):
        raise ValueError(f"not a file that a backup holds: {name!r}")
    return True


def _described(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"sha256": hashlib.file_digest(file, "sha256").hexdigest(), "size": path.stat().st_size}


def _add(tar: tarfile.TarFile, name: str, size: int, content: IO[bytes]) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o600
    tar.addfile(member, content)


def _derived(passphrase: str, salt: bytes) -> bytes:
    """64 MiB and a quarter of a second for each guess. https://www.rfc-editor.org/rfc/rfc7914"""
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

    return Scrypt(salt=salt, length=32, n=2**16, r=8, p=1).derive(passphrase.encode())


def _seal(key: bytes, passphrase: str, index: bytes) -> bytes:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    salt, nonce = os.urandom(_SALT_LENGTH), os.urandom(_NONCE_LENGTH)
    return salt + nonce + AESGCM(_derived(passphrase, salt)).encrypt(nonce, key, index)


def _unseal(sealed: bytes, passphrase: str, index: bytes) -> bytes:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    salt, rest = sealed[:_SALT_LENGTH], sealed[_SALT_LENGTH:]
    try:
        cipher = AESGCM(_derived(passphrase, salt))
        return cipher.decrypt(rest[:_NONCE_LENGTH], rest[_NONCE_LENGTH:], index)
    except InvalidTag as error:
        raise Invalid(
            "the passphrase is not the one that this backup was made with, or the backup was changed",
            next_step="try the passphrase again",
        ) from error


def _damaged(why: str) -> Invalid:
    return Invalid(f"this is no whole backup of Godploy: {why}", next_step="take another copy of the backup")
