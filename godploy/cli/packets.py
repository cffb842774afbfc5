"""`godploy packet-rules`, on the server's own machine and as root: before each start, and when the doctor asks."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from godploy.cli import show
from godploy.cli.target import json_option
from godploy.errors import Forbidden, Invalid

if TYPE_CHECKING:
    from godploy.settings import Settings

_data_option = click.option(
    "--data", required=True, type=click.Path(path_type=Path), metavar="DIR", help="The server's data directory."
)


@click.group()
def packet_rules() -> None:
    """What keeps containers and builds from this machine's own ports; root only.

    Example: godploy packet-rules show --data /var/lib/godploy
    """


@packet_rules.command("put")
@_data_option
@json_option
def put(data: Path, as_json: bool) -> None:
    """Put the rules in force, or bring them up to date. The service does it before each start.

    Example: godploy packet-rules put --data /var/lib/godploy
    """
    from godploy.deploy import rules
    from godploy.drivers import packets

    settings = _settings(data)
    because = packets.claim_engine()
    engine = packets.engine()
    asyncio.run(packets.put(rules.ground(settings, engine)))
    because = because or engine.open_because
    if as_json:
        show.as_json({"instance": settings.instance, "state": "in force", "engine": because or "in force"})
        return
    show.line(f"the packet rules of {settings.instance} are in force")
    _tell_engine(because)


@packet_rules.command("remove")
@_data_option
@json_option
def remove(data: Path, as_json: bool) -> None:
    """Take the rules away; they come back with the next start of the service.

    Example: godploy packet-rules remove --data /var/lib/godploy
    """
    from godploy.drivers import packets

    instance = _settings(data).instance
    asyncio.run(packets.remove(instance))
    if as_json:
        show.as_json({"instance": instance, "state": "none"})
    else:
        show.line(f"there are no packet rules of {instance}")


@packet_rules.command("show")
@_data_option
@json_option
def show_rules(data: Path, as_json: bool) -> None:
    """Show the rules, and whether they are those that belong to this machine as it is now.

    Example: godploy packet-rules show --data /var/lib/godploy
    """
    from godploy.core.packets import state
    from godploy.deploy import rules
    from godploy.drivers import packets

    settings = _settings(data)
    engine = packets.engine()
    listing = asyncio.run(packets.listing(settings.instance))
    found = state(listing, rules.ground(settings, engine))
    if as_json:
        told = {"instance": settings.instance, "state": found, "rules": listing or "", "engine": engine.open_because}
        show.as_json(told)
        return
    show.line(f"the packet rules of {settings.instance}: {found}")
    _tell_engine(engine.open_because)
    if listing:
        show.line(listing.rstrip())


def _tell_engine(open_because: str) -> None:
    if open_because:
        show.note(f"what the engine itself fetches for a build is not kept from this machine's ports: {open_because}")


def _settings(data: Path) -> Settings:
    from godploy import settings

    if os.geteuid() != 0:
        raise Forbidden("packet rules belong to root", next_step="run this with sudo")
    if not data.is_dir():
        raise Invalid(f"there is no directory {data}", next_step="give the server's own with --data DIR")
    return settings.load(data)
