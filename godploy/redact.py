"""Secrets are a type, and every log passes one funnel that knows them."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

MASK = "•••"
_SHORTEST = 6  # shorter values would blank out ordinary text


class Secret:
    """A string that prints as `•••`; `reveal()` is the only way to its value."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return MASK

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


def _encodings(value: str) -> Iterable[str]:
    raw = value.encode()
    yield value
    yield quote(value, safe="")
    yield quote_plus(value)
    yield json.dumps(value)[1:-1]
    yield json.dumps(value, ensure_ascii=False)[1:-1]
    yield raw.hex()
    # A value inside a longer base64 text appears in one of three alignments; the middle of each is constant.
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for shift in range(3):
            text = encode(b"\0" * shift + raw).decode().rstrip("=")
            start = (0, 2, 3)[shift]
            end = len(text) - (0 if (shift + len(raw)) % 3 == 0 else 1)
            yield text[start:end]


class Redactor:
    """Masks known secrets, in plain, base64, URL and JSON form, in text that passes through it.

    Multi-line secrets are masked line by line, since logs are lines.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._needles: list[str] = []
        self.add(secrets)

    def add(self, secrets: Iterable[str]) -> None:
        found = set(self._needles)
        for secret in secrets:
            for part in {secret, *secret.splitlines()}:
                if len(part) >= _SHORTEST:
                    found.update(text for text in _encodings(part) if len(text) >= _SHORTEST)
        self._needles = sorted(found, key=len, reverse=True)  # longest first, so that no tail survives

    def __call__(self, text: str) -> str:
        for needle in self._needles:
            if needle in text:
                text = text.replace(needle, MASK)
        return text
