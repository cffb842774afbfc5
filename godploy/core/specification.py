"""The exact specification of a workload: resolved once, stored whole, compared by hash.

Values keep secrets as versioned references (`${secrets.STRIPE_KEY@3}`, `${volumes.db-data.password@1}`) and
`${deployment.commit}` as itself; `fill` puts the values in only when a container is made. `$${` stands for a literal
`${`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

_HELD = re.compile(r"\$\$\{|\$\{([^}]*)\}")


@dataclass(frozen=True, slots=True)
class Mount:
    volume: str  # its name in the environment
    path: str
    shared: bool = False


@dataclass(frozen=True, slots=True)
class Health:
    """How a replica is asked. Times in seconds. Without a path the port must accept connections."""

    path: str | None = None
    status_from: int = 200
    status_to: int = 399
    start_timeout: float = 60.0
    successes: int = 2
    interval: float = 10.0
    timeout: float = 2.0
    failures: int = 3


@dataclass(frozen=True, slots=True)
class Specification:
    """Everything that makes a workload what it is. `image` is what the runtime runs: an image id (`sha256:…`) or a
    reference by digest; "" while it is still to be built. `image_text` and `template` say what it was made from.
    A missing `command` or `entrypoint` (None) means the image's own. Sizes in bytes, times in seconds."""

    service: str
    image: str = ""
    image_text: str | None = None  # as written under `image:`
    build_key: str | None = None
    build_secrets: Mapping[str, int] = field(default_factory=dict)  # name → version, as they went into the build
    template: Mapping[str, Any] | None = None  # {"name", "revision", "parameters", "rendered"}
    command: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    port: int | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    release_command: tuple[str, ...] | None = None
    mounts: tuple[Mount, ...] = ()
    cpus: float = 1.0
    memory: int = 512 * 1024 * 1024
    pids: int = 512
    health: Health = Health()
    stop_grace: float = 30.0
    strategy: str = "rolling"  # or "replace"
    drain: float = 10.0
    settle: float = 5.0
    timeout: float = 600.0
    depends_on: tuple[str, ...] = ()
    offers: Mapping[str, str] = field(default_factory=dict)  # key → sealed value, for ${services.NAME.KEY}

    def hash(self) -> str:
        """Of what the workload is; replicas are no part of it, nor is what it was resolved from (a text, a template,
        whose effects are all in the other fields), nor what only orders a start."""
        tree = self.to_json()
        del tree["image_text"], tree["template"], tree["depends_on"]
        return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()[:32]

    def to_json(self) -> dict[str, Any]:
        return json.loads(json.dumps(asdict(self)))  # type: ignore[no-any-return]  # tuples become lists

    @classmethod
    def from_json(cls, tree: Mapping[str, Any]) -> Specification:
        """A field missing in `tree` was not known when it was stored and takes the default of that time, which the
        dataclass keeps: a default of an existing field changes in `core.defaults`, never here."""
        known = {f.name for f in fields(cls)}
        values = {name: value for name, value in tree.items() if name in known}
        for name in ("command", "entrypoint", "release_command"):
            if values.get(name) is not None:
                values[name] = tuple(values[name])
        values["mounts"] = tuple(Mount(**mount) for mount in values.get("mounts", ()))
        values["depends_on"] = tuple(values.get("depends_on", ()))
        values["health"] = Health(**values.get("health", {}))
        return cls(**values)

    def with_image(self, image: str) -> Specification:
        return replace(self, image=image)

    def sealed_texts(self) -> list[str]:
        """Every text that may hold a reference to a secret."""
        return [*self.env.values(), *(self.command or ()), *(self.entrypoint or ()), *(self.release_command or ())]


def held(text: str) -> list[str]:
    """The references that a sealed text holds, without `${` and `}`: `["secrets.STRIPE_KEY@3"]`."""
    return [match[1] for match in _HELD.finditer(text) if match[1] is not None]


def fill(text: str, look_up: Callable[[str], str]) -> str:
    """The text with each reference replaced by what `look_up` gives for it; literal `$${` becomes `${`."""
    return _HELD.sub(lambda match: "${" if match[1] is None else look_up(match[1]), text)


def literal(text: str) -> str:
    """A plain text as a sealed one: a `${` in it stays what it is."""
    return text.replace("${", "$${")
