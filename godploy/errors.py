"""The few errors of Godploy, well shaped: a code, an HTTP status, a sentence, and whether a retry helps.

One middleware of the API turns them into JSON; the CLI prints the sentence and the next step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class GodployError(Exception):
    """An expected failure, told in a sentence that a person can act upon.

    `code` is stable and for programs; `next_step` says what to do and is empty where nothing can be done;
    `fields` holds facts (JSON values) that belong to the failure.
    """

    code = "error"
    status = 500
    retry = False

    def __init__(
        self, message: str, *, next_step: str = "", fields: Mapping[str, Any] | None = None, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step
        self.fields: dict[str, Any] = dict(fields or {})
        if code is not None:
            self.code = code

    def to_json(self) -> dict[str, Any]:
        return {
            "code": self.code,
            "message": self.message,
            "next_step": self.next_step,
            "retry": self.retry,
            "fields": self.fields,
        }


class Invalid(GodployError):
    """The input is wrong; `problems` are complete sentences, each with its place where it has one."""

    code = "invalid"
    status = 422

    def __init__(self, message: str, problems: Sequence[str] = (), **more: Any) -> None:
        super().__init__(message, **more)
        self.problems = tuple(problems)
        if problems:
            self.fields["problems"] = list(problems)


class Unauthorized(GodployError):
    code = "unauthorized"
    status = 401


class Forbidden(GodployError):
    code = "forbidden"
    status = 403


class NotFound(GodployError):
    code = "not_found"
    status = 404


class Conflict(GodployError):
    code = "conflict"
    status = 409


class TooLarge(GodployError):
    code = "too_large"
    status = 413


class Unavailable(GodployError):
    """Something we depend on does not answer now; the same call may succeed later."""

    code = "unavailable"
    status = 503
    retry = True
