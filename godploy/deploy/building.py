"""Step 6: an image for every service that has none yet for its key."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from godploy.builders import dockerfile
from godploy.core.dockerfile import foreign_frontend
from godploy.core.facts import ResolvedImage
from godploy.core.failures import failure
from godploy.core.plan import BuildPlan, Plan, ServicePlan
from godploy.deploy import launches
from godploy.deploy.job import Job
from godploy.redact import Secret
from godploy.runtimes.protocol import BuildFailed
from godploy.store import releases

_DOCKERFILE_LIMIT = 4 * 1024 * 1024


async def build(job: Job, plan: Plan) -> Mapping[str, str]:
    """service → the image that it runs, for every new workload. Raises BuildFailed."""
    built: dict[str, str] = {}
    for service in plan.services:
        if service.build is not None and service.build.key not in built:
            built[service.build.key] = (await _built(job, service, service.build)).id
    images: dict[str, str] = {}
    for service in plan.services:
        if service.new and service.specification is not None:
            images[service.service] = _image(service, images, built)
    return images


def _image(service: ServicePlan, images: Mapping[str, str], built: Mapping[str, str]) -> str:
    assert service.specification is not None
    if service.build is not None:
        return built[service.build.key]
    return service.specification.image or images[service.image_from or ""]


async def _built(job: Job, service: ServicePlan, build: BuildPlan) -> ResolvedImage:
    services = job.services
    if services.builds.locked():
        job.say(f"{service.service}: waiting for another build to end")
    async with services.builds:
        job.say(f"{service.service}: building {build.dockerfile}")
        image = await _run(job, service.service, build)
    environment = job.environment.id
    await services.store.write(lambda conn: releases.add_image(conn, environment, build.key, image))
    return image


async def _run(job: Job, service: str, build: BuildPlan) -> ResolvedImage:
    services = job.services
    values = await launches.reveal(services, job.environment.id, build.secrets)
    await _refuse_foreign_frontend(job, service, build)
    directory = await asyncio.to_thread(tempfile.mkdtemp, dir=services.settings.data / "builds", prefix=f"{service}-")
    try:
        await _export(job, build, Path(directory))
        tag = f"godploy/{services.settings.instance}-{job.environment.id}-{service}:{build.key}"
        sealed = {name: Secret(value) for name, value in values.items()}
        commands = dockerfile.commands(
            build,
            dockerfile.Inputs(directory, job.deployment.commit, sealed),
            tag=tag,
            labels={
                "godploy.instance": services.settings.instance,
                "godploy.environment": job.environment.id,
                "godploy.service": service,
            },
            cache_ns=f"{job.project.id}-{job.environment.id}",
        )
        return await services.runtime.build(commands, tag, services.settings.build_timeout, job.say)
    except BuildFailed as error:  # the runtime does not know for whom it builds
        raise BuildFailed(error.code, {**error.facts, "service": service}, error.lines) from error
    finally:
        await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)


async def _refuse_foreign_frontend(job: Job, service: str, build: BuildPlan) -> None:
    assert job.repository is not None and job.deployment.commit is not None
    raw = await job.services.git.read(job.repository.id, job.deployment.commit, build.dockerfile, _DOCKERFILE_LIMIT)
    frontend = foreign_frontend((raw or b"").decode(errors="replace"))
    if frontend is not None:
        step = f"# syntax={frontend} (on this server a Dockerfile is read by docker/dockerfile alone)"
        raise failure("build_failed", service=service, step=step)


async def _export(job: Job, build: BuildPlan, directory: Path) -> None:
    """The files that the build needs, at their places in the repository, without the manifest."""
    assert job.repository is not None and job.deployment.commit is not None
    inside = build.dockerfile.startswith(f"{build.context}/") or not build.context
    folder = build.context if inside else ""
    destination = directory / folder if folder else directory
    await asyncio.to_thread(destination.mkdir, parents=True, exist_ok=True)
    try:
        await job.services.git.export(
            job.repository.id, job.deployment.commit, folder, destination, (job.repository.manifest_path,)
        )
    except OSError as error:
        raise failure("disk_full", detail=str(error)) from error
