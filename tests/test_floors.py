"""The floors that import-linter cannot see: programs are started in one place, and never by a shell."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "godploy"
MODULES = sorted(PACKAGE.rglob("*.py"))
STARTS_PROGRAMS = PACKAGE / "drivers" / "process.py"

SHELLS = {"create_subprocess_shell", "subprocess_shell", "system", "popen", "getoutput", "getstatusoutput"}
STARTERS = {"create_subprocess_exec", "subprocess_exec", "posix_spawn", "posix_spawnp", "fork", "forkpty", "spawnv"}


def names_used(tree: ast.AST) -> set[str]:
    """Last parts of all that is called or imported: `asyncio.create_subprocess_exec(…)` → `create_subprocess_exec`."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            names.add(node.func.attr)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            names.add(node.func.id)
        elif isinstance(node, ast.ImportFrom):
            names.update(alias.name for alias in node.names)
            names.add(node.module or "")
        elif isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_programs_are_started_in_one_place_and_never_by_a_shell(path: Path) -> None:
    tree = ast.parse(path.read_text())
    used = names_used(tree)
    assert not used & SHELLS, "there is no shell in Godploy"
    assert not any(
        keyword.arg == "shell" for node in ast.walk(tree) if isinstance(node, ast.Call) for keyword in node.keywords
    ), "there is no shell in Godploy"
    if path != STARTS_PROGRAMS:
        assert not used & (STARTERS | {"subprocess"}), "only drivers.process starts programs"


@pytest.mark.parametrize(
    "source",
    ["import subprocess", "from subprocess import run", "asyncio.create_subprocess_exec('ls')", "os.system('ls')"],
)
def test_the_reading_above_sees_what_it_looks_for(source: str) -> None:
    assert names_used(ast.parse(source)) & (SHELLS | STARTERS | {"subprocess"})
