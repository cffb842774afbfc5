"""The parts of the documentation that are made from the program: `python -m tests.docs.generated` writes them anew.

A test holds each page against what would be written.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import click

from godploy.cli.main import godploy
from godploy.cli.target import Listing
from godploy.core import failures

DOCS = Path(__file__).parents[2] / "docs"

# Said once at the top of the page.
_COMMON = {"--help", "--json", "--server", "--project", "--environment"}
_FRAME = re.compile(r"(<!-- generated[^>]*-->\n).*?(<!-- end -->)", re.DOTALL)


def pages() -> Mapping[Path, str]:
    """Every page with a generated part, as it should be."""
    parts = {"troubleshooting.md": failures.table(), "cli.md": "\n".join(_commands(godploy, "godploy"))}
    return {DOCS / name: _put(DOCS / name, part) for name, part in parts.items()}


def _put(page: Path, part: str) -> str:
    made, count = _FRAME.subn(lambda frame: f"{frame[1]}\n{part}\n{frame[2]}", page.read_text())
    if count != 1:
        raise ValueError(f"{page.name} has no frame for its generated part")
    return made


def _commands(group: click.Group, path: str) -> Iterator[str]:
    with click.Context(group, info_name=path) as context:
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            if isinstance(command, Listing):
                yield from _listing(command, f"{path} {name}")
            elif isinstance(command, click.Group):
                yield from _commands(command, f"{path} {name}")
            elif command is not None and not command.hidden:
                yield from _command(command, f"{path} {name}")


def _listing(group: Listing, path: str) -> Iterator[str]:
    """The command that the group's bare name means, by that name, then the others."""
    first, *others = group.commands
    yield from _command(group.commands[first], path)
    for name in sorted(others):
        yield from _command(group.commands[name], f"{path} {name}")


def _command(command: click.Command, path: str) -> Iterator[str]:
    with click.Context(command, info_name=path) as context:
        arguments = [piece for piece in command.collect_usage_pieces(context) if piece != "[OPTIONS]"]
        records = [
            parameter.get_help_record(context)
            for parameter in command.get_params(context)
            if not _COMMON & set(parameter.opts)
        ]
    text, _, example = inspect.cleandoc(command.help or "").partition("Example: ")
    yield f"## `{' '.join([path, *arguments])}`\n"
    yield f"{text.strip()}\n"
    if example:
        yield f"Example: `{example.strip()}`\n"
    described = [f"- `{record[0]}`: {record[1]}" for record in records if record and record[1]]
    yield from (*described, "") if described else ()


if __name__ == "__main__":
    for page, made in pages().items():
        page.write_text(made)
