"""The parent that keeps Godploy running where there is no systemd."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

RESPAWN = Path(__file__).parents[2] / "install" / "respawn.sh"


def wait_for(condition: Callable[[], object], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def parent(tmp_path: Path) -> Iterator[Callable[[str], subprocess.Popen[bytes]]]:
    started = []

    def start(script: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen([RESPAWN, tmp_path / "pid", tmp_path / "log", "bash", "-c", script])
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.terminate()
        process.wait(10)


def test_what_ends_is_started_again(parent: Callable[[str], subprocess.Popen[bytes]], tmp_path: Path) -> None:
    parent(f"echo $$ >>{tmp_path}/starts; [ $(wc -l <{tmp_path}/starts) = 1 ] && exit 3; exec sleep 60")
    wait_for(lambda: len(lines(tmp_path / "starts")) == 2)
    first, second = lines(tmp_path / "starts")
    assert first != second
    assert any("ended with status 3" in line for line in lines(tmp_path / "log"))


def test_a_killed_program_is_started_again(parent: Callable[[str], subprocess.Popen[bytes]], tmp_path: Path) -> None:
    parent(f"echo $$ >>{tmp_path}/starts; exec sleep 60")
    wait_for(lambda: len(lines(tmp_path / "starts")) == 1)
    os.kill(int(lines(tmp_path / "starts")[0]), signal.SIGKILL)
    wait_for(lambda: len(lines(tmp_path / "starts")) == 2)


def test_term_lets_the_program_finish_and_ends_both(
    parent: Callable[[str], subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    process = parent(
        f"trap 'sleep 0.3; echo finished >>{tmp_path}/end; exit' TERM; echo up >{tmp_path}/up;"
        "while :; do sleep 0.1; done"
    )
    wait_for(lambda: lines(tmp_path / "up"))
    assert lines(tmp_path / "pid") == [str(process.pid)]
    process.terminate()
    assert process.wait(10) == 0
    assert lines(tmp_path / "end") == ["finished"]
    assert not (tmp_path / "pid").exists()


def test_term_during_a_pause_ends_at_once(parent: Callable[[str], subprocess.Popen[bytes]], tmp_path: Path) -> None:
    process = parent("exit 1")
    wait_for(lambda: any("again in" in line for line in lines(tmp_path / "log")))
    process.terminate()
    assert process.wait(0.9) == 0
