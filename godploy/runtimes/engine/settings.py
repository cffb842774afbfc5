"""What a container of ours is made with, as plain data in the words of the Docker Engine API. Pure.

A manifest has no key for host power, and here is the other half of that promise: everything a container gets stands in
`container`, and nothing else can get in. https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from godploy.core import naming
from godploy.runtimes.protocol import Launch, Ref

INSTANCE = "godploy.instance"
ENVIRONMENT = "godploy.environment"
_STACK = "godploy.stack"
_SERVICE = "godploy.service"
WORKLOAD = "godploy.workload"
_REPLICA = "godploy.replica"
_PORT = "godploy.port"
_ADDRESS = "godploy.address"
_RUN = "godploy.run"

# What the entry points of the official postgres, redis and nginx images need (chown their data, step down to a user,
# bind port 80) and ordinary servers use. No NET_RAW: it forges packets to neighbours. No MKNOD: it makes devices.
CAPABILITIES = (
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "NET_BIND_SERVICE",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
)


@dataclass(frozen=True, slots=True)
class Place:
    """Which container of a launch is made, and where. `named`: the service's name resolves to it from the start."""

    ref: Ref  # of the workload or, with `run`, of the one-off run
    replica: int  # from 1
    address: str
    named: bool = False
    run: bool = False

    @property
    def name(self) -> str:
        return naming.container_name(self.ref.environment, self.ref.service, self.ref.workload, self.replica)


@dataclass(frozen=True, slots=True)
class Found:
    """A container as its labels and the engine's inspection tell it."""

    id: str
    ref: Ref
    replica: int
    port: int | None
    address: str
    run: bool
    state: str  # created, running, paused, restarting, removing, exited or dead
    pid: int
    exit_code: int
    oom: bool
    restarts: int
    started: str
    complaint: str  # the engine's, where it could not start it
    policy: str
    named: bool
    stop_signal: str

    @property
    def running(self) -> bool:
        return self.state == "running"

    @property
    def promoted(self) -> bool:
        return self.policy == "unless-stopped" and (self.named or self.port is None)


def environment_labels(instance: str, environment: str) -> dict[str, str]:
    """Of what belongs to an environment as a whole: its network and its volumes."""
    return {INSTANCE: instance, ENVIRONMENT: environment}


def container(
    launch: Launch, place: Place, instance: str, *, processors: float, capabilities: Sequence[str] = CAPABILITIES
) -> dict[str, Any]:
    """The body of "create a container". `processors` is how many the machine has: the engine refuses to give more."""
    network = naming.network_name(place.ref.environment)
    config: dict[str, Any] = {
        "Image": launch.image,
        "Env": [f"{name}={value}" for name, value in launch.env.items()],
        "Labels": _labels(launch, place, instance),
        "StopTimeout": round(launch.stop_grace),  # for the engine's own end
        "Healthcheck": {"Test": ["NONE"]},  # we ask from outside; one judge of health is enough
        "HostConfig": _host_config(launch, place, processors, capabilities),
        "NetworkingConfig": {"EndpointsConfig": {network: endpoint(place.address, place.ref, place.named)}},
    }
    if launch.command is not None:
        config["Cmd"] = list(launch.command)
    if launch.entrypoint is not None:
        config["Entrypoint"] = list(launch.entrypoint)
    return config


def endpoint(address: str, ref: Ref, named: bool) -> dict[str, Any]:
    return {"IPAMConfig": {"IPv4Address": address}, "Aliases": [ref.service] if named else []}


def found(inspection: Mapping[str, Any]) -> Found:
    """What "inspect a container" says of one that `container` made."""
    state, config, labels = inspection["State"], inspection["Config"], inspection["Config"]["Labels"]
    ref = reference(labels)
    joined = inspection["NetworkSettings"]["Networks"].get(naming.network_name(ref.environment)) or {}
    return Found(
        id=inspection["Id"],
        ref=ref,
        replica=int(labels.get(_REPLICA, 0)),
        port=int(labels[_PORT]) if labels.get(_PORT) else None,
        address=labels.get(_ADDRESS, ""),
        run=_RUN in labels,
        state=state["Status"],
        pid=state["Pid"],
        exit_code=state["ExitCode"],
        oom=state["OOMKilled"],
        restarts=inspection["RestartCount"],
        started=state["StartedAt"],
        complaint=state["Error"],
        policy=inspection["HostConfig"]["RestartPolicy"]["Name"],
        named=ref.service in (joined.get("Aliases") or ()),
        stop_signal=config.get("StopSignal") or "SIGTERM",
    )


def reference(labels: Mapping[str, str]) -> Ref:
    """Whose container it is, by its labels; what a label leaves unsaid is empty."""
    return Ref(
        workload=labels.get(WORKLOAD, ""),
        environment=labels.get(ENVIRONMENT, ""),
        stack=labels.get(_STACK, ""),
        service=labels.get(_SERVICE, ""),
    )


def _labels(launch: Launch, place: Place, instance: str) -> dict[str, str]:
    labels = environment_labels(instance, place.ref.environment) | {
        _STACK: place.ref.stack,
        _SERVICE: place.ref.service,
        WORKLOAD: place.ref.workload,
        _REPLICA: str(place.replica),
        _ADDRESS: place.address,
    }
    if launch.port is not None:
        labels[_PORT] = str(launch.port)
    if place.run:
        labels[_RUN] = place.ref.workload
    return labels


def _host_config(launch: Launch, place: Place, processors: float, capabilities: Sequence[str]) -> dict[str, Any]:
    return {
        "NetworkMode": naming.network_name(place.ref.environment),
        "RestartPolicy": {"Name": "no"},
        "Init": True,
        "CapDrop": ["ALL"],
        "CapAdd": list(capabilities),
        "SecurityOpt": ["no-new-privileges:true"],
        "NanoCpus": round(min(launch.cpus, processors) * 1_000_000_000),
        "Memory": launch.memory,
        "MemorySwap": launch.memory,  # of both together: no swap on top
        "PidsLimit": launch.pids,
        "LogConfig": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}},
        "Mounts": [
            {"Type": "volume", "Source": naming.volume_name(place.ref.environment, volume), "Target": path}
            for volume, path in launch.mounts
        ],
    }
