"""Commands on the manifests that the server keeps: a project's dashboard manifest, and those of repositories."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from godploy.cli import following, show
from godploy.cli.target import Listing, Target, at_project, json_option, wait_option
from godploy.errors import GodployError, NotFound


@click.group(cls=Listing)
def manifest() -> None:
    """The manifest that the server keeps: the project's dashboard manifest or, with -r, the one stored for a
    repository that has no file of its own.

    Example: godploy manifest edit
    """


@manifest.command("show")
@at_project(repository="asked")
@json_option
def show_manifest(target: Target, as_json: bool) -> None:
    """Print the newest revision.

    Example: godploy manifest show > services.yaml
    """
    answer = _read(target)
    if as_json:
        show.as_json(answer)
        return
    click.echo(answer["text"], nl=not answer["text"].endswith("\n"))


@manifest.command()
@wait_option
@at_project(repository="asked")
@json_option
def edit(target: Target, wait: bool, as_json: bool) -> None:
    """Open it in your editor ($VISUAL, $EDITOR), save what you wrote, and deploy what that changes.

    Example: godploy manifest edit --repository docs
    """
    text = _read(target, or_empty=True)["text"]
    while True:
        edited = click.edit(text, extension=".yaml")
        if edited is None or edited == text:
            show.note("nothing was changed")
            return
        try:
            _save(target, edited, wait=wait, as_json=as_json)
            return
        except GodployError as error:
            if error.code != "invalid_manifest":
                raise
            for problem in error.fields.get("problems", ()):
                show.note(show.safe(problem))
            if not click.confirm("Edit it again?", default=True, err=True):
                raise
            text = edited


@manifest.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True))
@wait_option
@at_project(repository="asked")
@json_option
def save(target: Target, file: Path, wait: bool, as_json: bool) -> None:
    """Save a file as its new revision, and deploy what that changes; - reads standard input.

    Example: godploy manifest save services.yaml
    """
    text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    _save(target, text, wait=wait, as_json=as_json)


def _path(target: Target) -> tuple[str, ...]:
    if target.repository is None or target.repository == "dashboard":
        return target.path("manifest")
    return target.path("repositories", target.repository, "manifest")


def _read(target: Target, *, or_empty: bool = False) -> dict[str, Any]:
    answer = dict(target.client.get(*_path(target)))
    if answer["text"] is None:
        if not or_empty:
            raise NotFound("there is no such manifest yet", next_step="godploy manifest edit begins one")
        answer["text"] = "version: 1\n\nservices: {}\n"
    return answer


def _save(target: Target, text: str, *, wait: bool, as_json: bool) -> None:
    answer = target.client.put(*_path(target), body={"text": text})
    if not as_json:
        show.line(f"saved revision {answer['revision']}")
    following.started(target, answer["deployments"], wait=wait, as_json=as_json)
