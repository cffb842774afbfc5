"""What Bitbucket Cloud's answers and deliveries look like."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.providers.fakes import bare
from tests.providers.fakes.base import Fake
from tests.providers.fakes.state import Commit, Moved, Pull, Repository, Token, User

_EVENTS = {
    "opened": "created",
    "pushed": "updated",
    "retargeted": "updated",
    "closed": "rejected",
    "merged": "fulfilled",
}


class BitbucketShapes(Fake):
    """Without what is asked and who may."""

    def __init__(self, folder: Path, prefix: str = "") -> None:
        super().__init__(folder, prefix)
        self.workspaces: dict[str, str] = {}

    def _workspace(self, slug: str) -> str:
        return self.workspaces.setdefault(slug, f"{{{uuid.uuid4()}}}")

    # Pull requests

    async def _pull(self, repository: Repository, pull: Pull) -> dict[str, Any]:
        base = await bare.resolve(repository.directory, f"refs/heads/{pull.base}") or ""
        source = self._short(pull.source) if pull.source.id in self.repositories else None
        merged = {"hash": pull.merge_commit[:12]} if pull.merge_commit else None
        return {
            "type": "pullrequest",
            "id": pull.number,
            "title": pull.title,
            "description": "",
            "state": state(pull),
            "draft": False,
            "source": {"branch": {"name": pull.branch}, "commit": {"hash": pull.head[:12]}, "repository": source},
            "destination": {
                "branch": {"name": pull.base},
                "commit": {"hash": base[:12]},
                "repository": self._short(repository),
            },
            "merge_commit": merged,
            "closed_by": None if pull.open else self._person(pull.author),
            "author": self._person(pull.author),
            "reason": "",
            "comment_count": 0,
            "links": {"html": {"href": f"{self.base}/{repository.full_name}/pull-requests/{pull.number}"}},
        }

    async def pull_events(
        self, repository: Repository, pull: Pull, action: str, before: str | None = None
    ) -> list[tuple[str, Any]]:
        body = {
            "pullrequest": await self._pull(repository, pull),
            "repository": self._told(repository),
            "actor": self._person(pull.author),
        }
        newer = [("pullrequest:push", body)] if action == "pushed" else []
        return [(f"pullrequest:{_EVENTS[action]}", body), *newer]

    # Pushes

    async def push_events(self, repository: Repository, moved: Moved) -> list[tuple[str, Any]]:
        return [("repo:push", await self.push_body(repository, [moved]))]

    async def push_body(self, repository: Repository, moves: Iterable[Moved]) -> dict[str, Any]:
        """One delivery tells of all that one push moved."""
        changes = [await self._change(repository, moved) for moved in moves]
        told, actor = self._told(repository), self._person(repository.owner)
        return {"push": {"changes": changes}, "repository": told, "actor": actor}

    async def _change(self, repository: Repository, moved: Moved) -> dict[str, Any]:
        commits = (await bare.commits(repository.directory, moved))[::-1]
        change: dict[str, Any] = {
            "forced": moved.forced,
            "old": await self._ref(repository, moved, moved.before),
            "new": await self._ref(repository, moved, moved.after),
            "created": moved.before is None,
            "closed": moved.after is None,
            "truncated": len(commits) > 5,
        }
        if moved.after is not None and not moved.is_tag:
            change["commits"] = [self._commit_tree(repository, each) for each in commits[:5]]
            change["links"] = {"html": {"href": f"{self.base}/{repository.full_name}/branch/{moved.name}"}}
        return change

    async def _ref(self, repository: Repository, moved: Moved, sha: str | None) -> dict[str, Any] | None:
        """What is said of an annotated tag is said of the commit that it leads to."""
        if sha is None:
            return None
        commit = await bare.commit_of(repository.directory, sha) or sha
        more = {"tagger": None, "date": None, "message": None} if moved.is_tag else {}
        kind, place = ("tag", "commits/tag") if moved.is_tag else ("branch", "branch")
        links = {"html": {"href": f"{self.base}/{repository.full_name}/{place}/{moved.name}"}}
        target = await self._target(repository, commit)
        return {"type": kind, "name": moved.name, "target": target, "links": links, **more}

    async def _target(self, repository: Repository, sha: str) -> dict[str, Any]:
        return self._commit_tree(repository, await bare.described(repository.directory, sha))

    def _commit_tree(self, repository: Repository, commit: Commit) -> dict[str, Any]:
        raw = f"{repository.owner.name} <{repository.owner.mail}>"
        message = f"{commit.message}\n"
        return {
            "type": "commit",
            "hash": commit.id,
            "message": message,
            "date": "2026-01-01T00:00:00+00:00",
            "author": {"type": "author", "raw": raw, "user": self._person(repository.owner)},
            "summary": {"type": "rendered", "raw": message, "markup": "markdown", "html": ""},
            "links": {"html": {"href": f"{self.base}/{repository.full_name}/commits/{commit.id}"}},
        }

    # How things look

    def _person(self, user: User) -> dict[str, Any]:
        return {
            "type": "user",
            "uuid": user.uuid,
            "account_id": f"557058:{user.id}",
            "display_name": user.name.title(),
            "nickname": user.name,
            "links": {"html": {"href": f"{self.base}/{user.uuid}/"}},
        }

    def _short(self, repository: Repository) -> dict[str, Any]:
        return {
            "type": "repository",
            "uuid": repository.uuid,
            "full_name": repository.full_name,
            "name": repository.name,
            "links": {"html": {"href": f"{self.base}/{repository.full_name}"}},
        }

    def _told(self, repository: Repository) -> dict[str, Any]:
        """As a delivery has it: without the addresses to clone from."""
        more = {"scm": "git", "website": "", "is_private": repository.private, "owner": self._person(repository.owner)}
        return {**self._short(repository), **more}

    async def _full(self, repository: Repository, token: Token | None) -> dict[str, Any]:
        told = self._told(repository)
        scheme, _, rest = self.base.partition("://")
        user = f"{token.user.name}@" if token is not None and token.user is not None else ""
        https = {"name": "https", "href": f"{scheme}://{user}{rest}/{repository.full_name}.git"}
        ssh = {"name": "ssh", "href": f"git@bitbucket.org:{repository.full_name}.git"}
        there = await bare.resolve(repository.directory, f"refs/heads/{repository.default_branch}")
        owner = repository.full_name.partition("/")[0]
        return {
            **told,
            "slug": repository.name,
            "mainbranch": {"type": "branch", "name": repository.default_branch} if there else None,
            "workspace": {"type": "workspace", "uuid": self._workspace(owner), "slug": owner, "name": owner},
            "updated_on": (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=repository.id)).isoformat(),
            "links": {**told["links"], "clone": [https, ssh]},
        }


def state(pull: Pull) -> str:
    return "OPEN" if pull.open else "MERGED" if pull.merged else "DECLINED"
