"""Secrets at rest: sealed in the database, the key in a file beside it, so a copy of the database reveals nothing."""

from __future__ import annotations

import base64
import binascii
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from godploy.errors import GodployError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_VERSION = b"\x01"
_KEY_LENGTH = 32  # AES-256
_NONCE_LENGTH = 12  # as NIST SP 800-38D section 8.2 has it; drawn anew for each value


class KeyUnusable(GodployError):
    """The key file is not there, not private or not a key; or it is another one than a value was sealed with."""

    code = "key_unusable"


class Keyring:
    """Seals and unseals values. `open` is the way to one."""

    def __init__(self, key: bytes, path: Path) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # 10 MB that the CLI does without

        self._cipher: AESGCM = AESGCM(key)
        self._path = path

    @classmethod
    def open(cls, path: Path) -> Keyring:
        """The key in a file, which is made where there is none. Blocking; for the start. Raises KeyUnusable."""
        with suppress(FileExistsError):
            put(path, os.urandom(_KEY_LENGTH))
        return cls(read(path), path)

    def seal(self, value: str, context: str) -> bytes:
        """The value, encrypted and bound to `context` (what it is and whose), without which it does not open: a sealed
        value that is moved to another row stays closed there."""
        nonce = os.urandom(_NONCE_LENGTH)
        return _VERSION + nonce + self._cipher.encrypt(nonce, value.encode(), context.encode())

    def unseal(self, sealed: bytes, context: str) -> str:
        """The value again. Raises KeyUnusable."""
        from cryptography.exceptions import InvalidTag

        start = len(_VERSION)
        nonce, encrypted = sealed[start : start + _NONCE_LENGTH], sealed[start + _NONCE_LENGTH :]
        try:
            if not sealed.startswith(_VERSION):
                raise InvalidTag
            return self._cipher.decrypt(nonce, encrypted, context.encode()).decode()
        except (InvalidTag, ValueError) as error:
            raise KeyUnusable(
                f"a stored secret ({context}) does not open with the key in {self._path}",
                next_step="put back the key file that belongs to this database, or set the secret again",
            ) from error


def put(path: Path, key: bytes) -> None:
    """Writes a key to a new file. The name appears with the whole key behind it: a crash must leave no half a key to
    seal values with. Blocking. Raises FileExistsError."""
    if path.exists() or path.is_symlink():
        raise FileExistsError
    draft = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(base64.b64encode(key) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)  # unlike a rename it never replaces a key that somebody made meanwhile
    finally:
        draft.unlink()
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read(path: Path) -> bytes:
    """The key in a file that is private to us or, where we are root, to the owner of its folder. Blocking. Raises
    KeyUnusable."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError as error:
        raise KeyUnusable(f"the key file {path} cannot be opened: {error.strerror}") from error
    with os.fdopen(descriptor, "rb") as file:
        facts = os.fstat(file.fileno())
        text = file.read(1024)
    if not stat.S_ISREG(facts.st_mode) or facts.st_uid not in _trusted(path):
        raise KeyUnusable(f"the key file {path} is not a file of ours", next_step=f"chown it to user {os.geteuid()}")
    if facts.st_mode & 0o077:
        raise KeyUnusable(f"the key file {path} can be read by others", next_step=f"chmod 600 {path}")
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except binascii.Error:
        key = b""
    if len(key) != _KEY_LENGTH:
        raise KeyUnusable(f"{path} holds no key", next_step="put back the key file that belongs to this database")
    return key


def _trusted(path: Path) -> set[int]:
    return {0, os.geteuid()} | ({path.parent.stat().st_uid} if os.geteuid() == 0 else set())
