"""What is printed: nothing that somebody else wrote gives orders to a terminal, and numbers read well."""

from __future__ import annotations

import pytest

from godploy.cli import show


@pytest.mark.parametrize(
    ("text", "plain", "coloured"),
    [
        ("built web", "built web", "built web"),
        ("\x1b[31mred\x1b[0m", "red", "\x1b[31mred\x1b[0m\x1b[0m"),
        ("\x1b]0;title\x07a", "a", "a"),
        ("\x1b]52;c;aGk=\x1b\\a", "a", "a"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link", "link"),
        ("\x1b[2J\x1b[1;1Hgone", "gone", "gone"),
        ("50 %\rdeployed", "50 %deployed", "50 %deployed"),
        ("a\x9b31mb\x00c\x7f", "a31mbc", "a31mbc"),
        ("abc\u202edcba", "abcdcba", "abcdcba"),
        ("tab\tstays", "tab\tstays", "tab\tstays"),
    ],
)
def test_others_text_gives_no_orders(text: str, plain: str, coloured: str) -> None:
    assert show.safe(text) == plain
    assert show.safe(text, colour=True) == coloured


@pytest.mark.parametrize(
    ("count", "expected"),
    [(None, ""), (0, "0B"), (1023, "1023B"), (1536, "1.5K"), (52 * 1024**2, "52M"), (3 * 1024**5, "3.0P")],
)
def test_sizes(count: int | None, expected: str) -> None:
    assert show.size(count) == expected


@pytest.mark.parametrize(
    ("began", "ended", "expected"),
    [
        (None, "2026-03-01T12:00:00Z", ""),
        ("2026-03-01T12:00:00Z", "2026-03-01T12:00:03.140Z", "3.1s"),
        ("2026-03-01T12:00:00+00:00", "2026-03-01T12:02:05+00:00", "2m05s"),
    ],
)
def test_durations(began: str | None, ended: str | None, expected: str) -> None:
    assert show.took(began, ended) == expected


def test_a_table_is_aligned_and_leaves_empty_columns_out(capsys: pytest.CaptureFixture[str]) -> None:
    show.table(("NAME", "EMPTY", "COUNT"), [("web", None, 2), ("database", "", 10)], empty="none")
    assert capsys.readouterr().out == "NAME      COUNT\nweb           2\ndatabase     10\n"
