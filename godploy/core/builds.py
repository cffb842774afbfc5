"""What is built, and the key under which its image is found again: nothing is built twice.

A key is `TREE-DIGEST-BUILDER`: the hash of the files, that of everything else that goes in, and the builder with its
version. The parts stand apart so that a reader sees what changed, and so that a new version of the builder, which comes
with an upgrade of Godploy, is told from a change of the sources: it rebuilds nothing that already runs.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from godploy.core import defaults
from godploy.core.facts import ContextQuery

BUILDER = "dockerfile.1"  # the version rises when the same sources would give another image


@dataclass(frozen=True, slots=True)
class BuildPlan:
    """A build that has no image yet for its key."""

    key: str
    context: str  # folder in the repository, "" for its root
    dockerfile: str  # path in the repository
    target: str | None
    args: Mapping[str, str]  # sealed texts; never a secret: `${deployment.commit}` is all that is left in them
    secrets: Mapping[str, int]  # name → version
    pull: bool


def query(build: Mapping[str, Any], folder: str) -> ContextQuery:
    """The files that count for a `build:` of a manifest in `folder`."""
    context = _inside(folder, build.get("context", defaults.CONTEXT))
    watch = build.get("watch")
    return ContextQuery(
        context=context,
        dockerfile=_inside(context, build.get("dockerfile", defaults.DOCKERFILE)),
        watch=None if watch is None else tuple(_inside(folder, pattern) for pattern in watch),
    )


def plan_build(
    build: Mapping[str, Any],
    folder: str,
    *,
    args: Mapping[str, str],
    secrets: Mapping[str, int],
    tree: str,
    environment_class: str,
) -> BuildPlan:
    """The build of these sources; `args` are resolved, `secrets` have their versions."""
    asked = query(build, folder)
    target = build.get("target")
    # The Dockerfile's place within the context is enough: the same files elsewhere give the same image.
    dockerfile = posixpath.normpath(build.get("dockerfile", defaults.DOCKERFILE))
    counted = [environment_class, tree, dockerfile, target, sorted(args.items()), sorted(secrets.items())]
    digest = hashlib.sha256(json.dumps(counted).encode()).hexdigest()[:24]
    return BuildPlan(
        key=f"{tree[:40]}-{digest}-{BUILDER}",
        context=asked.context,
        dockerfile=asked.dockerfile,
        target=target,
        args=args,
        secrets=secrets,
        pull=build.get("pull") == "always",
    )


def same_sources(one: str | None, other: str | None) -> bool:
    """Whether two keys differ in the builder at most."""
    return one is not None and other is not None and one.rpartition("-")[0] == other.rpartition("-")[0]


def tree_of(key: str | None) -> str:
    """The hash of the files, from a key; "" without one."""
    return (key or "").rsplit("-", 2)[0]


def _inside(folder: str, path: str) -> str:
    joined = posixpath.normpath(posixpath.join(folder, path))
    return "" if joined == "." else joined
