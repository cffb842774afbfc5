"""How git is called: with no configuration but this one, whatever a repository, a user or the machine would like.

A repository and its server are foreign. So: no system or user configuration, no hooks, no helper programs, no prompts,
one protocol at a time, no redirects, no replaced objects, no submodules, objects checked as they arrive.
https://git-scm.com/docs/git and https://git-scm.com/docs/git-config name each of the words below.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from pathlib import Path

from godploy.core.command import Command
from godploy.core.remote import Remote, is_public
from godploy.drivers.process import OUTPUT_LIMIT, Result, run

_ENVIRONMENT = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ALLOW_PROTOCOL": "none",  # a list; calls that reach out name the one protocol they need
    "GIT_PROTOCOL_FROM_USER": "0",
    "GIT_NO_REPLACE_OBJECTS": "1",  # refs/replace/… can be pushed, and would swap one object for another
    "GIT_LITERAL_PATHSPECS": "1",
    "GIT_LFS_SKIP_SMUDGE": "1",
}

# Old but harmless faults that famous repositories carry; hosting services let these three pass, too.
_TOLERATED = ("zeroPaddedFilemode", "missingSpaceBeforeDate", "badTimezone")

_CONFIG = {
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "credential.helper": "",
    "submodule.recurse": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "http.followRedirects": "false",
    "http.lowSpeedLimit": "1000",  # bytes per second, for …
    "http.lowSpeedTime": "30",  # … seconds: a server that has stopped talking
    "transfer.hideRefs": "refs/godploy",
    "fetch.fsckObjects": "true",
    "receive.fsckObjects": "true",
    **{f"{what}.fsck.{fault}": "ignore" for what in ("fetch", "receive") for fault in _TOLERATED},
}


class GitError(Exception):
    """An expected failure; `code` names the case in `core.failures`, `facts` fill its sentence.

    repository_unreachable (url, detail), repository_denied (url, detail), host_key_changed (url, pinned, seen),
    unknown_commit (commit), branch_deleted (branch), repository_too_large (url, limit), disk_full (detail), git_failed
    (detail).
    """

    def __init__(self, code: str, **facts: object) -> None:
        super().__init__(f"{code} {facts}")
        self.code = code
        self.facts = facts


def environment(config: Mapping[str, str] | None = None) -> dict[str, str]:
    """The hardened environment; `config` is added to its configuration, which programs that git starts inherit."""
    pairs = {**_CONFIG, **(config or {})}
    numbered = {"GIT_CONFIG_COUNT": str(len(pairs))}
    for number, (key, value) in enumerate(pairs.items()):
        numbered[f"GIT_CONFIG_KEY_{number}"] = key
        numbered[f"GIT_CONFIG_VALUE_{number}"] = value
    return {**_ENVIRONMENT, **numbered}


def command(
    directory: Path,
    *argv: str,
    stdin: bytes | None = None,
    env: Mapping[str, str] | None = None,
    max_file: int = 0,
    max_memory: int = 0,
) -> Command:
    """git on the bare repository in `directory`; with `max_file` no file that it writes grows beyond so many bytes,
    with `max_memory` it takes no more of these for its data."""
    limits = {"fsize": max_file, "data": max_memory}
    given = [f"--{name}={limit}" for name, limit in limits.items() if limit]
    limited = ("prlimit", *given) if given else ()
    return Command(
        (*limited, "git", *argv), env={**environment(), "GIT_DIR": str(directory), **(env or {})}, stdin=stdin
    )


async def call(command: Command, *, timeout: float = 30.0, limit: int = OUTPUT_LIMIT) -> Result:
    """Runs it. Raises GitError for a full disk, and what `process.run` raises."""
    result = await run(command, timeout=timeout, limit=limit)
    if result.code != 0 and b"No space left on device" in result.stderr:
        raise GitError("disk_full", detail=words(result))
    return result


async def must(command: Command, *, timeout: float = 30.0, limit: int = OUTPUT_LIMIT) -> bytes:
    """Runs what does not fail on a sound repository; its output. Raises GitError."""
    result = await call(command, timeout=timeout, limit=limit)
    if result.code != 0:
        raise GitError("git_failed", detail=words(result))
    return result.stdout


def words(result: Result) -> str:
    """What git said was wrong, on one line, without its prefixes."""
    lines = [line.strip() for line in result.complaint.splitlines()]
    bare = [line.removeprefix("fatal: ").removeprefix("error: ").removeprefix("remote: ") for line in lines if line]
    text = "".join(character if character.isprintable() else "?" for character in "; ".join(bare))[:400]
    return text or f"git ended with code {result.code}"


async def checked(remote: Remote) -> list[str]:
    """The addresses that a remote's name has now, each of them public; none for a private one, which may be anywhere.
    Whoever connects to these alone is not led elsewhere by the name a moment later. Raises GitError."""
    if remote.private:
        return []
    try:
        found = await asyncio.get_running_loop().getaddrinfo(remote.host, remote.port, type=socket.SOCK_STREAM)
    except OSError as error:
        detail = f"the name {remote.host} does not resolve ({error.strerror})"
        raise GitError("repository_unreachable", url=remote.url, detail=detail) from error
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    inner = [address for address in addresses if not is_public(address)]
    if inner:
        detail = f"{remote.host} leads to the private address {inner[0]}, which is not among the listed bases"
        raise GitError("repository_unreachable", url=remote.url, detail=detail)
    return addresses
