"""A log on disk: JSON lines in numbered segments, the first ones kept for good, the last ones kept while they are last.

A build that never stops talking leaves its beginning and its end, and some ten megabytes. Segments are named by the
number of their first line, so a reader finds its place without reading what comes before. Everything here blocks;
`logbook` calls it in threads.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HEAD_LIMIT = 5 * 1024 * 1024
TAIL_SEGMENT = 1024 * 1024
TAIL_SEGMENTS = 5
_SUFFIX = ".jsonl"
_LAST_BYTES = 256 * 1024  # longer than any line: some 8 Ki characters of at most 6 bytes each, in JSON
_READ_AT_ONCE = 512


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a log. `number` counts from 1, `at` is in seconds since 1970; `end` marks the last one, the
    verdict."""

    number: int
    at: float
    stage: str | None
    text: str
    end: bool = False

    def to_json(self) -> dict[str, Any]:
        tree: dict[str, Any] = {"n": self.number, "at": self.at, "stage": self.stage, "text": self.text}
        return {**tree, "end": True} if self.end else tree


class LogFile:
    """The segments of one log, in a folder of its own. One writer, in one thread at a time; any number of readers."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._segment: Path | None = None  # the one that is written to
        self._size = 0
        self._next = 1

    def append(self, lines: Sequence[Line], sync: bool = False) -> None:
        """Writes the lines, numbered here. After an OSError (a full disk) the next call begins with whole lines."""
        try:
            if self._segment is None:
                self._recover()
            for batch in self._by_segment(lines):
                self._write(batch, sync)
        except OSError:
            self._segment = None
            raise

    def _by_segment(self, lines: Sequence[Line]) -> Iterator[bytes]:
        batch = bytearray()
        for line in lines:
            record = {**line.to_json(), "n": self._next}
            batch += json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode(errors="replace") + b"\n"
            self._next += 1
            if self._size + len(batch) >= self._limit():
                yield bytes(batch)
                batch.clear()
                self._begin_segment()
        yield bytes(batch)

    def _limit(self) -> int:
        return HEAD_LIMIT if self._segment == self._name(1) else TAIL_SEGMENT

    def _write(self, data: bytes, sync: bool) -> None:
        assert self._segment is not None
        if not data:
            return
        with self._segment.open("ab", buffering=0) as file:
            written = 0
            while written < len(data):
                written += file.write(data[written:])
            if sync:
                os.fsync(file.fileno())
        self._size += len(data)

    def _begin_segment(self) -> None:
        self._segment, self._size = self._name(self._next), 0
        for old in self.segments()[1:-TAIL_SEGMENTS]:
            old.unlink(missing_ok=True)

    def _recover(self) -> None:
        """Finds where to go on; half a line that a crash left is cut off."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        segments = self.segments()
        self._segment = segments[-1] if segments else self._name(1)
        self._size, self._next = 0, _first(self._segment)
        if not segments:
            return
        with self._segment.open("r+b") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _LAST_BYTES))
            last = file.read()
            whole = last[: last.rfind(b"\n") + 1]
            self._size = file.truncate(size - len(last) + len(whole))
        known = [line.number for raw in whole.splitlines() if (line := _parse(raw))]
        self._next = max(known, default=self._next - 1) + 1

    def segments(self) -> list[Path]:
        return sorted(self._folder.glob(f"*{_SUFFIX}"))

    def _name(self, first: int) -> Path:
        return self._folder / f"{first:010d}{_SUFFIX}"


class LogReader:
    """Reads a log from a line on, again and again as it grows."""

    def __init__(self, folder: Path, after: int = 0) -> None:
        self._files = LogFile(folder)
        self._after = after
        self._segment: Path | None = None
        self._offset = 0

    def read(self, limit: int = _READ_AT_ONCE) -> list[Line]:
        """The next lines that are there, at most `limit` and one more: where lines were left out to keep the log
        bounded, a line says so. Empty: no more for now."""
        found: list[Line] = []
        for segment in self._remaining():
            if segment != self._segment:
                self._segment, self._offset = segment, 0
            found.extend(self._lines(segment, limit - len(found)))
            if len(found) >= limit:
                break
        return found

    def _remaining(self) -> list[Path]:
        segments = self._files.segments()
        if self._segment is not None:
            return [segment for segment in segments if segment >= self._segment]
        passed = [segment for segment in segments if _first(segment) <= self._after]
        return segments[max(0, len(passed) - 1) :]

    def _lines(self, segment: Path, limit: int) -> Iterator[Line]:
        try:
            file = segment.open("rb")
        except FileNotFoundError:  # left out a moment ago
            return
        with file:
            file.seek(self._offset)
            while limit > 0 and (raw := file.readline()).endswith(b"\n"):
                self._offset += len(raw)
                line = _parse(raw)
                if line is None or line.number <= self._after:
                    continue
                if line.number > self._after + 1:
                    yield _gap(self._after, line)
                self._after = line.number
                limit -= 1
                yield line


def _gap(after: int, line: Line) -> Line:
    missing = line.number - after - 1
    return Line(line.number - 1, line.at, line.stage, f"… {missing} lines are left out here …")


def _parse(raw: bytes) -> Line | None:
    """None for what a power cut has left in place of a line."""
    try:
        tree = json.loads(raw)
        return Line(tree["n"], tree["at"], tree["stage"], tree["text"], tree.get("end", False))
    except (ValueError, KeyError, TypeError):
        return None


def _first(segment: Path) -> int:
    return int(segment.name.removesuffix(_SUFFIX))
