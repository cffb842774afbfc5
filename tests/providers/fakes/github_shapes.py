"""GitHub's JSON, of its API and of its deliveries: https://docs.github.com/en/rest"""

from __future__ import annotations

from typing import Any

from tests.providers.fakes import bare
from tests.providers.fakes.state import Commit, Hook, Moved, Pull, Repository, Token, User


class Shapes:
    base: str

    def may(self, token: Token | None, repository: Repository, role: str) -> bool:
        raise NotImplementedError

    def user_tree(self, user: User) -> dict[str, Any]:
        return {
            "login": user.name,
            "id": user.id,
            "html_url": f"{self.base}/{user.name}",
            "type": "User",
            "site_admin": False,
        }

    def repository_tree(self, repository: Repository, token: Token | None = None, *, size: int = 1) -> dict[str, Any]:
        """`permissions` are of a person: an installation has none, whatever it may do."""
        address = f"{self.base}/{repository.full_name}"
        person = token is not None and token.kind != "installation"
        roles = {
            name: person and self.may(token, repository, role)
            for name, role in (("admin", "admin"), ("maintain", "admin"), ("push", "write"), ("pull", "read"))
        }
        return {
            "id": repository.id,
            "name": repository.name,
            "full_name": repository.full_name,
            "private": repository.private,
            "owner": self.user_tree(repository.owner),
            "html_url": address,
            "url": f"{self.base}/api/v3/repos/{repository.full_name}",
            "clone_url": f"{address}.git",
            "ssh_url": f"git@127.0.0.1:{repository.full_name}.git",
            "fork": repository.fork_of is not None,
            "archived": False,
            "size": size,
            "default_branch": repository.default_branch,
            **({"permissions": roles} if token is not None else {}),
        }

    def hook_tree(self, repository: Repository, hook: Hook) -> dict[str, Any]:
        """The secret is never shown."""
        address = f"{self.base}/api/v3/repos/{repository.full_name}/hooks/{hook.id}"
        return {
            "type": "Repository",
            "id": hook.id,
            "name": "web",
            "active": hook.active,
            "events": hook.events,
            "config": {"url": hook.url, **hook.settings, **({"secret": "********"} if hook.secret else {})},
            "url": address,
            "ping_url": f"{address}/pings",
            "test_url": f"{address}/test",
            "deliveries_url": f"{address}/deliveries",
            "last_response": {"code": None, "status": "unused", "message": None},
        }

    def status_tree(self, repository: Repository, index: int, status: dict[str, Any]) -> dict[str, Any]:
        return {
            "id": index + 1,
            "state": status["state"],
            "context": status["context"],
            "description": status["description"],
            "target_url": status["url"],
            "creator": self.user_tree(repository.owner),
        }

    async def pull_tree(self, repository: Repository, pull: Pull) -> dict[str, Any]:
        base_sha = await bare.resolve(repository.directory, f"refs/heads/{pull.base}")
        return {
            "id": repository.id * 1000 + pull.number,
            "number": pull.number,
            "state": "open" if pull.open else "closed",
            "title": pull.title,
            "draft": False,
            "merged": pull.merged,
            "merge_commit_sha": pull.merge_commit,
            "html_url": f"{self.base}/{repository.full_name}/pull/{pull.number}",
            "user": self.user_tree(pull.author),
            "head": self._end(pull.source, pull.branch, pull.head),
            "base": self._end(repository, pull.base, base_sha or ""),
        }

    def _end(self, repository: Repository, branch: str, sha: str) -> dict[str, Any]:
        return {
            "label": f"{repository.owner.name}:{branch}",
            "ref": branch,
            "sha": sha,
            "user": self.user_tree(repository.owner),
            "repo": self.repository_tree(repository),
        }

    async def push_tree(self, repository: Repository, moved: Moved) -> dict[str, Any]:
        """Of an annotated tag `after` is the tag, and the head commit what it leads to."""
        none = "0" * len(moved.after or moved.before or "")
        commits = [self._commit_tree(repository, each) for each in await bare.commits(repository.directory, moved)]
        head = None
        if moved.after is not None:
            sha = await bare.commit_of(repository.directory, moved.after) or moved.after
            head = self._commit_tree(repository, await bare.described(repository.directory, sha))
        return {
            "ref": moved.ref,
            "before": moved.before or none,
            "after": moved.after or none,
            "repository": self.repository_tree(repository),
            "pusher": {"name": repository.owner.name, "email": repository.owner.mail},
            "sender": self.user_tree(repository.owner),
            "created": moved.before is None,
            "deleted": moved.after is None,
            "forced": moved.forced,
            "base_ref": None,
            "compare": f"{self.base}/{repository.full_name}/compare/{(moved.before or none)[:12]}",
            "commits": commits,
            "head_commit": head,
        }

    def _commit_tree(self, repository: Repository, commit: Commit) -> dict[str, Any]:
        person = {"name": "Ada", "email": "ada@example.org", "username": repository.owner.name}
        return {
            "id": commit.id,
            "tree_id": commit.tree,
            "distinct": True,
            "message": commit.message,
            "timestamp": "2026-01-01T00:00:00Z",
            "url": f"{self.base}/{repository.full_name}/commit/{commit.id}",
            "author": person,
            "committer": person,
            "added": commit.added,
            "removed": commit.removed,
            "modified": commit.modified,
        }
