"""The many ways in which a compose file writes one value, each turned into the one that a manifest takes.

Values come as texts, lists and mappings of texts (see `core.compose`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

_MERGES = 4  # how deep `<<` may stand in what it merges; more is a bomb rather than a file
# https://github.com/compose-spec/compose-spec/blob/main/12-interpolation.md
_VARIABLE = re.compile(r"\$(?:(\$)|\{([A-Za-z_]\w*)(?:(:?[-?+])([^}]*))?\}|([A-Za-z_]\w*))")
_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+)(?:\.\d+)?s)?(?:(\d+)ms)?")
_SIZE = re.compile(r"([0-9]{1,15})(?:\.[0-9]+)?([bkmg]?)b?", re.IGNORECASE)


def mapping(value: Any, depth: int = 0) -> dict[str, Any]:
    """A mapping with what `<<` merges into it; empty for everything else."""
    if not isinstance(value, dict):
        return {}
    merged: dict[str, Any] = {}
    below = value.get("<<")
    if below is not None and depth < _MERGES:
        for part in below if isinstance(below, list) else [below]:
            merged = {**mapping(part, depth + 1), **merged}
    return {**merged, **{key: inner for key, inner in value.items() if isinstance(key, str) and key != "<<"}}


def items(value: Any) -> list[Any]:
    """A list, the keys of a mapping, or the one text that stands for a list of it."""
    if isinstance(value, dict):
        return list(mapping(value))
    if isinstance(value, list):
        return value
    return [value] if value else []


def pairs(value: Any) -> dict[str, str]:
    """`{A: b}` and `[A=b, C]` alike; a name without a value has the empty text."""
    if isinstance(value, list):
        texts = [str(item) for item in value if isinstance(item, str)]
        return {text.partition("=")[0]: text.partition("=")[2] for text in texts}
    return {name: inner if isinstance(inner, str) else "" for name, inner in mapping(value).items()}


@dataclass(frozen=True, slots=True)
class Interpolated:
    """A text whose `${…}` have their defaults put in; `missing` are the variables that have none."""

    parts: tuple[tuple[str, bool], ...]  # text, whether it is the name of a missing variable

    @property
    def missing(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(text for text, variable in self.parts if variable))

    @property
    def text(self) -> str:
        """The text itself, with nothing where a variable is missing."""
        return "".join(text for text, variable in self.parts if not variable)

    @property
    def escaped(self) -> str:
        """The text as it is written in a manifest."""
        return self.text.replace("${", "$${")

    @property
    def with_secrets(self) -> str:
        """As it is written in a manifest, with a secret of that name where a variable is missing."""
        return "".join(f"${{secrets.{text}}}" if gap else text.replace("${", "$${") for text, gap in self.parts)


def interpolated(text: str) -> Interpolated:
    parts: list[tuple[str, bool]] = []
    plain = ""
    at = 0
    for match in _VARIABLE.finditer(text):
        plain += text[at : match.start()]
        at = match.end()
        if match[1]:
            plain += "$"
        elif match[3] in ("-", ":-"):
            plain += match[4]
        elif match[3] not in ("+", ":+"):
            parts += [(plain, False), (match[2] or match[5], True)]
            plain = ""
    parts.append((plain + text[at:], False))
    return Interpolated(tuple(parts))


def port(item: Any) -> int | None:
    """The container's TCP port of `8080:80`, `127.0.0.1:8080:80/tcp` or `{target: 80}`; None for ranges and UDP."""
    if isinstance(item, dict):
        text, protocol = str(item.get("target", "")), str(item.get("protocol", "tcp"))
    else:
        text, _, protocol = interpolated(str(item)).text.rpartition(":")[2].partition("/")
    if protocol not in ("", "tcp") or not re.fullmatch(r"[1-9][0-9]{0,4}", text) or int(text) > 65535:
        return None
    return int(text)


def mount(item: Any) -> tuple[str, str, str]:
    """Source, path in the container, and kind (`volume`, `bind`, `tmpfs`); an unnamed volume has an empty source."""
    if isinstance(item, dict):
        return str(item.get("source", "")), str(item.get("target", "")).rstrip("/"), str(item.get("type", "volume"))
    source, _, rest = interpolated(str(item)).text.partition(":")
    path = rest.partition(":")[0].rstrip("/")
    if not rest:
        return "", source, "volume"
    return source, path, "bind" if source.startswith((".", "/", "~")) or "/" in source else "volume"


def duration(value: Any) -> str | None:
    """`1m30s` as `90s`; less than a second is one. None for what is no duration."""
    match = _DURATION.fullmatch(str(value or ""))
    if match is None or not match[0]:
        return None
    hours, minutes, seconds, milliseconds = (int(part or 0) for part in match.groups())
    whole = hours * 3600 + minutes * 60 + seconds + milliseconds // 1000
    return f"{min(max(whole, 1), 9_999_999)}s"


def size(value: Any) -> str | None:
    """`512m`, `1gb` and plain bytes as whole mebibytes, of which a container needs six. None for what is no size."""
    match = _SIZE.fullmatch(str(value or ""))
    if match is None:
        return None
    units = {"": 0, "b": 0, "k": 10, "m": 20, "g": 30}
    mebibytes = (int(match[1]) << units[match[2].lower()]) >> 20
    return f"{min(max(mebibytes, 6), 9_999_999)}M"
