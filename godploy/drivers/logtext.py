"""Makes a line that anybody may have written safe to show in a terminal or on a page."""

from __future__ import annotations

import re

from godploy.redact import Redactor

LINE_LIMIT = 8 * 1024  # characters
_LOOKED_AT = 8 * LINE_LIMIT  # a secret that is cut in half here lies far behind what is kept

# ECMA-48: control sequences end with a byte from @ to ~, control strings (titles, links, clipboard) with BEL or ST.
# https://ecma-international.org/publications-and-standards/standards/ecma-48/
_SEQUENCE = re.compile(
    r"""
      (?P<colour> \x1b\[[0-9;:]*m)
    | (?:\x1b\[|\x9b) [\x20-\x3f]* [\x40-\x7e]?
    | (?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f]) [^\x07\x1b\x9c]* (?:\x07|\x1b\\|\x9c)?
    | \x1b[\x20-\x2f]*[\x30-\x7e]?
    """,
    re.VERBOSE,
)
_RESET = "\x1b[0m"
# Controls but tab and escape (which the above leaves in colours only), line separators, and what turns the order of
# letters around: https://www.unicode.org/reports/tr9/#Directional_Formatting_Characters
_CONTROL = re.compile("[\x00-\x08\x0a-\x1a\x1c-\x1f\x7f-\x9f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def clean(line: str) -> str:
    """The line with its colours, without any other way to move the cursor, to address the terminal or to reorder
    text. A colour ends with the line."""
    if line.isprintable():
        return line
    coloured = _CONTROL.sub("", _SEQUENCE.sub(lambda found: found["colour"] or "", line))
    if "\x1b" in coloured and not coloured.endswith((_RESET, "\x1b[m")):
        coloured += _RESET
    return coloured


def fit(text: str, redact: Redactor) -> list[str]:
    """Text as lines for a log: secrets masked, cleaned, at most 8 Ki characters each."""
    return [_fit(line, redact) for line in re.split(r"\r?\n", text)]


def _fit(line: str, redact: Redactor) -> str:
    masked = redact(line[:_LOOKED_AT])
    cleaned = clean(masked)
    if cleaned is not masked:
        cleaned = redact(cleaned)  # what stood between two halves of a secret may be gone now
    return cleaned if len(cleaned) <= LINE_LIMIT else clean(f"{cleaned[:LINE_LIMIT]} … (cut)")
