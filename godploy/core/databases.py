"""Which images and addresses stand for a database that there is a template for."""

from __future__ import annotations

import re
from dataclasses import dataclass

SERVICES = {"postgres": "db", "redis": "redis", "mongodb": "mongo"}
"""Template → the usual name of a service made from it."""


@dataclass(frozen=True, slots=True)
class Known:
    """A database in a container, by the variables that its image takes."""

    template: str
    database: str | None
    user: str | None
    password: str | None


# https://hub.docker.com/_/postgres and /_/mongo describe these variables.
IMAGES = {
    "postgres": Known("postgres", "POSTGRES_DB", "POSTGRES_USER", "POSTGRES_PASSWORD"),
    "redis": Known("redis", None, None, None),
    "mongo": Known("mongodb", "MONGO_INITDB_DATABASE", "MONGO_INITDB_ROOT_USERNAME", "MONGO_INITDB_ROOT_PASSWORD"),
}

_IMAGE = re.compile(r"(?:docker\.io/)?(?:library/)?([a-z]+)(?::([A-Za-z0-9._-]+))?(?:@sha256:[0-9a-f]+)?")
_VERSION = re.compile(r"[0-9]{1,2}(?:\.[0-9]{1,2})?(?:-[a-z0-9.]{1,20})?")
_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_ADDRESS = re.compile(
    r"(postgres(?:ql)?|redis|mongodb)(?:\+[a-z0-9]+)?://(?:[^/@\s]*@)?([A-Za-z0-9_.-]+)(?::[0-9]+)?(?:/\S*)?"
)
_TEMPLATES = {"postgres": "postgres", "postgresql": "postgres", "redis": "redis", "mongodb": "mongodb"}
_NEARBY = ("localhost", "127.0.0.1", "host.docker.internal", "db", "database", "postgres", "redis", "mongo", "mongodb")


def by_image(image: str) -> tuple[Known, str | None] | None:
    """The database of an image, and its version where the template takes it."""
    match = _IMAGE.fullmatch(image)
    if match is None or match[1] not in IMAGES:
        return None
    version = match[2] if match[2] and _VERSION.fullmatch(match[2]) else None
    return IMAGES[match[1]], version


def by_address(value: str, hosts: tuple[str, ...] = _NEARBY) -> str | None:
    """The template for the database at an address such as `postgres://localhost:5432/shop`, if its host is one of
    `hosts`: one that is elsewhere stays where it is."""
    match = _ADDRESS.fullmatch(value)
    return _TEMPLATES[match[1]] if match and match[2] in hosts else None


def is_name(text: str) -> bool:
    """Whether the templates take it as the name of a database or a user."""
    return _NAME.fullmatch(text) is not None
