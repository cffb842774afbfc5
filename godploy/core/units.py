"""Sizes, durations and status ranges as they are written in manifests, turned into numbers."""

from __future__ import annotations

import re

DURATION = r"(?:0|[1-9][0-9]{0,6})[smhd]"
SIZE = r"[1-9][0-9]{0,6}[KMG]"
STATUS = r"[1-5][0-9]{2}(?:-[1-5][0-9]{2})?"

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_BYTES = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def seconds(text: str) -> float:
    """Seconds of a duration such as `10s`, `5m`, `1h`, `7d`. Raises ValueError with what was expected."""
    if not re.fullmatch(DURATION, text):
        raise ValueError("expected a duration such as 10s, 5m, 1h or 7d")
    return float(int(text[:-1]) * _SECONDS[text[-1]])


def size(text: str) -> int:
    """Bytes of a size such as `512M` or `2G`; the units are binary. Raises ValueError with what was expected."""
    if not re.fullmatch(SIZE, text):
        raise ValueError("expected a size such as 512M or 2G")
    return int(text[:-1]) * _BYTES[text[-1]]


def status_range(text: str) -> tuple[int, int]:
    """First and last HTTP status of `200-399` or `204`, both included. Raises ValueError with what was expected."""
    if not re.fullmatch(STATUS, text):
        raise ValueError("expected a status or a range of them, such as 204 or 200-399")
    first, _, last = text.partition("-")
    low, high = int(first), int(last or first)
    if low > high:
        raise ValueError(f"the range {text} is empty; write the lower status first")
    return low, high
