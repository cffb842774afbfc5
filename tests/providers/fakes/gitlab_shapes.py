"""GitLab's JSON: what its API answers and what its hooks send."""

from __future__ import annotations

from typing import Any

from tests.providers.fakes.state import Commit, Hook, Moved, Pull, Repository, Token, User

EVENTS = {
    "push_events": "Push Hook",
    "tag_push_events": "Tag Push Hook",
    "merge_requests_events": "Merge Request Hook",
    "issues_events": "Issue Hook",
    "note_events": "Note Hook",
    "pipeline_events": "Pipeline Hook",
}
LEVELS = {"read": 20, "write": 30, "admin": 40}
MOST_COMMITS = 20
_WHEN = "2026-03-01T10:00:00.000Z"


def user(base: str, user: User) -> dict[str, Any]:
    return {
        "id": user.id,
        "username": user.name,
        "name": user.name.title(),
        "state": "active",
        "avatar_url": f"{base}/uploads/-/system/user/avatar/{user.id}/avatar.png",
        "web_url": f"{base}/{user.name}",
    }


def own_token(token: Token) -> dict[str, Any]:
    return {
        "id": 1,
        "name": "Godploy",
        "revoked": False,
        "scopes": list(token.scopes or ("api",)),
        "user_id": token.user.id if token.user else 0,
        "active": True,
        "expires_at": "2027-02-01",
    }


def project(base: str, repository: Repository, *, empty: bool, level: int | None) -> dict[str, Any]:
    """`level` None: the short form, which says nothing of permissions."""
    owner, _, name = repository.full_name.rpartition("/")
    short = {
        "id": repository.id,
        "description": None,
        "name": name.title(),
        "name_with_namespace": f"{owner.title()} / {name.title()}",
        "path": name,
        "path_with_namespace": repository.full_name,
        "created_at": _WHEN,
        "default_branch": None if empty else repository.default_branch,
        "ssh_url_to_repo": f"git@gitlab.internal:{repository.full_name}.git",
        "http_url_to_repo": f"{base}/{repository.full_name}.git",
        "web_url": f"{base}/{repository.full_name}",
        "last_activity_at": _WHEN,
        "visibility": "private" if repository.private else "public",
    }
    if level is None:
        return short
    access = {"access_level": level, "notification_level": 3} if level else None
    return {
        **short,
        "archived": False,
        "empty_repo": empty,
        "permissions": {"project_access": access, "group_access": None},
    }


def branch(base: str, repository: Repository, name: str, head: Commit) -> dict[str, Any]:
    return {
        "name": name,
        "merged": False,
        "protected": name == repository.default_branch,
        "default": name == repository.default_branch,
        "developers_can_push": False,
        "developers_can_merge": False,
        "can_push": True,
        "web_url": f"{base}/{repository.full_name}/-/tree/{name}",
        "commit": {"id": head.id, "short_id": head.id[:8], "title": head.message.partition("\n")[0]},
    }


def hook(repository: Repository, hook: Hook, *, signs: bool) -> dict[str, Any]:
    """The secrets are never told, only whether there are any."""
    shown = {
        "id": hook.id,
        "url": hook.url,
        "name": hook.settings.get("name"),
        "created_at": _WHEN,
        "project_id": repository.id,
        **{event: event in hook.events for event in EVENTS},
        "push_events_branch_filter": hook.settings.get("push_events_branch_filter", ""),
        "branch_filter_strategy": hook.settings.get("branch_filter_strategy", "wildcard"),
        "enable_ssl_verification": hook.settings.get("enable_ssl_verification", True),
        "alert_status": hook.settings.get("alert_status", "executable"),
        "disabled_until": None,
        "token_present": bool(hook.secret),
    }
    return {**shown, "signing_token_present": bool(hook.signing_token)} if signs else shown


def status(number: int, told: dict[str, Any], sha: str, author: dict[str, Any]) -> dict[str, Any]:
    """A state is asked for as `state` and answered as `status`."""
    return {
        "id": number,
        "sha": sha,
        "ref": told["ref"],
        "status": told["state"],
        "name": told["context"],
        "target_url": told["url"],
        "description": told["description"],
        "created_at": _WHEN,
        "allow_failure": False,
        "author": author,
    }


def merge_request(base: str, repository: Repository, pull: Pull) -> dict[str, Any]:
    return {
        "id": 9000 + pull.number,
        "iid": pull.number,
        "project_id": repository.id,
        "title": pull.title,
        "state": _state(pull),
        "draft": False,
        "source_branch": pull.branch,
        "target_branch": pull.base,
        "source_project_id": pull.source.id,
        "target_project_id": repository.id,
        "sha": pull.head,
        "author": user(base, pull.author),
        "web_url": _pull_url(base, repository, pull),
        "updated_at": _WHEN,
    }


# What is told


def _state(pull: Pull) -> str:
    return "merged" if pull.merged else "opened" if pull.open else "closed"


def _pull_url(base: str, repository: Repository, pull: Pull) -> str:
    return f"{base}/{repository.full_name}/-/merge_requests/{pull.number}"


def told_project(base: str, repository: Repository) -> dict[str, Any]:
    owner, _, name = repository.full_name.rpartition("/")
    ssh, http = f"git@gitlab.internal:{repository.full_name}.git", f"{base}/{repository.full_name}.git"
    return {
        "id": repository.id,
        "name": name.title(),
        "description": None,
        "web_url": f"{base}/{repository.full_name}",
        "avatar_url": None,
        "git_ssh_url": ssh,
        "git_http_url": http,
        "namespace": owner.title(),
        "visibility_level": 0 if repository.private else 20,
        "path_with_namespace": repository.full_name,
        "default_branch": repository.default_branch,
        "ci_config_path": None,
        "homepage": f"{base}/{repository.full_name}",
        "url": ssh,
        "ssh_url": ssh,
        "http_url": http,
    }


def told_commit(base: str, repository: Repository, commit: Commit) -> dict[str, Any]:
    return {
        "id": commit.id,
        "message": commit.message + "\n",
        "title": commit.message.partition("\n")[0],
        "timestamp": "2026-03-01T10:00:00+00:00",
        "url": f"{base}/{repository.full_name}/-/commit/{commit.id}",
        "author": {"name": "Ada", "email": "[REDACTED]"},
        "added": commit.added,
        "modified": commit.modified,
        "removed": commit.removed,
    }


def push(
    base: str, repository: Repository, moved: Moved, checkout: str | None, commits: list[Commit]
) -> dict[str, Any]:
    """`commits` are all that it brought, oldest first; the newest twenty are told."""
    kind, none = "tag_push" if moved.is_tag else "push", "0" * len(moved.after or moved.before or "")
    return {
        "object_kind": kind,
        "event_name": kind,
        "before": moved.before or none,
        "after": moved.after or none,
        "ref": moved.ref,
        "ref_protected": moved.name == repository.default_branch,
        "checkout_sha": checkout,
        "message": None,
        "user_id": repository.owner.id,
        "user_name": repository.owner.name.title(),
        "user_username": repository.owner.name,
        "user_email": None,
        "user_avatar": None,
        "project_id": repository.id,
        "project": told_project(base, repository),
        "commits": [told_commit(base, repository, commit) for commit in commits[-MOST_COMMITS:]],
        "total_commits_count": len(commits),
        "push_options": {},
        "repository": {"name": repository.name.title(), "homepage": f"{base}/{repository.full_name}"},
    }


def told_merge_request(
    base: str, repository: Repository, pull: Pull, action: str, before: str | None, head: Commit
) -> dict[str, Any]:
    """`action` and `before` as `Fake.pull_events` has them."""
    word = {"opened": "open", "closed": "close", "merged": "merge"}.get(action, "update")
    changes = {"target_branch": {"previous": before, "current": pull.base}} if action == "retargeted" else {}
    return {
        "object_kind": "merge_request",
        "event_type": "merge_request",
        "user": {**user(base, pull.author), "email": "[REDACTED]"},
        "project": told_project(base, repository),
        "repository": {"name": repository.name.title(), "homepage": f"{base}/{repository.full_name}"},
        "object_attributes": {
            "id": 9000 + pull.number,
            "iid": pull.number,
            "author_id": pull.author.id,
            "assignee_id": None,
            "milestone_id": None,
            "title": pull.title,
            "description": None,
            "state": _state(pull),
            "merge_status": "checking",
            "detailed_merge_status": "checking",
            "draft": False,
            "work_in_progress": False,
            "labels": [],
            "created_at": "2026-03-01 10:00:00 UTC",
            "updated_at": "2026-03-01 10:00:00 UTC",
            "source_branch": pull.branch,
            "target_branch": pull.base,
            "source_project_id": pull.source.id,
            "target_project_id": repository.id,
            "source": told_project(base, pull.source),
            "target": told_project(base, repository),
            "last_commit": told_commit(base, pull.source, head),
            "merge_commit_sha": pull.merge_commit,
            "url": _pull_url(base, repository, pull),
            "action": word,
            **({"oldrev": before} if action == "pushed" else {}),
        },
        "labels": [],
        "changes": changes,
    }
