"""Reads `.env` files for `godploy secrets import`, to the letter: quoted text stays as it is, nothing is expanded.

`core.dotenv` reads examples, for a draft that a person looks at, and may guess; what is read here is stored unseen.
There is no standard, only common use. What the formats in use agree on is read; where they differ (`$NAME`, a quote in
the middle, a name that is set twice) nothing is guessed: the text is kept, or the line refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from godploy.core.references import VARIABLE_NAME
from godploy.errors import Invalid

_NAME = re.compile(rf"[ \t]*(?:export[ \t]+)?({VARIABLE_NAME})[ \t]*=")
_BLANK = re.compile(r"[ \t]*(?:#[^\n]*)?(?:\n|\Z)")
_REST = re.compile(r"[^\n]*\n?")
_COMMENT = re.compile(r"[ \t]+#.*")
_QUOTE = re.compile(r"[ \t]*(?=(['\"]))")
_SINGLE = re.compile(r"'([^']*)'")
_DOUBLE = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "$": "$"}


@dataclass(slots=True)
class _Reader:
    text: str
    at: int = 0

    @property
    def line(self) -> int:
        return self.text.count("\n", 0, self.at) + 1

    def take(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        found = pattern.match(self.text, self.at)
        if found is not None:
            self.at = found.end()
        return found


def parse(text: str, filename: str = ".env") -> dict[str, str]:
    """Names and values in their order. In double quotes `\\n`, `\\r`, `\\t`, `\\"`, `\\\\` and `\\$` are what they
    usually are; in single quotes and without quotes every character is itself. Quotes may span lines. Without quotes a
    comment begins at a `#` after a blank.

    Raises Invalid with every wrong line and its number, never with a value.
    """
    reader = _Reader(text.removeprefix("\ufeff").replace("\r\n", "\n"))
    values: dict[str, str] = {}
    problems: list[str] = []
    while reader.at < len(reader.text):
        if reader.take(_BLANK) is not None:
            continue
        line = reader.line
        name = reader.take(_NAME)
        value, problem = _value(reader) if name is not None else (None, "expected NAME=VALUE")
        if name is None or value is None:
            problems.append(f"{filename}:{line}: {problem}")
            reader.take(_REST)
        elif name[1] in values:
            problems.append(f"{filename}:{line}: {name[1]} is set a second time")
        else:
            values[name[1]] = value
    if problems:
        raise Invalid(f"{filename} cannot be read", problems)
    return values


def _value(reader: _Reader) -> tuple[str | None, str | None]:
    """(value, None), or (None, what is wrong)."""
    quoted = reader.take(_QUOTE)
    if quoted is None:
        bare = reader.take(_REST)
        return _COMMENT.sub("", bare[0].rstrip("\n")).strip(" \t") if bare else "", None
    quote = quoted[1]
    found = reader.take(_SINGLE if quote == "'" else _DOUBLE)
    if found is None:
        reader.at = len(reader.text)
        return None, f"a value begins with {quote} that is never closed"
    if reader.take(_BLANK) is None:
        return None, "something follows the closing quote"
    if quote == "'":
        return found[1], None
    return _ESCAPE.sub(lambda escape: _ESCAPED.get(escape[1], escape[0]), found[1]), None
