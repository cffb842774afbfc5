"""What a commit names and no fetch brings is told before the build."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from godploy.core.leftout import sentences


class Thing(NamedTuple):
    path: str
    kind: str = "blob"
    size: int = 130


LFS = "filter=lfs diff=lfs merge=lfs -text"


@pytest.mark.parametrize(
    ("entries", "attributes", "said"),
    [
        ([], "", []),
        ([Thing("a.psd"), Thing("src", "tree", 0)], "", []),
        ([Thing("vendor/x", "commit", 0)], "", ["the submodule vendor/x is not fetched; its folder is empty"]),
        (
            [Thing(f"m{n}", "commit", 0) for n in range(5)],
            "",
            ["5 submodules are not fetched, their folders are empty: m0, m1, m2 and 2 more"],
        ),
        ([Thing("a.psd")], f"*.psd {LFS}\n", ["1 file is kept in Git LFS and is not fetched: a.psd"]),
        (
            [Thing("a.psd"), Thing("b.txt"), Thing("d/b.psd"), Thing("x", "commit", 0)],
            f"*.psd {LFS}\n",
            [
                "the submodule x is not fetched; its folder is empty",
                "2 files are kept in Git LFS and are not fetched: a.psd, d/b.psd",
            ],
        ),
        ([Thing("a.psd", size=5000)], f"*.psd {LFS}\n", []),  # the file itself was committed
        ([Thing("a.psd", size=0)], f"*.psd {LFS}\n", []),
        ([Thing("a.psd", kind="tree")], f"*.psd {LFS}\n", []),
        ([Thing("a\x1b[2J\n.psd")], f"*.psd {LFS}\n", ["1 file is kept in Git LFS and is not fetched: a?[2J?.psd"]),
    ],
)
def test_what_is_said(entries: list[Thing], attributes: str, said: list[str]) -> None:
    assert sentences(entries, attributes) == said


PATHS = ["a.psd", "d/a.psd", "d/e/a.psd", "big file.bin", "d/big file.bin", "d/e/x.txt", "e/x.txt", "x.txt", "A.PSD"]

ATTRIBUTES = [
    f"*.psd {LFS}",
    f"/*.psd {LFS}",
    f"d/*.psd {LFS}",
    f"d/** {LFS}",
    f"**/e/* {LFS}",
    f"d/**/a.psd {LFS}",
    f"**/x.txt {LFS}",
    f"** {LFS}",
    f"big[[:space:]]file.bin {LFS}",
    f"?.psd {LFS}",
    f"[ab].psd {LFS}",
    f"* {LFS}\n*.psd -filter",
    f"* {LFS}\nd/** !filter",
    f"* {LFS}\n*.txt filter=other",
    f"*.psd -filter\n* {LFS}",
    f"# *.psd {LFS}",
    f"  *.psd\t{LFS}  ",
    "*.psd diff=lfs",
    "*.psd filter=lfsx",
    "*.psd",
    "\n\n",
]


@pytest.mark.parametrize("attributes", ATTRIBUTES)
def test_patterns_are_read_as_git_reads_them(attributes: str, tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    (tmp_path / ".gitattributes").write_text(f"{attributes}\n")
    checked = subprocess.run(
        ["git", "-C", str(tmp_path), "check-attr", "-z", "filter", "--", *PATHS],
        check=True, capture_output=True, text=True,
    ).stdout.split("\0")  # fmt: skip
    expected = {path: value == "lfs" for path, value in zip(checked[::3], checked[2::3], strict=False)}
    assert expected == {path: bool(sentences([Thing(path)], f"{attributes}\n")) for path in PATHS}


def test_no_pattern_makes_it_slow() -> None:
    """By a plain search these would take longer than anybody waits; the test's own time limit is the proof."""
    hostile = "/".join(["**"] * 200 + ["x"])
    stars = "*a" * 60 + "b"
    deep = "/".join(["a" * 60] * 60)
    assert sentences([Thing(deep)] * 100_000, f"{hostile} {LFS}\n{stars} {LFS}\n") == []


def test_a_count_that_was_cut_short_says_so() -> None:
    few = sentences([Thing("d/" * 200 + "x")] * 100_000, f"d/** {LFS}\n")
    assert few[0].startswith("at least ")
