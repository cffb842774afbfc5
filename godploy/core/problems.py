"""A complaint about one place of a manifest, before that place has become a line and a column."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

Path = tuple[str | int, ...]
"""Keys and list positions from the root: `("services", "web", "routes", 0, "host")`."""


@dataclass(frozen=True, slots=True)
class Problem:
    """`message` says what is wrong and what was expected, without the place: "unknown key; did you mean "health"?"."""

    path: Path
    message: str


def dotted(path: Path) -> str:
    """The path as people write it: `services.web.routes[0].host`; a key that could be misread is quoted."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
            continue
        key = step if re.fullmatch(r"[\w-]+", step) else json.dumps(step, ensure_ascii=False)
        text += f".{key}" if text else key
    return text


def printable(sentence: str) -> str:
    """The sentence on one line, without what would move a terminal's cursor: it may quote what somebody pushed."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in sentence)
