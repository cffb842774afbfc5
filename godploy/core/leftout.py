"""What a commit names but does not hold, and no fetch brings: submodules, and files kept in Git LFS.

A build with them missing fails in odd ways, so the log says it beforehand. LFS is told by the `filter=lfs` lines of the
root's `.gitattributes`, where `git lfs track` writes them: https://git-scm.com/docs/gitattributes
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Protocol

_NAMED = 3  # so many are told by name
_MOST_PATTERNS = 50
_MOST_STEPS = 3_000_000  # of comparing, a few seconds; what an ordinary repository needs is far less
# A pointer is a text of about 130 bytes, never more than 1023:
# https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md
_LONGEST_POINTER = 1023


class Listed(Protocol):
    """A file, folder or submodule of a commit."""

    @property
    def kind(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def path(self) -> str: ...


def sentences(entries: Iterable[Listed], attributes: str) -> list[str]:
    """What is left out, for people; `attributes` is the text of `.gitattributes`, empty where there is none."""
    rules = _rules(attributes)
    modules: list[str] = []
    files: list[str] = []
    each = sum(len(pattern) for pattern, _ in rules)
    steps = 0
    for entry in entries:
        if entry.kind == "commit":
            modules.append(entry.path)
        elif rules and entry.kind == "blob" and 0 < entry.size <= _LONGEST_POINTER and steps < _MOST_STEPS:
            steps += each * (entry.path.count("/") + 1)
            if _in_lfs(entry.path, rules):
                files.append(entry.path)
    said: list[str] = []
    if len(modules) == 1:
        said.append(f"the submodule {_shown(modules)} is not fetched; its folder is empty")
    elif modules:
        said.append(f"{len(modules)} submodules are not fetched, their folders are empty: {_shown(modules)}")
    if len(files) == 1:
        said.append(f"1 file is kept in Git LFS and is not fetched: {_shown(files)}")
    elif files:
        count = f"{len(files)} files are" if steps < _MOST_STEPS else f"at least {len(files)} files are"
        said.append(f"{count} kept in Git LFS and are not fetched: {_shown(files)}")
    return said


def _shown(paths: Sequence[str]) -> str:
    names = ", ".join("".join(c if c.isprintable() else "?" for c in path[:200]) for path in paths[:_NAMED])
    return names if len(paths) <= _NAMED else f"{names} and {len(paths) - _NAMED} more"


def _rules(attributes: str) -> list[tuple[tuple[str, ...], bool]]:
    """Patterns, part by part, with whether they put a file into LFS; those that say nothing of filters are left out."""
    rules: list[tuple[tuple[str, ...], bool]] = []
    for line in attributes.split("\n"):
        # "git lfs track" writes a blank in a pattern as a class of characters, which splits no words
        pattern, *words = line.replace("[[:space:]]", "?").split() or [""]
        said = [word for word in words if word.lstrip("-!").partition("=")[0] == "filter"]
        if not said or pattern.startswith(("#", "[attr]", "!")):
            continue
        parts = pattern.removeprefix("/").split("/")
        anywhere = "/" not in pattern
        rules.append((("**", *parts) if anywhere else tuple(parts), said[-1] == "filter=lfs"))
    return rules[:_MOST_PATTERNS]


def _in_lfs(path: str, rules: Sequence[tuple[tuple[str, ...], bool]]) -> bool:
    """The last pattern that matches decides."""
    parts = path.split("/")
    return next((kept for pattern, kept in reversed(rules) if _matches(parts, pattern)), False)


def _matches(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether a path's parts are those of a pattern, where `**` stands for any number of them. Step by step through the
    path, with all places of the pattern that are possible so far, so that no pattern makes it slow."""
    places = _over({0}, pattern)
    for part in parts:
        moved = {
            at if pattern[at] == "**" else at + 1 for at in places if at < len(pattern) and _fits(part, pattern[at])
        }
        places = _over(moved, pattern)
    return len(pattern) in places


def _fits(part: str, pattern: str) -> bool:
    return pattern == "**" or fnmatchcase(part, pattern)


def _over(places: set[int], pattern: Sequence[str]) -> set[int]:
    """With the places behind each `**`, which may stand for nothing."""
    found = set(places)
    for at in range(len(pattern)):
        if at in found and pattern[at] == "**":
            found.add(at + 1)
    return found
