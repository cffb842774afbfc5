"""Watches a deployment until it has ended: its log on the terminal, its end as the exit code.

Watching is all: the deployment belongs to the server and goes on when this ends, breaks off or is interrupted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import click

from godploy.cli import show
from godploy.cli.client import StreamBrokenError, told
from godploy.cli.target import Target
from godploy.errors import GodployError, Unavailable

_PATIENCE = 120.0  # seconds without the server: an upgrade's restart is over long before
_PAUSE = 0.3

Deployment = dict[str, Any]
Line = dict[str, Any]


def started(target: Target, deployments: Sequence[Deployment], *, wait: bool, as_json: bool) -> None:
    """Tells of deployments that a command has started and, if asked to wait, follows each to its end.

    Raises GodployError where one did not succeed, once all have ended.
    """
    failures: list[GodployError] = []
    for deployment in deployments if wait else ():
        if not as_json:
            show.note(f"deployment {deployment['number']} ({title(deployment)})")
        try:
            follow(target, deployment["number"], _ignore if as_json else _print)
        except GodployError as error:
            failures.append(error)
    if as_json:
        ended = [target.client.get(*target.path("deployments", d["number"])) for d in deployments if wait]
        show.as_json({"deployments": ended or list(deployments)})
    elif not wait:
        for deployment in deployments:
            number = deployment["number"]
            show.line(f"deployment {number} is {deployment['state']}; watch it with: godploy logs {number} -f")
    if failures:
        raise failures[0]


def follow(target: Target, number: int, on_line: Callable[[Line], None], *, tail: int | None = None) -> None:
    """Passes on the log of a deployment as it grows, until its end. Raises GodployError unless it succeeded.

    With `tail`, no more than so many of the lines that are there already. An interruption ends the program with 130.
    """
    seen = _tailed(target, number, tail)

    def note_line(line: Line) -> None:
        nonlocal seen
        seen = line["n"]
        on_line(line)

    try:
        end = _patiently(lambda: _stream(target, number, seen, note_line))
    except KeyboardInterrupt:
        show.note(f"\ndeployment {number} goes on; watch it with: godploy logs {number} -f")
        show.note(f"to end it: godploy cancel {number}")
        raise click.exceptions.Exit(130) from None
    judge(number, end)


def _print(line: Line) -> None:
    show.foreign(line["text"])


def _ignore(line: Line) -> None:
    """For programs, which get the deployment as it ended."""


def judge(number: int, end: dict[str, Any]) -> None:
    """Raises GodployError, with the server's own words, for an end that is not a success."""
    state, error = end.get("state"), end.get("error")
    if state == "succeeded":
        return
    if error:
        raise told(error)
    result = end.get("result")
    raise GodployError(f"deployment {number} was {state}" + (f": {result}" if result else ""))


def title(deployment: Deployment) -> str:
    """`push 3f2a91c to production`."""
    revision = deployment.get("revision")
    what = (deployment.get("commit") or "")[:9] or (f"revision {revision}" if revision else "")
    return " ".join(part for part in (deployment["kind"], what, "to", deployment["environment"]) if part)


def _tailed(target: Target, number: int, tail: int | None) -> int:
    """After which line to begin, so that `tail` lines come first."""
    if tail is None:
        return 0
    there = target.client.get(*target.path("deployments", number, "log"))["lines"]
    return int(there[-tail - 1]["n"]) if len(there) > tail else 0


def _stream(target: Target, number: int, after: int, on_line: Callable[[Line], None]) -> dict[str, Any]:
    """The data of the end. Raises StreamBrokenError where the stream stops before it."""
    path = target.path("deployments", number, "log")
    for happening in target.client.stream("GET", *path, query={"after": after, "follow": True}):
        if happening.kind == "line":
            on_line(happening.data)
        elif happening.kind == "end":
            return happening.data
    raise StreamBrokenError(f"the connection to {target.client.url} ended")


def _patiently(attempt: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Tries again while the server is away: whoever upgrades it must not lose sight of a deployment."""
    away_since: float | None = None
    while True:
        try:
            return attempt()
        except StreamBrokenError as error:
            show.note(f"{error.message}; trying again")
            away_since = time.monotonic()
        except Unavailable:
            if away_since is None or time.monotonic() - away_since > _PATIENCE:
                raise
        time.sleep(_PAUSE)
