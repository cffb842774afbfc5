"""What a log keeps, what it hides, and who sees it when."""

from __future__ import annotations

import asyncio
import errno
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from godploy.drivers import logbook, logfile
from godploy.drivers.logbook import Line, Logbook
from godploy.drivers.logtext import clean, fit
from godploy.redact import Redactor

SECRET = "hunter22-and-more"


@pytest.fixture
async def book(tmp_path: Path) -> AsyncIterator[Logbook]:
    book = Logbook(tmp_path / "logs")
    yield book
    await book.close()


def texts(lines: list[Line]) -> list[str]:
    return [line.text for line in lines]


async def collect(book: Logbook, deployment: str, after: int = 0) -> list[Line]:
    return [line async for line in book.follow(deployment, after)]


async def test_lines_are_numbered_dated_and_kept(book: Logbook, tmp_path: Path) -> None:
    before = time.time()
    log = book.open("d1", Redactor())
    log.write("fetching", "fetch")
    log.write("one\ntwo\r\nthree", "build")
    await log.close("live at http://shop.localhost")
    lines = await book.read("d1")
    assert [(line.number, line.stage, line.text, line.end) for line in lines] == [
        (1, "fetch", "fetching", False),
        (2, "build", "one", False),
        (3, "build", "two", False),
        (4, "build", "three", False),
        (5, None, "live at http://shop.localhost", True),
    ]
    assert all(before - 1 <= line.at <= time.time() + 1 for line in lines)
    assert texts(await book.read("d1", after=3)) == ["three", "live at http://shop.localhost"]
    assert texts(await book.read("d1", after=1, limit=2)) == ["one", "two"]
    (file,) = (tmp_path / "logs" / "d1").iterdir()
    assert [json.loads(line)["text"] for line in file.read_text().splitlines()] == texts(lines)


async def test_what_is_not_there_is_empty(book: Logbook) -> None:
    assert await book.read("nothing") == []
    await book.remove("nothing")


async def test_followers_see_what_was_and_what_comes(book: Logbook) -> None:
    early = asyncio.create_task(collect(book, "d1"))
    await asyncio.sleep(0)
    log = book.open("d1", Redactor())
    log.write("first")
    arrived: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def watch() -> None:
        async for line in book.follow("d1"):
            if not arrived.done():
                arrived.set_result(line.text)

    watching = asyncio.create_task(watch())
    assert await asyncio.wait_for(arrived, 5) == "first"
    late = asyncio.create_task(collect(book, "d1", after=1))
    log.write("second")
    await log.close("done")
    assert texts(await asyncio.wait_for(early, 5)) == ["first", "second", "done"]
    assert texts(await asyncio.wait_for(late, 5)) == ["second", "done"]
    await asyncio.wait_for(watching, 5)


async def test_a_slow_follower_loses_nothing(book: Logbook) -> None:
    log = book.open("d1", Redactor())
    seen: list[int] = []

    async def slow() -> None:
        async for line in book.follow("d1"):
            seen.append(line.number)
            if line.number % 100 == 0:
                await asyncio.sleep(0.001)

    following = asyncio.create_task(slow())
    for number in range(3000):
        log.write(f"line {number}")
        if number % 50 == 0:
            await asyncio.sleep(0)
    await log.close("done")
    await asyncio.wait_for(following, 10)
    assert seen == list(range(1, 3002))


async def test_a_follower_that_goes_away_leaves_nothing(book: Logbook) -> None:
    following = asyncio.create_task(collect(book, "d1"))
    await asyncio.sleep(0.01)
    following.cancel()
    with pytest.raises(asyncio.CancelledError):
        await following
    assert book._followers == {}


async def test_removing_ends_who_follows(book: Logbook, tmp_path: Path) -> None:
    log = book.open("d1", Redactor())
    log.write("one")
    await log.close(None)
    following = asyncio.create_task(collect(book, "d1"))
    await asyncio.sleep(0.05)
    await book.remove("d1")
    assert texts(await asyncio.wait_for(following, 5)) == ["one"]
    assert list((tmp_path / "logs").iterdir()) == []


async def test_without_a_verdict_it_goes_on_after_a_restart(tmp_path: Path) -> None:
    first = Logbook(tmp_path)
    log = first.open("d1", Redactor())
    log.write("before")
    await log.close(None)
    await first.close()
    second = Logbook(tmp_path)
    following = asyncio.create_task(collect(second, "d1"))
    log = second.open("d1", Redactor())
    log.write("after")
    await log.close("done")
    assert [(line.number, line.text) for line in await asyncio.wait_for(following, 5)] == [
        (1, "before"), (2, "after"), (3, "done"),
    ]  # fmt: skip
    await second.close()


@pytest.mark.parametrize("torn", [b'{"n":2,"at":1,"stage":null,"te', b"\0\0\0\0", b"", b'{"n":2}\n', b"nonsense\n"])
async def test_half_a_line_of_a_crash_spoils_nothing(book: Logbook, tmp_path: Path, torn: bytes) -> None:
    log = book.open("d1", Redactor())
    log.write("whole")
    await log.close(None)
    (file,) = (tmp_path / "logs" / "d1").iterdir()
    with file.open("ab") as appending:
        appending.write(torn)
    log = book.open("d1", Redactor())
    log.write("after")
    await log.close("done")
    assert [(line.number, line.text) for line in await book.read("d1")] == [(1, "whole"), (2, "after"), (3, "done")]


async def test_two_that_write_to_one_log(book: Logbook) -> None:
    first, second = book.open("d1", Redactor()), book.open("d1", Redactor([SECRET]))
    first.write("one")
    second.write(f"two {SECRET}")
    await first.close(None)
    second.write("three")
    await second.close("done")
    assert [(line.number, line.text) for line in await book.read("d1")] == [
        (1, "one"), (2, "two •••"), (3, "three"), (4, "done"),
    ]  # fmt: skip


async def test_an_endless_log_keeps_its_beginning_and_its_end(
    book: Logbook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logfile, "HEAD_LIMIT", 20_000)
    monkeypatch.setattr(logfile, "TAIL_SEGMENT", 4_000)
    log = book.open("d1", Redactor())
    behind = asyncio.create_task(collect(book, "d1"))
    for number in range(1, 5001):
        log.write(f"line {number}")
        if number % 500 == 0:
            await asyncio.sleep(0.001)
    await log.close("done")
    assert sum(file.stat().st_size for file in (tmp_path / "logs" / "d1").iterdir()) < 45_000
    lines = await book.read("d1")
    gaps = [number for number, line in enumerate(lines) if "left out" in line.text]
    assert len(gaps) == 1
    before, gap, after = lines[gaps[0] - 1], lines[gaps[0]], lines[gaps[0] + 1]
    assert lines[0].text == "line 1"
    assert texts(lines[-2:]) == ["line 5000", "done"]
    assert gap.text == f"… {after.number - before.number - 1} lines are left out here …"
    assert [line.number for line in lines] == sorted({line.number for line in lines})
    assert texts(await book.read("d1", after=4999)) == ["line 5000", "done"]
    assert (await asyncio.wait_for(behind, 5))[-1].end


async def test_a_full_disk_costs_lines_and_says_so(book: Logbook, monkeypatch: pytest.MonkeyPatch) -> None:
    log = book.open("d1", Redactor())
    log.write("before")
    await log.close(None)
    write = logfile.LogFile._write

    def full(self: logfile.LogFile, data: bytes, sync: bool) -> None:
        write(self, data[:10], False)
        raise OSError(errno.ENOSPC, "No space left on device")

    log = book.open("d1", Redactor())
    monkeypatch.setattr(logfile.LogFile, "_write", full)
    log.write("one\ntwo")
    await log._writer.settle()
    monkeypatch.setattr(logfile.LogFile, "_write", write)
    log.write("after")
    await log.close("done")
    assert texts(await book.read("d1")) == ["before", "… 2 lines could not be written …", "after", "done"]


async def test_more_than_the_disk_takes_is_dropped_not_held(book: Logbook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logbook, "_PENDING_LINES", 10)
    log = book.open("d1", Redactor())
    for number in range(1, 101):
        log.write(f"line {number}")
    await log.close("done")
    found = texts(await book.read("d1"))
    assert found[:10] == [f"line {number}" for number in range(1, 11)]
    assert found[-1] == "done"
    assert len(found) < 15


async def test_no_secret_reaches_the_disk(book: Logbook, tmp_path: Path) -> None:
    redactor = Redactor([SECRET])
    log = book.open("d1", redactor)
    log.write(f"token={SECRET}")
    log.write(f"{SECRET[:5]}\x07{SECRET[5:]}")
    redactor.add(["a-later-one"])
    log.write("with a-later-one")
    await log.close(f"failed with {SECRET}")
    stored = b"".join(file.read_bytes() for file in (tmp_path / "logs" / "d1").iterdir()).decode()
    assert SECRET not in stored
    assert texts(await book.read("d1")) == ["token=•••", "•••", "with •••", "failed with •••"]


async def test_writing_is_quick(book: Logbook) -> None:
    log = book.open("d1", Redactor([f"a-secret-number-{n}" for n in range(20)]))
    began = time.monotonic()
    for number in range(10_000):
        log.write(f"#{number} [web 3/7] RUN pip install --no-cache-dir -r requirements.txt", "build")
    took = time.monotonic() - began
    await log.close("done")
    assert len(await book.read("d1", limit=20_000)) == 10_001
    print(f"10,000 lines in {took * 1000:.0f} ms")
    assert took < 5


@pytest.mark.parametrize("deployment", ["", "../x", "a/b", ".", "a\n", "x" * 65])
async def test_an_id_cannot_leave_the_folder(book: Logbook, deployment: str) -> None:
    with pytest.raises(ValueError, match="not the id"):
        book.open(deployment, Redactor())


RED, RESET = "\x1b[31m", "\x1b[0m"


@pytest.mark.parametrize(
    ("line", "cleaned"),
    [
        ("plain ünïcode • 漢字", "plain ünïcode • 漢字"),
        ("a\tb", "a\tb"),
        (f"{RED}red{RESET} plain", f"{RED}red{RESET} plain{RESET}"),
        (f"{RED}red{RESET}", f"{RED}red{RESET}"),
        (f"{RED}bleeding", f"{RED}bleeding{RESET}"),
        ("\x1b[38;2;1;2;3mx\x1b[m", "\x1b[38;2;1;2;3mx\x1b[m"),
        ("\x1b]0;title\x07x", "x"),
        ("\x1b]8;;http://evil\x1b\\click\x1b]8;;\x1b\\", "click"),
        ("\x1b]52;c;aGk=\x07x", "x"),
        ("\x1b]0;never ended", ""),
        ("\x1b[2J\x1b[1;1Hx", "x"),
        ("\x1b[?25lx\x1b[K", "x"),
        ("\x1b[31x", ""),
        ("\x1bP1$r\x1b\\x", "x"),
        ("\x1bcx\x1b(Bx", "xx"),
        ("\x9b31mx\x9d0;t\x9cx", "xx"),
        ("10%\rdeploy succeeded", "10%deploy succeeded"),
        ("a\x00b\x08c\x7fd\x85e", "abcde"),
        ("\u202eevil\u2066x\u200f", "evilx"),
        ("a\u2028b", "ab"),
        ("\x1b", ""),
        ("\x1b\x1b[31m\x1b", f"{RED}{RESET}"),
        ("<img onerror=x>", "<img onerror=x>"),
    ],
)
def test_cleaning(line: str, cleaned: str) -> None:
    assert clean(line) == cleaned
    assert clean(cleaned) == cleaned


def test_a_line_is_cut() -> None:
    (line,) = fit("x" * 50_000_000, Redactor())
    assert line == "x" * 8192 + " … (cut)"
    (line,) = fit(f"{RED}x" * 5000, Redactor())
    assert len(line) < 8300
    assert line.endswith(RESET)
