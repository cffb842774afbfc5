"""What a program leaves behind: nothing, however it ends."""

from __future__ import annotations

import asyncio
import os
import resource
import sys
import time
from pathlib import Path

import pytest

from godploy.core.command import Command
from godploy.drivers import process
from godploy.drivers.process import Missing, TooMuchOutput, run, spawn

from .conftest import until


def sh(script: str, **more: object) -> Command:
    return Command(("sh", "-c", script), **more)  # type: ignore[arg-type]


def python(script: str) -> Command:
    return Command((sys.executable, "-c", script))


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def read_pids(file: Path) -> list[int]:
    return [int(word) for word in file.read_text().split()] if file.exists() else []


async def pids_in(file: Path, count: int) -> list[int]:
    await until(lambda: len(read_pids(file)) == count)
    return read_pids(file)


async def test_result_has_both_streams_and_the_exit_code() -> None:
    result = await run(sh("echo out; echo err >&2; exit 3"), timeout=5)
    assert (result.code, result.stdout, result.stderr, result.complaint) == (3, b"out\n", b"err\n", "err")


async def test_a_signal_is_a_negative_code() -> None:
    assert (await run(sh("kill -9 $$"), timeout=5)).code == -9


async def test_standard_input_is_given_and_need_not_be_read() -> None:
    big = b"x" * 1_000_000
    assert (await run(Command(("wc", "-c"), stdin=big), timeout=5)).stdout.split() == [b"1000000"]
    assert (await run(Command(("true",), stdin=big), timeout=5)).code == 0
    assert (await run(Command(("cat",)), timeout=5)).stdout == b""


async def test_arguments_and_folder_reach_the_program_as_they_are(tmp_path: Path) -> None:
    result = await run(Command(("printf", "%s|", "a b", "$(id)", "`id`", ";", "\n"), cwd=str(tmp_path)), timeout=5)
    assert result.stdout == b"a b|$(id)|`id`|;|\n|"
    assert (await run(Command(("pwd",), cwd=str(tmp_path)), timeout=5)).stdout.decode().strip() == str(tmp_path)


async def test_the_environment_is_minimal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GODPLOY_CANARY", "seen")
    lines = (await run(Command(("env",), env={"MORE": "1"}), timeout=5)).stdout.decode().split("\n")
    assert {line.partition("=")[0] for line in lines if line} == {"PATH", "HOME", "LANG", "MORE"}


async def test_a_missing_program_is_told() -> None:
    with pytest.raises(Missing, match="no-such-program"):
        await run(Command(("no-such-program",)), timeout=5)


async def test_a_missing_folder_is_not_a_missing_program() -> None:
    with pytest.raises(FileNotFoundError):
        await run(Command(("true",), cwd="/no/such/folder"), timeout=5)


async def test_lines_come_from_both_streams_as_they_are_written() -> None:
    lines: list[str] = []
    result = await run(sh("echo one; echo two >&2; printf 'three'; exit 7"), timeout=5, on_line=lines.append)
    assert (result.code, lines) == (7, ["one", "two", "three"])


async def test_a_line_arrives_before_the_program_ends() -> None:
    first: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    running = asyncio.create_task(run(sh("echo first; sleep 60"), timeout=60, on_line=first.set_result))
    assert await asyncio.wait_for(first, 5) == "first"
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_timeout_ends_child_and_grandchild(tmp_path: Path) -> None:
    file = tmp_path / "pids"
    with pytest.raises(TimeoutError):
        await run(sh(f"sleep 60 & echo $! $$ > {file}; wait"), timeout=0.3)
    assert [pid for pid in read_pids(file) if alive(pid)] == []


async def test_cancelling_ends_child_and_grandchild_before_it_returns(tmp_path: Path) -> None:
    file = tmp_path / "pids"
    running = asyncio.create_task(run(sh(f"sleep 60 & echo $! $$ > {file}; wait"), timeout=60))
    pids = await pids_in(file, 2)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert [pid for pid in pids if alive(pid)] == []


async def test_who_ignores_sigterm_is_killed_though_cancelled_again(tmp_path: Path) -> None:
    file = tmp_path / "pids"
    running = asyncio.create_task(
        run(sh(f"trap '' TERM; echo $$ > {file}; while :; do sleep 0.1; done"), timeout=60, grace=0.3)
    )
    pids = await pids_in(file, 1)
    running.cancel()
    await asyncio.sleep(0.05)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not alive(pids[0])


async def test_who_handles_sigterm_may_finish_its_words(tmp_path: Path) -> None:
    done = tmp_path / "done"
    script = f"trap 'head -c 300000 /dev/zero; echo bye > {done}; exit' TERM; while :; do sleep 0.02; done"
    with pytest.raises(TimeoutError):
        await run(sh(script), timeout=0.2, grace=5)
    assert done.read_text() == "bye\n"


async def test_a_background_child_that_holds_the_pipe_is_not_waited_for(tmp_path: Path) -> None:
    file = tmp_path / "pids"
    began = time.monotonic()
    result = await run(sh(f"sleep 60 & echo $! > {file}; echo out"), timeout=30)
    assert (result.code, result.stdout) == (0, b"out\n")
    assert time.monotonic() - began < 5
    assert not alive(read_pids(file)[0])


async def test_too_much_output_ends_the_program() -> None:
    with pytest.raises(TooMuchOutput):
        await run(Command(("yes",)), timeout=30, limit=100_000)


async def test_a_flood_of_complaints_keeps_its_end_only() -> None:
    result = await run(sh("head -c 3000000 /dev/zero >&2; echo last >&2"), timeout=10)
    assert len(result.stderr) == 64 * 1024
    assert result.stderr.endswith(b"last\n")


async def test_a_flood_of_lines_neither_grows_memory_nor_starves_the_loop() -> None:
    worst = 0.0
    count = 0

    async def watch() -> None:
        nonlocal worst
        while True:
            began = time.monotonic()
            await asyncio.sleep(0.005)
            worst = max(worst, time.monotonic() - began - 0.005)

    def on_line(line: str) -> None:
        nonlocal count
        count += 1

    watching = asyncio.create_task(watch())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(TimeoutError):
        await run(Command(("yes", "a line of a very talkative build")), timeout=1, on_line=on_line)
    watching.cancel()
    assert count > 10_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 8 * 1024  # KiB
    assert worst < 0.25


async def test_spawn_streams_both_ways() -> None:
    async with spawn(Command(("cat",))) as running:
        running.stdin.write(b"ping\n")
        assert await running.stdout.readline() == b"ping\n"
        running.stdin.close()
        assert await running.stdout.read() == b""
        assert await running.wait() == 0


async def test_leaving_the_block_ends_the_program() -> None:
    with pytest.raises(RuntimeError):
        async with spawn(Command(("sleep", "60"))) as running:
            pid = running.pid
            raise RuntimeError
    assert not alive(pid)


async def test_secret_files_are_private_and_gone_afterwards(tmp_path: Path) -> None:
    script = 'stat -c %a "$(dirname "$1")"; stat -c %a "$1"; echo "$1"; cat "$1"'
    command = Command(("sh", "-c", script, "sh", "{secrets}/TOKEN"), secret_files={"TOKEN": "s3cret\r\nvalue"})
    result = await run(command, timeout=5)
    folder, file, path, content = result.stdout.decode().split("\n", 3)
    assert (folder, file, content) == ("700", "600", "s3cret\r\nvalue")
    assert not Path(path).exists()
    assert not Path(path).parent.exists()


async def test_the_environment_names_secret_files_too() -> None:
    command = Command(("sh", "-c", 'cat "$PLACE"'), env={"PLACE": "{secrets}/TOKEN"}, secret_files={"TOKEN": "value"})
    assert (await run(command, timeout=5)).stdout == b"value"


async def test_secret_files_are_gone_after_a_cancellation(tmp_path: Path) -> None:
    file = tmp_path / "path"
    command = Command(
        ("sh", "-c", f'echo "$1" > {file}.new; mv {file}.new {file}; sleep 60', "sh", "{secrets}/TOKEN"),
        secret_files={"TOKEN": "value"},
    )
    running = asyncio.create_task(run(command, timeout=60))
    await until(file.exists)
    secret = Path(file.read_text().strip())
    assert secret.read_text() == "value"
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not secret.parent.exists()


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".", "-x", "a\n"])
async def test_a_secret_file_cannot_leave_its_folder(name: str) -> None:
    with pytest.raises(ValueError, match="secret file"):
        await run(Command(("true",), secret_files={name: "x"}), timeout=5)


def test_sweeping_takes_what_a_killed_process_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_memory", lambda: tmp_path)
    ours = tmp_path / f"godploy-secrets-{os.getpid()}-a"
    theirs = tmp_path / "godploy-secrets-4194305-b"  # above the highest possible pid
    other = tmp_path / "something"
    for folder in (ours, theirs, other):
        folder.mkdir()
    process.sweep_secrets()
    assert (ours.exists(), theirs.exists(), other.exists()) == (True, False, True)


async def test_many_at_once_leave_no_file_descriptor() -> None:
    await run(Command(("true",)), timeout=5)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        results = await asyncio.gather(*(run(sh(f"echo {n}"), timeout=10) for n in range(20)))
        assert [result.stdout for result in results] == [f"{n}\n".encode() for n in range(20)]
    await until(lambda: len(os.listdir("/proc/self/fd")) <= before)
