"""Pull requests: what each would do is planned at its head, and told there.

Only git's objects are read for it: nothing of a pull request is built, pulled or run, whoever opened it. What is told
is read by everybody who sees the commit, so it holds nothing of what others keep on this server.
"""

from __future__ import annotations

import logging
import posixpath
from collections.abc import Mapping, Sequence
from typing import Any

from godploy.core import describe, feeding, remote, summary
from godploy.core.access import Access
from godploy.core.failures import failure
from godploy.core.manifest import Manifest
from godploy.core.model import Environment, Feed, Project, PullRequest, Repository, Stack
from godploy.core.plan import Plan
from godploy.core.problems import printable
from godploy.deploy import planning, remotes, source
from godploy.deploy.services import Services
from godploy.deploy.source import Source
from godploy.drivers.git_objects import FileTooLarge, NotARegularFile, TreeTooLarge
from godploy.drivers.git_program import GitError
from godploy.errors import GodployError, Invalid
from godploy.providers import HOSTS
from godploy.runtimes.protocol import RuntimeUnavailable
from godploy.store import Connection, outbox, projects, pull_requests
from godploy.store.pull_requests import Told

logger = logging.getLogger(__name__)

_AGAIN = 20  # open ones, lately changed first, that are planned again after their base was deployed
_MOST_LINES, _LONGEST = 200, 500

# Why a head cannot be read, without the address and what its server said.
_UNREADABLE = {
    "repository_unreachable": "the repository could not be reached",
    "repository_denied": "the repository may not be read with the credential that is known for it",
    "host_key_changed": "the repository's server shows another key than the one that was pinned",
    "repository_too_large": "fetching it would bring more than is allowed",
    "branch_deleted": "its head is not in the repository any more",
    "unknown_commit": "its head is not in the repository any more",
    "disk_full": "the disk of the server is full",
}
_BY_BRANCH = "refs/heads/"

_Outcome = dict[str, Any]


class _Unreadable(Exception):
    """The head cannot be fetched; `told` is for everybody, `problems` for members of the project."""

    def __init__(self, told: str, *problems: str) -> None:
        super().__init__(told)
        self.told, self.problems = told, problems


async def consider(services: Services, repository: Repository, body: Mapping[str, Any], *, again: bool = False) -> str:
    """The verdict of a delivery that tells of one. What was planned before is planned only if `again` is asked for."""
    names = ("number", "title", "branch", "base", "url", "author", "fork", "source_url")
    told = Told(**{name: body[name] for name in names})
    state = "closed" if body["action"] == "closed" else "open"
    pull = await services.store.write(lambda conn: pull_requests.put(conn, repository.id, told, state))
    begin = f"pull request {pull.number}"
    if state == "closed":
        await _let_go(services, repository, pull)
        return f"{begin} was closed"
    try:
        head = await _fetch(services, repository, pull)
    except _Unreadable as trouble:
        outcome = _failed("error", trouble.told, trouble.problems, pull)
        await _keep(services, pull, str(body["commit"]), outcome, repeat=True)
        return f"{begin}: {trouble.told}"
    begin = f"{begin} at {head[:7]}"
    if not again and _is_planned(pull, head):
        return f"{begin} was planned before: {(pull.outcome or {})['description']}"
    outcome = await _plan(services, repository, pull, head)
    await _keep(services, pull, head, outcome, repeat=True)
    return f"{begin}: {outcome['description']}"


async def _let_go(services: Services, repository: Repository, pull: PullRequest) -> None:
    """What it alone brought takes room; opened again, it is fetched again."""
    try:
        await services.git.let_go_of_ref(repository.id, str(pull.number))
    except GitError as error:  # it is closed all the same
        logger.warning("the head of pull request %s of %s stays: %s", pull.number, repository.name, error)


async def plan_again(services: Services, repository: Repository) -> None:
    """After a branch was deployed: what the open ones would do now. Their heads are told where that changed; where it
    cannot be said now, what was said stays."""
    open_ones = await services.store.read(lambda conn: pull_requests.open_of(conn, repository.id))
    for pull in sorted(open_ones, key=lambda each: each.updated_at, reverse=True)[:_AGAIN]:
        try:
            head = await _head(services, repository, pull)
        except _Unreadable as trouble:
            logger.info("pull request %s of %s: %s", pull.number, repository.name, trouble.told)
            continue
        outcome = await _plan(services, repository, pull, head)
        if outcome["state"] != "error":
            await _keep(services, pull, head, outcome)


def _is_planned(pull: PullRequest, head: str) -> bool:
    """Whether what is kept is of this head, for this base."""
    found = pull.outcome
    return found is not None and found["state"] != "error" and (pull.commit, found["base"]) == (head, pull.base)


async def _head(services: Services, repository: Repository, pull: PullRequest) -> str:
    """The head that was planned, where it is here, else the one of now. Raises _Unreadable."""
    if pull.commit is not None and remote.is_commit(pull.commit):
        try:
            return (await services.git.commit(repository.id, pull.commit)).commit
        except GitError:  # on a restored machine, say
            pass
    return await _fetch(services, repository, pull)


async def _fetch(services: Services, repository: Repository, pull: PullRequest) -> str:
    """Brings the head, and gives its whole name: deliveries may be late, and Bitbucket's tell a part of it only."""
    host = HOSTS.get(repository.provider)
    if host is None:
        raise _Unreadable(f"nobody knows where a repository of the kind {repository.provider} keeps its head")
    ref = host.pull_ref(pull.number, pull.branch)
    if not remote.is_branch(ref.removeprefix("refs/")):
        raise _Unreadable("its branch has a name that is not fetched here")
    try:
        access = await remotes.access(services, repository)
        if access is not None and pull.fork and ref.startswith(_BY_BRANCH):
            access = _of_fork(access, pull.source_url, services.settings.private_bases)
        return await services.git.fetch_ref(repository.id, access, ref, str(pull.number))
    except GitError as error:
        raise _of_git(error) from error
    except GodployError as error:  # no credential, or an address that is not allowed any more
        raise _Unreadable("the repository may not be read", error.message) from error


def _of_fork(access: Access, url: str, private: Sequence[str]) -> Access:
    """The fork's own repository, where the head is, by the same credential: which goes to its own server and to no
    other. Raises _Unreadable, or Invalid."""
    of_base = remote.parse(access.url, private, ssh=bool(access.key))
    if not url:
        raise _Unreadable("its head is in another repository, which is not there any more")
    if remote.parse(url, private, ssh=bool(access.key)).origin != of_base.origin:
        raise _Unreadable("its head is in a repository on another server")
    return Access(url, access.login, access.key, access.host_keys)


def _of_git(error: GitError) -> _Unreadable:
    told = _UNREADABLE.get(error.code, "git failed on this server's copy of the repository")
    return _Unreadable(told, failure(error.code, **error.facts).message)


async def _plan(services: Services, repository: Repository, pull: PullRequest, head: str) -> _Outcome:
    """What is kept of its plan: the sentence for everybody, and its lines for members."""
    try:
        manifest = await source.manifest_at(services, repository, head)
        return await _of_environments(services, repository, pull, head, manifest)
    except Invalid as error:
        return _failed("failure", (error.problems or (error.message,))[0], error.problems, pull)
    except NotARegularFile as error:
        return _failed("failure", failure("manifest_symlink", path=error.path).message, (), pull)
    except TreeTooLarge as error:
        facts = {"found": error.found, "unit": error.unit, "limit": error.limit}
        return _failed("failure", failure("tree_too_large", **facts).message, (), pull)
    except FileTooLarge as error:
        text = f"{error.path} has {error.size} bytes; a manifest may have {error.limit}"
        return _failed("failure", text, (), pull)
    except GitError as error:
        trouble = _of_git(error)
        return _failed("error", trouble.told, trouble.problems, pull)
    except RuntimeUnavailable:
        return _failed("error", "the engine of the server does not answer", (), pull)


async def _of_environments(
    services: Services, repository: Repository, pull: PullRequest, head: str, manifest: Manifest
) -> _Outcome:
    """Plans each environment that the base feeds, by what was last seen on the default branch: a pull request decides
    as little as any push where something runs."""
    default = repository.default_branch or pull.base
    fed = feeding.by_branch(repository.mapping or {"production": Feed()}, pull.base, default)
    plans: dict[str, Plan | None] = {}
    problems: list[str] = []
    for name in fed:
        if pull.base == default and name not in manifest.environments():
            plans[name] = None
            continue
        try:
            plans[name] = await _of_environment(services, repository, name, head, manifest)
        except Invalid as error:
            where = f"{name}: " if len(fed) > 1 else ""
            problems += [f"{where}{problem}" for problem in error.problems or (error.message,)]
    environments = [_shown(name, plan) for name, plan in plans.items()]
    if problems:
        return _failed("failure", problems[0], problems, pull, environments)
    told = summary.sentence(plans) if fed else f"{pull.base} feeds no environment"
    return _outcome("success", told, (), pull, environments)


async def _of_environment(services: Services, repository: Repository, name: str, head: str, manifest: Manifest) -> Plan:
    def find(conn: Connection) -> tuple[Project, Environment, Stack]:
        project = projects.get(conn, repository.project)
        return project, *planning.place(conn, project, name, repository)

    project, environment, stack = await services.store.read(find)
    of = Source(manifest, posixpath.dirname(repository.manifest_path))
    return await planning.proposed(services, project, environment, stack, of, repository, head)


def _shown(name: str, plan: Plan | None) -> dict[str, Any]:
    if plan is None:
        return {
            "name": name,
            "lines": ["the manifest no longer names it: what runs there keeps running, nothing feeds it"],
            "destructive": [],
        }
    return {"name": name, "lines": describe.lines(plan)[:_MOST_LINES], "destructive": list(plan.destructive)}


def _failed(
    state: str, told: str, problems: Sequence[str], pull: PullRequest, environments: Sequence[Mapping[str, Any]] = ()
) -> _Outcome:
    return _outcome(state, told, problems or (told,), pull, environments)


def _outcome(
    state: str, told: str, problems: Sequence[str], pull: PullRequest, environments: Sequence[Mapping[str, Any]]
) -> _Outcome:
    return {
        "state": state,
        "description": printable(told)[:_LONGEST],
        "base": pull.base,
        "environments": list(environments),
        "problems": [printable(problem) for problem in problems[:_MOST_LINES]],
    }


async def _keep(services: Services, pull: PullRequest, commit: str, outcome: _Outcome, *, repeat: bool = False) -> None:
    """Writes it down and tells its head; what that says already only with `repeat`. Nothing of it where the pull
    request has moved on meanwhile: whoever moved it plans it, too."""

    def write(conn: Connection) -> None:
        now = pull_requests.get(conn, pull.id)
        if (now.commit, now.base, now.state) != (pull.commit, pull.base, "open"):
            return
        pull_requests.note_plan(conn, pull.id, commit, outcome)
        before = now.outcome if now.commit == commit else None
        said = None if before is None else (before["state"], before["description"])
        news = repeat or said != (outcome["state"], outcome["description"])
        if news and remote.is_commit(commit):
            outbox.put_plan(
                conn, pull.id, commit, pull.branch, state=outcome["state"], description=outcome["description"]
            )

    await services.store.write(write)
    services.changes.ring("outbox")
