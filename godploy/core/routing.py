"""Routes, and the Traefik configuration that serves them, as data. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Route:
    """Host and path → the port of a service."""

    host: str
    path: str
    service: str
    port: int
    generated: bool = False  # a name that we made; a written host is claimed by the project

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, tree: Mapping[str, Any]) -> Route:
        return cls(**tree)

    @property
    def name(self) -> str:
        return f"{self.host}{self.path}"
