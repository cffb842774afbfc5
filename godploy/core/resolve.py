"""A definition becomes an exact specification: defaults filled in, values sealed, the strategy chosen.

There are two ways. What the manifest's text changed is resolved anew, with the defaults of today for what it leaves
unsaid, except that keys whose text stayed keep what they were resolved to. What it did not change is only refreshed:
the image and the values of its references follow the world, everything else stays exactly what runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from godploy.core import defaults, units
from godploy.core.facts import Current
from godploy.core.problems import Path
from godploy.core.sealing import Sealer, Versions, own_offers
from godploy.core.sources import KEYS, Source
from godploy.core.specification import Health, Mount, Specification

# Keys of a definition whose unsaid parts have defaults → the fields that they become.
_KEEPING = {
    "resources": ("cpus", "memory"),
    "health": ("health",),
    "stop_grace_period": ("stop_grace",),
    "deploy": ("drain", "settle", "timeout"),
}


def refresh(definition: Mapping[str, Any], running: Specification, sealer: Sealer, pinned: Versions) -> Specification:
    """What runs, with the values that its unchanged definition refers to as they are now. The source is untouched."""
    path: Path = ("services", running.service)
    texts: dict[str, tuple[str, ...]] = {}
    for key in ("command", "entrypoint", "release_command"):
        words = sealer.argv(definition, key, path, pinned)
        if words is not None:
            texts[key] = words
    env = {**running.env, **sealer.environment(definition, path, pinned)}
    return replace(running, env=env, **texts)  # type: ignore[arg-type]  # only argv fields are in texts


def anew(
    service: str,
    definition: Mapping[str, Any],
    source: Source,
    sealer: Sealer,
    current: Current | None,
) -> Specification:
    """The specification of a new or changed definition. Raises ValueError for a size or duration that is none, which
    the manifest's schema does not let through."""
    path: Path = ("services", service)
    rendered = source.rendered
    port = definition.get("port", rendered.get("port"))
    mounts = _mounts(definition, rendered)
    strategy, _ = choose_strategy(definition, port, mounts)
    command = sealer.argv(definition, "command", path, {})
    if command is None and "command" in rendered:
        command = tuple(rendered["command"])
    resources, deploy = definition.get("resources", {}), definition.get("deploy", {})
    specification = Specification(
        service=service,
        **source.fields(),
        command=command,
        entrypoint=sealer.argv(definition, "entrypoint", path, {}),
        port=port,
        env={
            **_injected(service, port, sealer),
            **rendered.get("env", {}),
            **sealer.environment(definition, path, {}),
        },
        release_command=sealer.argv(definition, "release_command", path, {}),
        mounts=mounts,
        cpus=float(resources.get("cpus", defaults.CPUS)),
        memory=_size(resources.get("memory", rendered.get("memory")), defaults.MEMORY),
        pids=defaults.PIDS,
        health=_health({**rendered.get("health", {}), **definition.get("health", {})}),
        stop_grace=_seconds(
            definition.get("stop_grace_period", rendered.get("stop_grace_period")), defaults.STOP_GRACE
        ),
        strategy=strategy,
        drain=_seconds(deploy.get("drain"), defaults.DRAIN),
        settle=_seconds(deploy.get("settle"), defaults.SETTLE),
        timeout=_seconds(deploy.get("timeout"), defaults.TIMEOUT),
        depends_on=tuple(definition.get("depends_on", ())),
        offers=rendered["offers"] if "offers" in rendered else own_offers(service, port),
    )
    return specification if current is None else _keep(specification, definition, current)


def choose_strategy(definition: Mapping[str, Any], port: int | None, mounts: tuple[Mount, ...]) -> tuple[str, str]:
    """`rolling` or `replace`, and why."""
    written = definition.get("deploy", {}).get("strategy", "auto")
    alone = sorted(mount.volume for mount in mounts if not mount.shared)
    if written != "auto":
        return written, f"{written}, as the manifest says"
    if alone:
        return "replace", f"replace, since only one container at a time may use the volume {alone[0]}"
    if port is None:
        return "replace", "replace, since it has no port: two versions would work side by side"
    return "rolling", "rolling, since it has a port and no volume of its own"


def _keep(specification: Specification, definition: Mapping[str, Any], current: Current) -> Specification:
    """Keys whose text stayed keep what they were resolved to, so that a default of today does not slip in with an
    unrelated change. Where the source is another kind of thing, its own defaults apply."""
    before = current.definition
    if [key for key in KEYS if key in definition] != [key for key in KEYS if key in before]:
        return specification
    running = current.specification
    same_template = specification.template == running.template
    stayed: dict[str, Any] = {"pids": running.pids}
    for key, fields in _KEEPING.items():
        if same_template and definition.get(key) == before.get(key):
            stayed |= {field: getattr(running, field) for field in fields}
    return replace(specification, **stayed)


def _injected(service: str, port: int | None, sealer: Sealer) -> dict[str, str]:
    """Does not vary by commit, so that a push alone changes no specification."""
    facts = sealer.facts
    injected = {"GODPLOY_PROJECT": facts.project, "GODPLOY_ENVIRONMENT": facts.environment, "GODPLOY_SERVICE": service}
    return injected if port is None else {"PORT": str(port), **injected}


def _mounts(definition: Mapping[str, Any], rendered: Mapping[str, Any]) -> tuple[Mount, ...]:
    mounts = [Mount(v["name"], v["path"], v.get("shared", False)) for v in definition.get("volumes", ())]
    if "volume" in rendered:
        mounts.append(Mount(rendered["volume"]["name"], rendered["volume"]["path"]))
    return tuple(mounts)


def _health(written: Mapping[str, Any]) -> Health:
    chosen: dict[str, Any] = {}
    for key in ("path", "successes", "failures"):
        if key in written:
            chosen[key] = written[key]
    for key in ("start_timeout", "interval", "timeout"):
        if key in written:
            chosen[key] = units.seconds(written[key])
    if "status" in written:
        chosen["status_from"], chosen["status_to"] = units.status_range(str(written["status"]))
    return replace(defaults.HEALTH, **chosen)


def _seconds(written: str | None, default: float) -> float:
    return default if written is None else units.seconds(written)


def _size(written: str | None, default: int) -> int:
    return default if written is None else units.size(written)
