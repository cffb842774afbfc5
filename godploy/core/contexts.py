"""Which files of a commit count for a build, and the hash over them. Pure.

pathspec gives `watch` the meaning that people know from .gitignore.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from godploy.core.facts import Context, ContextQuery

_REGULAR = ("100644", "100755")
_STEPS = 1_000_000_000  # of an expression: one or two seconds
_DIGITS = 40  # of the hash: as many as a build key shows, so that what runs can be told from its key


class Entry(Protocol):
    """A file in the tree of a commit, as git lists it."""

    @property
    def path(self) -> str: ...
    @property
    def mode(self) -> str: ...
    @property
    def id(self) -> str: ...


def contexts(entries: Iterable[Entry], queries: Mapping[str, ContextQuery], manifest: str) -> dict[str, Context]:
    """service → its context; a service whose folder the commit does not have is left out."""
    listed = list(entries)
    found = {service: _context(listed, query, manifest) for service, query in queries.items()}
    return {service: context for service, context in found.items() if context is not None}


def takes_long(entries: Iterable[Entry], query: ContextQuery) -> bool:
    """Whether comparing the paths with the patterns of `watch` could take more than a few seconds: an expression such
    as `a*a*a*b` is tried at every place that each of its stars could end at. Ordinary ones are far below."""
    shapes = Counter(map(_shape, query.watch or ()))
    left = _STEPS
    for entry in entries:
        parts = entry.path.split("/")
        longest = max(map(len, parts))
        for (folders, stars), count in shapes.items():
            left -= count * (len(entry.path) * len(parts) ** folders + longest**stars)
        if left < 0:
            return True
    return False


def _shape(pattern: str) -> tuple[int, int]:
    """How often folders are to be looked for, and the most stars in one part."""
    *leading, _ = parts = pattern.split("/")
    folders = leading.count("**") + (0 if leading else 1)
    return folders, max((part.count("*") for part in parts if part != "**"), default=0)


def _context(entries: list[Entry], query: ContextQuery, manifest: str) -> Context | None:
    inside = f"{query.context}/" if query.context else ""
    within = [entry for entry in entries if entry.path.startswith(inside)]
    if not within:
        return None
    watched = _watched(query)
    digest = hashlib.sha256()
    files = 0
    for entry in within:
        if entry.path not in (query.dockerfile, manifest) and watched(entry.path):
            files += 1
            digest.update(f"{entry.mode} {entry.id} {entry.path[len(inside) :]}\n".encode())
    # The Dockerfile always counts, also one outside the context.
    dockerfile = next((entry for entry in entries if entry.path == query.dockerfile and entry.mode in _REGULAR), None)
    if dockerfile is not None:
        digest.update(f"Dockerfile {dockerfile.id}\n".encode())
    return Context(tree=digest.hexdigest()[:_DIGITS], dockerfile=dockerfile is not None, files=files)


def _watched(query: ContextQuery) -> Callable[[str], bool]:
    if query.watch is None:
        return lambda path: True
    import pathspec  # only repositories that narrow need it

    return pathspec.GitIgnoreSpec.from_lines(query.watch).match_file
