"""Finds `schemas/`, `templates/` and the like from a wheel, an editable install and a checkout."""

from __future__ import annotations

from functools import cache
from pathlib import Path

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
