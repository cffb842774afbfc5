"""A complaint about one place of a manifest, before that place has become a line and a column."""

from __future__ import annotations

from dataclasses import dataclass

Path = tuple[str | int, ...]
"""Keys and list positions from the root: `("services", "web", "routes", 0, "host")`."""


@dataclass(frozen=True, slots=True)
class Problem:
    """`message` says what is wrong and what was expected, without the place: "unknown key; did you mean "health"?"."""

    path: Path
    message: str


def dotted(path: Path) -> str:
    """The path as people write it: `services.web.routes[0].host`."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f".{step}" if text else step
    return text
