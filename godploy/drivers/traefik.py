"""Route files for Traefik, put into place whole, and the proof that they are served.

Traefik reads a folder that Godploy alone owns, one file for each stack: one bad file there stops every update, so a
foreign one is moved out. That a file was written proves nothing; Traefik's API tells what it has loaded, and a request
through the entry point tells who answers.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp

from godploy.drivers import probe
from godploy.drivers.probe import Answer

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_SUFFIX = ".yaml"
_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 0.25  # seconds between two looks at the API


class NotLoaded(Exception):
    """Traefik did not take a configuration in time; the message says in words what it shows instead."""


class Routes:
    """The folder, Traefik's API (`http://127.0.0.1:PORT`) and the entry points to ask through (address, port), plain
    and encrypted."""

    def __init__(
        self, directory: Path, api: str, entry: tuple[str, int], encrypted_entry: tuple[str, int] = ("127.0.0.1", 443)
    ) -> None:
        self._directory = directory
        self._api = api.rstrip("/")
        self._entry = entry
        self._encrypted_entry = encrypted_entry
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def write(self, name: str, config: Mapping[str, Any]) -> None:
        """Puts a stack's configuration into place; an empty one takes its routes away."""
        path = self._path(name)
        if not config:
            await self.remove(name)
            return
        await asyncio.to_thread(_replace, path, json.dumps(config, indent=1, sort_keys=True) + "\n")

    async def remove(self, name: str) -> None:
        """Takes a stack's routes away; fine where there are none."""
        await asyncio.to_thread(self._path(name).unlink, missing_ok=True)

    async def read(self, name: str) -> dict[str, Any]:
        """What a stack's file holds now; empty where there is none, or none that is whole."""
        return await asyncio.to_thread(_read, self._path(name))

    async def names(self) -> list[str]:
        """The stacks that have a file."""
        found = await asyncio.to_thread(lambda: sorted(self._directory.glob(f"*{_SUFFIX}")))
        return [path.name.removesuffix(_SUFFIX) for path in found]

    async def move_out_foreign(self, known: Collection[str]) -> list[str]:
        """Moves whatever is not the file of a known stack to the folder beside, called `…-foreign`; what was moved.
        Drafts of ours that a crash left are deleted."""
        return await asyncio.to_thread(_move_out, self._directory, frozenset(f"{name}{_SUFFIX}" for name in known))

    async def wait_loaded(self, config: Mapping[str, Any], timeout: float) -> None:
        """Returns when Traefik shows exactly this configuration: these routers, enabled, these servers and no others,
        these headers. Raises NotLoaded after `timeout` seconds."""
        pause = _FIRST_PAUSE
        missing = "Traefik's API does not answer"
        try:
            async with asyncio.timeout(timeout):
                while True:
                    shown = await self._get("rawdata")
                    if shown is not None:
                        missing = next(_differences(config, shown), "")
                        if not missing:
                            return
                    await asyncio.sleep(pause)
                    pause = min(pause * 1.1, _LONGEST_PAUSE)
        except TimeoutError as error:
            raise NotLoaded(f"after {timeout:g} s {missing}") from error

    async def ask(self, host: str, path: str, timeout: float, *, encrypted: bool = False) -> Answer:
        """What a client gets that asks for a host and path at the entry point, over HTTPS where it is `encrypted`."""
        address, port = self._encrypted_entry if encrypted else self._entry
        return await probe.http(address, port, path, host, timeout, encrypted=encrypted)

    async def version(self) -> str | None:
        """Traefik's own, None where it does not say."""
        told = await self._get("version")
        return None if told is None else str(told.get("Version"))

    async def _get(self, what: str) -> Mapping[str, Any] | None:
        """An answer of Traefik's API, None where there is none."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                cookie_jar=aiohttp.DummyCookieJar(), timeout=aiohttp.ClientTimeout(total=5)
            )
        try:
            async with self._session.get(f"{self._api}/api/{what}", allow_redirects=False) as response:
                shown = await response.json() if response.status == 200 else None
        except (aiohttp.ClientError, OSError, ValueError):
            return None
        return shown if isinstance(shown, dict) else None

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise ValueError(f"not the name of a stack: {name!r}")
        return self._directory / f"{name}{_SUFFIX}"


def _differences(config: Mapping[str, Any], shown: Mapping[str, Any]) -> Iterator[str]:
    """In words, where what Traefik shows is not what was written."""
    http = config.get("http", {})
    for name, router in http.get("routers", {}).items():
        loaded = _loaded(shown, "routers", name)
        if loaded.get("rule") != router["rule"] or loaded.get("service") != router["service"]:
            yield f"the route {router['rule']} is not loaded"
        elif loaded.get("status") != "enabled":
            yield f"the route {router['rule']} is refused: {'; '.join(loaded.get('error', ()))}"
    for name, service in http.get("services", {}).items():
        wanted = _servers(service)
        loaded_servers = _servers(_loaded(shown, "services", name))
        if loaded_servers != wanted:
            yield f"{name} leads to {_listed(loaded_servers)} instead of {_listed(wanted)}"
    for name, middleware in http.get("middlewares", {}).items():
        loaded = _loaded(shown, "middlewares", name)
        if any(loaded.get(kind) is None for kind in middleware) or _headers(loaded) != _headers(middleware):
            yield f"{name} is not loaded"


def _loaded(shown: Mapping[str, Any], kind: str, name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = (shown.get(kind) or {}).get(f"{name}@file") or {}
    return found


def _servers(service: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(server["url"] for server in (service.get("loadBalancer") or {}).get("servers") or ())


def _headers(middleware: Mapping[str, Any]) -> Mapping[str, str]:
    headers: Mapping[str, str] = (middleware.get("headers") or {}).get("customResponseHeaders") or {}
    return headers


def _listed(servers: frozenset[str]) -> str:
    return ", ".join(sorted(servers)) or "nothing"


def _read(path: Path) -> dict[str, Any]:
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return tree if isinstance(tree, dict) else {}


def _replace(path: Path, text: str) -> None:
    """A reader sees the old file or the new one; so does one after a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.tmp")
    with draft.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _move_out(directory: Path, known: frozenset[str]) -> list[str]:
    if not directory.is_dir():
        return []
    foreign = directory.with_name(f"{directory.name}-foreign")
    moved: list[str] = []
    for path in sorted(directory.iterdir()):
        if path.name in known and path.is_file() and not path.is_symlink():
            continue
        if path.name.endswith(f"{_SUFFIX}.tmp") and _NAME.fullmatch(path.name.removesuffix(f"{_SUFFIX}.tmp")):
            path.unlink()
            continue
        foreign.mkdir(exist_ok=True)
        path.rename(_free_name(foreign, path.name))
        moved.append(path.name)
    return moved


def _free_name(folder: Path, name: str) -> Path:
    candidate, number = folder / name, 1
    while candidate.exists() or candidate.is_symlink():
        number += 1
        candidate = folder / f"{name}.{number}"
    return candidate
