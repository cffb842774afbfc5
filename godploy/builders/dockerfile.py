"""A build plan as the `docker build` that makes its image with BuildKit.

The environment speaks for BuildKit, so that an old engine's own program and a new one's take the same command.
Facts: https://docs.docker.com/reference/cli/docker/buildx/build/ and, for the cache's name space,
https://docs.docker.com/build/building/variables/#buildkit-built-in-build-args.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from godploy.core.command import Command
from godploy.core.plan import BuildPlan
from godploy.core.specification import fill
from godploy.redact import Secret

_ENVIRONMENT = {
    "DOCKER_BUILDKIT": "1",
    "BUILDKIT_PROGRESS": "plain",
    # A provenance attestation carries the time of the build, so the same content would get a new image id each time.
    "BUILDX_NO_DEFAULT_ATTESTATIONS": "1",
}


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a build takes from the deployment that makes it. `directory` is the root of the commit's exported files;
    `secrets` holds the value of each secret that the build names; `commit` fills `${deployment.commit}`."""

    directory: str
    commit: str | None
    secrets: Mapping[str, Secret]


def commands(
    build: BuildPlan,
    inputs: Inputs,
    *,
    tag: str,
    labels: Mapping[str, str],
    cache_ns: str,
) -> list[Command]:
    """The programs to run, in order; the last one leaves an image called `tag`. `cache_ns` keeps the cache mounts of
    projects and environment classes apart. A secret's value stands in no argument: BuildKit reads it from a file, and
    does not count it among what makes a layer. So a build with secrets takes no layer from the cache: it may have
    been made with a former value or with another environment's; its cache mounts stay.
    https://docs.docker.com/build/cache/invalidation/#build-secrets"""
    root = inputs.directory.rstrip("/")
    argv = ["docker", "build", "--progress", "plain", "-t", tag, "-f", f"{root}/{build.dockerfile}"]
    if build.target is not None:
        argv += ["--target", build.target]
    if build.pull:
        argv.append("--pull")
    if build.secrets:
        argv.append("--no-cache")
    for name, sealed in sorted(build.args.items()):
        argv += ["--build-arg", f"{name}={fill(sealed, lambda reference: _value(reference, inputs.commit))}"]
    argv += ["--build-arg", f"BUILDKIT_CACHE_MOUNT_NS={cache_ns}"]  # the last of several counts
    for name in sorted(build.secrets):
        argv += ["--secret", f"id={name},src={{secrets}}/{name}"]
    for name, value in sorted(labels.items()):
        argv += ["--label", f"{name}={value}"]
    argv.append(f"{root}/{build.context}".rstrip("/"))
    files = {name: inputs.secrets[name].reveal() for name in build.secrets}
    return [Command(tuple(argv), env=_ENVIRONMENT, secret_files=files)]


def _value(reference: str, commit: str | None) -> str:
    # The plan lets nothing else into an argument: whatever it resolves is plain text by then.
    if reference != "deployment.commit" or commit is None:
        raise ValueError(f"a build argument holds ${{{reference}}}, which has no value here")
    return commit
