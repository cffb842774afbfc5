"""A bare repository as one file and back: all its branches, tags and kept commits, and where HEAD points.

Git's own bundles, since a copy of a repository's files that is taken during a push may name objects that it lacks.
https://git-scm.com/docs/git-bundle
"""

from __future__ import annotations

from pathlib import Path

from godploy.drivers.git_program import command, must

_TIMEOUT = 1800.0  # seconds; two gigabytes on a slow disk


async def write(directory: Path, target: Path) -> str:
    """Writes the bundle, and returns what HEAD names; a repository without a commit has no bundle. Raises GitError."""
    head = (await must(command(directory, "symbolic-ref", "HEAD"))).decode().strip()
    if await must(command(directory, "for-each-ref", "--count=1")):
        await must(command(directory, "bundle", "create", "--quiet", str(target), "--all"), timeout=_TIMEOUT)
    return head


async def read(directory: Path, source: Path | None, head: str) -> None:
    """Makes the repository from a bundle, empty where there was none. Raises GitError."""
    await must(command(directory, "init", "--bare", "--quiet", "--template=", "--initial-branch=main"))
    if source is not None:
        found = await must(command(directory, "bundle", "unbundle", str(source)), timeout=_TIMEOUT)
        named = [line.split(" ", 1) for line in found.decode().splitlines()]
        lines = [f"create {name} {commit}\n" for commit, name in named if name.startswith("refs/")]
        await must(command(directory, "update-ref", "--stdin", stdin="".join(lines).encode()))
    await must(command(directory, "symbolic-ref", "HEAD", head))
