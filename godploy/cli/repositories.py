"""Commands on the repositories of a project: where each comes from, and what announces its pushes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from godploy.cli import asking, attaching, checkout, show
from godploy.cli.target import Listing, Target, at_project, json_option
from godploy.errors import Conflict, GodployError

Json = dict[str, Any]

_BY = {"godploy": "git push", "generic": "signed hook", **attaching.TITLES}

_password_option = click.option(
    "--password-file",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Holds the password or access token; - reads standard input. Without it, it is asked for.",
)
_host_key_option = click.option(
    "--host-key",
    "host_keys",
    metavar="FINGERPRINT",
    multiple=True,
    help="Of the ssh server's key, as its administrator tells it, instead of being asked; may be repeated.",
)


@click.group(cls=Listing)
def repositories() -> None:
    """The repositories of a project.

    Example: godploy repositories add --connection github
    """


@repositories.command("list")
@at_project()
@json_option
def list_repositories(target: Target, as_json: bool) -> None:
    """List repositories, with what feeds their environments and how their hooks stand.

    Example: godploy repositories
    """
    answer = target.client.get(*target.path("repositories"))
    if as_json:
        show.as_json(answer)
        return
    rows = [
        (
            found["name"],
            _BY[found["provider"]],
            found["connection"],
            found["url"] or found["git_url"],
            found["manifest_path"],
            ", ".join(f"{name}: {_feed(feed)}" for name, feed in found["environments"].items()),
            show.state(found["hook"]["state"]) if found["hook"] else "",
        )
        for found in answer["repositories"]
    ]
    heads = ("REPOSITORY", "BY", "CONNECTION", "ADDRESS", "MANIFEST", "ENVIRONMENTS", "HOOK")
    show.table(heads, rows, empty="no repositories yet")


@repositories.command()
@click.argument("name", required=False)
@click.option("--connection", metavar="NAME", help="Choose it at a provider, by a connection of godploy connections.")
@click.option("--from", "full_name", metavar="NAME", help="Its full name at the provider, such as ada/shop.")
@click.option("--branch", metavar="NAME", help="What counts as its default branch; without it, the provider's.")
@click.option("--url", metavar="URL", help="Where Godploy clones it from, https or ssh.")
@click.option("--username", metavar="USER", help="Of the login for an https address.")
@_password_option
@_host_key_option
@click.option("--manifest-path", metavar="PATH", help="Where its manifest is; default: godploy.yaml.")
@click.option("--status-url", metavar="URL", help="Is told what becomes of each deployment, signed as hooks are.")
@at_project()
@json_option
def add(target: Target, name: str | None, as_json: bool, **given: Any) -> None:
    """Attach a repository to the project.

    With --connection it is at a git provider: Godploy makes the hook, and deploys the head. In a terminal it is chosen
    from a list unless --from names it; NAME is made from its name there. With --url it is at any git server: Godploy
    clones it by https or, with a deploy key of its own, by ssh, and a signed hook announces its pushes. With neither it
    is pushed to Godploy. With --status-url the result of each deployment is posted there, signed with the same secret.

    Example: godploy repositories add --connection github --from ada/shop
    """
    _must_fit(given)
    if given["connection"] is not None:
        _from_provider(target, name, given, as_json)
        return
    if name is None:
        raise click.UsageError("say what it is called here: godploy repositories add NAME")
    answer = attaching.attach(target.client, target.project, {"name": name, **_elsewhere(target, given)})
    if as_json:
        show.as_json(answer)
        return
    if answer["deploy_key"]:
        show.line("Give this deploy key the right to read it there:")
        show.line()
        show.foreign(answer["deploy_key"])
        show.line()
    if answer["hook_secret"]:
        _explain_hook(answer)
    else:
        show.foreign(f"push it to {answer['git_url']}")


@repositories.command()
@click.argument("name")
@at_project()
@json_option
def hook(target: Target, name: str, as_json: bool) -> None:
    """Make or mend the hook at the provider, and wait for something to come from it.

    Example: godploy repositories hook shop
    """
    found = attaching.prove(target, target.client.get(*target.path("repositories", name)))
    if as_json:
        show.as_json(found)
    else:
        show.line(attaching.about_hook(found["hook"]))
    if found["hook"] is None or found["hook"]["state"] == "refused":
        raise GodployError(f"{name} has no hook that works; its pushes are found by polling")


@repositories.command("hook-secret")
@click.argument("name")
@at_project()
@json_option
def hook_secret(target: Target, name: str, as_json: bool) -> None:
    """Make a new hook secret; the old one stays valid for 24 hours.

    It is printed this once or, for a hook that Godploy made, given to the provider.

    Example: godploy repositories hook-secret shop
    """
    answer = target.client.post(*target.path("repositories", name, "hook-secret"))
    if as_json:
        show.as_json(answer)
    elif answer["hook_secret"] is None:
        show.line(f"{_BY[answer['provider']]} was given the new secret; the old one stays valid for 24 hours")
    else:
        _explain_hook(answer)


@repositories.command()
@click.argument("name")
@click.option("--connection", metavar="NAME", required=True, help="One of the same provider.")
@at_project()
@json_option
def connect(target: Target, name: str, connection: str, as_json: bool) -> None:
    """Reach a provider's repository by another connection.

    Example: godploy repositories connect shop --connection github
    """
    answer = target.client.put(*target.path("repositories", name, "connection"), body={"connection": connection})
    if as_json:
        show.as_json(answer)
    else:
        show.foreign(f"{name} is reached by {answer['connection']}; {attaching.about_hook(answer['hook'])}")


@repositories.command()
@click.argument("name")
@click.option("--username", metavar="USER", required=True, help="Of the login.")
@_password_option
@at_project()
@json_option
def login(target: Target, name: str, username: str, password_file: Path | None, as_json: bool) -> None:
    """Give the login by which an https repository without a connection is cloned.

    Example: godploy repositories login shop --username ada
    """
    password = asking.secret("password or access token", password_file, "--password-file")
    body = {"username": username, "password": password}
    target.client.put(*target.path("repositories", name, "login"), body=body)
    if as_json:
        show.as_json({"name": name, "username": username})
    else:
        show.line(f"{name} is cloned as {username}")


@repositories.command("host-key")
@click.argument("name")
@_host_key_option
@at_project()
@json_option
def host_key(target: Target, name: str, host_keys: tuple[str, ...], as_json: bool) -> None:
    """Pin the keys that an ssh repository's server may have from now on, once they were compared.

    Example: godploy repositories host-key shop
    """
    found = target.client.get(*target.path("repositories", name))
    if not _is_ssh(found["url"]):
        raise Conflict(f"{name} is not cloned over ssh, so its server has no host key")
    agreed = attaching.agreed_keys(target.client, found["url"], host_keys, attaching.organization_of(target))
    target.client.put(*target.path("repositories", name, "host-keys"), body={"host_keys": agreed})
    if as_json:
        show.as_json({"name": name, "host_keys": agreed})
    else:
        show.line(f"{name}: the server's key is pinned")


def _must_fit(given: Json) -> None:
    """Raises UsageError for options that contradict each other."""
    by_connection = given["connection"] is not None
    at_provider = [option for option, key in (("--from", "full_name"), ("--branch", "branch")) if given[key]]
    elsewhere = [
        option
        for option, key in (
            ("--url", "url"),
            ("--username", "username"),
            ("--password-file", "password_file"),
            ("--host-key", "host_keys"),
            ("--status-url", "status_url"),
        )
        if given[key]
    ]
    if not by_connection and at_provider:
        raise click.UsageError(f"{at_provider[0]} belongs to --connection")
    if by_connection and elsewhere:
        raise click.UsageError(f"{elsewhere[0]} does not go with --connection")
    if given["password_file"] and not given["username"]:
        raise click.UsageError("--password-file belongs to --username")
    if given["username"] and (not given["url"] or _is_ssh(given["url"])):
        raise click.UsageError("--username belongs to an https --url")
    if given["host_keys"] and not _is_ssh(given["url"]):
        raise click.UsageError("--host-key belongs to an ssh --url")


def _elsewhere(target: Target, given: Json) -> Json:
    """What the API is to be told of a repository that is pushed to Godploy, or cloned from any git server."""
    told = {key: given[key] for key in ("url", "manifest_path", "status_url")}
    if given["username"]:
        password = asking.secret("password or access token", given["password_file"], "--password-file")
        return {**told, "username": given["username"], "password": password}
    if _is_ssh(given["url"]):
        organization = attaching.organization_of(target)
        return {
            **told,
            "host_keys": attaching.agreed_keys(target.client, given["url"], given["host_keys"], organization),
        }
    return told


def _from_provider(target: Target, name: str | None, given: Json, as_json: bool) -> None:
    """Attaches what is chosen, proves its hook and, in a terminal, follows the first deployment."""
    connection, full_name, branch = given["connection"], given["full_name"], given["branch"]
    if full_name is None:
        if not asking.somebody_is_there():
            raise click.UsageError("nobody is there to choose: name the repository with --from, such as ada/shop")
        chosen = attaching.choose(target, connection)
        full_name = chosen["full_name"]
        branch = branch or attaching.choose_branch(target, connection, chosen)
    name = name or checkout.valid_name(full_name.rpartition("/")[2])
    wanted = {"name": name, "connection": connection, "full_name": full_name, "branch": branch}
    made = attaching.attach(target.client, target.project, {**wanted, "manifest_path": given["manifest_path"]})
    show.note(f"attached {show.safe(made['full_name'] or full_name)} as {name}")
    try:
        made = {**made, **attaching.prove(target, made)}
        show.note(attaching.about_hook(made["hook"]))
    except GodployError as error:  # it is attached, and polled
        show.note(f"{show.safe(error.message)}; pushes will be found by polling")
        show.note(f"to make the hook later: godploy repositories hook {name}")
    if as_json:
        show.as_json(made)
    elif asking.somebody_is_there():
        attaching.first_deployment(target, name)
    else:
        show.line(f"its head is deployed; see: godploy deployments -p {target.project}")


def _is_ssh(url: str | None) -> bool:
    """Whether an address is ssh's, in its short form too: user@host:path."""
    if not url:
        return False
    host, colon, _ = url.partition(":")
    return url.startswith("ssh://") or ("://" not in url and bool(colon) and "@" in host and "/" not in host)


def _feed(feed: Json) -> str:
    if feed["tag"]:
        return f"tag {feed['tag']}"
    return feed["branch"] or "default branch"


def _explain_hook(repository: dict[str, Any]) -> None:
    """The secret, and a call that works as it stands when pasted."""
    show.foreign(f"hook     {repository['hook_url']}")
    show.foreign(f"secret   {repository['hook_secret']}")
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
