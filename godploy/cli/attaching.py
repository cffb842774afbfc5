"""What attaching a repository is made of: choosing it at its provider, the hook that has to prove itself, the secrets
that its manifest lists, host keys to compare."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import Any

import click

from godploy.cli import asking, connections, following, show
from godploy.cli.client import Client
from godploy.cli.target import Target
from godploy.errors import GodployError

TITLES = {"github": "GitHub", "gitlab": "GitLab", "bitbucket": "Bitbucket", "gitea": "Gitea"}

_HOOK_TIMEOUT = 120.0  # seconds: the server waits 30 for a delivery, and talks to the provider before
_FIRST_DEPLOYMENT = 30.0  # seconds until the server has found the head of what was attached
_PAUSE = 1.0
_SHOWN = 20  # lines of a list that one still reads
_MISSING = re.compile(r"godploy secrets set ([A-Za-z_][A-Za-z0-9_]*) --environment ([a-z0-9-]+)")

Json = dict[str, Any]


def attach(client: Client, project: str, wanted: Json) -> Json:
    """The repository as the server attached it; values of None are left out. Raises GodployError."""
    given = {key: value for key, value in wanted.items() if value is not None}
    answer = client.call("POST", "projects", project, "repositories", body=given, timeout=_HOOK_TIMEOUT)
    if not isinstance(answer, dict):
        raise GodployError(f"{client.url} gave no answer that this program understands")
    return answer


def choose(target: Target, connection: str) -> Json:
    """One of the connection's repositories, by number; anything else that is typed searches."""
    organization, search = organization_of(target), ""
    while True:
        answer = connections.hosted(target.client, connection, search, organization, _SHOWN)
        found = answer["repositories"]
        if not found:
            show.note(f'no repository with "{search}" in its name' if search else "the account may administer none")
        elif not answer["complete"]:
            show.note("These were used lately; there are more.")
        chosen = asking.number("Number, or part of the name", [each["full_name"] for each in found])
        if isinstance(chosen, int):
            return dict(found[chosen])
        search = chosen


def choose_branch(target: Target, connection: str, repository: Json) -> str | None:
    """The branch that counts as the default one; None for the provider's."""
    path = ("connections", connection, "branches")
    answer = target.client.get(*path, repository=repository["full_name"], organization=organization_of(target))
    usual = repository["default_branch"]
    branches = sorted(answer["branches"], key=lambda name: name != usual)
    if len(branches) < 2:
        return None
    default = 0 if branches[0] == usual else None
    while True:
        chosen = asking.number("Branch, by number or name", branches[:_SHOWN], default)
        name = branches[chosen] if isinstance(chosen, int) else chosen
        if name in branches:
            return None if name == usual else str(name)
        show.note(show.safe(f"{repository['full_name']} has no branch {name}"))


def prove(target: Target, repository: Json) -> Json:
    """The repository after the server made or mended its hook, and waited for something to come from it.

    Raises GodployError."""
    provider = TITLES.get(repository["provider"], "the provider")
    show.note(f"waiting up to 30 s for {provider}'s first delivery")
    path = target.path("repositories", repository["name"], "hook")
    return dict(target.client.call("POST", *path, timeout=_HOOK_TIMEOUT))


def about_hook(hook: Json | None) -> str:
    """How the hook stands, in a sentence."""
    if hook is None:
        return "there is no hook; pushes will be found by polling"
    stands = "the hook works" if hook["state"] == "working" else hook["trouble"] or f"the hook is {hook['state']}"
    return show.safe(f"{stands}; {hook['warning']}" if hook["warning"] else stands)


def first_deployment(target: Target, repository: str) -> None:
    """Follows the deployment of the head. Secrets that it misses are asked for, one by one, and it is tried again.

    Raises GodployError where it fails for another reason."""
    number = _found(target, repository)
    if number is None:
        show.note("nothing was found to deploy yet; see: godploy deployments")
        return
    waiting = [number]
    while waiting:
        show.note(f"deployment {waiting[0]}")
        try:
            following.follow(target, waiting.pop(0), lambda line: show.foreign(line["text"]))
        except GodployError as error:
            missing = _MISSING.findall(error.next_step)
            if error.code != "missing_secret" or not missing:
                raise
            waiting = _given(target, repository, missing)


def _found(target: Target, repository: str) -> int | None:
    """The number of the newest deployment of a repository, once there is one."""
    end = time.monotonic() + _FIRST_DEPLOYMENT
    while True:
        for each in target.client.get(*target.path("deployments"), limit=50)["deployments"]:
            if each["source"] == repository:
                return int(each["number"])
        if time.monotonic() > end:
            return None
        time.sleep(_PAUSE)


def _given(target: Target, repository: str, missing: Sequence[tuple[str, str]]) -> list[int]:
    """Asks for the values of secrets, and deploys again; the numbers of the deployments."""
    numbers: list[int] = []
    for environment in dict.fromkeys(where for _, where in missing):
        names = dict.fromkeys(name for name, where in missing if where == environment)
        values = {name: _value(name, environment) for name in names}
        body = {"environment": environment, "values": values, "deploy": False}
        target.client.put(*target.path("secrets"), body=body)
        begun = target.client.post(
            *target.path("deployments"), body={"environment": environment, "repository": repository}
        )
        numbers.append(int(begun["number"]))
    return numbers


def _value(name: str, environment: str) -> str:
    while True:
        given = str(click.prompt(f"value of {name} in {environment}", hide_input=True, err=True))
        if given:
            return given


def agreed_keys(client: Client, url: str, given: Sequence[str], organization: str | None) -> list[str]:
    """Fingerprints of the ssh server's keys: those given or, without any, those that it shows now, once somebody
    compared them. Raises UsageError where nobody is there."""
    if given:
        return list(given)
    if not asking.somebody_is_there():
        raise click.UsageError("nobody is there to compare the server's host key: give it with --host-key FINGERPRINT")
    body = {"url": url} if organization is None else {"url": url, "organization": organization}
    answer = client.call("POST", "host-keys", body=body)
    show.note(f"{show.safe(answer['host'])} shows")
    for key in answer["host_keys"]:
        show.note(f"  {show.safe(key['type'])} {show.safe(key['fingerprint'])}")
    click.confirm("Does its administrator tell the same?", abort=True, err=True)
    return [key["fingerprint"] for key in answer["host_keys"]]


def organization_of(target: Target) -> str | None:
    """The name of the organization that the project belongs to."""
    for found in target.client.get("projects")["projects"]:
        if target.project in (found["name"], found["id"]):
            return str(found["organization"]["name"])
    return None
