"""Step 4: where a deployment's manifest comes from, and its text at exactly the commit that is deployed.

A repository's file is read from git's object database, never through the file system. A repository without one has a
stored manifest, which begins as the implied one; services made on the dashboard have the project's dashboard manifest.
"""

from __future__ import annotations

import asyncio
import posixpath
from dataclasses import dataclass

from godploy.core import detect, leftout
from godploy.core import manifest as manifests
from godploy.core.manifest import Manifest
from godploy.core.model import Deployment, Repository
from godploy.deploy import remotes
from godploy.deploy.job import Job
from godploy.deploy.services import Services
from godploy.drivers.git_objects import FileTooLarge, NotARegularFile, TreeTooLarge
from godploy.drivers.git_program import GitError
from godploy.store import Connection, deployments, repositories

DASHBOARD = "the dashboard manifest"
EMPTY = "version: 1\nservices: {}\n"


@dataclass(frozen=True, slots=True)
class Source:
    """A manifest and where its paths begin: the folder of the file in the repository."""

    manifest: Manifest
    folder: str


async def read(job: Job) -> Source:
    """The manifest of the deployment: of its commit, or its revision of the dashboard manifest.

    Raises Invalid, or what the git driver raises.
    """
    services, deployment = job.services, job.deployment
    if job.repository is None:
        revision = await services.store.read(
            lambda conn: repositories.revision(conn, job.project.id, None, deployment.revision)
        )
        text = revision.text if revision else EMPTY
        return Source(await parse(services, text, DASHBOARD, dashboard=True), "")
    repository, commit = job.repository, deployment.commit or ""
    try:
        await services.git.fetch(repository.id, await remotes.access(services, repository), commit, deployment.branch)
    except GitError as error:
        raise await remotes.explained(services, repository, error) from error
    info = await services.git.commit(repository.id, commit)
    job.deployment = await services.store.write(lambda conn: _describe(conn, deployment.id, commit, info.subject))
    job.say(f"commit {commit[:7]} “{info.subject}” by {info.author}")
    for sentence in await _left_out(services, repository, commit):
        job.say(sentence)
    manifest = await manifest_at(services, repository, commit)
    return Source(manifest, posixpath.dirname(repository.manifest_path))


async def _left_out(services: Services, repository: Repository, commit: str) -> list[str]:
    """What the commit names and no fetch brings. Most repositories have neither of the two files; what is wrong with
    the tree is told where it matters."""
    marks = (".gitmodules", ".gitattributes")
    try:
        found = await services.git.read_all(repository.id, commit, marks)
        if not any(found.values()):
            return []
        entries = await services.git.tree(repository.id, commit)
    except (NotARegularFile, FileTooLarge, TreeTooLarge):
        return []
    attributes = (found[".gitattributes"] or b"").decode(errors="replace")
    return await asyncio.to_thread(leftout.sentences, entries, attributes)


async def manifest_at(services: Services, repository: Repository, commit: str) -> Manifest:
    """The manifest that holds at a commit which has been fetched. Raises Invalid, GitError, NotARegularFile."""
    raw: bytes | str | None = await services.git.read(repository.id, commit, repository.manifest_path)
    if raw is None:
        stored = await services.store.read(lambda conn: repositories.revision(conn, repository.project, repository.id))
        raw = stored.text if stored else await implied(services, repository, commit)
    return await parse(services, raw, repository.manifest_path)


async def implied(services: Services, repository: Repository, commit: str) -> str:
    """The manifest that a repository without one begins with, by looking at its files."""
    entries = await services.git.tree(repository.id, commit)
    files: dict[str, str | None] = {entry.path: None for entry in entries if "/" not in entry.path}
    if "Dockerfile" in files:
        raw = await services.git.read(repository.id, commit, "Dockerfile")
        files["Dockerfile"] = raw.decode(errors="replace") if raw is not None else None
    return detect.implied(files)


def _describe(conn: Connection, deployment_id: str, commit: str, subject: str) -> Deployment:
    deployments.describe(conn, deployment_id, commit, subject)
    return deployments.get(conn, deployment_id)


async def parse(services: Services, text: bytes | str, filename: str, *, dashboard: bool = False) -> Manifest:
    """The manifest in a text; in a thread, since a large one takes a while. Raises Invalid."""
    return await asyncio.to_thread(
        manifests.parse, text, filename=filename, templates=services.templates, dashboard=dashboard
    )
