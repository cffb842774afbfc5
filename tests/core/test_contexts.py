"""Which patterns and files are compared at all when anybody may have written them."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from godploy.core import contexts
from godploy.core.facts import ContextQuery


class Entry(NamedTuple):
    path: str
    mode: str = "100644"
    id: str = "a" * 40


def query(*watch: str) -> ContextQuery:
    return ContextQuery("", "Dockerfile", watch or None)


LARGE = [Entry(f"packages/part-{n % 50}/src/components/deep/file-{n}.test.ts") for n in range(20_000)]


@pytest.mark.parametrize(
    "watch",
    [
        (),
        ("app/**", "pyproject.toml", "!app/**/*.md"),
        ("packages/*/src/**/*.test.ts", "**/package.json", "*.lock", "docs/**", "/Makefile"),
    ],
)
def test_ordinary_patterns_are_compared_with_a_large_repository(watch: tuple[str, ...]) -> None:
    assert not contexts.takes_long(LARGE, query(*watch))


@pytest.mark.parametrize(
    ("path", "watch"),
    [
        ("a" * 200, ["a*" * 5 + "b"]),
        ("a" * 250, ["*a*a*a*a*a*a*a*a*b"]),
        ("x/" + "a" * 3000, ["x/a*a*a*b"]),
        ("/".join(["a"] * 100), ["**/a/" * 8 + "b"]),
        ("a" * 900, ["a*a*a*b"] * 100),
    ],
)
def test_what_is_made_to_take_long_is_known_beforehand(path: str, watch: list[str]) -> None:
    assert contexts.takes_long([Entry(path)], query(*watch))
