"""A fresh machine for one test, which is gone afterwards, however the test ends."""

from __future__ import annotations

import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
MACHINE = CHECKOUT / "tests" / "install" / "machine"


def copy_checkout(target: Path) -> None:
    """What git knows, and what it would take up."""
    words = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(words, cwd=CHECKOUT, capture_output=True, check=True)
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (CHECKOUT / name).exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(CHECKOUT / name, target / name)


def run(command: list[str | Path], **more: object) -> subprocess.CompletedProcess[str]:
    """All that it says, errors between the rest."""
    options = {
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.STDOUT,
        "text": True,
        **more,
    }
    return subprocess.run(command, timeout=900, **options)  # type: ignore[call-overload, no-any-return]


@contextmanager
def fresh_machine(checkout: str = "root/godploy", *, make: str = "make") -> Iterator[Path]:
    """Its directory, with the machine's root in `root` and this checkout where it is asked for on the machine.

    `make` is how tests/install/machine makes it: "make", or "make-bootable" for one with systemd.
    """
    directory = Path("/var/lib/godploy-tests") / f"machine-{uuid.uuid4().hex[:8]}"
    try:
        made = run([MACHINE, make, directory])
        assert made.returncode == 0, made.stdout
        copy_checkout(directory / "root" / checkout)
        yield directory
    finally:
        run([MACHINE, "remove", directory])
