"""From a workload's stored specification to what the runtime starts: the one place where secrets are filled in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from godploy.core.failures import Failed, failure
from godploy.core.model import Workload
from godploy.core.specification import Specification, fill, held
from godploy.deploy.job import secret_context, volume_context
from godploy.deploy.services import Services
from godploy.runtimes.protocol import Launch, Ref
from godploy.store import Connection, projects, secrets, volumes


def ref(workload: Workload) -> Ref:
    return Ref(workload.id, workload.environment, workload.stack, workload.service)


async def launch(
    services: Services,
    workload: Workload,
    *,
    replicas: int | None = None,
    host: str | None = None,
    alone: bool = False,
) -> Launch:
    """The workload as the runtime is to start it. Raises a `missing_secret` failure for a value that is gone."""
    specification = Specification.from_json(workload.specification)
    values = await _values(services, workload, specification.sealed_texts())

    def filled(words: Sequence[str] | None) -> tuple[str, ...] | None:
        return None if words is None else tuple(fill(word, values.__getitem__) for word in words)

    volume_ids = await services.store.read(lambda conn: volumes.of_environment(conn, workload.environment))
    return Launch(
        ref=ref(workload),
        image=specification.image,
        replicas=workload.replicas if replicas is None else replicas,
        command=filled(specification.command),
        entrypoint=filled(specification.entrypoint),
        env={name: fill(text, values.__getitem__) for name, text in specification.env.items()},
        mounts=tuple((volume_ids[mount.volume].id, mount.path) for mount in specification.mounts),
        port=specification.port,
        cpus=specification.cpus,
        memory=specification.memory,
        pids=specification.pids,
        health=specification.health,
        host=host,
        settle=specification.settle,
        stop_grace=specification.stop_grace,
        alone=alone,
    )


async def filled_words(services: Services, workload: Workload, words: Sequence[str]) -> tuple[str, ...]:
    """A sealed command (a release command) with its values."""
    values = await _values(services, workload, words)
    return tuple(fill(word, values.__getitem__) for word in words)


def with_replicas(launch: Launch, replicas: int) -> Launch:
    return replace(launch, replicas=replicas)


async def reveal(services: Services, environment: str, wanted: Mapping[str, int]) -> dict[str, str]:
    """name → value of secrets by version. Raises a `missing_secret` failure."""
    sealed = await services.store.read(lambda conn: secrets.sealed(conn, environment, wanted.items()))
    values = {}
    for name, version in wanted.items():
        if (name, version) not in sealed:
            raise await _missing(services, environment, name)
        values[name] = services.keyring.unseal(sealed[(name, version)], secret_context(environment, name))
    return values


async def _values(services: Services, workload: Workload, texts: Sequence[str]) -> dict[str, str]:
    """reference → value, for every reference that the texts hold."""
    references = {reference for text in texts for reference in held(text)}
    environment = workload.environment
    own = {_versioned(reference) for reference in references if reference.startswith("secrets.")}

    def sealed(conn: Connection) -> tuple[dict[tuple[str, int], bytes], dict[tuple[str, str, int], bytes]]:
        return secrets.sealed(conn, environment, own), volumes.secrets(conn, environment)

    kept, generated = await services.store.read(sealed)
    values: dict[str, str] = {}
    for reference in references:
        kind, _, rest = reference.partition(".")
        if kind == "secrets":
            name, version = _versioned(reference)
            if (name, version) not in kept:
                raise await _missing(services, environment, name)
            values[reference] = services.keyring.unseal(kept[name, version], secret_context(environment, name))
        elif kind == "volumes":
            (volume, _, name), version = rest.rpartition("@")[0].rpartition("."), int(rest.rpartition("@")[2])
            sealed_value = generated.get((volume, name, version))
            if sealed_value is None:
                raise await _missing(services, environment, f"{name} of the volume {volume}")
            values[reference] = services.keyring.unseal(sealed_value, volume_context(environment, volume, name))
        else:  # deployment.commit
            values[reference] = workload.commit or ""
    return values


async def _missing(services: Services, environment: str, name: str) -> Failed:
    place = await services.store.read(lambda conn: projects.environment(conn, environment).name)
    return failure("missing_secret", environment=place, name=name)


def _versioned(reference: str) -> tuple[str, int]:
    name, _, version = reference.partition(".")[2].rpartition("@")
    return name, int(version)
