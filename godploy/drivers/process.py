"""The only way to start a program: an argument list, a session of its own, and nothing of it left afterwards.

Cancelling an asyncio wait leaves the child running, killing the child leaves its grandchildren, and waiting for it then
hangs while one of those holds the pipe (cpython issues 103847, 119710, 125502). So every program gets its own session
and leaves as a group: SIGTERM, a grace period, SIGKILL, reaped before the error goes on.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import tempfile
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from godploy.core.command import Command
from godploy.drivers.lines import LineSplitter
from godploy.outlast import outlast

OUTPUT_LIMIT = 16 * 1024 * 1024
_STDERR_KEPT = 64 * 1024
_CHUNK = 64 * 1024
_LINES_AT_ONCE = 256
_LINGER = 1.0  # seconds that a grandchild may hold the pipes after its parent has ended
_PATIENCE = 0.2  # seconds from SIGKILL until nothing runs any more, however busy the machine
_SECRET_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,127}")
_SECRETS_PREFIX = "godploy-secrets-"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Result:
    """`code` is the exit code, negative for a signal. `stderr` holds the last 64 KiB."""

    code: int
    stdout: bytes
    stderr: bytes

    @property
    def complaint(self) -> str:
        """What the program said was wrong, as text for people."""
        return self.stderr.decode(errors="replace").strip()


class Missing(Exception):
    """The program is not installed, or not on PATH."""

    def __init__(self, program: str) -> None:
        super().__init__(f"the program {program!r} is not installed")
        self.program = program


class TooMuchOutput(Exception):
    """The program wrote more to its standard output than the caller takes; it was ended."""


async def run(
    command: Command,
    *,
    timeout: float,
    on_line: Callable[[str], None] | None = None,
    grace: float = 2.0,
    limit: int = OUTPUT_LIMIT,
) -> Result:
    """Runs a program to its end; `timeout` and `grace` are in seconds, `limit` in bytes.

    With `on_line` both streams are merged and passed on line by line (see `LineSplitter`), and the result holds no
    output. Without it standard output is collected. Raises Missing, TimeoutError or TooMuchOutput; the program and all
    that it started are gone by then, as they are when the call is cancelled.
    """
    async with spawn(command, grace=grace, merged=on_line is not None) as process:
        async with asyncio.timeout(timeout):
            process.feed(command.stdin)
            if on_line is not None:
                await _pass_lines(process.stdout, on_line)
                return Result(await process.wait(), b"", b"")
            output = await _collect(process.stdout, limit)
            code = await process.wait()
    return Result(code, output, process.stderr)


@asynccontextmanager
async def spawn(command: Command, *, grace: float = 2.0, merged: bool = False) -> AsyncIterator[Process]:
    """Starts a program whose streams the caller reads and writes, for as long as the block lasts.

    `command.stdin` is not used here: write to `process.stdin`. With `merged`, stderr goes the way of stdout. Leaving
    the block ends what still runs. Raises Missing.
    """
    async with _secrets(command) as whole:
        process, cancelled = await _outlast(_start(whole, merged))
        try:
            if cancelled:
                raise asyncio.CancelledError
            yield process
        finally:
            _, cancelled = await _outlast(process.end(grace))
            if cancelled:
                raise asyncio.CancelledError


class Process:
    """A running program: its streams, and the certainty of its end."""

    def __init__(self, transport: asyncio.SubprocessTransport, protocol: _Protocol) -> None:
        self._inner = asyncio.subprocess.Process(transport, protocol, asyncio.get_running_loop())
        self._transport = transport
        self._exited = protocol.exited
        self._stderr: deque[bytes] = deque()
        self._tasks = [asyncio.create_task(self._cut_loose(), name=f"cut loose {self.pid}")]
        if self._inner.stderr is not None:
            self._tasks.append(asyncio.create_task(self._keep_stderr(self._inner.stderr), name=f"stderr {self.pid}"))

    @property
    def pid(self) -> int:
        return self._inner.pid

    @property
    def stdin(self) -> asyncio.StreamWriter:
        assert self._inner.stdin is not None
        return self._inner.stdin

    @property
    def stdout(self) -> asyncio.StreamReader:
        assert self._inner.stdout is not None
        return self._inner.stdout

    @property
    def stderr(self) -> bytes:
        """The last 64 KiB that it wrote there; complete once `wait` has returned."""
        return b"".join(self._stderr)[-_STDERR_KEPT:]

    def feed(self, data: bytes | None) -> None:
        """Writes everything to its standard input, in the background, and closes that."""
        self._tasks.append(asyncio.create_task(self._write(data or b""), name=f"stdin {self.pid}"))

    async def wait(self) -> int:
        """Its exit code. Read `stdout` to the end first, or the program may wait for you."""
        await self._exited.wait()
        if len(self._tasks) > 1:
            await asyncio.wait(self._tasks[1:])  # the rest of stderr
        code = self._transport.get_returncode()
        assert code is not None
        return code

    async def end(self, grace: float) -> None:
        """Ends it and all that it started; returns when it is reaped. Leave by the group, not by the child."""
        discarding = asyncio.create_task(_discard(self.stdout))  # who flushes on SIGTERM must not wait for a reader
        if not self._exited.is_set():
            self._signal(signal.SIGTERM)
            with suppress(TimeoutError):
                async with asyncio.timeout(grace):
                    await self._exited.wait()
        await self._kill()
        await self._exited.wait()
        self._transport.close()
        for task in (*self._tasks, discarding):
            task.cancel()
        await asyncio.gather(*self._tasks, discarding, return_exceptions=True)

    def _signal(self, number: signal.Signals) -> bool:
        """Whether the group still has a member."""
        try:
            os.killpg(self.pid, number)
        except (ProcessLookupError, PermissionError):
            return False
        return True

    async def _kill(self) -> None:
        """A killed process is not gone at once; a grandchild counts until the init process has reaped it, and not every
        container has one that does."""
        patience = time.monotonic() + _PATIENCE
        while self._signal(signal.SIGKILL) and time.monotonic() < patience:
            await asyncio.sleep(0.002)

    async def _write(self, data: bytes) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # a program need not read all of its input
            self.stdin.write(data)
            await self.stdin.drain()
        self.stdin.close()

    async def _keep_stderr(self, stream: asyncio.StreamReader) -> None:
        size = 0
        while chunk := await stream.read(_CHUNK):
            self._stderr.append(chunk)
            size += len(chunk)
            while size - len(self._stderr[0]) > _STDERR_KEPT:
                size -= len(self._stderr.popleft())

    async def _cut_loose(self) -> None:
        """Something in the background may hold the pipes after the program has ended: nobody waits for that."""
        await self._exited.wait()
        await asyncio.sleep(_LINGER)
        self._signal(signal.SIGKILL)
        await asyncio.sleep(_LINGER / 10)
        self._transport.close()


class _Protocol(asyncio.subprocess.SubprocessStreamProtocol):
    """Tells the exit of the program itself, which `asyncio.subprocess.Process.wait` tells only with the last pipe."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(limit=_CHUNK, loop=loop)
        self.exited = asyncio.Event()

    def process_exited(self) -> None:
        super().process_exited()
        self.exited.set()


async def _start(command: Command, merged: bool) -> Process:
    loop = asyncio.get_running_loop()
    pipe = asyncio.subprocess.PIPE
    try:
        transport, protocol = await loop.subprocess_exec(
            lambda: _Protocol(loop),
            *command.argv,
            stdin=pipe,
            stdout=pipe,
            stderr=asyncio.subprocess.STDOUT if merged else pipe,
            cwd=command.cwd,
            env=_environment(command.env),
            start_new_session=True,
        )
    except FileNotFoundError as error:
        if command.cwd is not None and error.filename == command.cwd:
            raise
        raise Missing(command.argv[0]) from error
    return Process(transport, protocol)


def _environment(additions: Mapping[str, str]) -> dict[str, str]:
    """Ours is never handed on wholesale, since it may hold our own settings and secrets. The home is not there, so no
    program finds a file of ours in it; one that must keep something is given a place, as `docker` is."""
    return {"PATH": os.environ.get("PATH", os.defpath), "HOME": "/nonexistent", "LANG": "C.UTF-8", **additions}


async def _outlast(work: Coroutine[Any, Any, T]) -> tuple[T, bool]:
    """Runs `work` to its end through any number of cancellations; tells whether there was one."""
    task = asyncio.create_task(work)
    cancelled = await outlast(task)
    return task.result(), cancelled


async def _collect(stream: asyncio.StreamReader, limit: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while chunk := await stream.read(_CHUNK):
        size += len(chunk)
        if size > limit:
            raise TooMuchOutput(f"more than {limit} bytes of output")
        chunks.append(chunk)
    return b"".join(chunks)


async def _discard(stream: asyncio.StreamReader) -> None:
    while await stream.read(_CHUNK):
        pass


async def _pass_lines(stream: asyncio.StreamReader, on_line: Callable[[str], None]) -> None:
    """A flood of output must not starve the loop: others get as much time as the lines took, and the full pipe holds
    the program back meanwhile."""
    splitter = LineSplitter()
    while chunk := await stream.read(_CHUNK):
        began = time.monotonic()
        for count, line in enumerate(splitter.feed(chunk), start=1):
            on_line(line)
            if count % _LINES_AT_ONCE == 0:
                await asyncio.sleep(time.monotonic() - began)
                began = time.monotonic()
    for line in splitter.rest():
        on_line(line)


@asynccontextmanager
async def _secrets(command: Command) -> AsyncIterator[Command]:
    """The command with the paths of its secret files, which are in place for as long as the block lasts."""
    if not command.secret_files:
        yield command
        return
    directory, _ = await _outlast(asyncio.to_thread(_write_secrets, command.secret_files))
    try:
        argv = tuple(_with_secrets(argument, directory, command.secret_files) for argument in command.argv)
        env = {name: _with_secrets(value, directory, command.secret_files) for name, value in command.env.items()}
        yield replace(command, argv=argv, env=env)
    finally:
        await _outlast(asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True))


def _write_secrets(files: Mapping[str, str]) -> Path:
    for name in files:
        if not _SECRET_NAME.fullmatch(name):
            raise ValueError(f"not a name for a secret file: {name!r}")
    directory = Path(tempfile.mkdtemp(prefix=f"{_SECRETS_PREFIX}{os.getpid()}-", dir=_memory()))
    for name, content in files.items():
        descriptor = os.open(directory / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            file.write(content)
    return directory


def _with_secrets(argument: str, directory: Path, files: Mapping[str, str]) -> str:
    for name in sorted(files, key=len, reverse=True):
        argument = argument.replace(f"{{secrets}}/{name}", str(directory / name))
    return argument


def _memory() -> Path:
    """Where files do not reach a disk, if there is such a place."""
    memory = Path("/dev/shm")  # noqa: S108
    return memory if memory.is_dir() and os.access(memory, os.W_OK) else Path(tempfile.gettempdir())


def sweep_secrets() -> None:
    """Removes the secret files of Godploys that were killed in the middle of a command. Blocking; for the start."""
    for directory in _memory().glob(f"{_SECRETS_PREFIX}*"):
        owner = directory.name.removeprefix(_SECRETS_PREFIX).partition("-")[0]
        if owner.isdecimal() and int(owner) != os.getpid() and not Path(f"/proc/{owner}").exists():
            shutil.rmtree(directory, ignore_errors=True)
