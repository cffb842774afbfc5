"""Images: built by the `docker` program, which has BuildKit where the SDK has not, and resolved to what stays the same.

Which `docker` on a machine really builds with BuildKit shows only by building: a newer one without its buildx plugin
refuses, the 20.10 of Debian 12 has it built in.
"""

from __future__ import annotations

import asyncio
import os
import re
import tempfile
from collections import deque
from collections.abc import Sequence
from contextlib import aclosing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from godploy.core.command import Command
from godploy.core.plan import ResolvedImage
from godploy.drivers import process
from godploy.drivers.docker import Refused
from godploy.errors import Conflict, NotFound
from godploy.runtimes.engine import settings
from godploy.runtimes.engine.daemon import Daemon
from godploy.runtimes.protocol import BuildFailed, ImageNotFound, Log, RuntimeUnavailable

_REGISTRY_TIMEOUT = 20.0  # seconds for a registry to say where a tag leads
_PULL_SILENCE = 120.0  # seconds without any progress of a pull
_KEPT = 40  # lines of a failed build
_TRIAL = b"FROM scratch\nLABEL godploy.trial=yes\n"
_STEP = re.compile(r"(?:#\d+ )?> (\[.+\].*?):?")
_PROGRAM = "docker"
_USUAL = ("/usr/bin", "/usr/local/bin")


class Images:
    def __init__(self, daemon: Daemon, programs: Sequence[str] | None = None) -> None:
        """`programs` are the `docker` programs to try, best first; without them, those on PATH and the usual ones."""
        self._daemon = daemon
        self._programs = programs
        self._found: str | None = None
        self._config: tempfile.TemporaryDirectory[str] | None = None

    async def build(self, commands: Sequence[Command], tag: str, timeout: float, log: Log) -> ResolvedImage:
        lines: deque[str] = deque(maxlen=_KEPT)

        def on_line(line: str) -> None:
            lines.append(line)
            log(line)

        try:
            async with asyncio.timeout(timeout):
                for command in commands:
                    result = await process.run(await self._prepared(command), timeout=timeout, on_line=on_line)
                    if result.code != 0:
                        raise _failure(result.code, lines)
        except TimeoutError:
            raise BuildFailed("build_timeout", {"seconds": round(timeout)}, lines) from None
        inspection = await self._inspect(tag)
        if inspection is None:
            raise BuildFailed(
                "build_failed", {"exit_code": 0, "step": tag}, [*lines, f"the build left no image called {tag}"]
            )
        return ResolvedImage(inspection["Id"], ports=_ports(inspection))

    async def find_builder(self) -> str:
        """The path of a `docker` program that builds with BuildKit here, found by trying once. Raises BuildFailed."""
        if self._found is None:
            # Newer programs keep something beside their configuration at each build, and fail where they cannot.
            config = await asyncio.to_thread(tempfile.TemporaryDirectory, prefix="godploy-docker-")
            self._config = self._config or config
            tried = await asyncio.to_thread(_candidates) if self._programs is None else self._programs
            said: list[str] = []
            for program in tried:
                result = await self._try(program, said)
                if result:
                    self._found = program
                    break
            else:
                await self._daemon.call(lambda api: api.ping())  # down, then: no fault of the programs
                raise BuildFailed("build_failed", {"exit_code": 127, "step": "no docker program with BuildKit"}, said)
        return self._found

    async def resolve(self, reference: str, pull: bool, environment: str | None) -> ResolvedImage:
        local = await self._local(reference, environment)
        if local is not None and (_by_digest(reference) or not pull):
            return _local(local, reference)
        if reference.startswith("sha256:") or not pull:
            raise ImageNotFound(f"this machine does not have the image {reference}")
        try:
            digest = await self._registry_digest(reference)
        except ImageNotFound as error:
            if local is None:
                raise ImageNotFound(f"{error}, and this machine has no image of that name") from error
            return _local(local, reference)
        pinned = f"{_repository(reference)}@{digest}"
        inspection = await self._inspect(pinned)
        if inspection is None:
            await self._pull(pinned)
            inspection = await self._inspect(pinned)
        if inspection is None:
            raise ImageNotFound(f"{reference}: the engine pulled {digest}, but does not have it")
        return ResolvedImage(pinned, digest, _ports(inspection))

    async def has(self, image: str) -> bool:
        return await self._inspect(image) is not None

    async def remove(self, image: str) -> None:
        inspection = await self._inspect(image)
        if inspection is None:
            return
        names = (inspection.get("RepoTags") or []) if image.startswith("sha256:") else [image]
        for name in names or [image]:  # without force: what a container uses, running or stopped, stays
            with suppress(NotFound, Conflict):
                await self._daemon.call(lambda api, name=name: api.remove_image(name))  # type: ignore[misc]

    async def ours(self) -> list[str]:
        wanted = {"label": f"{settings.INSTANCE}={self._daemon.instance}"}
        return sorted({image["Id"] for image in await self._daemon.call(lambda api: api.images(filters=wanted))})

    async def _try(self, program: str, said: list[str]) -> bool:
        """Only BuildKit knows `--output`, so nothing is left of the trial, and a legacy builder fails it."""
        argv = (program, "build", "--output", "type=cacheonly", "-")
        command = replace(self._environment(Command(argv)), stdin=_TRIAL)
        try:
            result = await process.run(command, timeout=30)
        except (process.Missing, TimeoutError, PermissionError) as error:
            said.append(f"{program}: {error}")
            return False
        said.append(f"{program}: {result.complaint}")
        return result.code == 0

    async def _prepared(self, command: Command) -> Command:
        if command.argv[0] != _PROGRAM:
            return command
        return self._environment(replace(command, argv=(await self.find_builder(), *command.argv[1:])))

    def _environment(self, command: Command) -> Command:
        config = {"DOCKER_CONFIG": self._config.name} if self._config else {}
        return replace(command, env={"DOCKER_BUILDKIT": "1", "DOCKER_HOST": self._daemon.url, **config, **command.env})

    async def _local(self, reference: str, environment: str | None) -> dict[str, Any] | None:
        """The image of that name or whole id, if it may be had: the engine would also take the beginning of an id, so
        that anybody's image could be found by trying, and knows no environments."""
        local = await self._inspect(reference)
        if local is None or not _is_named(local, reference):
            return None
        labels = (local.get("Config") or {}).get("Labels") or {}
        foreign = environment is not None and labels.get(settings.ENVIRONMENT, environment) != environment
        return None if foreign else local

    async def _inspect(self, image: str) -> dict[str, Any] | None:
        with suppress(NotFound):
            return await self._daemon.call(lambda api: api.inspect_image(image))
        return None

    async def _registry_digest(self, reference: str) -> str:
        """Asked without pulling, so that an unreachable registry and a long download have limits of their own.

        The engine's own patience with a registry is longer than ours: an abandoned question ends by itself."""
        if _by_digest(reference):
            return reference.partition("@")[2]
        try:
            told = await self._daemon.call(
                lambda api: api.inspect_distribution(reference, auth_config={}), timeout=_REGISTRY_TIMEOUT
            )
            return str(told["Descriptor"]["digest"])
        except RuntimeUnavailable as error:
            await self._daemon.call(lambda api: api.ping(), timeout=5)  # who does not answer: the engine itself?
            raise ImageNotFound(f"{reference}: its registry did not answer within 20 s") from error
        except (NotFound, Refused, Conflict) as error:
            raise ImageNotFound(f"{reference}: the registry says: {error.message}") from error

    async def _pull(self, pinned: str) -> None:
        repository, _, digest = pinned.partition("@")
        progress = self._daemon.stream(
            lambda api: api.pull(repository, tag=digest, stream=True, decode=True, auth_config={})
        )
        try:
            async with aclosing(progress):
                while (step := await asyncio.wait_for(anext(progress, None), _PULL_SILENCE)) is not None:
                    if "error" in step:
                        raise ImageNotFound(f"{pinned}: {step['error']}")
        except TimeoutError:
            raise ImageNotFound(f"{pinned}: the pull made no progress for {_PULL_SILENCE:.0f} s") from None
        except (NotFound, Refused) as error:
            raise ImageNotFound(f"{pinned}: {error.message}") from error


def _failure(code: int, lines: Sequence[str]) -> Exception:
    """What a build's last lines say of its end. BuildKit names the step that failed as `> [stage 2/4] RUN …:`."""
    text = "\n".join(lines)
    facts: dict[str, Any] = {"exit_code": code, "step": _step(lines)}
    if "cannot connect to the docker daemon" in text.lower():
        return RuntimeUnavailable("the Docker engine went away during the build")
    if "no space left on device" in text:
        return BuildFailed("disk_full", facts | {"detail": f"no space left on device, at: {facts['step']}"}, lines)
    if "exit code: 137" in text or "signal: killed" in text or code in (137, -9):
        return BuildFailed("build_oom", facts, lines)
    return BuildFailed("build_failed", facts, lines)


def _step(lines: Sequence[str]) -> str:
    named = [found[1] for line in lines if (found := _STEP.fullmatch(line.strip()))]
    return named[-1] if named else next((line for line in reversed(lines) if line.strip()), "")


def _candidates() -> list[str]:
    folders = [*os.environ.get("PATH", "").split(os.pathsep), *_USUAL]
    programs = [Path(folder) / _PROGRAM for folder in dict.fromkeys(folders) if folder]
    return [str(program) for program in programs if os.access(program, os.X_OK)]


def _is_named(inspection: dict[str, Any], reference: str) -> bool:
    """Whether the image was found by a name or its whole id, not by some beginning of its id."""
    if reference == inspection["Id"]:
        return True
    could_be_id = re.fullmatch(r"(?:sha256:)?[0-9a-f]{1,64}", reference) is not None
    return not could_be_id or f"{reference}:latest" in (inspection.get("RepoTags") or ())


def _by_digest(reference: str) -> bool:
    return "@sha256:" in reference or reference.startswith("sha256:")


def _repository(reference: str) -> str:
    """Without its tag: the colon of a registry's port stands before a slash."""
    name = reference.partition("@")[0]
    head, colon, tag = name.rpartition(":")
    return head if colon and "/" not in tag else name


def _local(inspection: dict[str, Any], reference: str) -> ResolvedImage:
    """A digest where the image once came from that repository, so that a registry's absence changes no identity."""
    ports = _ports(inspection)
    if reference.startswith("sha256:"):
        return ResolvedImage(inspection["Id"], ports=ports)
    if _by_digest(reference):
        return ResolvedImage(reference, reference.partition("@")[2], ports)
    for known in inspection.get("RepoDigests") or ():
        repository, _, digest = known.partition("@")
        if repository == _repository(reference):
            return ResolvedImage(known, digest, ports)
    return ResolvedImage(inspection["Id"], ports=ports)


def _ports(inspection: dict[str, Any]) -> tuple[int, ...]:
    exposed = (inspection.get("Config") or {}).get("ExposedPorts") or {}
    return tuple(sorted(int(port.partition("/")[0]) for port in exposed if not port.endswith("/udp")))
