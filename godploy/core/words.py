"""Commands as they are written in a manifest: a string is split into words, and never run by a shell.

Quotes and backslashes mean what they mean in a POSIX shell
(https://pubs.opengroup.org/onlinepubs/9799919799/utilities/V3_chap02.html#tag_19_02). What only a shell could do is
refused, since it would otherwise reach the program as a word that means nothing to it.
"""

from __future__ import annotations

import json
import re

_FOR_A_SHELL = "&|;<>`"
_REFERENCE = re.compile(r"\$?\$\{[^}]*\}")
_VARIABLE = re.compile(r"\$[A-Za-z_(]")
_BLANK = " \t\r\n"


def split(text: str) -> list[str]:
    """The words of a command. `${…}` references stay in them as they are. Raises ValueError where a shell would be
    needed, where a quote is not closed, and where there is no word at all."""
    words: list[str] = []
    word: str | None = None  # None between words; "" is a word, too, as in `''`
    at = 0
    while at < len(text):
        character = text[at]
        if character in _BLANK:
            if word is not None:
                words.append(word)
                word = None
            at += 1
            continue
        piece, at = _piece(text, at)
        word = (word or "") + piece
    if word is not None:
        words.append(word)
    if not words:
        raise ValueError("the command is empty")
    return words


def _piece(text: str, at: int) -> tuple[str, int]:
    """The next part of a word, and where it ends."""
    character = text[at]
    if reference := _REFERENCE.match(text, at):
        return reference[0], reference.end()
    if character in _FOR_A_SHELL:
        raise ValueError(
            _needs_a_shell(text, character if text[at : at + 2] not in ("&&", "||") else text[at : at + 2])
        )
    if variable := _VARIABLE.match(text, at):
        name = re.match(r"\$\w+|\$\(", text[at:])
        raise ValueError(_needs_a_shell(text, name[0] if name else variable[0]))
    if character == "'":
        end = text.find("'", at + 1)
        if end < 0:
            raise ValueError("a ' without its end")
        return text[at + 1 : end], end + 1
    if character == '"':
        return _double_quoted(text, at + 1)
    if character == "\\":
        if at + 1 == len(text):
            raise ValueError("a \\ with nothing after it")
        return text[at + 1].replace("\n", ""), at + 2
    return character, at + 1


def _double_quoted(text: str, at: int) -> tuple[str, int]:
    value = ""
    while at < len(text):
        character = text[at]
        if character == '"':
            return value, at + 1
        if character == "\\" and text[at + 1 : at + 2] in ("\\", '"', "$", "`"):
            at += 1
            character = text[at]
        value += character
        at += 1
    raise ValueError('a " without its end')


def _needs_a_shell(text: str, what: str) -> str:
    command = json.dumps(text.strip(), ensure_ascii=False)
    shown = command if len(command) <= 60 else '"…"'
    return f'{what}: a command is not run by a shell; write ["sh", "-c", {shown}]'
