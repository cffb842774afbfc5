"""Brings what a manifest says into one shape, whichever of its forms was written, and checks each value by itself.

Short forms become long ones, commands become lists of words, hosts are IDNA-encoded, values become the text that was
written. Nothing is added that was not said: defaults are the plan's. What the schema has already complained about is
left out.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from godploy.core import naming, units, words
from godploy.core.problems import Path, Problem
from godploy.core.references import BadReferenceError, references

# Among them are whose caches a build may mount, and which program reads the Dockerfile.
_OF_THE_BUILDER = "BUILDKIT_"
_SMALLEST_MEMORY = "6M"  # below that the engine refuses to make a container


@dataclass(slots=True)
class Shape:
    """`texts` says how each scalar was written, `folder` is the manifest's in the repository ("" for its root), and
    `unsound` holds every path at or below which the schema found something."""

    texts: Mapping[Path, str]
    folder: str
    unsound: frozenset[Path]
    problems: list[Problem] = field(default_factory=list)

    def service(self, said: Mapping[str, Any], path: Path) -> dict[str, Any]:
        """A service, or what an environment says instead of it; `null` stays for the merge to act upon."""
        shaped: dict[str, Any] = {}
        for key, value in said.items():
            place = (*path, key)
            # In a mapping each key is looked at by itself, so that one mistake does not hide the others.
            if place not in self.unsound or (key in _MAPPINGS and isinstance(value, dict)):
                shaped[key] = value if value is None or key not in _SHAPES else _SHAPES[key](self, value, place)
        return shaped

    def complain(self, path: Path, message: str) -> None:
        self.problems.append(Problem(path, message))

    def build(self, said: Any, path: Path) -> dict[str, Any]:
        if isinstance(said, str):
            self._in_repository(said, path, self.folder)
            return {"context": said}
        shaped = {key: value for key, value in said.items() if (*path, key) not in self.unsound}
        context = self.folder
        if "context" in shaped:
            context = self._in_repository(shaped["context"], (*path, "context"), self.folder)
        if "dockerfile" in shaped:
            self._in_repository(shaped["dockerfile"], (*path, "dockerfile"), context)
        for number, pattern in enumerate(shaped.get("watch", ())):
            self._in_repository(pattern, (*path, "watch", number), self.folder)
        if isinstance(said.get("args"), dict):
            shaped["args"] = self.args(said["args"], (*path, "args"))
        return shaped

    def _in_repository(self, text: str, path: Path, base: str) -> str:
        """The path from the root of the repository, when it is taken from `base`; "" is the root itself."""
        if re.search(r"[\0-\x1f\x7f\\]", text):
            self.complain(path, "a path cannot hold control characters or backslashes")
        elif text.startswith("/"):
            self.complain(path, "expected a path inside the repository; this one is absolute")
        else:
            whole = posixpath.normpath(posixpath.join(base, text))
            if whole != ".." and not whole.startswith("../"):
                return "" if whole == "." else whole
            self.complain(path, f'"{text}" leads out of the repository')
        return ""

    def args(self, said: Mapping[str, Any], path: Path) -> dict[str, str | None]:
        shaped = self._written(said, path)
        for name, text in shaped.items():
            place = (*path, name)
            if name.upper().startswith(_OF_THE_BUILDER):
                self.complain(place, f"arguments that begin with {_OF_THE_BUILDER} steer the builder, not the image")
            for reference in self._references(text or "", place):
                if reference.kind == "secrets":
                    self.complain(
                        place, f"a build argument stays in the image; list {reference.name} under build.secrets instead"
                    )
                elif reference.kind == "services":
                    self.complain(place, f"a build reaches no service, so {reference} cannot be an argument of it")
        return shaped

    def env(self, said: Mapping[str, Any], path: Path) -> dict[str, str | None]:
        shaped = self._written(said, path)
        for name, text in shaped.items():
            self._references(text or "", (*path, name))
        return shaped

    def parameters(self, said: Mapping[str, Any], path: Path) -> dict[str, str | None]:
        return self._written(said, path)

    def _written(self, said: Mapping[str, Any], path: Path) -> dict[str, str | None]:
        return {
            name: None if value is None else self.texts[*path, name]
            for name, value in said.items()
            if (*path, name) not in self.unsound
        }

    def _references(self, text: str, path: Path) -> list[Any]:
        try:
            return references(text)
        except BadReferenceError as error:
            self.complain(path, str(error))
            return []

    def command(self, said: Any, path: Path) -> list[str]:
        if isinstance(said, list):
            parts = [self.texts[*path, number] for number in range(len(said))]
            places = [(*path, number) for number in range(len(said))]
        else:
            try:
                parts = words.split(said)
            except ValueError as error:
                self.complain(path, str(error))
                return []
            places = [path] * len(parts)
        for part, place in zip(parts, places, strict=True):
            self._references(part, place)
        return parts

    def routes(self, said: list[Any], path: Path) -> list[dict[str, Any]]:
        shaped = []
        for number, route in enumerate(said):
            place: Path = (*path, number)
            if isinstance(route, str):
                shaped.append({"host": self._host(route, place), "path": "/"})
                continue
            inner = route.get("path", "/")
            if any(part in (".", "..") for part in inner.split("/")):
                self.complain((*place, "path"), 'a path cannot contain "." or ".." between its slashes')
            name = self._host(route["host"], (*place, "host"))
            rest = {key: value for key, value in route.items() if key not in ("host", "path")}
            if "redirect_from" in rest:
                rest["redirect_from"] = self._redirecting(rest["redirect_from"], (*place, "redirect_from"))
            shaped.append({"host": name, "path": inner.rstrip("/") or "/", **rest})
        return shaped

    def _redirecting(self, said: list[str], path: Path) -> list[str]:
        for number, text in enumerate(said):
            if text == "auto":
                self.complain((*path, number), "only hosts that are written out can redirect")
        return [self._host(text, (*path, number)) for number, text in enumerate(said)]

    def _host(self, text: str, path: Path) -> str:
        try:
            return host(text)
        except ValueError as error:
            self.complain(path, str(error))
            return text

    def volumes(self, said: list[Any], path: Path) -> list[dict[str, Any]]:
        shaped: list[dict[str, Any]] = []
        for number, volume in enumerate(said):
            place: Path = (*path, number)
            if isinstance(volume, str):
                name, _, inner = volume.partition(":")
                volume = {"name": name, "path": inner}
            inner = volume["path"].rstrip("/")
            if not inner or any(part in (".", "..", "") for part in inner.split("/")[1:]):
                self.complain(place, f'"{volume["path"]}" is no folder of a container that a volume could be')
            for other in shaped:
                if other["path"] == inner:
                    self.complain(place, f"{inner} is the place of the volume {other['name']} already")
                if other["name"] == volume["name"]:
                    self.complain(place, f"the volume {volume['name']} stands here twice")
            shaped.append({"name": volume["name"], "path": inner, "shared": volume.get("shared", False)})
        return shaped

    def health(self, said: Mapping[str, Any], path: Path) -> dict[str, Any]:
        shaped = {key: value for key, value in said.items() if (*path, key) not in self.unsound}
        if "status" in shaped:
            shaped["status"] = self.texts[*path, "status"]
            try:
                units.status_range(shaped["status"])
            except ValueError as error:
                self.complain((*path, "status"), str(error))
        return shaped

    def resources(self, said: Mapping[str, Any], path: Path) -> dict[str, Any]:
        shaped = {key: value for key, value in said.items() if (*path, key) not in self.unsound}
        if "memory" in shaped and units.size(shaped["memory"]) < units.size(_SMALLEST_MEMORY):
            self.complain((*path, "memory"), f"a container needs at least {_SMALLEST_MEMORY}")
        return shaped


_SHAPES: Mapping[str, Callable[[Shape, Any, Path], Any]] = {
    "build": Shape.build,
    "command": Shape.command,
    "entrypoint": Shape.command,
    "release_command": Shape.command,
    "env": Shape.env,
    "parameters": Shape.parameters,
    "routes": Shape.routes,
    "volumes": Shape.volumes,
    "health": Shape.health,
    "resources": Shape.resources,
}
_MAPPINGS = ("build", "env", "parameters", "health", "resources")


def host(text: str) -> str:
    """The host as it goes over the wire: lower case, IDNA-encoded; `auto` stays. Raises ValueError with what is wrong
    for what is no host name."""
    if text == "auto":
        return text
    if "://" in text:
        raise ValueError(f'expected a host without a scheme; write "{re.sub(r".*?://", "", text).rstrip("/")}"')
    if "/" in text:
        name, _, inner = text.partition("/")
        raise ValueError(f"expected a host without a path; write {{host: {name or '…'}, path: /{inner}}}")
    if ":" in text:
        raise ValueError("expected a host without a port; it answers on 80 and 443")
    if text.startswith("*."):
        raise ValueError("a host cannot stand for others; write each one out")
    encoded = text.lower()
    if not text.isascii():
        # Browsers follow UTS 46, which Python's own codec (IDNA 2003) does not.
        import idna

        try:
            encoded = idna.encode(text, uts46=True).decode("ascii")
        except idna.IDNAError:
            raise ValueError(f'"{text}" cannot be a host name') from None
    if not naming.is_host(encoded) or re.fullmatch(r"[0-9.]+", encoded):
        raise ValueError("expected a host such as shop.example.com: letters, digits and hyphens between dots")
    return encoded
