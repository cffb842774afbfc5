"""`godploy`, as a later version of it may be: with other defaults, and newer template files: those of $TEMPLATES."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from godploy import resources
from godploy.cli.main import main
from godploy.core import defaults

shipped = resources.root


def root(name: str) -> Path:
    return Path(os.environ["TEMPLATES"]) if name == "templates" else shipped(name)


if __name__ == "__main__":
    resources.root = root  # type: ignore[assignment]
    defaults.MEMORY *= 2
    defaults.CPUS /= 2
    defaults.STOP_GRACE *= 2
    defaults.HEALTH = replace(defaults.HEALTH, interval=30.0)
    main()
