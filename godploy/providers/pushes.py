"""What a push says in GitHub's form, which Gitea's deliveries have, too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from godploy.core.remote import is_branch, is_commit
from godploy.providers import answers

HEADS, TAGS = "refs/heads/", "refs/tags/"


def is_ref(ref: str) -> bool:
    """Whether it is the full name of a branch or tag that can be used."""
    return ref.startswith((HEADS, TAGS)) and is_branch(ref.removeprefix(HEADS).removeprefix(TAGS))


def tagged(told: Mapping[str, Any], after: str) -> str:
    """The commit that a tag leads to: of an annotated one `after` is the tag itself."""
    head = answers.text(told, "head_commit", "id")
    return head if is_commit(head) and head.strip("0") else after


def message(told: Mapping[str, Any], commit: str) -> str:
    """A commit's, found by its id: the order of the list is not relied on; "" where it is not told."""
    listed = answers.at(told, "commits")
    for found in (answers.at(told, "head_commit"), *(listed if isinstance(listed, list) else ())):
        if answers.text(found, "id") == commit:
            return answers.text(found, "message")
    return ""
