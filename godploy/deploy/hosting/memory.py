"""What is kept of connections while Godploy runs: one lock each, the short-lived tokens of GitHub Apps, and what a
provider renewed while it could not be stored."""

from __future__ import annotations

import asyncio
import time

from godploy.providers.protocol import Credential


class Memory:
    def __init__(self) -> None:
        self._locks: dict[str, asyncio.Lock] = {}
        self._installation_tokens: dict[str, tuple[Credential, float]] = {}
        self._unstored: dict[str, str] = {}

    def lock(self, connection: str) -> asyncio.Lock:
        """Held while its credential is renewed: two at once would lose one of the two."""
        return self._locks.setdefault(connection, asyncio.Lock())

    def installation_token(self, connection: str) -> Credential | None:
        held, until = self._installation_tokens.get(connection, (None, 0.0))
        return held if time.monotonic() < until else None

    def keep_installation_token(self, connection: str, made: Credential, seconds: float) -> None:
        self._installation_tokens[connection] = (made, time.monotonic() + seconds)

    def unstored(self, connection: str) -> str | None:
        """The text of a renewed credential that is still to be stored: the stored one is worth nothing any more."""
        return self._unstored.get(connection)

    def keep_unstored(self, connection: str, text: str) -> None:
        self._unstored[connection] = text

    def is_stored(self, connection: str) -> None:
        self._unstored.pop(connection, None)

    def forget(self, connection: str) -> None:
        """What a person has replaced or removed."""
        self._installation_tokens.pop(connection, None)
        self._unstored.pop(connection, None)
