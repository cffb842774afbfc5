"""`.env` files to the letter: a table of forms, every mistake with its line, and a round trip of any values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from godploy.cli.dotenv import parse
from godploy.errors import Invalid


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A=1", {"A": "1"}),
        ("A=1\r\nB=2\r\n", {"A": "1", "B": "2"}),
        ("\ufeffA=1\n", {"A": "1"}),
        ("# note\n\n  \nA=1 # one\n", {"A": "1"}),
        ("A=a#b", {"A": "a#b"}),
        ("A=#b", {"A": "#b"}),
        ("A= # nothing", {"A": ""}),
        ("A=", {"A": ""}),
        ("export A = b c ", {"A": "b c"}),
        ("A=$B${C}`d`", {"A": "$B${C}`d`"}),
        ("A='$B # \\n \"'", {"A": '$B # \\n "'}),
        ('A="a\\nb\\t\\"\\\\\\$x"', {"A": 'a\nb\t"\\$x'}),
        ('A="\\d+"', {"A": "\\d+"}),
        ('A="one\ntwo"\nB=3', {"A": "one\ntwo", "B": "3"}),
        ("A='one\n# two\n'  # end\nB=3", {"A": "one\n# two\n", "B": "3"}),
        ("A=it's", {"A": "it's"}),
        ("A=postgres://u:p@h/d?x=1&y=2", {"A": "postgres://u:p@h/d?x=1&y=2"}),
        ("A=ä€", {"A": "ä€"}),
        ("", {}),
    ],
)
def test_forms(text: str, expected: dict[str, str]) -> None:
    assert parse(text) == expected


def test_every_mistake_is_told_with_its_line_and_without_a_value() -> None:
    text = "A=1\nhunter2\n2B=hunter2\nA=hunter2\nC='x' hunter2\nD=\"hunter2"
    with pytest.raises(Invalid) as caught:
        parse(text, "my.env")
    assert list(caught.value.problems) == [
        "my.env:2: expected NAME=VALUE",
        "my.env:3: expected NAME=VALUE",
        "my.env:4: A is set a second time",
        "my.env:5: something follows the closing quote",
        'my.env:6: a value begins with " that is never closed',
    ]


_values = st.dictionaries(
    st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True),
    st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",))),
)


@given(_values)
def test_quoted_values_come_back_as_they_were(values: dict[str, str]) -> None:
    def quoted(value: str) -> str:
        escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\r", "\\r").replace("$", "\\$")
        return f'"{escaped}"'

    assert parse("\n".join(f"{name}={quoted(value)}" for name, value in values.items())) == values


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse(text)
    except Invalid as error:
        assert error.problems
