"""Effects as values: what a program run is to be, decided here, done by `drivers.process`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Command:
    """One program run. `argv` is never joined or given to a shell. `env` is added to a minimal environment;
    values that must not be seen stand in `secret_files` (file name in a private in-memory directory → content) and are
    referred to in `argv` and in `env` as `{secrets}/NAME`."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str | None = None
    stdin: bytes | None = None
    secret_files: Mapping[str, str] = field(default_factory=dict)
