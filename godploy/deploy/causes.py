"""Whatever ends a deployment, as a failure of the table: what was seen, and what to do next."""

from __future__ import annotations

import logging
from typing import Any

from godploy.core.failures import FAILURES, Failed, failure
from godploy.core.model import Stage
from godploy.deploy.job import Job
from godploy.drivers.git_objects import FileTooLarge, NotARegularFile, TreeTooLarge
from godploy.drivers.git_program import GitError
from godploy.errors import GodployError, Invalid
from godploy.redact import Redactor
from godploy.runtimes.protocol import BuildFailed, ImageNotFound, RuntimeUnavailable, Unhealthy

logger = logging.getLogger(__name__)

_LAST_LINES = 20


def cause(job: Job, error: BaseException) -> GodployError:
    """The failure to report for an exception; lines that explain it are written to the log first.

    It is kept in the database and shown to whoever asks, so it hides secrets as the log does: a program's last words
    may hold anything.
    """
    failed = _cause(job, error)
    failed.message, failed.next_step = job.redactor(failed.message), job.redactor(failed.next_step)
    failed.fields = {name: _hidden(job.redactor, fact) for name, fact in failed.fields.items()}
    return failed


def _hidden(redactor: Redactor, fact: Any) -> Any:
    if isinstance(fact, str):
        return redactor(fact)
    return [_hidden(redactor, each) for each in fact] if isinstance(fact, (list, tuple)) else fact


def _cause(job: Job, error: BaseException) -> GodployError:
    match error:
        case Failed():
            return error
        case Invalid():
            return _invalid(job, error)
        case Unhealthy() | BuildFailed():
            return _with_lines(job, error)
        case ImageNotFound():
            return failure("image_gone", detail=str(error))
        case GitError():
            return failure(error.code, **error.facts)
        case NotARegularFile():
            return failure("manifest_symlink", path=error.path)
        case TreeTooLarge():
            return failure("tree_too_large", found=error.found, unit=error.unit, limit=error.limit)
        case FileTooLarge():
            text = f"{error.path} has {error.size} bytes; a manifest may have {error.limit}"
            return failure("invalid_manifest", count=f"1 error: {text}")
        case RuntimeUnavailable():
            return failure("engine_down", detail=str(error))
        case TimeoutError():
            return failure("timeout", stage=str(job.stage or Stage.FETCH), seconds=round(job.seconds))
        case GodployError():
            return error
        case _:
            logger.error("deployment %s", job.deployment.id, exc_info=error)
            return failure("unexpected", detail=f"{type(error).__name__}: {error}")


def _invalid(job: Job, error: Invalid) -> Failed:
    """All problems go to the log; the failure itself tells the first. Where every one of them is a case of the table,
    such as secrets without values, it is that case."""
    for problem in error.problems:
        job.say(problem)
    problems = error.problems or (error.message,)
    if error.code in FAILURES and error.code != "invalid_manifest":
        failed = Failed(error.fields["sentence"], next_step=error.next_step, code=error.code)
    else:
        count = f"{len(problems)} error{'s' if len(problems) != 1 else ''}"
        failed = failure("invalid_manifest", count=f"{count}: {problems[0]}")
    failed.fields["problems"] = list(problems)
    return failed


def _with_lines(job: Job, error: Unhealthy | BuildFailed) -> Failed:
    if isinstance(error, Unhealthy):  # a build's output stands in the log already
        for line in error.lines[-_LAST_LINES:]:
            job.say(f"| {line}")
    failed = failure(error.code, **error.facts)
    failed.fields["lines"] = list(error.lines[-_LAST_LINES:])
    return failed
