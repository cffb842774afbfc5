"""What feeds an environment: branches or tags, by name or pattern, unless the commit itself asks not to be deployed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from godploy.core.model import Feed

_SKIP = re.compile(r"\[(?:skip (?:ci|deploy)|(?:ci|deploy) skip|no ci)\]", re.IGNORECASE)


def by_branch(mapping: Mapping[str, Feed], branch: str, default: str) -> tuple[str, ...]:
    """The environments that a branch feeds; one without branch and tag is fed by the default branch."""
    return tuple(
        name
        for name, feed in mapping.items()
        if (feed.branch is not None and matches(branch, feed.branch))
        or (feed.branch is None and feed.tag is None and branch == default)
    )


def by_tag(mapping: Mapping[str, Feed], tag: str) -> tuple[str, ...]:
    return tuple(name for name, feed in mapping.items() if feed.tag is not None and matches(tag, feed.tag))


def branches(mapping: Mapping[str, Feed], there: Iterable[str], default: str | None) -> list[str]:
    """Of the branches that are there, those that feed an environment, the default branch first, since its manifest says
    which others do."""
    patterns = [feed.branch for feed in mapping.values() if feed.branch is not None]
    found = sorted(name for name in there if name != default and any(matches(name, each) for each in patterns))
    return ([default] if default else []) + found


def is_pattern(text: str) -> bool:
    """Whether it stands for more names than one: git allows no `*` in a name."""
    return "*" in text


def skip(message: str) -> str | None:
    """The mark in a commit's message that asks not to deploy it, as written: `[skip ci]`, `[skip deploy]` and their
    like."""
    found = _SKIP.search(message)
    return found[0] if found else None


def matches(name: str, pattern: str) -> bool:
    """`*` stands for anything, slashes too; nothing else is special. Takes no longer for patterns that are meant to
    take long: each part is looked for once, from left to right."""
    first, *parts = pattern.split("*")
    if not parts:
        return name == pattern
    *inner, last = parts
    if not name.startswith(first) or not name.endswith(last) or len(name) < len(first) + len(last):
        return False
    at, end = len(first), len(name) - len(last)
    for part in inner:
        found = name.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True
