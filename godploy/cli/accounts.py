"""What `godploy login` remembers: servers, the tokens for them, and pinned certificates; for its user alone to read."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from godploy.cli.client import normal
from godploy.errors import GodployError, Invalid


@dataclass(frozen=True, slots=True)
class Account:
    """A token for a server; `certificate` is the PEM that was pinned, None where this machine trusts the server's."""

    url: str
    token: str = field(repr=False)
    certificate: str | None = None


class Accounts:
    """The remembered servers; each change is written at once."""

    def __init__(self, directory: Path, tree: Mapping[str, Any]) -> None:
        self._directory = directory
        self._servers: dict[str, Mapping[str, Any]] = dict(tree.get("servers") or {})
        self.default: str | None = tree.get("default")

    @classmethod
    def load(cls, environment: Mapping[str, str] | None = None) -> Accounts:
        """Raises Invalid where the file is damaged."""
        directory = place(environment)
        path = directory / "config.json"
        try:
            tree = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            tree = {}
        except ValueError as error:
            raise Invalid(f"{path} is damaged: {error}", next_step="remove it and log in again") from error
        except OSError as error:
            raise GodployError(f"{path} cannot be read: {error.strerror}") from error
        if not isinstance(tree, dict):
            raise Invalid(f"{path} is damaged", next_step="remove it and log in again")
        return cls(directory, tree)

    @property
    def urls(self) -> list[str]:
        return sorted(self._servers)

    def find(self, url: str) -> Account | None:
        found = self._servers.get(url)
        return Account(url, str(found["token"]), found.get("certificate")) if found else None

    def remember(self, account: Account) -> None:
        """The last server that one logged in to is the default."""
        self._servers[account.url] = {"token": account.token, "certificate": account.certificate}
        self.default = account.url
        if account.certificate is not None:
            _write(self.certificate_file(account.url), account.certificate)
        else:
            self.certificate_file(account.url).unlink(missing_ok=True)
        self._save()

    def forget(self, url: str) -> None:
        self._servers.pop(url, None)
        self.certificate_file(url).unlink(missing_ok=True)
        if self.default == url:
            self.default = self.urls[0] if len(self._servers) == 1 else None
        self._save()

    def certificate_file(self, url: str) -> Path:
        """Where the pinned certificate of a server stands for git."""
        name = re.sub(r"[^a-z0-9.]+", "_", url.partition("://")[2])
        return self._directory / "certificates" / f"{name}.pem"

    def _save(self) -> None:
        if not self._servers:
            self._leave_nothing()
            return
        tree = {"default": self.default, "servers": self._servers}
        _write(self._directory / "config.json", json.dumps(tree, indent=2) + "\n")

    def _leave_nothing(self) -> None:
        """With the last server goes what was made here; what others put beside it stays."""
        (self._directory / "config.json").unlink(missing_ok=True)
        for folder in (self._directory / "certificates", self._directory):
            with suppress(OSError):
                folder.rmdir()


def place(environment: Mapping[str, str] | None = None) -> Path:
    """The directory of our configuration: https://specifications.freedesktop.org/basedir-spec/latest/"""
    environment = os.environ if environment is None else environment
    base = environment.get("XDG_CONFIG_HOME", "")
    root = Path(base) if base.startswith("/") else Path(environment.get("HOME") or Path.home()) / ".config"
    return root / "godploy"


def from_environment(environment: Mapping[str, str] | None = None) -> Account | None:
    """The account that a CI job is given as GODPLOY_SERVER and GODPLOY_TOKEN; None without a token.

    Raises Invalid for a token without a server: a token is for one server, and must not reach another.
    """
    environment = os.environ if environment is None else environment
    token, server = environment.get("GODPLOY_TOKEN"), environment.get("GODPLOY_SERVER")
    if not token:
        return None
    if not server:
        raise Invalid(
            "GODPLOY_TOKEN is set, but not the server that it is for", next_step="set GODPLOY_SERVER=https://HOST, too"
        )
    return Account(normal(server), token)


def _write(path: Path, text: str) -> None:
    """Never readable by others, never half-written."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")  # 0600 from the start
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            Path(temporary).unlink()
        raise
