"""The benchmarks can be run. What they measure depends on the machine, and is nothing that a test could hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.__main__ import QUICK, Row, measured

pytestmark = pytest.mark.engine


def test_everything_is_measured(tmp_path: Path) -> None:
    rows = list(measured(tmp_path, QUICK))
    assert len(rows) == 18
    assert all(isinstance(row, Row) and row.measured for row in rows)
    swaps, lost = rows[-5], rows[-3]
    assert swaps.met, swaps  # figures that no slow machine excuses
    assert lost.met, lost
