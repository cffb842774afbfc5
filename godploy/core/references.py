"""The grammar of `${…}` in values: which references there are, and how a text is taken apart and put together.

Only `${` is special. `$${` is a literal `${`, and a bare `$` stays what it is (`pa$$word` is safe).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from godploy.core.specification import literal

SERVICE_NAME = r"[a-z](?:[a-z0-9-]{0,38}[a-z0-9])?"
VARIABLE_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
OFFER_NAME = r"[a-z](?:[a-z0-9_]*[a-z0-9])?"

_OPENING = re.compile(r"\$?\$\{")
_KNOWN = "${services.NAME.KEY}, ${secrets.NAME}, ${environment.name}, ${deployment.commit}"


@dataclass(frozen=True, slots=True)
class Reference:
    """`${services.db.url}` is ("services", "db", "url"); `${secrets.KEY}` is ("secrets", "KEY"); `${environment.name}`
    is ("environment", "name"); `${deployment.commit}` is ("deployment", "commit")."""

    kind: str
    name: str
    key: str = ""

    def __str__(self) -> str:
        return "${" + ".".join(part for part in (self.kind, self.name, self.key) if part) + "}"


class BadReferenceError(ValueError):
    """A `${…}` that is none of the references there are; the text says what to write instead."""


def parse_text(text: str) -> list[str | Reference]:
    """The text as literal parts (unescaped) and references, in order. Raises BadReferenceError at the first wrong."""
    parts: list[str | Reference] = []
    plain = ""
    at = 0
    while opening := _OPENING.search(text, at):
        plain += text[at : opening.start()]
        if opening[0] == "$${":
            plain += "${"
            at = opening.end()
            continue
        end = text.find("}", opening.end())
        if end < 0:
            raise BadReferenceError("a ${ without its }; write $${ for a literal ${")
        if plain:
            parts.append(plain)
            plain = ""
        parts.append(_reference(text[opening.end() : end]))
        at = end + 1
    plain += text[at:]
    if plain:
        parts.append(plain)
    return parts


def references(text: str) -> list[Reference]:
    """The references in a text, in order. Raises BadReferenceError as `parse_text` does."""
    return [part for part in parse_text(text) if isinstance(part, Reference)]


def render(parts: Sequence[str | Reference], value: Callable[[Reference], str]) -> str:
    """The parts as one sealed text: literal parts are escaped again, and `value` gives the sealed text of each
    reference (see `core.specification`)."""
    return "".join(value(part) if isinstance(part, Reference) else literal(part) for part in parts)


def _reference(inner: str) -> Reference:
    if re.fullmatch(VARIABLE_NAME, inner):
        raise BadReferenceError(
            f"${{{inner}}} is nothing that Godploy fills in; use env or ${{secrets.{inner}}}, or $${{ for a literal ${{"
        )
    kind, _, rest = inner.partition(".")
    if kind == "services":
        name, _, key = rest.partition(".")
        if re.fullmatch(SERVICE_NAME, name) and re.fullmatch(OFFER_NAME, key):
            return Reference("services", name, key)
        raise BadReferenceError(f"${{{inner}}}: expected ${{services.NAME.KEY}}, such as ${{services.db.url}}")
    if kind == "secrets":
        if re.fullmatch(VARIABLE_NAME, rest):
            return Reference("secrets", rest)
        raise BadReferenceError(f"${{{inner}}}: expected ${{secrets.NAME}}, such as ${{secrets.STRIPE_KEY}}")
    if inner in ("environment.name", "deployment.commit"):
        return Reference(kind, rest)
    raise BadReferenceError(f"${{{inner}}} is none of the references: {_KNOWN}; write $${{ for a literal ${{")
