"""Everything that a deployment can fail with, as one table: what was seen, and what to do about it.

The sentence and the next step are filled with facts by name; a fact that is missing reads as `?`, since a poor message
is better than a second error on the way to the first. `table()` is the page of the documentation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from string import Formatter
from typing import Any

from godploy.errors import GodployError


class Failed(GodployError):
    """A deployment came to nothing; `code` is a key of FAILURES. What ran before still runs."""

    code = "failed"
    status = 422


@dataclass(frozen=True, slots=True)
class Failure:
    sentence: str
    next_step: str
    retry: bool = False  # whether the same deployment may succeed later, unchanged


FAILURES: Mapping[str, Failure] = {
    # The sources.
    "repository_unreachable": Failure(
        "the repository {url} could not be reached: {detail}",
        "check its address and that this server may read it, then: godploy deploy",
        retry=True,
    ),
    "repository_denied": Failure(
        "the repository {url} may not be read: {detail}",
        "for a connection, godploy connections check NAME says how to renew it; else give a login (godploy repositories"
        " login) or, for ssh, add the repository's deploy key at its server; then: godploy deploy",
    ),
    "host_key_changed": Failure(
        "the server of {url} shows another key than the one that was pinned, and was not talked to: pinned {pinned},"
        " shown {seen}",
        "ask the server's administrator whether that fingerprint is right; if it is: godploy repositories host-key"
        " NAME, then: godploy deploy",
    ),
    "unknown_commit": Failure(
        "the repository has no commit {commit} any more",
        "it was probably removed by a forced push; push again, or: godploy deploy",
    ),
    "branch_deleted": Failure(
        "the branch {branch} is gone from the repository",
        "push it again, or change environments.{environment}.branch on the default branch",
    ),
    "repository_too_large": Failure(
        "fetching {url} would bring more than the {limit} allowed",
        "keep data and built files out of the repository's history",
    ),
    "git_failed": Failure(
        "git failed on this server's copy of the repository: {detail}",
        "try again: godploy deploy",
        retry=True,
    ),
    "tree_too_large": Failure(
        "the commit holds {found} {unit}, more than the {limit} allowed",
        "keep data and built files out of the repository",
    ),
    "manifest_symlink": Failure(
        "{path} is a symbolic link in the repository; a manifest must be a regular file",
        "replace the link by the file itself",
    ),
    "detached_environment": Failure(
        "the manifest no longer names the environment {environment}",
        "add it under environments on the default branch, or remove the environment: what runs there keeps running",
    ),
    # The plan.
    "invalid_manifest": Failure(
        "the manifest has {count}",
        "correct what is listed; godploy plan shows the same before a push",
    ),
    "missing_secret": Failure(
        "the secret {name} has no value in the environment {environment}",
        "godploy secrets set {name} --environment {environment}",
    ),
    "missing_dockerfile": Failure(
        "{service}: there is no Dockerfile at {path}",
        "add it, or name its place under services.{service}.build.dockerfile",
    ),
    "context_missing": Failure(
        "{service}: the repository has no folder {path}",
        "correct services.{service}.build.context",
    ),
    "image_not_found": Failure(
        "{service}: the image {image} was found in no registry that this server reaches, nor on the server itself",
        "check its name and tag; for a private one give the registry's credentials",
    ),
    "image_gone": Failure(
        "a container could not be made: {detail}",
        "deploy its commit again, which builds or pulls the image anew: godploy deploy",
    ),
    "host_taken": Failure(
        "{host} belongs to another project",
        "choose another host, or ask a server administrator for it",
    ),
    "service_taken": Failure(
        "the name {service} is taken in the environment {environment} by another source",
        "rename the service in one of them",
    ),
    "volume_in_use": Failure(
        "{service}: the volume {volume} is mounted by {owner}",
        "mount it with shared: true in both, or give it another name",
    ),
    "needs_confirmation": Failure(
        "the plan would destroy something: {destructive}",
        "if that is meant: godploy deploy --confirm {digest}",
    ),
    # The build.
    "build_failed": Failure(
        "{service}: the build failed at: {step}",
        "the log has the whole output; docker build shows the same on your machine",
    ),
    "build_oom": Failure(
        "{service}: the build ran out of memory",
        "make the build step smaller, or give the server more memory or swap",
    ),
    "build_timeout": Failure(
        "{service}: the build took longer than {seconds} s and was ended",
        "look in the log for the step that hangs",
    ),
    "disk_full": Failure(
        "the server's disk is full: {detail}",
        "free some space (docker system df shows what the engine holds), then: godploy deploy",
        retry=True,
    ),
    # The start.
    "release_command_failed": Failure(
        "{service}: the release command {command} ended with exit code {exit_code}",
        "its output is in the log; correct it and push again",
    ),
    "exited": Failure(
        "{service} ended with exit code {exit_code}",
        "its last lines are in the log; a service must keep running",
    ),
    "restarted": Failure(
        "{service} ended while it was being watched, after it had been healthy",
        "its last lines are in the log; a service must keep running",
    ),
    "oom": Failure(
        "{service} was killed, since it used more than its {memory} of memory",
        "raise services.{service}.resources.memory, or make it use less",
    ),
    "wrong_port": Failure(
        "{service} listens on {seen}, the manifest says {port}",
        "make it listen on $PORT, or correct services.{service}.port",
    ),
    "loopback_only": Failure(
        "{service} listens on 127.0.0.1:{port} only, where nothing outside its container reaches it",
        "make it listen on 0.0.0.0",
    ),
    "never_listens": Failure(
        "{service} did not listen on port {port} within {seconds} s",
        "if it only needs longer to start, raise services.{service}.health.start_timeout; else its log says more",
    ),
    "health_status": Failure(
        "{service} answered {path} with {status}, expected {expected}",
        "correct services.{service}.health, or what the application answers there",
    ),
    # The switch.
    "switch_not_proven": Failure(
        "the new release was started, but {route} did not answer from it through Traefik within {seconds} s: {detail}",
        "the old release was put back; godploy doctor, on the server, looks at Traefik; then: godploy deploy",
        retry=True,
    ),
    # The machinery.
    "engine_down": Failure(
        "the Docker engine does not answer: {detail}",
        "start it (systemctl start docker), then: godploy deploy",
        retry=True,
    ),
    "interrupted": Failure(
        "Godploy was stopped {attempts} times while this deployment ran",
        "look into its own log for the reason, then: godploy deploy",
        retry=True,
    ),
    "timeout": Failure(
        "the deployment took longer than {seconds} s and was ended at the stage {stage}",
        "raise services.NAME.deploy.timeout if it needs that long",
    ),
    "cancelled": Failure(
        "cancelled by {actor}",
        "godploy deploy starts it anew",
    ),
    "unexpected": Failure(
        "Godploy met an error of its own: {detail}",
        "its log has the details; please report it, and try again: godploy deploy",
        retry=True,
    ),
}


def failure(code: str, /, **facts: Any) -> Failed:
    """The failure `code` told with its facts. Raises KeyError for a code that the table lacks."""
    known = FAILURES[code]
    words = _Facts(facts)
    error = Failed(
        _FORMAT.vformat(known.sentence, (), words),
        next_step=_FORMAT.vformat(known.next_step, (), words),
        fields=facts,
        code=code,
    )
    error.retry = known.retry
    return error


def table() -> str:
    """The failures as a Markdown table, for the documentation; what varies is in italics."""
    rows = [f"| `{code}` | {_shown(known.sentence)} | {_shown(known.next_step)} |" for code, known in FAILURES.items()]
    return "\n".join(["| code | what you see | what to do |", "|---|---|---|", *rows]) + "\n"


class _Facts(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return "?"

    def __getitem__(self, key: str) -> Any:
        value = super().__getitem__(key)
        if isinstance(value, (list, tuple, set, frozenset)):
            return ", ".join(str(item) for item in value)
        return value


_FORMAT = Formatter()


def _shown(template: str) -> str:
    return "".join(
        text + (f"*{name.replace('_', ' ')}*" if name else "") for text, name, _, _ in _FORMAT.parse(template)
    )
