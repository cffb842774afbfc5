"""Commands on projects and what they are made from: the link of a checkout, repositories, templates."""

from __future__ import annotations

from typing import Any

import click

from godploy.cli import checkout, show
from godploy.cli.accounts import Accounts
from godploy.cli.client import Client
from godploy.cli.target import Listing, Target, at_project, at_server, connect, json_option
from godploy.errors import Conflict, GodployError

_PROVIDERS = {"godploy": "git push", "generic": "signed hook"}


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


@click.group(cls=Listing)
def repositories() -> None:
    """The repositories of a project.

    Example: godploy repositories add shop --url https://git.example.com/ada/shop.git
    """


@repositories.command("list")
@at_project()
@json_option
def list_repositories(target: Target, as_json: bool) -> None:
    """List repositories, with what feeds their environments.

    Example: godploy repositories
    """
    answer = target.client.get(*target.path("repositories"))
    if as_json:
        show.as_json(answer)
        return
    rows = [
        (
            found["name"],
            _PROVIDERS[found["provider"]],
            found["url"] or found["git_url"],
            found["manifest_path"],
            ", ".join(f"{name}: {_feed(feed)}" for name, feed in found["environments"].items()),
        )
        for found in answer["repositories"]
    ]
    show.table(("REPOSITORY", "BY", "ADDRESS", "MANIFEST", "ENVIRONMENTS"), rows, empty="no repositories yet")


@repositories.command()
@click.argument("name")
@click.option("--url", metavar="URL", help="Where Godploy clones it from; without it, it is pushed to Godploy.")
@click.option("--manifest-path", metavar="PATH", help="Where its manifest is; default: godploy.yaml.")
@click.option("--status-url", metavar="URL", help="Is told what becomes of each deployment, signed as hooks are.")
@at_project()
@json_option
def add(
    target: Target, name: str, url: str | None, manifest_path: str | None, status_url: str | None, as_json: bool
) -> None:
    """Attach a repository to the project.

    With --url it stays where it is: Godploy clones it, and any git server announces its pushes by a signed hook.
    With --status-url the result of each deployment is posted to that address, signed with the same secret.

    Example: godploy repositories add shop --url https://git.example.com/ada/shop.git
    """
    wanted = {"name": name, "url": url, "manifest_path": manifest_path, "status_url": status_url}
    answer = _attach(target.client, target.project, wanted)
    if as_json:
        show.as_json(answer)
    elif answer["hook_secret"]:
        _explain_hook(answer)
    else:
        show.line(f"push it to {answer['git_url']}")


@repositories.command("hook-secret")
@click.argument("name")
@at_project()
@json_option
def hook_secret(target: Target, name: str, as_json: bool) -> None:
    """Make a new hook secret, and print it this once; the old one stays valid for 24 hours.

    Example: godploy repositories hook-secret shop
    """
    answer = target.client.post(*target.path("repositories", name, "hook-secret"))
    if as_json:
        show.as_json(answer)
    else:
        _explain_hook(answer)


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
    return _attach(client, project, {"name": name, "manifest_path": manifest_path})


def _attach(client: Client, project: str, wanted: dict[str, str | None]) -> dict[str, Any]:
    given = {key: value for key, value in wanted.items() if value is not None}
    answer = client.post("projects", project, "repositories", body=given)
    if not isinstance(answer, dict):
        raise GodployError(f"{client.url} gave no answer that this program understands")
    return answer


def _feed(feed: dict[str, Any]) -> str:
    if feed["tag"]:
        return f"tag {feed['tag']}"
    return feed["branch"] or "default branch"


def _explain_hook(repository: dict[str, Any]) -> None:
    """The secret, and a call that works as it stands when pasted."""
    show.line(f"hook     {repository['hook_url']}")
    show.line(f"secret   {repository['hook_secret']}")
    show.line()
    show.line("The secret is shown this once. After each push, call the hook like this:")
    show.line()
    show.line(_EXAMPLE.format(url=repository["hook_url"], branch=repository["default_branch"] or "main"))


_EXAMPLE = """\
  secret='the secret above'
  body='{{"event": "push", "ref": "refs/heads/{branch}"}}'
  now=$(date +%s)
  signature=$(printf '%s.%s' "$now" "$body" | openssl dgst -sha256 -hmac "$secret" | sed 's/.* //')
  curl {url} \\
    -H "Content-Type: application/json" \\
    -H "X-Godploy-Delivery: $now-$$" \\
    -H "X-Godploy-Timestamp: $now" \\
    -H "X-Godploy-Signature-256: sha256=$signature" \\
    --data "$body\""""
