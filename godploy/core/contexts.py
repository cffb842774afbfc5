"""Which files of a commit count for a build, and the hash over them. Pure.

pathspec gives `watch` the meaning that people know from .gitignore.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from godploy.core.facts import Context, ContextQuery

_REGULAR = ("100644", "100755")
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
