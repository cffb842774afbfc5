"""Commands on a working tree: a first manifest by looking, whether a manifest is right, and what it would do."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from godploy.cli import checkout, show
from godploy.cli.accounts import Accounts
from godploy.cli.target import choose, json_option
from godploy.errors import Conflict, Invalid, NotFound

if TYPE_CHECKING:
    from godploy.core.manifest import Manifest
    from godploy.core.template import Template

NAME = "godploy.yaml"
_ALONE = "what a first deployment would make (no server is linked to compare with)"
_LARGEST_READ = 256 * 1024
_SECRET_FILES = frozenset({".env", ".env.local", ".env.production"})


@click.command()
@click.option("--force", is_flag=True, help=f"Replace the {NAME} that is there.")
@json_option
def init(force: bool, as_json: bool) -> None:
    """Write a godploy.yaml for this folder, by looking at what is in it.

    It reads a Dockerfile, Procfile, package files, compose.yaml and .env.example, and lists what it could not carry
    over.

    Example: godploy init
    """
    from godploy.core.detect import PLACEHOLDER_SERVER, detect

    top = checkout.root() or Path.cwd()
    path = top / NAME
    if path.exists() and not force:
        raise Conflict(f"{path} is there already", next_step="edit it, or replace it with: godploy init --force")
    link = checkout.linked()
    server = link.server if link is not None else Accounts.load().default
    files = {name: _text(top, name) for name in checkout.files(top)}
    found = detect(files, server=server or PLACEHOLDER_SERVER)
    path.write_text(found.manifest_text, encoding="utf-8")
    if as_json:
        show.as_json({"file": str(path), "manifest": found.manifest_text, "notes": list(found.notes)})
        return
    show.line(f"wrote {path}")
    for note in found.notes:
        show.line(f"  - {note}")
    show.note("read it, then: godploy validate")


@click.command()
@click.argument("file", default=NAME)
@json_option
def validate(file: str, as_json: bool) -> None:
    """Check a manifest, and tell every mistake with its line and column.

    FILE is godploy.yaml unless given; - reads standard input.

    Example: godploy validate
    """
    text, name = read(file)
    try:
        manifest = _parse(text, name)
    except Invalid as error:
        if as_json:
            show.as_json({"valid": False, "problems": list(error.problems)})
            raise click.exceptions.Exit(1) from error
        raise
    environments = {name: sorted(manifest.definitions(name)) for name in manifest.environments()}
    if as_json:
        show.as_json({"valid": True, "problems": [], "environments": environments})
        return
    show.line(f"{name} is valid")
    for environment, services in environments.items():
        show.line(f"  {environment}: {', '.join(services) or 'no services'}")


@click.command()
@click.argument("file", default=NAME)
@click.option("--against", metavar="URL", help="The server to compare with; default: the linked one.")
@click.option("-p", "--project", metavar="NAME", help="Default: the linked one, or the only one.")
@click.option("-e", "--environment", metavar="NAME", help="Default: production.")
@click.option("-r", "--repository", metavar="NAME", help="Whose manifest it is; default: the linked one.")
@json_option
def plan(file: str, as_json: bool, against: str | None, **chosen: str | None) -> None:
    """Show what a deployment of a manifest would change.

    In a linked checkout, or with --against, it is compared with what runs there. Otherwise it shows what a first
    deployment would make. Nothing is changed. `-r dashboard` is for
    the manifest of services without a repository (godploy manifest).

    Example: godploy plan --environment staging
    """
    text, name = read(file)
    link = checkout.linked()
    if against is None and link is None and chosen["project"] is None:
        _print_plan(_first_plan(text, name, chosen["environment"]), as_json, _ALONE)
        return
    target = choose(against, chosen["project"], chosen["environment"], chosen["repository"], linked=True)
    body = target.choice(text=text)
    if body.get("repository") == "dashboard":
        del body["repository"]
    answer = target.client.post(*target.path("plan"), body=body)
    _print_plan(answer, as_json, f"{target.project} on {target.client.url}, {target.environment or 'production'}")


def read(file: str) -> tuple[str, str]:
    """(text, path from the top of the checkout). Raises NotFound, Invalid."""
    if file == "-":
        return sys.stdin.read(), NAME
    path = Path(file)
    if not path.is_file() and file == NAME:
        path = (checkout.root() or Path.cwd()) / NAME
    if not path.is_file():
        raise NotFound(f"there is no {file} here", next_step="godploy init writes one")
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise Invalid(f"{file} is not valid UTF-8 (line {line})") from error
    top = checkout.root()
    whole = path.resolve()
    return text, whole.relative_to(top).as_posix() if top and whole.is_relative_to(top) else path.name


def _parse(text: str, name: str) -> Manifest:
    from godploy.core import manifest

    return manifest.parse(text, filename=name, templates=_templates())


def _templates() -> Mapping[str, Template]:
    from godploy.core import template

    return template.shipped()


def _text(top: Path, name: str) -> str | None:
    """What a file says, None where that is long, binary, elsewhere or secret."""
    path = top / name
    if path.name in _SECRET_FILES or path.is_symlink() or not path.is_file() or path.stat().st_size > _LARGEST_READ:
        return None
    try:
        return path.read_text(encoding="utf-8")
    except (UnicodeDecodeError, OSError):
        return None


def _first_plan(text: str, name: str, environment: str | None) -> dict[str, Any]:
    from godploy.cli.first_plan import first_plan

    manifest, top = _parse(text, name), checkout.root() or Path.cwd()
    named = manifest.environments()
    chosen = environment or ("production" if "production" in named else next(iter(named)))
    return first_plan(manifest, chosen, top=top, project=checkout.default_name(), templates=_templates())


def _print_plan(answer: Mapping[str, Any], as_json: bool, heading: str) -> None:
    if as_json:
        show.as_json(answer)
        return
    show.note(heading)
    for line in answer["lines"]:
        show.foreign(line)
    if answer["destructive"]:
        show.note(f"to let it destroy that: godploy deploy --confirm {answer['digest']}")
