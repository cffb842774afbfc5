"""Gitea's JSON of what is kept."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tests.providers.fakes import bare
from tests.providers.fakes.state import Commit, Hook, Pull, Repository, Token, User

_WHEN = "2026-01-02T03:04:05Z"
_MOST_COMMITS = 5


class Shapes:
    base: str

    def may(self, token: Token | None, repository: Repository, role: str) -> bool:
        raise NotImplementedError

    def indented(self, tree: Any) -> bytes:
        return json.dumps(tree, indent=2, ensure_ascii=False).encode()

    def user_tree(self, user: User | None) -> dict[str, Any]:
        assert user is not None
        return {"id": user.id, "login": user.name, "full_name": "", "email": user.mail, "username": user.name}

    async def repository_tree(self, repository: Repository, token: Token | None = None) -> dict[str, Any]:
        empty = not await bare.branches(repository.directory)
        form = await bare.git(repository.directory, "rev-parse", "--show-object-format")
        roles = (("admin", "admin"), ("push", "write"), ("pull", "read"))
        return {
            "id": repository.id,
            "owner": self.user_tree(repository.owner),
            "name": repository.name,
            "full_name": repository.full_name,
            "empty": empty,
            "private": repository.private,
            "fork": repository.fork_of is not None,
            "archived": False,
            "html_url": f"{self.base}/{repository.full_name}",
            "ssh_url": f"git@localhost:{repository.full_name}.git",
            "clone_url": f"{self.base}/{repository.full_name}.git",
            "default_branch": repository.default_branch,
            "created_at": _WHEN,
            "updated_at": _WHEN,
            "permissions": {word: self.may(token, repository, role) for word, role in roles},
            "object_format_name": form,
        }

    async def whole(self, repository: Repository) -> dict[str, Any]:
        """What every delivery has."""
        return {
            "repository": await self.repository_tree(repository),
            "sender": self.user_tree(repository.owner),
        }

    async def push_tree(
        self,
        repository: Repository,
        ref: str,
        before: str,
        after: str,
        commits: Sequence[Commit],
        head: Commit | None = None,
    ) -> dict[str, Any]:
        """The newest commit first, and no more than a few."""
        listed = [self.commit_tree(repository, commit) for commit in reversed(commits)]
        first = self.commit_tree(repository, head) if head else listed[0] if listed else None
        return {
            "ref": ref,
            "before": before,
            "after": after,
            "compare_url": f"{self.base}/{repository.full_name}/compare/{before}...{after}",
            "commits": listed[:_MOST_COMMITS],
            "total_commits": len(listed),
            "head_commit": first,
            "pusher": self.user_tree(repository.owner),
            **await self.whole(repository),
        }

    def commit_tree(self, repository: Repository, commit: Commit) -> dict[str, Any]:
        person = {"name": "Ada", "email": "ada@example.org", "username": ""}
        return {
            "id": commit.id,
            "message": f"{commit.message}\n",
            "url": f"{self.base}/{repository.full_name}/commit/{commit.id}",
            "author": person,
            "committer": person,
            "verification": None,
            "timestamp": _WHEN,
            "added": commit.added,
            "removed": commit.removed,
            "modified": commit.modified,
        }

    async def pull_tree(self, repository: Repository, pull: Pull) -> dict[str, Any]:
        base = await bare.resolve(repository.directory, f"refs/heads/{pull.base}")
        return {
            "id": 1000 + pull.number,
            "url": f"{self.base}/{repository.full_name}/pulls/{pull.number}",
            "html_url": f"{self.base}/{repository.full_name}/pulls/{pull.number}",
            "number": pull.number,
            "user": self.user_tree(pull.author),
            "title": pull.title,
            "body": "",
            "state": "open" if pull.open else "closed",
            "draft": False,
            "merged": pull.merged,
            "merge_commit_sha": pull.merge_commit,
            "head": await self._side(pull.source, pull.branch, pull.head),
            "base": await self._side(repository, pull.base, base or ""),
            "created_at": _WHEN,
            "updated_at": _WHEN,
        }

    async def _side(self, repository: Repository, ref: str, sha: str) -> dict[str, Any]:
        tree = await self.repository_tree(repository)
        return {"label": ref, "ref": ref, "sha": sha, "repo_id": repository.id, "repo": tree}

    def hook_tree(self, hook: Hook) -> dict[str, Any]:
        """Never the secret."""
        return {
            "id": hook.id,
            "type": "gitea",
            "branch_filter": hook.settings["branch_filter"],
            "config": {"content_type": hook.settings["content_type"], "url": hook.url},
            "events": hook.events,
            "authorization_header": "",
            "active": hook.active,
            "updated_at": _WHEN,
            "created_at": _WHEN,
        }

    def status_tree(self, repository: Repository, sha: str, index: int) -> dict[str, Any]:
        """The state is called `status` here, though `state` where it is made."""
        kept = repository.statuses[sha][index - 1]
        return {
            "id": index,
            "status": kept["state"],
            "target_url": kept["url"],
            "description": kept["description"],
            "context": kept["context"],
            "url": f"{self.base}/api/v1/repos/{repository.full_name}/statuses/{sha}",
            "creator": self.user_tree(repository.owner),
            "created_at": _WHEN,
            "updated_at": _WHEN,
        }
