"""Commands on deployments: start one, return to an older release, see what happened and why."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import click

from godploy.cli import following, show
from godploy.cli.target import Listing, Target, at_project, json_option, wait_option

_limit_option = click.option("--limit", type=click.IntRange(1, 500), default=20, show_default=True, metavar="N")


@click.command()
@click.option("--commit", metavar="HASH", help="Default: the newest of what feeds the environment.")
@click.option(
    "--confirm", metavar="PLAN", help="Agree to a plan that destroys something, by the digest it was told with."
)
@click.option("--update", metavar="SERVICE", multiple=True, help="Resolve its image or template anew; may be repeated.")
@wait_option
@at_project(environment=True, repository="linked")
@json_option
def deploy(
    target: Target, commit: str | None, confirm: str | None, update: tuple[str, ...], wait: bool, as_json: bool
) -> None:
    """Deploy again, or another commit that the server can fetch.

    Example: godploy deploy --environment staging --wait
    """
    body = target.choice(commit=commit, confirm=confirm, update=list(update) or None)
    _begin(target, target.client.post(*target.path("deployments"), body=body), wait, as_json)


@click.command()
@click.argument("release", type=click.IntRange(1), required=False)
@wait_option
@at_project(environment=True, repository="linked")
@json_option
def rollback(target: Target, release: int | None, wait: bool, as_json: bool) -> None:
    """Return to an older release: RELEASE, or the one before the current.

    Data is not rolled back. The same commit does not come back by itself.

    Example: godploy rollback
    """
    _begin(target, target.client.post(*target.path("rollback"), body=target.choice(release=release)), wait, as_json)


@click.command()
@_limit_option
@at_project(environment=True)
@json_option
def deployments(target: Target, limit: int, as_json: bool) -> None:
    """List deployments, newest first.

    Example: godploy deployments
    """
    answer = target.client.get(*target.path("deployments"), environment=target.environment, limit=limit)
    if as_json:
        show.as_json(answer)
        return
    rows = [
        (
            found["number"],
            _state(found),
            found["kind"],
            found["environment"],
            found["source"],
            _what(found),
            show.ago(found["created_at"]),
            show.took(found["started_at"], found["finished_at"]),
            _outcome(found),
        )
        for found in answer["deployments"]
    ]
    show.table(
        ("NO", "STATE", "KIND", "ENVIRONMENT", "SOURCE", "COMMIT", "WHEN", "TOOK", "RESULT"),
        rows,
        empty="nothing was deployed here yet",
    )


@click.command()
@at_project(environment=True)
@json_option
def releases(target: Target, as_json: bool) -> None:
    """List the releases that are kept; `godploy rollback RELEASE` returns to one.

    Example: godploy releases
    """
    answer = target.client.get(*target.path("releases"), environment=target.environment)
    if as_json:
        show.as_json(answer)
        return
    rows = [
        (
            found["number"],
            show.state("live") if found["current"] else "",
            found["environment"],
            found["source"],
            _what(found),
            found["kind"],
            show.moment(found["created_at"]),
            ", ".join(found["services"]),
        )
        for found in answer["releases"]
    ]
    show.table(
        ("RELEASE", "STATE", "ENVIRONMENT", "SOURCE", "COMMIT", "KIND", "MADE", "SERVICES"),
        rows,
        empty="no releases yet",
    )


@click.command()
@click.argument("number", type=click.IntRange(1))
@at_project()
@json_option
def cancel(target: Target, number: int, as_json: bool) -> None:
    """End a deployment that waits or runs; what is live stays live.

    Example: godploy cancel 12
    """
    answer = target.client.post(*target.path("deployments", number, "cancel"))
    if as_json:
        show.as_json(answer)
    elif answer["state"] == "running":
        show.line(f"deployment {number} ends as soon as what it does now can be left")
    else:
        show.line(f"deployment {number}: {answer['state']}")


@click.group(cls=Listing)
def deliveries() -> None:
    """What was pushed and announced, and what became of it.

    Example: godploy deliveries replay k3v9xq2
    """


@deliveries.command("list")
@_limit_option
@at_project()
@json_option
def list_deliveries(target: Target, limit: int, as_json: bool) -> None:
    """List deliveries with their verdicts, newest first.

    Example: godploy deliveries
    """
    answer = target.client.get(*target.path("deliveries"), limit=limit)
    if as_json:
        show.as_json(answer)
        return
    rows = [
        (
            found["id"],
            show.ago(found["received_at"]),
            found["repository"],
            found["kind"],
            (found["ref"] or found["event"] or "").removeprefix("refs/heads/"),
            (found["commit"] or "")[:9],
            found["verdict"] or found["state"],
        )
        for found in answer["deliveries"]
    ]
    show.table(
        ("ID", "WHEN", "REPOSITORY", "BY", "REF", "COMMIT", "VERDICT"),
        rows,
        empty="nothing was pushed or announced yet",
    )


@deliveries.command("show")
@click.argument("delivery", metavar="ID")
@at_project()
@json_option
def show_delivery(target: Target, delivery: str, as_json: bool) -> None:
    """Show a delivery: its verdict, its headers without secrets, what it told, and the deployments that it caused.

    Example: godploy deliveries show k3v9xq2
    """
    answer = target.client.get(*target.path("deliveries", delivery))
    if as_json:
        show.as_json(answer)
        return
    what = " ".join(part for part in (answer["event"], answer["ref"], (answer["commit"] or "")[:9]) if part)
    show.foreign(f"{answer['repository']}, by {answer['kind']} on {show.moment(answer['received_at'])}: {what}")
    show.foreign(f"verdict: {answer['verdict'] or answer['state']}")
    _listed("headers", [f"{name}: {value}" for name, value in answer["headers"].items()])
    _listed("told", [f"{name}: {_json(value)}" for name, value in answer["told"].items()])
    caused = [
        f"{made['number']} ({following.title(made)}): {made['state']} {_outcome(made)}"
        for made in answer["deployments"]
    ]
    _listed("deployments", [text.rstrip() for text in caused])


@deliveries.command()
@click.argument("delivery", metavar="ID")
@at_project()
@json_option
def replay(target: Target, delivery: str, as_json: bool) -> None:
    """Receive a delivery again, as a new one.

    Example: godploy deliveries replay k3v9xq2
    """
    answer = target.client.post(*target.path("deliveries", delivery, "replay"))
    if as_json:
        show.as_json(answer)
    else:
        show.line(f"received again as {answer['id']}; its verdict comes with: godploy deliveries")


def _listed(head: str, lines: Sequence[str]) -> None:
    """Others' lines below a head of ours; nothing where there are none."""
    if lines:
        show.line()
        show.line(f"{head}:")
    for text in lines:
        show.foreign(f"  {text}")


def _json(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _begin(target: Target, deployment: dict[str, Any], wait: bool, as_json: bool) -> None:
    following.started(target, [deployment], wait=wait, as_json=as_json)


def _state(deployment: dict[str, Any]) -> str:
    state, stage = deployment["state"], deployment["stage"]
    return show.state(state) + (f" ({stage})" if state == "running" and stage else "")


def _what(made: dict[str, Any]) -> str:
    if made["commit"]:
        return str(made["commit"][:9])
    return f"revision {made['revision']}" if made["revision"] else ""


def _outcome(deployment: dict[str, Any]) -> str:
    error = deployment["error"]
    return str(error["message"] if error else deployment["result"] or "")
