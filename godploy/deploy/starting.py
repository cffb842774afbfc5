"""Step 7: the new workloads start beside whatever runs, dependencies first, each healthy before the next.

Everything that a crash would have to take back is in the database before it is done: the new workloads, claimed hosts
and names, new volumes, and which workload was stopped to make room (`undo` reads exactly that).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from godploy.core.failures import failure
from godploy.core.model import Release, ReleaseService, Stage, Workload
from godploy.core.naming import new_password
from godploy.core.plan import Plan, ServicePlan
from godploy.deploy import launches
from godploy.deploy.job import Job, volume_context
from godploy.runtimes.protocol import Launch
from godploy.store import Connection, projects, releases, stacks, volumes

_LAST_LINES = 20  # of its log, when a service has ended


async def start(job: Job, plan: Plan, images: Mapping[str, str], manifest: str) -> Release:
    """Starts what is new; the release that is to become current, recorded as the intent of the switch."""
    async with job.services.locks.stack(job.stack.id):
        made = await job.services.store.write(lambda conn: _record(job, conn, plan, images))
        job.stage = Stage.START
        job.services.changes.ring("deployment", job.deployment.id)
        await _prepare(job)
        started = [await _start(job, plan, service, made.get(service.service)) for service in plan.services]
        await _look_again(job, [launch for launch in started if launch is not None])
    return await job.services.store.write(lambda conn: _draft(job, conn, plan, made, manifest))


def _record(job: Job, conn: Connection, plan: Plan, images: Mapping[str, str]) -> dict[str, Workload]:
    """Takes names, hosts and volumes and enters `start`, all at once; service → its new workload."""
    job.enter_within(conn, Stage.START)
    wanted = [service for service in plan.services if service.specification is not None]
    for name in stacks.claim_services(conn, job.stack, [service.service for service in wanted]):
        raise failure("service_taken", service=name, environment=job.environment.name)
    for route in plan.routes:
        for host in route.hosts:
            made = route.generated and host == route.host
            if not projects.claim_host(conn, host, job.project.id, deployment=job.deployment.id, generated=made):
                raise failure("host_taken", host=host)
    for name, generated in plan.volumes_created.items():
        contexts = {secret: volume_context(job.environment.id, name, secret) for secret in generated}
        sealed = {
            secret: job.services.keyring.seal(new_password().reveal(), context) for secret, context in contexts.items()
        }
        volumes.create(conn, job.environment.id, name, job.deployment.id, sealed)
    return {
        service.service: releases.add_workload(
            conn,
            job.stack,
            job.deployment,
            service.specification.with_image(images[service.service]),
            generation=service.generation,
            replicas=service.replicas,
        )
        for service in wanted
        if service.new and service.specification is not None
    }


async def _prepare(job: Job) -> None:
    """The environment's network, its volumes, and a log that knows the secrets that were just generated."""
    services, environment = job.services, job.environment.id

    def needed(conn: Connection) -> tuple[str, list[str]]:
        return projects.subnet(conn, environment), [v.id for v in volumes.of_environment(conn, environment).values()]

    subnet, volume_ids = await services.store.read(needed)
    await services.runtime.ensure_network(environment, subnet)
    for volume in volume_ids:
        await services.runtime.ensure_volume(environment, volume)
    await job.learn_secrets()


async def _start(job: Job, plan: Plan, service: ServicePlan, new: Workload | None) -> Launch | None:
    """What was started for the service, where something was."""
    if service.action == "scale":
        await _scale(job, service)
    if new is None or service.specification is None:
        return None
    if await _is_stopped(job, service.service):
        job.say(f"{service.service}: is stopped and stays so; `godploy start {service.service}` starts the new release")
        return None
    replaces = service.workload is not None and service.specification.strategy == "replace"
    host = next((route.host for route in plan.routes if route.service == service.service), None)
    launch = await launches.launch(job.services, new, host=host, alone=replaces or service.workload is None)
    if replaces and service.workload is not None:
        await _make_room(job, service.workload)
    if service.specification.release_command and plan.release_commands:
        await _release_command(job, new, launch, service.specification.release_command)
    job.say(f"{service.service}: starting {service.replicas} container{'s' if service.replicas > 1 else ''}")
    await job.services.runtime.start(launch, job.say)
    await job.services.runtime.promote(launch)
    job.say(f"{service.service}: healthy")
    return launch


async def _look_again(job: Job, started: Sequence[Launch]) -> None:
    """Who ended or fell ill while others were starting gets no traffic, though the engine may have started it again.
    The last one was watched until now."""
    runtime, earlier = job.services.runtime, started[:-1]
    observed = {seen.ref.workload: seen for seen in await runtime.observe(job.environment.id)} if earlier else {}
    for launch in earlier:
        seen = observed.get(launch.ref.workload)
        restarts = sum(replica["restarts"] for replica in seen.details.values()) if seen else 0
        if seen is None or seen.running < launch.replicas or restarts:
            async for _, _, line in runtime.logs(launch.ref, False, _LAST_LINES):
                job.say(f"| {line}")
            raise failure("restarted", service=launch.ref.service)
        await runtime.promote(launch)  # which probes it once more


async def _is_stopped(job: Job, service: str) -> bool:
    names = await job.services.store.read(lambda conn: stacks.services(conn, job.environment.id))
    return service in names and names[service].stopped


async def _make_room(job: Job, old: str) -> None:
    """Stops, and does not remove, what the new workload replaces; who stopped it is written down first."""
    workload = await job.services.store.read(lambda conn: releases.workload(conn, old))
    await job.services.store.write(lambda conn: releases.mark_stopped(conn, old, job.deployment.id))
    job.say(f"{workload.service}: stopping the old one first (it is replaced)")
    await job.services.runtime.stop(launches.ref(workload), workload.specification["stop_grace"])


async def _release_command(job: Job, new: Workload, launch: Launch, sealed: tuple[str, ...]) -> None:
    words = await launches.filled_words(job.services, new, sealed)
    shown = " ".join(sealed)
    job.say(f"{new.service}: release command: {shown}")
    timeout = new.specification["timeout"]
    code = await job.services.runtime.run_once(launch, words, lambda line: job.say(f"| {line}"), timeout)
    if code != 0:
        raise failure("release_command_failed", service=new.service, command=shown, exit_code=code)


async def _scale(job: Job, service: ServicePlan) -> None:
    """Further containers start here; surplus ones go with the drain."""
    assert service.workload is not None
    kept = service.workload
    workload = await job.services.store.read(lambda conn: releases.workload(conn, kept))
    if service.replicas <= workload.replicas or await _is_stopped(job, service.service):
        return
    await job.services.store.write(lambda conn: releases.set_replicas(conn, kept, service.replicas))
    launch = await launches.launch(job.services, workload, replicas=service.replicas)
    job.say(f"{service.service}: from {workload.replicas} to {service.replicas} containers")
    await job.services.runtime.scale(launch, job.say)


def _draft(job: Job, conn: Connection, plan: Plan, made: Mapping[str, Workload], manifest: str) -> Release:
    """The release, and with it the entry into `switch`: from here on a crash is finished, not undone, if it can be."""
    job.enter_within(conn, Stage.SWITCH)
    named = []
    for service in plan.services:
        if service.specification is None:
            continue
        new = made.get(service.service)
        workload = new.id if new else service.workload
        assert workload is not None
        named.append(ReleaseService(service.service, workload, service.replicas, service.definition))
    return releases.draft(
        conn,
        job.deployment,
        manifest=manifest,
        routes=[route.to_json() for route in plan.routes],
        references=plan.references,
        services=named,
    )
