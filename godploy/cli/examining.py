"""`godploy doctor`, on the server's own machine, with the server up or down."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from godploy.cli import show
from godploy.cli.target import json_option
from godploy.errors import Invalid


@click.command()
@click.option("--data", required=True, type=click.Path(path_type=Path), metavar="DIR", help="The data directory.")
@json_option
@click.pass_context
def doctor(ctx: click.Context, data: Path, as_json: bool) -> None:
    """Look at engine, Traefik, packet rules, disk, DNS, clock, certificates and settings, and say what is not well.

    Ends with 1 when something is bad.

    Example: godploy doctor --data /var/lib/godploy
    """
    import asyncio

    from godploy import settings
    from godploy.core import doctor as engine
    from godploy.core import doctor_hosts as hosts
    from godploy.deploy import checkup, checkup_hosts, rules

    if not data.is_dir():
        raise Invalid(f"there is no directory {data}", next_step="give the server's own with --data DIR")
    known = settings.load(data)
    origins = settings.origins(data)
    lines = [
        *engine.judge(asyncio.run(checkup.look(known))),
        *asyncio.run(rules.look(known)),
        *hosts.judge(asyncio.run(checkup_hosts.look(known))),
    ]
    values = {name: _shown(getattr(known, name)) for name in origins}
    if as_json:
        told = {name: {"value": values[name], "origin": origin} for name, origin in origins.items()}
        show.as_json({"lines": [asdict(line) for line in lines], "settings": told})
    else:
        for line in lines:
            show.line(f"{line.level:<5}{line.subject}: {line.text}" + (f" → {line.advice}" if line.advice else ""))
        show.line()
        show.table(["SETTING", "VALUE", "FROM"], [[n, values[n], o] for n, o in origins.items()], empty="")
    if any(line.level is engine.Level.BAD for line in lines):
        ctx.exit(1)


def _shown(value: object) -> str:
    if value is None or value == () or value == "":
        return "-"
    if isinstance(value, float):
        return f"{value:g}"
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
