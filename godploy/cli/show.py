"""What is printed: tables, JSON, sizes and times for people, and text of others made harmless for a terminal."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import click

# Text of an app, a build or a commit may try to move the cursor, set the title or write to the clipboard; colours and
# nothing else pass. The right-to-left controls can make a line read as what it is not.
_COLOUR = r"\x1b\[[0-9;]*m"
_ESCAPES = re.compile(
    rf"({_COLOUR})"
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[PX^_][^\x1b]*(?:\x1b\\)?|\x1b\[[0-?]*[ -/]*[@-~]?|\x1b."
    r"|[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)
_COLOURED = re.compile(_COLOUR)
_STATES = {
    "succeeded": "green",
    "live": "green",
    "running": "green",
    "healthy": "green",
    "failed": "red",
    "unhealthy": "red",
    "down": "red",
    "degraded": "yellow",
    "queued": "yellow",
    "superseded": "yellow",
    "cancelled": "yellow",
    "stopped": "yellow",
    "usable": "green",
    "refused": "red",
    "uninstalled": "yellow",
    "working": "green",
    "silent": "yellow",
}


def safe(text: str, *, colour: bool = False) -> str:
    """One line of somebody else's text; with `colour` its colours stay, and end where it ends."""
    kept = _ESCAPES.sub(lambda found: (found[1] or "") if colour else "", text)
    return kept + "\x1b[0m" if colour and _COLOURED.search(kept) else kept


def colours() -> bool:
    """Whether standard output takes colours: https://no-color.org"""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and sys.stdout.isatty()


def line(text: str = "") -> None:
    """Prints one line of our own words."""
    click.echo(text, color=colours())


def foreign(text: str) -> None:
    """Prints one line that somebody else wrote."""
    click.echo(safe(text, colour=colours()), color=colours())


def note(text: str) -> None:
    """Something beside the result, for the eyes only: to standard error."""
    click.echo(text, err=True)


def as_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def as_json_line(value: Any) -> None:
    click.echo(json.dumps(value, ensure_ascii=False))


def state(text: str) -> str:
    return click.style(text, fg=_STATES[text]) if text in _STATES else text


def table(heads: Sequence[str], rows: Sequence[Sequence[Any]], *, empty: str) -> None:
    """Aligned columns; numbers given as int or float stand right. Columns without a single value are left out.
    Without rows, `empty` says so."""
    if not rows:
        note(empty)
        return
    texts = [[_cell(value) for value in row] for row in rows]
    used = [n for n in range(len(heads)) if any(row[n] for row in texts)]
    right = {n for n in used if all(isinstance(row[n], int | float) or row[n] is None for row in rows)}
    widths = {n: max(len(heads[n]), *(_width(row[n]) for row in texts)) for n in used}

    def cells(row: Sequence[str]) -> str:
        return "  ".join(_padded(row[n], widths[n], n in right) for n in used).rstrip()

    line(click.style(cells(heads), bold=True))
    for row in texts:
        line(cells(row))


def size(count: float | None) -> str:
    """Bytes, in the binary units of the manifest: 1536 → 1.5K."""
    if count is None:
        return ""
    value, units = float(count), "BKMGTP"
    for unit in units:
        if value < 1024 or unit == units[-1]:
            return f"{value:.0f}{unit}" if value >= 10 or unit == "B" else f"{value:.1f}{unit}"
        value /= 1024
    raise AssertionError


def moment(text: str | None) -> str:
    """An RFC 3339 time as people read it, in the zone of this machine."""
    if not text:
        return ""
    return _time(text).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def ago(text: str | None) -> str:
    """How long ago an RFC 3339 time was, roughly."""
    if not text:
        return ""
    seconds = max(0.0, time.time() - _time(text).timestamp())
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{seconds // length:.0f}{unit} ago"
    return f"{seconds:.0f}s ago"


def took(began: str | None, ended: str | None) -> str:
    """The time between two RFC 3339 times."""
    if not began or not ended:
        return ""
    seconds = (_time(ended) - _time(began)).total_seconds()
    return f"{seconds:.1f}s" if seconds < 60 else f"{seconds // 60:.0f}m{seconds % 60:02.0f}s"


def _time(text: str) -> datetime:
    parsed = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return safe(str(value), colour=True) if _COLOURED.search(str(value)) else safe(str(value))


def _width(text: str) -> int:
    return len(_COLOURED.sub("", text))


def _padded(text: str, width: int, right: bool) -> str:
    space = " " * (width - _width(text))
    return space + text if right else text + space
