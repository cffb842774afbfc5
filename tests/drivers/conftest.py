"""Sources to fetch from: a repository that a test writes, and the servers that offer it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

_IDENTITY = {
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.com",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.com",
    "GIT_AUTHOR_DATE": "1700000000 +0000",
    "GIT_COMMITTER_DATE": "1700000000 +0000",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
}


def git(folder: Path, *argv: str, stdin: bytes | None = None) -> str:
    done = subprocess.run(
        ["git", *argv], cwd=folder, input=stdin, env={**os.environ, **_IDENTITY}, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().strip()


class Source:
    """A repository in the hands of its author."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        git(folder, "init", "--quiet", "--initial-branch=main")

    def git(self, *argv: str, stdin: bytes | None = None) -> str:
        return git(self.folder, *argv, stdin=stdin)

    def commit(self, message: str = "work", **files: str) -> str:
        """Writes the files (`__` in a name stands for `/`, `_dot_` for a dot) and commits everything."""
        for name, content in files.items():
            path = self.folder / name.replace("__", "/").replace("_dot_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        return self.head()

    def head(self) -> str:
        return self.git("rev-parse", "HEAD")

    def commit_tree(self, listing: bytes) -> str:
        """A commit of a hand-made tree, as `git mktree` reads it; no branch has it."""
        tree = self.git("mktree", "-z", "--missing", stdin=listing)
        return self.git("commit-tree", tree, "-m", "hand-made")

    def blob(self, content: bytes) -> str:
        return self.git("hash-object", "-w", "--stdin", stdin=content)


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return Source(tmp_path / "source")


@pytest.fixture
def free_port() -> int:
    return _free_port()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def server(argv: list[str], port: int, **more: object) -> Iterator[None]:
    """A program that listens on a port, for as long as the block lasts."""
    process = subprocess.Popen(argv, start_new_session=True, **more)  # type: ignore[call-overload]
    try:
        deadline = time.monotonic() + 20
        while True:
            with socket.socket() as knocking:
                if knocking.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None, f"{argv[0]} ended with {process.returncode}"
            assert time.monotonic() < deadline, f"{argv[0]} does not listen"
            time.sleep(0.02)
        yield
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(10)


@pytest.fixture
def git_daemon(source: Source) -> Iterator[str]:
    """The base under which the source is served by git's own daemon."""
    port = _free_port()
    argv = ["git", "daemon", "--export-all", "--reuseaddr", f"--base-path={source.folder.parent}"]
    with server([*argv, "--listen=127.0.0.1", f"--port={port}", str(source.folder.parent)], port):
        yield f"git://127.0.0.1:{port}"


@pytest.fixture
def dumb_server(source: Source) -> Iterator[str]:
    """A plain file server, behind which no git runs."""
    port = _free_port()
    argv = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port)]
    with server(argv, port, cwd=source.folder.parent, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
async def old_server(source: Source) -> AsyncIterator[str]:
    """A git server that speaks the first protocol only, in which none but the heads can be asked for by name."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(int(await reader.readexactly(4), 16) - 4)
        pipe = asyncio.subprocess.PIPE
        program = await asyncio.create_subprocess_exec(
            "git", "upload-pack", str(source.folder), stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.DEVNULL
        )
        assert program.stdin is not None
        assert program.stdout is not None
        await asyncio.gather(_pump(reader, program.stdin), _pump(program.stdout, writer))
        await program.wait()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        yield f"git://127.0.0.1:{listening.sockets[0].getsockname()[1]}"


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()
    writer.close()


async def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)
