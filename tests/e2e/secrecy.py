"""Looks for secrets where none may be: in files, argument lists and images; plain, in base64 and as in a URL."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote, quote_plus

import docker

_EVERY = 0.1  # seconds between two looks at the machine's processes


def forms(secret: str) -> set[bytes]:
    """How a secret may look. In base64 it depends on what stands before it, and its ends mix with their neighbours."""
    raw = secret.encode()
    found = {raw, quote(secret, safe="").encode(), quote(secret).encode(), quote_plus(secret).encode()}
    for shift in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            found.add(encode(bytes(shift) + raw)[4 if shift else 0 : -4])
    return found


def found_in_files(folder: Path, secrets: Iterable[str]) -> Iterator[str]:
    needles = _needles(secrets)
    for path in folder.rglob("*"):
        if path.is_file():
            yield from _found(path.read_bytes(), needles, str(path.relative_to(folder)))


def found_in_image(engine: docker.DockerClient, image: str, secrets: Iterable[str]) -> Iterator[str]:
    """In its configuration, history and layers."""
    needles = _needles(secrets)
    yield from _found(b"".join(engine.images.get(image).save()), needles, f"image {image}")


def found_in(text: bytes, secrets: Iterable[str], where: str) -> Iterator[str]:
    yield from _found(text, _needles(secrets), where)


def _needles(secrets: Iterable[str]) -> list[tuple[str, bytes]]:
    return [(secret, form) for secret in secrets for form in forms(secret)]


def _found(text: bytes, needles: Iterable[tuple[str, bytes]], where: str) -> Iterator[str]:
    for secret, form in needles:
        if form in text:
            yield f"{secret[:6]}… in {where}, as {form[:12]!r}…"


class Arguments:
    """Every argument list that any process of the machine had while this ran."""

    def __init__(self) -> None:
        self._seen: set[bytes] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="arguments", daemon=True)

    @property
    def seen(self) -> set[bytes]:
        """Those until now, in a copy: the watch goes on meanwhile."""
        return self._seen.copy()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(5)

    def _watch(self) -> None:
        while not self._stop.wait(_EVERY):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                with suppress(OSError):  # it has ended meanwhile
                    self._seen.add(path.read_bytes())
