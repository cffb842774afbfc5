"""Commands on the server's own machine: the server itself, and its users, straight from its data directory."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from godploy import __version__
from godploy.cli import show
from godploy.cli.target import json_option
from godploy.errors import Invalid, NotFound

if TYPE_CHECKING:
    from godploy.store import Connection

T = TypeVar("T")

_DATABASE = "godploy.db"
_EMAIL = re.compile(r"[^@\s\x00-\x1f]+@[^@\s\x00-\x1f]+")
_data_option = click.option(
    "--data", required=True, type=click.Path(path_type=Path), metavar="DIR", help="The server's data directory."
)


@click.command()
@json_option
def version(as_json: bool) -> None:
    """Print the version of this program.

    Example: godploy version
    """
    if as_json:
        show.as_json({"version": __version__})
    else:
        show.line(f"godploy {__version__}")


@click.command()
@_data_option
@click.option("--listen", metavar="HOST:PORT", help="Where to listen; default 127.0.0.1:8400.")
def serve(data: Path, listen: str | None) -> None:
    """Run the server.

    Example: godploy serve --data /var/lib/godploy
    """
    from godploy import bootstrap, settings

    bootstrap.serve(settings.load(_existing(data), listen=listen))


@click.group()
def user() -> None:
    """The server's users; to be run on its machine.

    Example: godploy user token --data /var/lib/godploy --email ada@example.com --name laptop
    """


@user.command("create-owner")
@_data_option
@click.option("--email", required=True, help="Of the owner.")
@json_option
def create_owner(data: Path, email: str, as_json: bool) -> None:
    """Make the first owner, who is also server administrator.

    Example: godploy user create-owner --data /var/lib/godploy --email ada@example.com
    """
    if not _EMAIL.fullmatch(email):
        raise click.UsageError(f'"{email}" is not an e-mail address')
    _existing(data)
    from godploy.store import people

    owner = _write(data, lambda conn: people.create_owner(conn, email))
    if as_json:
        show.as_json({"id": owner.id, "email": owner.email, "administrator": owner.administrator})
        return
    show.line(f"{owner.email} owns this server")
    show.note(f"make a token to log in with: godploy user token --data {data} --email {email} --name laptop")


@user.command()
@_data_option
@click.option("--email", required=True, help="Of the user.")
@click.option("--name", required=True, help="What the token is for, such as the name of a laptop.")
@json_option
def token(data: Path, email: str, name: str, as_json: bool) -> None:
    """Make an API token for a user, and print it this once.

    Example: godploy user token --data /var/lib/godploy --email ada@example.com --name laptop
    """
    if not (_existing(data) / _DATABASE).is_file():
        raise NotFound(
            f"{data} holds no database of Godploy", next_step="godploy user create-owner --data DIR --email EMAIL"
        )
    from godploy.store import people

    made = _write(data, lambda conn: people.create_token(conn, people.user_by_email(conn, email).id, name))
    if as_json:
        show.as_json({"email": email, "name": name, "token": made})
    else:
        show.line(made)


def _existing(data: Path) -> Path:
    if not data.is_dir():
        raise Invalid(f"there is no directory {data}", next_step="make it, or give the server's own with --data DIR")
    return data


def _write(data: Path, work: Callable[[Connection], T]) -> T:
    """Does `work` in one transaction, as the user that owns the directory: what root makes there, the server of
    another user could not write to. Raises OnTrial: what is written during a trial might be lost."""
    import asyncio  # `godploy version`, which is here, too, is to start at once

    from godploy.deploy import trial
    from godploy.store import Store

    if trial.begun(data):
        raise trial.OnTrial

    async def go() -> T:
        store = await Store.open(data / _DATABASE)
        try:
            return await store.write(work)
        finally:
            await store.close()

    if os.geteuid() == 0:
        owner = data.stat()
        os.setegid(owner.st_gid)
        os.seteuid(owner.st_uid)
    return asyncio.run(go())
