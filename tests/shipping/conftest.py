"""Godploy as it is handed out: a wheel built from the files under version control, and an environment without the
checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
PIP = ("-m", "pip", "-q", "--disable-pip-version-check")

# What a fresh shell has: nothing that leads Python to the checkout, or to what is installed beside it, and no
# authorities that would win over those that a test names.
CLEAN = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith(("PYTHON", "GODPLOY", "VIRTUAL_ENV", "GIT_", "LD_")) and not name.endswith("_CA_BUNDLE")
}


def run(*command: object, merged: bool = False, **more: object) -> str:
    """What a program prints (with `merged`, what it says to people, too); it has to end well."""
    errors = subprocess.STDOUT if merged else subprocess.PIPE
    options = {
        "cwd": "/",
        "env": CLEAN,
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.PIPE,
        "stderr": errors,
        **more,
    }
    if "input" in options:
        del options["stdin"]
    done = subprocess.run([str(word) for word in command], text=True, timeout=300, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return str(done.stdout)


def copy_checkout(target: Path) -> None:
    """What git knows or would take, and nothing that lies about."""
    names = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=CHECKOUT).split("\0")
    for name in filter(None, names):
        if (CHECKOUT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(CHECKOUT / name, target / name)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    clone = tmp_path_factory.mktemp("clone")
    copy_checkout(clone)
    made = tmp_path_factory.mktemp("wheel")
    run(sys.executable, *PIP, "wheel", "--no-deps", "--wheel-dir", made, clone)
    (found,) = made.iterdir()
    return found


def environment(folder: Path, source: object, *options: str) -> Path:
    """The `bin` of a new environment that `source` was installed into."""
    run(sys.executable, "-m", "venv", folder)
    run(folder / "bin" / "python", *PIP, "install", *options, source)
    return folder / "bin"


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as opened:
        return {name: opened.read(name) for name in opened.namelist()}
