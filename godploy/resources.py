"""Finds `schemas/`, `templates/` and the like from a wheel, an editable install and a checkout; and that wheel."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

from godploy import __version__

WHEEL = f"godploy-{__version__}-py3-none-any.whl"

_PACKAGE = Path(__file__).resolve().parent


@cache
def root(name: str) -> Path:
    """The directory of shipped data called `name`; a wheel carries it as package data, a checkout at its top.

    Raises FileNotFoundError where neither is there (a broken installation).
    """
    for place in (_PACKAGE / "_data" / name, _PACKAGE.parent / name):
        if place.is_dir():
            return place
    raise FileNotFoundError(f"the installation lacks its {name}/ directory; install Godploy again")


def wheel() -> Path | None:
    """The wheel that this program was installed from, where the installer, the container's image and the single file
    keep it: beside the environment's `bin`."""
    path = Path(sys.prefix) / WHEEL
    return path if path.is_file() else None


def write_program(place: Path, source: str) -> None:
    """Makes `place` an executable file that runs the Python file `source` by this interpreter, with nothing but the
    standard library. The single file takes that file's part itself, called by the name of `place`. Blocking."""
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    written = place.with_suffix(".tmp")
    written.unlink(missing_ok=True)
    if is_single_file():
        written.symlink_to(sys.executable)
    else:
        text = Path(source).read_text("utf-8")
        written.write_text(f"#!{sys.executable} -IS\n{text}", "utf-8")
        written.chmod(0o700)
    written.replace(place)


def is_single_file() -> bool:
    """Whether the program is one executable file, which holds no interpreter that could be called by itself."""
    return bool(getattr(sys, "frozen", False))  # https://pyinstaller.org/en/stable/runtime-information.html
