"""Commands on OAuth clients: what registering this server at a provider gave; and the facts of the providers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from godploy.cli import asking, show
from godploy.cli.client import Client
from godploy.cli.target import Listing, at_server, json_option
from godploy.errors import Invalid

Json = dict[str, Any]

url_option = click.option("--url", metavar="URL", help="Its web address; without it, the provider's usual one.")


@click.group(cls=Listing)
def oauth() -> None:
    """The OAuth clients of this server at git providers; for server administrators.

    Example: godploy oauth add gitlab --client-id 3f2a91c0d5
    """


@oauth.command("list")
@at_server
@json_option
def list_clients(client: Client, as_json: bool) -> None:
    """List OAuth clients, without their secrets.

    Example: godploy oauth
    """
    answer = client.get("oauth-clients")
    if as_json:
        show.as_json(answer)
        return
    rows = [
        (found["provider"], found["url"], found["client_id"], show.moment(found["created_at"]))
        for found in answer["oauth_clients"]
    ]
    show.table(("PROVIDER", "ADDRESS", "CLIENT", "ENTERED"), rows, empty="no OAuth clients yet")


@oauth.command()
@click.argument("provider")
@url_option
@click.option("--client-id", metavar="ID", help="As the provider shows it; without it, it is asked for.")
@click.option(
    "--secret-file",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Holds the client secret; - reads standard input. Without it, it is asked for.",
)
@at_server
@json_option
def add(
    client: Client, provider: str, url: str | None, client_id: str | None, secret_file: Path | None, as_json: bool
) -> None:
    """Enter the client id and secret that registering this server at a provider gave.

    Says first where to register it, with which callback address and which scopes.

    Example: godploy oauth add gitlab --url https://gitlab.example.com --client-id 3f2a91c0d5
    """
    found = facts(client, provider)
    base = base_of(found, url)
    show.note(f"Register Godploy at {show.safe(base + found['oauth_page'])} with")
    show.note(f"  callback address  {show.safe(found['callback'])}")
    show.note(f"  scopes            {show.safe(', '.join(found['oauth_scopes']) or 'none')}")
    if client_id is None:
        if not asking.somebody_is_there():
            raise click.UsageError("nobody is there to be asked for the client id: give it with --client-id")
        client_id = str(click.prompt("client id", err=True)).strip()
    secret = asking.secret("client secret", secret_file, "--secret-file")
    body = {"provider": provider, "url": base, "client_id": client_id, "client_secret": secret}
    answer = client.put("oauth-clients", body=body)
    if as_json:
        show.as_json(answer)
    else:
        show.foreign(f"entered {answer['client_id']} for {answer['url']}")
        show.note(f"connect with: godploy connections add {provider} --oauth" + (f" --url {url}" if url else ""))


@oauth.command()
@click.argument("provider")
@url_option
@at_server
@json_option
def remove(client: Client, provider: str, url: str | None, as_json: bool) -> None:
    """Remove an OAuth client; connections made with it are no longer renewed.

    Example: godploy oauth remove gitlab
    """
    base = base_of(facts(client, provider), url)
    client.delete("oauth-clients", provider=provider, url=base)
    if as_json:
        show.as_json({"provider": provider, "url": base})
    else:
        show.foreign(f"removed the client for {base}")


def facts(client: Client, provider: str) -> Json:
    """What a connection to the provider needs. Raises Invalid for one that the server does not know."""
    known = client.get("providers")["providers"]
    for found in known:
        if found["name"] == provider:
            return dict(found)
    names = ", ".join(found["name"] for found in known)
    raise Invalid(f'there is no provider "{provider}"', next_step=f"choose one of: {names}")


def base_of(found: Json, url: str | None) -> str:
    """The web address of the provider's server that is meant. Raises UsageError where it has no usual one."""
    base = url or found["url"]
    if not base:
        raise click.UsageError(f"{found['title']} runs at many addresses: say which with --url")
    return str(base).rstrip("/")
