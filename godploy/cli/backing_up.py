"""Backup and restore, on the server's own machine: neither needs the server, and a backup does not disturb it."""

from __future__ import annotations

import sys
from collections.abc import Coroutine
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, TypeVar

import click

from godploy.cli import show
from godploy.cli.target import json_option
from godploy.errors import GodployError, Invalid

T = TypeVar("T")

_SHORTEST = 12  # characters
_LONGEST = 1024
_data_option = click.option(
    "--data", required=True, type=click.Path(path_type=Path), metavar="DIR", help="The server's data directory."
)
_passphrase_option = click.option(
    "--passphrase-file",
    type=click.File("r", encoding="utf-8"),
    metavar="FILE",
    help="Where the passphrase stands, on its first line; - for standard input. Else it is asked for.",
)


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@_data_option
@_passphrase_option
@json_option
def backup(file: Path, data: Path, passphrase_file: IO[str] | None, as_json: bool) -> None:
    """Write Godploy's own state to one new file, whose key is sealed with a passphrase; the server may be running.

    It holds the database, secrets, certificates, settings and what was pushed here; not the data in volumes.

    Example: godploy backup /root/godploy.backup --data /var/lib/godploy
    """
    from godploy.deploy import backup as backups

    made = _run(backups.make(data.absolute(), file.absolute(), _passphrase(passphrase_file, new=True)))
    if as_json:
        show.as_json(asdict(made))
        return
    show.line(f"{file}: {_counted(made.repositories)}, {made.bytes} bytes, read again and found whole")
    show.note("the data in volumes is not in it; keep the passphrase elsewhere, without it the backup does not open")


@click.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@_data_option
@_passphrase_option
@json_option
def restore(file: Path, data: Path, passphrase_file: IO[str] | None, as_json: bool) -> None:
    """Make a new data directory from a backup; the directory must not exist or be empty.

    Example: godploy restore /root/godploy.backup --data /var/lib/godploy
    """
    from godploy.deploy import backup as backups

    found = _run(backups.restore(file, data.absolute(), _passphrase(passphrase_file, new=False)))
    if as_json:
        show.as_json(asdict(found))
        return
    extra = [word for word, there in (("certificates", found.certificates), ("config.yaml", found.settings)) if there]
    what = ", ".join(["the database", "the key of its secrets", _counted(found.repositories), *extra])
    show.line(f"restored to {data}: {what}")
    show.note("the data in volumes was not in it: put that back before the services start, or they begin empty")
    show.note(f"start the server (godploy serve --data {data}), then push")
    show.note("the next push, or godploy deploy, builds again what has no image on this machine")


def _counted(number: int) -> str:
    return "1 repository" if number == 1 else f"{number} repositories"


def _passphrase(file: IO[str] | None, *, new: bool) -> str:
    """Never an argument: those are seen by every user of the machine."""
    if file is not None:
        try:
            given = file.readline(_LONGEST + 2)
        except UnicodeDecodeError as error:
            raise Invalid("the passphrase is not text in UTF-8") from error
    elif sys.stdin.isatty():
        given = click.prompt("Passphrase", hide_input=True, confirmation_prompt=new, err=True)
    else:
        given = sys.stdin.readline(_LONGEST + 2)
    passphrase = given.rstrip("\r\n")
    if len(passphrase) > _LONGEST:
        raise Invalid(f"the passphrase has more than {_LONGEST} characters")
    if new and len(passphrase) < _SHORTEST:
        raise Invalid(f"the passphrase has less than {_SHORTEST} characters", next_step="give a longer one")
    return passphrase


def _run(work: Coroutine[Any, Any, T]) -> T:
    import asyncio  # the CLI's other commands do without

    from godploy.drivers.git_program import GitError

    try:
        return asyncio.run(work)
    except GitError as error:
        raise GodployError(
            f"a repository could not be read or written: {error.facts.get('detail', error.code)}"
        ) from error
    except OSError as error:
        raise GodployError(f"{error.filename or 'the file'}: {error.strerror}") from error
