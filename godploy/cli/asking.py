"""What a person is asked at the terminal: secrets that nobody else sees, choices from lists, consent."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from godploy.cli import show
from godploy.errors import Invalid


def somebody_is_there() -> bool:
    """Whether there is a terminal, so that a question finds an answer."""
    return sys.stdin.isatty()


def secret(question: str, file: Path | None, option: str) -> str:
    """A secret from a file (`-` is standard input) or, without one, asked for without showing it.

    It is never an argument, where others on this machine could see it. Raises UsageError where there is neither file
    nor terminal, and Invalid for an empty one.
    """
    if file is not None:
        given = _content(file)
    elif somebody_is_there():
        given = str(click.prompt(question, hide_input=True, err=True)).strip()
    else:
        raise click.UsageError(f"nobody is there to be asked for the {question}: give it by {option} FILE or -")
    if not given:
        raise Invalid(f"the {question} is empty")
    return given


def _content(file: Path) -> str:
    try:
        return (sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")).strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise Invalid(f"{file} cannot be read: {why}") from error


def number(question: str, shown: Sequence[str], default: int | None = None) -> int | str:
    """Shows numbered lines of others' words and asks for one: its place from 0 or, where it is no number, the text that
    was typed, which the caller may take for a search."""
    for place, text in enumerate(shown, 1):
        show.note(f"{place:>3}  {show.safe(text)}")
    while True:
        told = None if default is None else str(default + 1)
        answer = str(click.prompt(question, default=told, err=True)).strip()
        if not answer.isascii() or not answer.isdigit():
            return answer
        if 1 <= int(answer) <= len(shown):
            return int(answer) - 1
        show.note(f"there is no {answer} in the list")


def sure(question: str, yes: bool, next_step: str) -> None:
    """Ends the command unless somebody agrees; `yes` where they did so by an option.

    Raises UsageError, with `next_step`, where nobody is there."""
    if yes:
        return
    if not somebody_is_there():
        raise click.UsageError(f"nobody is there to agree: {next_step}")
    click.confirm(show.safe(question), abort=True, err=True)
