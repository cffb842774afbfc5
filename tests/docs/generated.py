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
            if isinstance(command, click.Group):
                yield from _commands(command, f"{path} {name}")
            elif command is not None and not command.hidden:
                yield from _command(command, f"{path} {name}")


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
    for record in filter(None, records):
        yield f"- `{record[0]}`: {record[1]}" if record[1] else f"- `{record[0]}`"
    if any(records):
        yield ""


if __name__ == "__main__":
    for page, made in pages().items():
        page.write_text(made)
