"""The folder that Traefik keeps certificates in, where DNS sends a host, and which addresses this machine has.

Traefik writes its store there, `acme.json`; Godploy makes it first, so that it stays readable for Godploy's own user,
and keeps beside it how asking goes, so that a restart forgets no back-off.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from godploy.core import certificates, naming
from godploy.core.certificates import Attempt, Certificate
from godploy.core.command import Command
from godploy.drivers import process
from godploy.drivers.traefik_container import STORE

_ATTEMPTS = "attempts.json"
_LOOKUP = 10.0  # seconds


@dataclass(frozen=True, slots=True)
class Folder:
    path: Path

    def prepare(self, authority: Path | None) -> str | None:
        """Makes what Traefik must find. The name of a copy of `authority`'s file, which changes with its content, so
        that Traefik is made anew for another one. Blocking; for the start."""
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(self.path / STORE, os.O_WRONLY | os.O_CREAT, 0o600))
        if authority is None:
            return None
        content = authority.read_bytes()
        copy = self.path / f"authority-{hashlib.sha256(content).hexdigest()[:12]}.pem"
        copy.write_bytes(content)
        return copy.name

    def stamp(self) -> tuple[int, int]:
        """Another one whenever the store was written."""
        try:
            found = (self.path / STORE).stat()
        except FileNotFoundError:
            return (0, 0)
        return (found.st_mtime_ns, found.st_size)

    def certificates(self) -> dict[str, Certificate] | None:
        """By host; None while Traefik writes them."""
        try:
            text = (self.path / STORE).read_text()
        except FileNotFoundError:
            return {}
        return certificates.stored(text)

    def attempts(self) -> dict[str, Attempt]:
        """As they were last kept; none where that was never, or is not whole."""
        try:
            found = json.loads((self.path / _ATTEMPTS).read_text())
            return {host: Attempt(**fields) for host, fields in found.items()}
        except (FileNotFoundError, ValueError, TypeError, AttributeError):
            return {}

    def keep(self, attempts: Mapping[str, Attempt]) -> None:
        draft = self.path / f"{_ATTEMPTS}.tmp"
        draft.write_text(json.dumps({host: attempt.to_json() for host, attempt in attempts.items()}, indent=1))
        draft.replace(self.path / _ATTEMPTS)


async def addresses(host: str) -> tuple[str, ...]:
    """Where DNS sends a host; nowhere where it does not answer in time."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_LOOKUP):
            found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, TimeoutError):
        return ()
    return tuple(dict.fromkeys(str(address[0]).partition("%")[0] for *_, address in found))


async def own_addresses() -> list[str]:
    """The machine's addresses, by its own word; none where it does not say."""
    try:
        result = await process.run(Command(("hostname", "-I")), timeout=5)
    except (process.Missing, TimeoutError):
        return []
    return [word for word in result.stdout.decode(errors="replace").split() if naming.is_address(word)]
