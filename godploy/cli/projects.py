"""Commands on projects and what they are made from: the link of a checkout, templates."""

from __future__ import annotations

from typing import Any

import click

from godploy.cli import checkout, show
from godploy.cli.accounts import Accounts
from godploy.cli.attaching import attach
from godploy.cli.client import Client
from godploy.cli.target import at_server, connect, json_option
from godploy.errors import Conflict


@click.command()
@click.argument("project", required=False)
@click.option("--repository", metavar="NAME", help="Its name on the server; default: the folder's.")
@click.option("--manifest-path", metavar="PATH", help="Where its manifest is; default: godploy.yaml.")
@click.option("--server", metavar="URL", help="Another server than the last one you logged in to.")
@json_option
def link(
    project: str | None, repository: str | None, manifest_path: str | None, server: str | None, as_json: bool
) -> None:
    """Connect this checkout to a project, so that `git push godploy` deploys it.

    Makes the project and the repository where they are new, and adds the git remote `godploy`. PROJECT is named like
    the folder unless given.

    Example: godploy link shop
    """
    client = connect(server or _instead_of_a_stale_link())
    name = project or checkout.default_name()
    made = _ensure_project(client, name)
    wanted = repository or checkout.default_name()
    attached = _ensure_repository(client, name, wanted, manifest_path)
    if attached["git_url"] is None:
        raise Conflict(
            f"{wanted} is cloned from {attached['url']}, so it is not pushed to Godploy",
            next_step=f"push there, or choose another name: godploy link {name} --repository NAME",
        )
    address = checkout.link(client.url, attached["git_url"])
    if as_json:
        show.as_json({"project": name, "created": made, "repository": attached["name"], "remote": address})
        return
    show.line(f"linked to {name}" + (" (made just now)" if made else "") + f": {address}")
    show.note(f"deploy with: git push {checkout.REMOTE} {attached['default_branch'] or checkout.branch()}")


@click.command()
@at_server
@json_option
def projects(client: Client, as_json: bool) -> None:
    """List your projects.

    Example: godploy projects
    """
    answer = client.get("projects")
    if as_json:
        show.as_json(answer)
        return
    link = checkout.linked()
    here = link.project if link is not None and link.server == client.url else None
    rows = [
        (found["name"], found["organization"]["name"], "linked here" if found["name"] == here else "")
        for found in answer["projects"]
    ]
    show.table(("PROJECT", "ORGANIZATION", ""), rows, empty="no projects yet")


@click.command()
@at_server
@json_option
def templates(client: Client, as_json: bool) -> None:
    """List the predefined services, with their parameters.

    Example: godploy templates
    """
    answer = client.get("templates")
    if as_json:
        show.as_json(answer)
        return
    for found in answer["templates"]:
        show.line(f"{click.style(found['name'], bold=True)}: {found['description']}")
        for parameter in found["parameters"]:
            show.line(f"  {parameter['name']} (default {parameter['default']}): {parameter['description']}")
        offers = ", ".join(f"${{services.NAME.{key}}}" for key in found["offers"])
        show.line(f"  offers {offers}")


def _instead_of_a_stale_link() -> str | None:
    """The server of the last login, where the checkout is linked to one that is not known any more."""
    known, present = Accounts.load(), checkout.linked()
    return known.default if present is not None and known.find(present.server) is None else None


def _ensure_project(client: Client, name: str) -> bool:
    """Whether it had to be made."""
    if any(found["name"] == name for found in client.get("projects")["projects"]):
        return False
    client.post("projects", body={"name": name})
    return True


def _ensure_repository(client: Client, project: str, name: str, manifest_path: str | None) -> dict[str, Any]:
    for found in client.get("projects", project, "repositories")["repositories"]:
        if found["name"] == name:
            return dict(found)
    return attach(client, project, {"name": name, "manifest_path": manifest_path})
