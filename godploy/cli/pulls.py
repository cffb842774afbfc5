"""Commands on pull requests: what each would do."""

from __future__ import annotations

from typing import Any

import click

from godploy.cli import show
from godploy.cli.target import Listing, Target, at_project, json_option


@click.group(cls=Listing)
def pulls() -> None:
    """Pull requests, and what deploying each would do.

    Example: godploy pulls show 7
    """


@pulls.command("list")
@click.option("--state", type=click.Choice(["open", "closed"]), help="Only those in this state.")
@click.option("--limit", type=click.IntRange(1, 500), default=20, show_default=True, help="At most so many.")
@at_project()
@json_option
def list_pulls(target: Target, state: str | None, limit: int, as_json: bool) -> None:
    """List pull requests with what their plans say, lately changed first.

    Example: godploy pulls list --state open
    """
    answer = target.client.get(*target.path("pulls"), state=state, limit=limit)
    if as_json:
        show.as_json(answer)
        return
    rows = [
        (
            found["number"],
            show.ago(found["updated_at"]),
            found["repository"],
            found["state"],
            found["branch"],
            (found["commit"] or "")[:9],
            found["title"],
            found["plan"]["description"] if found["plan"] else "",
        )
        for found in answer["pulls"]
    ]
    heads = ("NUMBER", "CHANGED", "REPOSITORY", "STATE", "BRANCH", "COMMIT", "TITLE", "PLAN")
    show.table(heads, rows, empty="no pull request was told of yet")


@pulls.command("show")
@click.argument("number", type=click.IntRange(min=1))
@at_project(repository="asked")
@json_option
def show_pull(target: Target, number: int, as_json: bool) -> None:
    """Show what a pull request would change, for each environment that its base feeds.

    Example: godploy pulls show 7
    """
    answer = target.client.get(*target.path("pulls", number), repository=target.repository)
    if as_json:
        show.as_json(answer)
        return
    show.foreign(f"{answer['repository']} {answer['number']}: {answer['title']}")
    show.foreign(
        f"{answer['branch']} into {answer['base']}, {answer['state']}, by {answer['author'] or 'nobody known'}"
    )
    show.foreign(answer["provider_url"])
    show.line()
    _plan(answer)


def _plan(pull: dict[str, Any]) -> None:
    if pull["plan"] is None:
        show.line("it was not planned yet")
        return
    show.foreign(f"{(pull['commit'] or '')[:9]}: {pull['plan']['description']}")
    for problem in pull["problems"]:
        if problem != pull["plan"]["description"]:
            show.foreign(f"  {problem}")
    for environment in pull["environments"]:
        show.line()
        show.foreign(environment["name"])
        for text in environment["lines"]:
            show.foreign(f"  {text}")
