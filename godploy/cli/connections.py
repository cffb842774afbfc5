"""Commands on connections: the accounts at git providers by which repositories are reached."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from godploy.cli import asking, consents, show
from godploy.cli.client import Client
from godploy.cli.oauth_clients import base_of, facts, url_option
from godploy.cli.target import Listing, at_server, json_option
from godploy.errors import GodployError, NotFound

Json = dict[str, Any]

_DAY = timedelta(days=1)

_organization_option = click.option(
    "--organization", metavar="NAME", help="Whose; needed by those who are in several organizations."
)


def _token_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--expires", metavar="DATE", help="When the token ends, such as 2027-01-31, if you know."),
        click.option("--username", metavar="USER", default="", help="What the provider wants beside the token."),
        click.option(
            "--token-file",
            metavar="FILE",
            type=click.Path(path_type=Path, dir_okay=False),
            help="Holds the access token; - reads standard input. Without it, it is asked for.",
        ),
    ):
        command = option(command)
    return command


@click.group(cls=Listing)
def connections() -> None:
    """Connections to git providers, by which repositories are chosen, cloned and announced.

    Example: godploy connections add github
    """


@connections.command("list")
@_organization_option
@at_server
@json_option
def list_connections(client: Client, organization: str | None, as_json: bool) -> None:
    """List connections, with the state of each credential.

    Example: godploy connections
    """
    answer = client.get("connections", organization=organization)
    if as_json:
        show.as_json(answer)
        return
    rows = [
        (
            found["name"],
            found["url"],
            found["account"],
            found["kind"],
            show.state(found["state"]),
            (found["expires_at"] or "")[:10],
            ", ".join(found["repositories"]),
            found["trouble"],
        )
        for found in answer["connections"]
    ]
    heads = ("CONNECTION", "ADDRESS", "ACCOUNT", "BY", "STATE", "EXPIRES", "REPOSITORIES", "TROUBLE")
    show.table(heads, rows, empty="no connections yet; make one with: godploy connections add PROVIDER")
    for found in answer["connections"]:
        if found["next_step"]:
            show.note(show.safe(f"{found['name']}: {found['next_step']}"))


@connections.command()
@click.argument("provider")
@url_option
@click.option("--name", metavar="NAME", help="What it is called here; without it, after the provider.")
@_token_options
@click.option("--token", "kind", flag_value="token", help="By an access token.")
@click.option("--app", "kind", flag_value="app", help="By a GitHub App, which is made on the way.")
@click.option("--oauth", "kind", flag_value="oauth", help="By OAuth, where godploy oauth has a client for the address.")
@click.option("--owner", metavar="ORG", help="The organization at GitHub that is to own the App; without it, you.")
@_organization_option
@at_server
@json_option
def add(
    client: Client,
    provider: str,
    url: str | None,
    name: str | None,
    token_file: Path | None,
    username: str,
    expires: str | None,
    kind: str | None,
    owner: str | None,
    organization: str | None,
    as_json: bool,
) -> None:
    """Connect an account at a git provider: github, gitlab, bitbucket or gitea (Forgejo too).

    In a terminal GitHub is connected by a GitHub App, others by OAuth where a client was entered for their address,
    else by an access token. A token is asked for without showing it, or read from a file, never from the command line.

    Example: godploy connections add gitea --url https://git.example.com
    """
    found = facts(client, provider)
    base = base_of(found, url)
    chosen = _kind(found, base, kind, token_file)
    if owner is not None and chosen != "app":
        raise click.UsageError("--owner belongs to --app")
    if chosen == "token":
        body = {"provider": provider, "url": url, "name": name, "organization": organization}
        given = {key: value for key, value in body.items() if value is not None}
        made = client.post(
            "connections", body={**given, **_token(found, base, token_file, username, _expires(expires))}
        )
    else:
        if token_file is not None or username or expires:
            raise click.UsageError("--token-file, --username and --expires belong to --token")
        wanted = consents.Wanted(found["title"], provider, chosen, url, name, owner, organization=organization)
        made = consents.connect(client, wanted)
    _told(made, as_json)
    show.note(show.safe(f"attach a repository: godploy repositories add --connection {made['name']}"))


@connections.command()
@click.argument("name")
@_organization_option
@at_server
@json_option
def check(client: Client, name: str, organization: str | None, as_json: bool) -> None:
    """Look whether the provider accepts a connection now; fails where it does not.

    Example: godploy connections check github
    """
    found = client.call("POST", "connections", name, "check", query={"organization": organization})
    _told(found, as_json)
    if found["state"] != "usable":
        raise GodployError(found["trouble"] or f"{name} is {found['state']}", next_step=found["next_step"])


@connections.command()
@click.argument("name")
@_token_options
@_organization_option
@at_server
@json_option
def renew(
    client: Client,
    name: str,
    token_file: Path | None,
    username: str,
    expires: str | None,
    organization: str | None,
    as_json: bool,
) -> None:
    """Give a connection another credential of the same account: a new token, or consent once more.

    Example: godploy connections renew github
    """
    old = named(client, name, organization)
    found = facts(client, old["provider"])
    if old["kind"] == "token":
        body = _token(found, old["url"], token_file, username, _expires(expires))
        query = {"organization": organization}
        made = client.call("PUT", "connections", name, "token", query=query, body=body)
    else:
        if token_file is not None or username or expires:
            raise click.UsageError(f"{name} was not made with a token: leave --token-file, --username, --expires out")
        _must_be_there("to agree once more")
        wanted = consents.Wanted(found["title"], old["provider"], old["kind"], renews=name, organization=organization)
        made = consents.connect(client, wanted)
    _told(made, as_json)


@connections.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_organization_option
@at_server
@json_option
def remove(client: Client, name: str, yes: bool, organization: str | None, as_json: bool) -> None:
    """Remove a connection, with the hooks that it made; its repositories stay attached.

    Example: godploy connections remove github
    """
    found = named(client, name, organization)
    show.note(show.safe(f"The hooks that {found['name']} made at {found['url']} are removed."))
    if found["repositories"]:
        several = ", ".join(found["repositories"])
        show.note(f"{show.safe(several)}: attached as before, but polled only, as far as anybody may read them.")
    asking.sure(f"Remove {found['name']}?", yes, "--yes removes it without asking")
    answer = client.delete("connections", name, organization=organization)
    if as_json:
        show.as_json(answer)
        return
    show.foreign(f"removed {found['name']}")
    for sentence in answer["left"]:
        show.foreign(sentence)


@connections.command("repositories")
@click.argument("name")
@click.argument("search", default="")
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True, help="At most so many.")
@_organization_option
@at_server
@json_option
def list_hosted(client: Client, name: str, search: str, limit: int, organization: str | None, as_json: bool) -> None:
    """List repositories at the provider that can be attached; SEARCH is part of the name.

    Example: godploy connections repositories github shop
    """
    answer = hosted(client, name, search, organization, limit)
    if as_json:
        show.as_json(answer)
        return
    rows = [
        (found["full_name"], found["default_branch"], "private" if found["private"] else "", found["web_url"])
        for found in answer["repositories"]
    ]
    show.table(("REPOSITORY", "BRANCH", "", "ADDRESS"), rows, empty="none that the account may administer")
    if not answer["complete"]:
        show.note("there are more: name a part of what you look for")


@connections.command("branches")
@click.argument("name")
@click.argument("full_name")
@_organization_option
@at_server
@json_option
def list_branches(client: Client, name: str, full_name: str, organization: str | None, as_json: bool) -> None:
    """List the branches of a repository at the provider.

    Example: godploy connections branches github ada/shop
    """
    answer = client.get("connections", name, "branches", repository=full_name, organization=organization)
    if as_json:
        show.as_json(answer)
        return
    for branch in answer["branches"]:
        show.foreign(branch)


def named(client: Client, name: str, organization: str | None) -> Json:
    """Raises NotFound."""
    for found in client.get("connections", organization=organization)["connections"]:
        if name in (found["name"], found["id"]):
            return dict(found)
    raise NotFound(f'there is no connection "{name}"', next_step="see: godploy connections")


def hosted(client: Client, name: str, search: str, organization: str | None = None, limit: int = 50) -> Json:
    """Repositories at the provider that can be attached, as the server tells them."""
    given = {"search": search or None, "organization": organization, "limit": limit}
    return dict(client.get("connections", name, "repositories", **given))


def _kind(found: Json, base: str, asked: str | None, token_file: Path | None) -> str:
    """How to connect. Raises UsageError where the provider has no such way, or nobody is there to go it."""
    if asked is not None and asked not in found["kinds"]:
        raise click.UsageError(f"{found['title']} is connected by {', '.join(found['kinds'])}, not by {asked}")
    if asked == "token" or (asked is None and token_file is not None):
        return "token"
    if asked is not None:
        if token_file is not None:
            raise click.UsageError(f"--token-file does not go with --{asked}")
        _must_be_there("to agree in a browser: without a terminal give an access token by --token-file FILE or -")
        return asked
    _must_be_there("to connect: give an access token by --token-file FILE or -")
    if "app" in found["kinds"]:
        return "app"
    return "oauth" if base in found["oauth_urls"] else "token"


def _must_be_there(what: str) -> None:
    if not asking.somebody_is_there():
        raise click.UsageError(f"nobody is there {what}")


def _token(found: Json, base: str, file: Path | None, username: str, expires: str | None) -> Json:
    """The access token as the API takes it; where there is somebody to read it, first where one is made."""
    if file is None and asking.somebody_is_there():
        show.note(f"Make an access token at {show.safe(base + found['token_page'])}")
        show.note(f"with {show.safe(', '.join(found['token_scopes']))}.")
        if found["token_username"] and not username:
            asked = f"user name ({show.safe(found['token_username'])})"
            username = str(click.prompt(asked, default="", show_default=False, err=True)).strip()
    given = {"token": asking.secret("access token", file, "--token-file"), "expires_at": expires}
    return {**{key: value for key, value in given.items() if value}, **({"username": username} if username else {})}


def _expires(date: str | None) -> str | None:
    if date is None:
        return None
    try:
        ends = datetime.strptime(date, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError as error:
        raise click.UsageError("--expires takes a date such as 2027-01-31") from error
    if ends < datetime.now(UTC) - _DAY:  # a day for those who live east or west of UTC
        raise click.UsageError(f"--expires {date} is over: such a token is not accepted any more")
    return ends.isoformat()


def _told(connection: Json, as_json: bool) -> None:
    if as_json:
        show.as_json(connection)
        return
    account = f" as {connection['account']}" if connection["account"] else ""
    show.foreign(f"{connection['name']}: {connection['url']}{account} by {connection['kind']}, {connection['state']}")
    if connection["expires_at"]:
        show.line(f"its credential ends on {connection['expires_at'][:10]}")
