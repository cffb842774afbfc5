"""`godploy install` and `uninstall`: the scripts of `install/`, for machines that have Godploy but no checkout."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from godploy import resources
from godploy.cli.packing import pack
from godploy.errors import Invalid

# What the flags are the scripts say themselves, so that there is one list of them.
_PASSED_ON = {"ignore_unknown_options": True, "help_option_names": []}


@click.command(context_settings=_PASSED_ON)
@click.argument("flags", nargs=-1, type=click.UNPROCESSED)
def install(flags: Sequence[str]) -> None:
    """Make a server of this machine, or upgrade it to this version: what install/install.sh does; its --help lists the
    flags.

    Example: godploy install --demo
    """
    script = resources.root("install") / "install.sh"
    if not _is_packaged() or "--help" in flags or "-h" in flags:
        _become(script, flags)
    _become(script, (*flags, "--wheel", str(resources.wheel() or _packed(Path(sys.prefix)))))


@click.command(context_settings=_PASSED_ON)
@click.argument("flags", nargs=-1, type=click.UNPROCESSED)
def uninstall(flags: Sequence[str]) -> None:
    """Take away what the installer and Godploy made on this machine: what install/uninstall.sh does; its --help lists
    the flags.

    Example: godploy uninstall --yes
    """
    _become(resources.root("install") / "uninstall.sh", flags)


def _is_packaged() -> bool:
    """Whether there is no checkout around the scripts that the installer could build from."""
    return not (resources.root("install").parent / "pyproject.toml").is_file()


def _packed(folder: Path) -> Path:
    try:
        return pack(folder)
    except PermissionError as error:
        raise Invalid(
            f"the installer needs this program as a wheel, and {folder} may not be written to",
            next_step=f"run it as root: sudo {Path(sys.argv[0]).absolute()} install",
        ) from error


def _become(script: Path, arguments: Sequence[str]) -> None:
    """This process goes on as the script, with its terminal and its exit code."""
    sys.stdout.flush()
    os.execvp("bash", ["bash", str(script), *arguments])  # noqa: S606
