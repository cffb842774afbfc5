"""Commands on what belongs to a project beside its services: secrets, volumes, hosts."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from godploy.cli import following, show
from godploy.cli.target import Listing, Target, at_project, json_option, wait_option
from godploy.errors import Conflict, Invalid, NotFound

_no_deploy_option = click.option("--no-deploy", is_flag=True, help="Only store it; the next deployment takes it.")


@click.group(cls=Listing)
def secrets() -> None:
    """The secrets of an environment; nobody can read their values back.

    Example: godploy secrets set STRIPE_KEY --environment production
    """


@secrets.command("list")
@at_project(environment=True)
@json_option
def list_secrets(target: Target, as_json: bool) -> None:
    """List secrets by name, with versions and when they changed.

    Example: godploy secrets
    """
    answer = target.client.get(*target.path("secrets"), environment=target.environment)
    if as_json:
        show.as_json(answer)
        return
    rows = [(found["name"], found["version"], show.moment(found["changed_at"])) for found in answer["secrets"]]
    show.table(("SECRET", "VERSION", "CHANGED"), rows, empty="no secrets yet")


@secrets.command("set")
@click.argument("name")
@_no_deploy_option
@wait_option
@at_project(environment=True)
@json_option
def set_secret(target: Target, name: str, no_deploy: bool, wait: bool, as_json: bool) -> None:
    """Set a secret, and deploy what uses it.

    The value is asked for without showing it, or read from standard input (a final line break is dropped). It is
    never taken from the command line, where others on this machine could see it.

    Example: godploy secrets set STRIPE_KEY < stripe.key
    """
    plain, equals, value = name.partition("=")
    if equals and value != "-":
        raise click.UsageError(
            f"a value on the command line can be seen by others; write {plain} alone, and you are asked for it"
        )
    if equals or not sys.stdin.isatty():
        given = sys.stdin.read().removesuffix("\n").removesuffix("\r")
    else:
        given = click.prompt(f"value of {plain}", hide_input=True, err=True)
    if not given:
        raise Invalid(f"the value of {plain} is empty")
    _set(target, {plain: given}, deploy=not no_deploy, wait=wait, as_json=as_json)


@secrets.command("import")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True))
@_no_deploy_option
@wait_option
@at_project(environment=True)
@json_option
def import_secrets(target: Target, file: Path, no_deploy: bool, wait: bool, as_json: bool) -> None:
    """Set all secrets that a .env file names; - reads standard input.

    Quotes and comments are understood, $NAME is not expanded.

    Example: godploy secrets import .env --environment staging
    """
    from godploy.cli import dotenv

    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise Invalid(f"{file} is not valid UTF-8") from error
    values = dotenv.parse(text, str(file))
    if not values:
        raise Invalid(f"{file} sets nothing")
    _set(target, values, deploy=not no_deploy, wait=wait, as_json=as_json)


@secrets.command("remove")
@click.argument("name")
@at_project(environment=True)
@json_option
def remove_secret(target: Target, name: str, as_json: bool) -> None:
    """Remove a secret; refused while something that is live uses it.

    Example: godploy secrets remove STRIPE_KEY
    """
    target.client.delete(*target.path("secrets", name), environment=target.environment)
    if as_json:
        show.as_json({"name": name})
    else:
        show.line(f"removed {name}")


@click.group(cls=Listing)
def volumes() -> None:
    """The volumes of a project; they outlive their services.

    Example: godploy volumes
    """


@volumes.command("list")
@at_project(environment=True)
@json_option
def list_volumes(target: Target, as_json: bool) -> None:
    """List volumes, and who mounts them.

    Example: godploy volumes
    """
    answer = target.client.get(*target.path("volumes"))
    found = [one for one in answer["volumes"] if target.environment in (None, one["environment"])]
    if as_json:
        show.as_json({"volumes": found})
        return
    rows = [
        (one["name"], one["environment"], one["service"] or "detached", show.moment(one["created_at"]), one["id"])
        for one in found
    ]
    show.table(("VOLUME", "ENVIRONMENT", "SERVICE", "CREATED", "ID"), rows, empty="no volumes")


@volumes.command("delete")
@click.argument("volume")
@click.option("--confirm", metavar="NAME", help="The volume's name once more, instead of being asked for it.")
@at_project(environment=True)
@json_option
def delete_volume(target: Target, volume: str, confirm: str | None, as_json: bool) -> None:
    """Destroy a detached volume and all data in it. There is no way back.

    VOLUME is its name or id.

    Example: godploy volumes delete db-data --environment staging
    """
    chosen = _volume(target, volume)
    name = chosen["name"]
    if confirm is None:
        show.note(f"All data in the volume {name} of {chosen['environment']} will be gone.")
        confirm = click.prompt("Type its name to destroy it", err=True)
    if confirm != name:
        raise Conflict("that is not its name; nothing was destroyed")
    target.client.delete(*target.path("volumes", chosen["id"]), confirm=name)
    if as_json:
        show.as_json(chosen)
    else:
        show.line(f"destroyed {name} of {chosen['environment']}")


@click.group(cls=Listing)
def hosts() -> None:
    """The hosts that a project owns.

    Example: godploy hosts release shop.example.com
    """


@hosts.command("list")
@at_project()
@json_option
def list_hosts(target: Target, as_json: bool) -> None:
    """List the hosts of the project, and how their certificates stand.

    Example: godploy hosts
    """
    answer = target.client.get(*target.path("hosts"))
    if as_json:
        show.as_json(answer)
        return
    rows = [
        (
            found["host"],
            "generated" if found["generated"] else "given" if found["given"] else "claimed",
            _certificate(found["certificate"]),
        )
        for found in answer["hosts"]
    ]
    show.table(("HOST", "HOW", "CERTIFICATE"), rows, empty="no hosts")


def _certificate(found: dict[str, Any] | None) -> str | None:
    """In a few words; the last error is the longest of them."""
    if found is None or found["state"] == "off":
        return None
    if found["state"] == "valid":
        return f"until {found['expires_at'][:10]}"
    return f"{found['state']}: {found['error']}" if found["error"] else str(found["state"])


@hosts.command()
@click.argument("host")
@at_project()
@json_option
def release(target: Target, host: str, as_json: bool) -> None:
    """Give up a host, so that any project can claim it.

    Example: godploy hosts release shop.example.com
    """
    target.client.delete(*target.path("hosts", host))
    if as_json:
        show.as_json({"host": host})
    else:
        show.line(f"{target.project} no longer owns {host}")


@hosts.command()
@click.argument("host")
@at_project()
@json_option
def give(target: Target, host: str, as_json: bool) -> None:
    """Give a host to the project, whoever had it; for server administrators.

    Example: godploy hosts give shop.example.com --project shop
    """
    answer = target.client.put(*target.path("hosts", host))
    if as_json:
        show.as_json(answer)
    else:
        show.line(f"{target.project} owns {host}")


def _set(target: Target, values: dict[str, str], *, deploy: bool, wait: bool, as_json: bool) -> None:
    body = target.choice(values=values, deploy=deploy)
    answer = target.client.put(*target.path("secrets"), body=body)
    if not as_json:
        show.line(f"set {', '.join(values)} in {target.environment or 'production'}")
    following.started(target, answer["deployments"], wait=wait, as_json=as_json)


def _volume(target: Target, named: str) -> dict[str, str]:
    there = target.client.get(*target.path("volumes"))["volumes"]
    found = [
        one
        for one in there
        if one["id"] == named or (one["name"] == named and target.environment in (None, one["environment"]))
    ]
    if not found:
        raise NotFound(f"there is no volume {named}", next_step="godploy volumes lists them")
    if len(found) > 1:
        several = ", ".join(one["environment"] for one in found)
        raise Conflict(f"there is a volume {named} in {several}", next_step="choose one with --environment")
    return dict(found[0])
