"""Which branches and tags feed what, and which commits ask to be left alone."""

from __future__ import annotations

import pytest

from godploy.core import feeding
from godploy.core.model import Feed

MAPPING = {
    "production": Feed(),
    "staging": Feed(branch="develop"),
    "release": Feed(branch="release/*"),
    "tagged": Feed(tag="v*"),
}


@pytest.mark.parametrize(
    ("branch", "fed"),
    [
        ("main", ("production",)),
        ("develop", ("staging",)),
        ("release/1.2", ("release",)),
        ("release/1/2", ("release",)),
        ("release", ()),
        ("develop2", ()),
        ("v1", ()),
    ],
)
def test_what_a_branch_feeds(branch: str, fed: tuple[str, ...]) -> None:
    assert feeding.by_branch(MAPPING, branch, "main") == fed


def test_what_a_tag_feeds() -> None:
    assert feeding.by_tag(MAPPING, "v1") == ("tagged",)
    assert feeding.by_tag(MAPPING, "main") == ()


def test_the_branches_that_are_polled() -> None:
    there = ("develop", "feature/x", "main", "release/1", "release/2")
    assert feeding.branches(MAPPING, there, "main") == ["main", "develop", "release/1", "release/2"]
    assert feeding.branches({}, there, None) == []


@pytest.mark.parametrize(
    ("name", "pattern", "fits"),
    [
        ("main", "main", True),
        ("main", "Main", False),
        ("mainline", "main", False),
        ("main", "main*", True),
        ("a", "a*a", False),
        ("aa", "a*a", True),
        ("abcbd", "a*b*d", True),
        ("abd", "a*b*b*d", False),
        ("x[1]", "x[1]", True),
        ("x1", "x[1]", False),
        ("xy", "x?", False),
        ("anything/at/all", "*", True),
        ("a" * 200, "a*" * 90 + "b", False),
    ],
)
def test_patterns(name: str, pattern: str, fits: bool) -> None:
    assert feeding.matches(name, pattern) is fits


@pytest.mark.parametrize(
    ("message", "mark"),
    [
        ("docs [skip ci]", "[skip ci]"),
        ("docs\n\n[Skip Deploy]\n", "[Skip Deploy]"),
        ("[ci skip] docs", "[ci skip]"),
        ("skip ci", None),
        ("[skip the line]", None),
        ("", None),
    ],
)
def test_marks_in_messages(message: str, mark: str | None) -> None:
    assert feeding.skip(message) == mark
