"""What a delivery leads to, told in a sentence: which environments are to be brought to which commit, and why not."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from godploy.core import feeding
from godploy.core.model import Delivery, Feed, Repository
from godploy.deploy import pulls, remotes, source
from godploy.deploy.services import Services
from godploy.drivers.git import Heads
from godploy.drivers.git_objects import FileTooLarge, NotARegularFile, TreeTooLarge
from godploy.drivers.git_program import GitError
from godploy.errors import GodployError
from godploy.store import Connection, projects, releases, repositories, stacks

HEADS, TAGS = "refs/heads/", "refs/tags/"
_UNREACHABLE_TRIES = 3


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to write down: the sentence, the considered commit, and the environments to deploy to."""

    text: str
    environments: tuple[str, ...] = ()
    branch: str | None = None
    commit: str | None = None
    mapping: Mapping[str, Feed] | None = None  # when the default branch's manifest was read
    default_branch: str | None = None
    forget: str | None = None  # a branch that is gone


async def consider(services: Services, repository: Repository, delivery: Delivery) -> Verdict:
    body = delivery.body
    ref, commit = str(body.get("ref", "")), body.get("commit")
    match body.get("event"):
        case "ping":
            return Verdict("a ping: the hook works")
        case "pull_request":
            return Verdict(await pulls.consider(services, repository, body, again=delivery.kind == "manual"))
        case "other":
            return Verdict(f"nothing to do: {body.get('reason')}")
    if ref.startswith(TAGS):
        return await _tag(services, repository, delivery)
    branch = ref.removeprefix(HEADS)
    try:
        heads = await _heads(services, repository)
    except (GitError, GodployError) as error:  # its address is not allowed any more, or its connection is refused
        return _unreachable(repository, branch, commit, error)
    default = repository.default_branch or heads.default or branch
    head = heads.branches.get(branch)
    if head is None:
        return Verdict(f"the branch {branch} is not in the repository any more: nothing to deploy", forget=branch)
    considered = (await services.store.read(lambda conn: repositories.considered(conn, repository.id))).get(branch)
    if head == considered and delivery.kind != "manual":
        return Verdict(f"{head[:7]} on {branch} was considered before: nothing new")
    mapping = await _mapping(services, repository, branch, head) if branch == default else None
    fed = feeding.by_branch(mapping or repository.mapping or {"production": Feed()}, branch, default)
    moved = f" ({branch} has moved on from {commit[:7]})" if commit and commit != head else ""
    new_default = None if repository.default_branch else default
    begin = f"{head[:7]} on {branch}{moved}"
    if not fed:
        return Verdict(f"{begin}: the branch feeds no environment", (), branch, head, mapping, new_default)
    mark = None if delivery.kind == "manual" else await _skip(services, repository, branch, head, body)
    if mark:
        text = f"{begin}: its message says {mark}, so it is not deployed"
        return Verdict(text, (), branch, head, mapping, new_default)
    changed = await _changed(services, repository, head, fed[0])
    return Verdict(f"{begin}{changed}: deploys to {', '.join(fed)}", fed, branch, head, mapping, new_default)


async def _skip(
    services: Services, repository: Repository, branch: str, head: str, body: Mapping[str, Any]
) -> str | None:
    """The mark in the head commit's message by which its author asks not to deploy it. The message comes with the
    delivery where that is of the head; else git has it, and where it cannot be fetched the deployment tells so."""
    message = str(body.get("message") or "") if body.get("commit") == head else ""
    if not message:
        try:
            await services.git.fetch(repository.id, await remotes.access(services, repository), head, branch)
            message = await services.git.message(repository.id, head)
        except (GitError, GodployError):
            return None
    return feeding.skip(message)


async def _changed(services: Services, repository: Repository, head: str, environment: str) -> str:
    """How many files differ from what is deployed, where both are at hand; the plan says what comes of that."""

    def deployed(conn: Connection) -> str | None:
        for stack in stacks.of_repository(conn, repository.id):
            if projects.environment(conn, stack.environment).name == environment:
                release = releases.current(conn, stack)
                return release.commit if release else None
        return None

    before = await services.store.read(deployed)
    if before is None or before == head:
        return ""
    try:
        paths, complete = await services.git.changed(repository.id, before, head)
    except GitError:  # not fetched yet, say
        return ""
    count = f"{len(paths)}{'' if complete else ' or more'} file{'' if len(paths) == 1 else 's'}"
    return f", {count} changed since {before[:7]}"


async def _heads(services: Services, repository: Repository) -> Heads:
    """The remote's refs; asked a few times before it counts as unreachable."""
    for attempt in range(1, _UNREACHABLE_TRIES):
        try:
            return await remotes.heads(services, repository)
        except GitError:
            await asyncio.sleep(attempt)
    return await remotes.heads(services, repository)


def _unreachable(repository: Repository, branch: str, commit: Any, error: Exception) -> Verdict:
    """The deployment tells it where people look: it fails at its fetch, with the reason."""
    fed = feeding.by_branch(repository.mapping or {"production": Feed()}, branch, repository.default_branch or branch)
    return Verdict(f"the repository could not be asked for {branch}: {error}", fed, branch, commit)


async def _tag(services: Services, repository: Repository, delivery: Delivery) -> Verdict:
    """A tag is considered by itself, and by what it names now, as a branch is: a delivery that is sent again, which
    anybody can who has seen one, brings nothing back that a tag named once."""
    ref, commit = str(delivery.body["ref"]), delivery.body.get("commit")
    tag = ref.removeprefix(TAGS)
    if not commit or set(commit) == {"0"}:
        return Verdict(f"the tag {tag} was deleted: nothing to deploy")
    fed = feeding.by_tag(repository.mapping, tag)
    if not fed:
        return Verdict(f"the tag {tag} feeds no environment")
    try:
        named = (await _heads(services, repository)).tags.get(tag)
    except (GitError, GodployError) as error:  # the deployment tells it, as that of a branch
        return Verdict(f"the repository could not be asked for the tag {tag}: {error}", fed, ref, commit)
    if named is None:
        return Verdict(f"the tag {tag} is not in the repository any more: nothing to deploy")
    moved = "" if commit == named else f" (the delivery told of {commit[:7]})"
    commit = named
    begin = f"{commit[:7]} tagged {tag}{moved}"
    if delivery.kind != "manual":
        considered = await services.store.read(lambda conn: repositories.considered(conn, repository.id))
        if considered.get(ref) == commit:
            return Verdict(f"{begin} was considered before: nothing new")
        mark = feeding.skip(str(delivery.body.get("message") or ""))
        if mark:
            return Verdict(f"{begin}: its message says {mark}, so it is not deployed", (), ref, commit)
    return Verdict(f"{begin}: deploys to {', '.join(fed)}", fed, ref, commit)


async def _mapping(services: Services, repository: Repository, branch: str, head: str) -> Mapping[str, Feed] | None:
    """What the manifest on the default branch says; None where it cannot be read or is invalid: the old one stays."""
    try:
        await services.git.fetch(repository.id, await remotes.access(services, repository), head, branch)
        manifest = await source.manifest_at(services, repository, head)
    except (GitError, GodployError, NotARegularFile, FileTooLarge, TreeTooLarge):
        return None
    return manifest.environments()
