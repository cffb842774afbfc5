from __future__ import annotations

import pytest

from godploy.drivers.lines import LineSplitter


def split(*chunks: bytes, limit: int = 1000) -> list[str]:
    splitter = LineSplitter(limit)
    return [line for chunk in chunks for line in splitter.feed(chunk)] + list(splitter.rest())


@pytest.mark.parametrize(
    ("chunks", "lines"),
    [
        ([], []),
        ([b"one\ntwo\n"], ["one", "two"]),
        ([b"one\n\ntwo"], ["one", "", "two"]),
        ([b"on", b"e\nt", b"wo"], ["one", "two"]),
        ([b"one\r\ntwo\r\n"], ["one", "two"]),
        ([b"one\r", b"\ntwo\r", b"\n"], ["one", "two"]),
        ([b"10%\r50%\r100%\n"], ["100%"]),
        ([b"10%\r", b"50%", b"\r100%", b"\r\n"], ["100%"]),
        ([b"10%\r50%\r\n"], ["50%"]),
        ([b"10%\r"], ["10%"]),
        ([b"caf\xc3", b"\xa9\n\xff\n"], ["café", "\ufffd"]),
    ],
)
def test_lines(chunks: list[bytes], lines: list[str]) -> None:
    assert split(*chunks) == lines


def test_an_overlong_line_is_cut_and_the_next_one_is_whole() -> None:
    assert split(b"a" * 8, b"a" * 8, b"\nshort\n", limit=10) == ["a" * 10 + " … (cut)", "short"]
    assert split(b"a" * 16 + b"\rdone\n", limit=10) == ["done"]
