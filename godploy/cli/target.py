"""What a command speaks to: which server, project, environment and repository, from options, environment and checkout.

The most explicit wins: an option, then GODPLOY_SERVER, then the link of the current checkout, then the last login.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import click

from godploy.cli import accounts, checkout
from godploy.cli.client import Client, normal
from godploy.errors import Invalid, Unauthorized

F = TypeVar("F", bound=Callable[..., Any])

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
wait_option = click.option(
    "--wait/--no-wait", default=True, show_default=True, help="Follow the deployment; its end gives the exit code."
)
_server_option = click.option("--server", metavar="URL", help="Another server than the linked or last one.")


@dataclass(frozen=True, slots=True)
class Target:
    """A project on a server; `environment` and `repository` are None where the server is to choose."""

    client: Client
    project: str
    environment: str | None = None
    repository: str | None = None

    def path(self, *rest: object) -> tuple[str, ...]:
        return ("projects", self.project, *map(str, rest))

    def choice(self, **more: Any) -> dict[str, Any]:
        """A request's body with the environment and the repository, as far as they were chosen, and `more` likewise."""
        given = {"environment": self.environment, "repository": self.repository, **more}
        return {key: value for key, value in given.items() if value is not None}


class Listing(click.Group):
    """A group whose bare name means its first command: `godploy volumes` is `godploy volumes list`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0].startswith("-") and args[0] not in ("-h", "--help")):
            args = [next(iter(self.commands)), *args]
        return super().parse_args(ctx, args)


def at_server(function: F) -> F:
    """Gives the command a Client as its first argument, and the option --server."""

    @_server_option
    @functools.wraps(function)
    def call(*args: Any, server: str | None, **options: Any) -> Any:
        return function(connect(server), *args, **options)

    return call  # type: ignore[return-value]


def at_project(*, environment: bool = False, repository: Literal["no", "asked", "linked"] = "no") -> Callable[[F], F]:
    """Gives the command a Target as its first argument, and the options for what that holds.

    `repository` "linked" means that of the current checkout where none is asked for."""

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def call(*args: Any, server: str | None, project: str | None, **options: Any) -> Any:
            of_environment = options.pop("environment") if environment else None
            of_repository = options.pop("repository") if repository != "no" else None
            target = choose(server, project, of_environment, of_repository, linked=repository == "linked")
            return function(target, *args, **options)

        if repository != "no":
            call = click.option(
                "-r", "--repository", metavar="NAME", help="Which source; `dashboard` for the dashboard manifest."
            )(call)
        if environment:
            call = click.option("-e", "--environment", metavar="NAME", help="Default: production.")(call)
        call = click.option("-p", "--project", metavar="NAME", help="Default: the linked one, or the only one.")(call)
        return _server_option(call)  # type: ignore[return-value]

    return decorate


def connect(server: str | None = None) -> Client:
    """A client for the server that was meant. Raises Unauthorized where one must log in first."""
    known, given = accounts.Accounts.load(), accounts.from_environment()
    url = _meant(server)
    if url is None:
        link = checkout.linked()
        url = link.server if link is not None else known.default
    if url is None:
        several = ", ".join(known.urls)
        raise Unauthorized(
            f"which server? You are logged in to {several}" if several else "you are not logged in to any server",
            next_step="name one with --server URL" if several else "godploy login URL",
        )
    return authorized(url, known, given)


def authorized(url: str, known: accounts.Accounts, given: accounts.Account | None = None) -> Client:
    """A client with the token for this very server."""
    account = known.find(url)
    certificate = account.certificate if account is not None else None
    if given is not None and given.url == url:
        return Client(url, given.token, certificate)
    if account is None:
        raise Unauthorized(f"you are not logged in to {url}", next_step=f"godploy login {url}")
    return Client(url, account.token, certificate)


def choose(
    server: str | None,
    project: str | None,
    environment: str | None = None,
    repository: str | None = None,
    *,
    linked: bool = False,
) -> Target:
    """The target of a command. `linked`: the repository is that of the link, where none is given.

    Raises Invalid where nothing tells the project.
    """
    client = connect(server)
    if project is not None:
        return Target(client, project, environment, repository)
    link = checkout.linked()
    if link is not None and link.server == client.url:
        return Target(client, link.project, environment, repository or (link.repository if linked else None))
    names = [found["name"] for found in client.get("projects")["projects"]]
    if len(names) == 1:
        return Target(client, names[0], environment, repository)
    if not names:
        raise Invalid(f"there is no project on {client.url} yet", next_step="godploy link NAME makes one")
    raise Invalid(
        f"which project? There are {', '.join(names)}",
        next_step="name one with -p, or run godploy link NAME in its checkout",
    )


def _meant(server: str | None) -> str | None:
    named = server or os.environ.get("GODPLOY_SERVER")
    return normal(named) if named else None
