"""Bare git repositories, moved without a working tree, and served by git's own `http-backend`."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from aiohttp import web

from tests.providers.fakes.state import Commit, Moved

_ENV = {
    "PATH": os.environ["PATH"],
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "safe.directory",
    "GIT_CONFIG_VALUE_0": "*",
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.org",
}
_PIPE = asyncio.subprocess.PIPE


async def git(directory: Path, *arguments: str, given: bytes = b"", fails: bool = False) -> str:
    """What git says, without the last line end; "" where `fails` is fine and it did."""
    command = ("git", "-C", str(directory), *arguments)
    process = await asyncio.create_subprocess_exec(*command, stdin=_PIPE, stdout=_PIPE, stderr=_PIPE, env=_ENV)
    output, errors = await process.communicate(given)
    if process.returncode:
        if fails:
            return ""
        raise RuntimeError(f"git {arguments[0]}: {errors.decode(errors='replace')}")
    return output.decode(errors="replace").removesuffix("\n")


def make(directory: Path, branch: str, object_format: str = "sha1") -> None:
    directory.mkdir(parents=True)
    init = ("git", "init", "-q", "--bare", "-b", branch, f"--object-format={object_format}", str(directory))
    subprocess.run(init, check=True, env=_ENV)
    with (directory / "config").open("a") as config:
        config.write("[uploadpack]\n\tallowAnySHA1InWant = true\n\tallowFilter = true\n")


async def resolve(directory: Path, name: str) -> str | None:
    """The commit (or tag object) of a ref; None where there is none."""
    return await git(directory, "rev-parse", "--verify", "-q", name, fails=True) or None


async def commit_of(directory: Path, name: str) -> str | None:
    return await resolve(directory, name + "^{commit}")


async def branches(directory: Path) -> dict[str, str]:
    """Name → commit."""
    listed = await git(directory, "for-each-ref", "--format=%(objectname) %(refname:lstrip=2)", "refs/heads")
    return {name: sha for sha, _, name in (line.partition(" ") for line in listed.splitlines())}


async def commit(directory: Path, ref: str, files: Mapping[str, str | None], message: str, parent: str | None) -> Moved:
    """Moves `ref` to a new commit: its files, with these written (None: removed), on top of `parent`."""
    before = await resolve(directory, ref)
    text = message.encode()
    stream = f"commit {ref}\ncommitter Ada <ada@example.org> now\ndata {len(text)}\n".encode() + text + b"\n"
    stream += f"from {parent}\n".encode() if parent else b""
    for path, content in files.items():
        quoted = path.replace("\\", "\\\\").replace('"', '\\"')
        if content is None:
            stream += f'D "{quoted}"\n'.encode()
        else:
            data = content.encode()
            stream += f'M 100644 inline "{quoted}"\ndata {len(data)}\n'.encode() + data + b"\n"
    await git(directory, "fast-import", "--quiet", "--force", "--date-format=now", given=stream)
    after = await resolve(directory, ref)
    forced = before is not None and parent != before
    return Moved(ref, before, after, forced)


async def merge(directory: Path, base: str, head: str, message: str) -> Moved:
    """Moves the branch `base` to a merge of `head`."""
    ref = f"refs/heads/{base}"
    before = await resolve(directory, ref)
    tree = await git(directory, "merge-tree", "--write-tree", ref, head)
    after = await git(directory, "commit-tree", tree, "-p", ref, "-p", head, "-m", message)
    await git(directory, "update-ref", ref, after)
    return Moved(ref, before, after)


async def commits(directory: Path, moved: Moved) -> list[Commit]:
    """Those that a move of a branch brought, oldest first; none for a tag or a deletion."""
    if moved.after is None or moved.is_tag:
        return []
    if moved.before is not None:
        these = [moved.after, f"^{moved.before}"]
    else:
        these = [moved.after, "--not", f"--exclude={moved.name}", "--branches"]
    listed = await git(directory, "rev-list", "--reverse", *these)
    return [await described(directory, sha) for sha in listed.split()]


async def described(directory: Path, sha: str) -> Commit:
    tree, _, message = (await git(directory, "show", "-s", "--format=%T%n%B", sha)).partition("\n")
    changed = await git(directory, "diff-tree", "-r", "--root", "--no-commit-id", "--name-status", "-z", sha)
    parts = changed.split("\0")
    by_letter: dict[str, list[str]] = {"A": [], "M": [], "D": []}
    for letter, path in zip(parts[::2], parts[1::2], strict=False):
        by_letter.setdefault(letter, []).append(path)
    return Commit(sha, tree, message.rstrip("\n"), by_letter["A"], by_letter["M"], by_letter["D"])


async def serve(directory: Path, below: str, request: web.Request) -> web.Response:
    """`below` is the part of the path after the repository's: "/info/refs"."""
    env = {
        **_ENV,
        "GIT_PROJECT_ROOT": str(directory),
        "GIT_HTTP_EXPORT_ALL": "1",
        "REQUEST_METHOD": request.method,
        "PATH_INFO": below,
        "QUERY_STRING": request.query_string,
        "CONTENT_TYPE": request.headers.get("Content-Type", ""),
        "HTTP_CONTENT_ENCODING": request.headers.get("Content-Encoding", ""),
        "GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
    }
    backend = await asyncio.create_subprocess_exec("git", "http-backend", stdin=_PIPE, stdout=_PIPE, env=env)
    output, _ = await backend.communicate(await request.read())
    head, _, body = output.partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
    return web.Response(status=int(headers.pop("Status", "200")[:3]), headers=headers, body=body)
