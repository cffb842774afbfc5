"""The little that must be known of a Dockerfile's text: which ports its last stage exposes, and who is to read it.

Facts of the format: https://docs.docker.com/reference/dockerfile/ (continuation lines, comments, FROM, EXPOSE, ARG).
"""

from __future__ import annotations

import re

_ESCAPE = re.compile(r"#\s*escape\s*=\s*([`\\])", re.IGNORECASE)
_SYNTAX = re.compile(r"(?:#|//)\s*syntax\s*=\s*(\S+).*", re.IGNORECASE)
_OFFICIAL = re.compile(r"(?:docker\.io/)?docker/dockerfile(?:[:@][A-Za-z0-9._:@-]+)?")
_VARIABLE = re.compile(r"\$(?:\{(\w+)(?::-([^}]*))?\}|(\w+))")


def exposed(text: str) -> tuple[int, ...]:
    """The TCP ports of the last stage's EXPOSE instructions, in order of appearance. Ranges, UDP ports and what depends
    on an unknown variable are left out: none of them names the one port to send traffic to."""
    ports: list[int] = []
    variables: dict[str, str] = {}
    for name, rest in _instructions(text):
        if name == "FROM":
            ports.clear()
        elif name in ("ARG", "ENV"):
            variables.update(re.findall(r"""(\w+)=["']?([^\s"']*)""", rest))
        elif name == "EXPOSE":
            ports += [port for word in rest.split() if (port := _port(_filled(word, variables)))]
    return tuple(dict.fromkeys(ports))


def foreign_frontend(text: str) -> str | None:
    """The image that is to read this Dockerfile (`# syntax=…`), where it is not Docker's own; None for nearly all.

    A frontend is a program that tells BuildKit what to do, so a foreign one could mount the caches of other projects.
    Read more widely than BuildKit does, which has changed its mind about comments that come before:
    https://docs.docker.com/build/buildkit/frontend/
    """
    text = text.lstrip("\ufeff \t\r\n")
    if text.startswith("{"):
        return "a JSON file"
    for line in text.splitlines():
        stripped = line.strip()
        if stripped and not stripped.startswith(("#", "//")):
            return None
        found = _SYNTAX.fullmatch(stripped)
        if found is not None and not _OFFICIAL.fullmatch(found[1]):
            return found[1]
    return None


def _instructions(text: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    escape, pending = "\\", ""
    for number, line in enumerate(text.lstrip("\ufeff").splitlines()):
        stripped = line.strip()
        if number == 0 and (directive := _ESCAPE.fullmatch(stripped)):
            escape = directive[1]
        if not stripped or stripped.startswith("#"):
            continue
        if stripped.endswith(escape):
            pending += stripped[:-1] + " "
            continue
        name, _, rest = (pending + stripped).partition(" ")
        found.append((name.upper(), rest))
        pending = ""
    return found


def _filled(word: str, variables: dict[str, str]) -> str:
    return _VARIABLE.sub(lambda m: variables.get(m[1] or m[3]) or m[2] or "", word)


def _port(word: str) -> int | None:
    match = re.fullmatch(r"([0-9]{1,5})(?:/tcp)?", word.strip("\"'").lower())
    if match is None:
        return None
    number = int(match[1])
    return number if 1 <= number <= 65535 else None
