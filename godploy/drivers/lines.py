"""Bytes of a program's output → lines of text, bounded whatever the program writes."""

from __future__ import annotations

from collections.abc import Iterator

LINE_LIMIT = 16 * 1024  # bytes
_CUT = " … (cut)"


class LineSplitter:
    """Splits a stream into lines, without their ends, decoded as UTF-8 with replacement.

    A carriage return starts the line anew, as on a terminal, so a progress bar arrives as its last state. Of a line
    longer than 16 KiB the beginning is kept and its end is marked; at no time is more than that held.
    """

    def __init__(self, limit: int = LINE_LIMIT) -> None:
        self._limit = limit
        self._held = b""
        self._overlong = False
        self._returned = False  # a "\r" came last; whether it is half of "\r\n" shows with the next byte

    def feed(self, chunk: bytes) -> Iterator[str]:
        parts = chunk.split(b"\n")
        for part in parts[:-1]:
            self._hold(part)
            yield self._take()
        self._hold(parts[-1])

    def rest(self) -> Iterator[str]:
        """What came after the last line end, once the stream is over."""
        if self._held or self._returned:
            yield self._take()

    def _hold(self, part: bytes) -> None:
        if not part:
            return
        if self._returned:
            self._restart()
        text = part.rstrip(b"\r")
        _overwritten, overwrites, last = text.rpartition(b"\r")
        if overwrites:
            self._restart()
        self._returned = text != part
        room = self._limit - len(self._held)
        self._overlong = self._overlong or len(last) > room
        self._held += last[:room]

    def _restart(self) -> None:
        self._held, self._overlong, self._returned = b"", False, False

    def _take(self) -> str:
        text = self._held.decode(errors="replace")
        if self._overlong:
            text += _CUT
        self._restart()
        return text
