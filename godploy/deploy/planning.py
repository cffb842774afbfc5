"""Step 5: gathers what the plan must know, and plans. What looks at the world is here; deciding is in `core`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from godploy.core import builds, describe
from godploy.core import plan as planner
from godploy.core.contexts import contexts, takes_long
from godploy.core.discretion import discreet
from godploy.core.facts import Context, Current, Facts, HostFact, Inputs, Neighbour, ResolvedImage
from godploy.core.failures import failure
from godploy.core.manifest import Manifest
from godploy.core.model import Deployment, Environment, Kind, Project, Release, Repository, Stack
from godploy.core.plan import Plan
from godploy.core.replan import replan
from godploy.core.routing import Route
from godploy.core.sealing import secret_versions
from godploy.core.specification import Specification
from godploy.deploy.job import Job
from godploy.deploy.services import Services
from godploy.deploy.source import Source
from godploy.errors import Invalid
from godploy.runtimes.protocol import ImageNotFound
from godploy.store import Connection, projects, releases, repositories, secrets, stacks, volumes

_FILES_NOT_COMPARED = "files in git are not compared here: a push builds what they change"


@dataclass(frozen=True, slots=True)
class Running:
    """What a release has, ready to be compared: its services and its routes."""

    services: Mapping[str, Current] = field(default_factory=dict)
    routes: tuple[Route, ...] = ()


async def from_source(job: Job, source: Source) -> Plan:
    """The plan of a deployment that brings a manifest. Raises Invalid with all problems."""
    definitions = source.manifest.definitions(job.environment.name)
    running = await job.services.store.read(lambda conn: of_stack(conn, job.stack))
    inputs = planner.inputs(
        definitions, running.services, templates=job.services.templates, updates=_updates(job), folder=source.folder
    )
    facts = await gather(job.services, job.project, job.environment, job.stack, inputs.hosts)
    facts = replace(
        facts,
        commit=job.deployment.commit,
        folder=source.folder,
        contexts=await _contexts(
            job.services, job.repository, job.deployment.commit, inputs, source.manifest, job.environment.name
        ),
        images=await _images(job, inputs),
    )
    plan = planner.plan(
        definitions,
        running.services,
        facts,
        templates=job.services.templates,
        current_routes=running.routes,
        updates=_updates(job) | _without_image(running, facts),
        secret_updates=changed_secrets(running, facts),
        place=lambda path: source.manifest.place(path, environment=job.environment.name),
    )
    return _checked(job, plan)


def _without_image(running: Running, facts: Facts) -> frozenset[str]:
    """Services whose image was built and is gone, by a clean-up or on a restored machine: they are built again."""
    there = {image.id for image in facts.built.values()}
    return frozenset(
        name
        for name, current in running.services.items()
        if current.specification.build_key is not None and current.specification.image not in there
    )


async def from_release(job: Job, target: Release) -> Plan:
    """The plan of a rollback, restart or config deployment: from a release that is there."""
    deployment = job.deployment

    def both(conn: Connection) -> tuple[Running, Running]:
        return of_release(conn, target), of_stack(conn, job.stack)

    wanted, running = await job.services.store.read(both)
    written = {route.host for route in wanted.routes if not route.generated}
    written |= {host for route in wanted.routes for host in route.redirect_from}
    facts = await gather(job.services, job.project, job.environment, job.stack, written)
    restart, named = deployment.options.get("restart"), deployment.options.get("secrets", {})
    plan = replan(
        deployment.kind,
        wanted.services,
        wanted.routes,
        running.services,
        replace(facts, commit=deployment.commit),
        current_routes=running.routes,
        restart=frozenset(restart) if restart else None,
        former_secrets=named if deployment.kind is Kind.ROLLBACK else {},
        changed_secrets=frozenset(named) if deployment.kind is Kind.CONFIG else None,
    )
    return _checked(job, plan)


async def draft(services: Services, project: Project, environment: Environment, stack: Stack, source: Source) -> Plan:
    """The plan of a manifest that is not saved or pushed yet: nothing is pulled or built for it, and files in git count
    as unchanged, which it says. Raises Invalid."""
    definitions = source.manifest.definitions(environment.name)
    running = await services.store.read(lambda conn: of_stack(conn, stack))
    inputs = planner.inputs(definitions, running.services, templates=services.templates, folder=source.folder)
    facts = await gather(services, project, environment, stack, inputs.hosts)
    drafted = {
        service: Context(_tree_of(running.services.get(service)), dockerfile=True) for service in inputs.contexts
    }
    unresolved = {text: ResolvedImage(id=text) for text in inputs.images}
    plan = planner.plan(
        definitions,
        running.services,
        replace(facts, folder=source.folder, contexts=drafted, images=unresolved),
        templates=services.templates,
        current_routes=running.routes,
        place=lambda path: source.manifest.place(path, environment=environment.name),
    )
    return replace(plan, notes=(*plan.notes, _FILES_NOT_COMPARED)) if drafted else plan


async def proposed(
    services: Services,
    project: Project,
    environment: Environment,
    stack: Stack,
    source: Source,
    repository: Repository,
    commit: str,
) -> Plan:
    """The plan that a push of this commit would begin with, told to people outside of the project. Nothing is pulled,
    built or written for it: images that would have to be looked up count as found. Raises Invalid, without a word of
    what is not the repository's own, or what the git driver raises."""
    definitions = source.manifest.definitions(environment.name)
    running = await services.store.read(lambda conn: of_stack(conn, stack))
    inputs = planner.inputs(definitions, running.services, templates=services.templates, folder=source.folder)
    facts = await gather(services, project, environment, stack, inputs.hosts)
    facts = replace(
        discreet(facts),
        commit=commit,
        folder=source.folder,
        contexts=await _contexts(services, repository, commit, inputs, source.manifest, environment.name),
        images={text: ResolvedImage(id=text) for text in inputs.images},
    )
    return planner.plan(
        definitions,
        running.services,
        facts,
        templates=services.templates,
        current_routes=running.routes,
        updates=_without_image(running, facts),
        secret_updates=changed_secrets(running, facts),
        place=lambda path: source.manifest.place(path, environment=environment.name),
    )


async def _contexts(
    services: Services, repository: Repository | None, commit: str | None, inputs: Inputs, manifest: Manifest, name: str
) -> dict[str, Context]:
    """Patterns and paths are those of anybody who may push or open a pull request, so ones that are made to take long
    are refused before they are compared. `name` is the environment's. Raises Invalid."""
    if not inputs.contexts or repository is None or commit is None:
        return {}
    entries = await services.git.tree(repository.id, commit)

    def compared() -> dict[str, Context]:
        for service, query in inputs.contexts.items():
            if takes_long(entries, query):
                at = manifest.place(("services", service, "build", "watch"), environment=name)
                raise Invalid(f"{at}: comparing these patterns with the files of the repository takes too long")
        return contexts(entries, inputs.contexts, repository.manifest_path)

    return await asyncio.to_thread(compared)


def place(conn: Connection, project: Project, name: str, repository: Repository | None) -> tuple[Environment, Stack]:
    """The environment and stack of a source; ones that are not there yet are made up, not made."""
    environment = projects.environment_by_name(conn, project.id, name) or Environment("draft", project.id, name)
    for stack in stacks.of_environment(conn, environment.id):
        if stack.repository == (repository.id if repository else None):
            return environment, stack
    return environment, Stack("draft", environment.id, repository.id if repository else None, None, False, False)


def _tree_of(current: Current | None) -> str:
    return builds.tree_of(current.specification.build_key) if current else ""


def of_stack(conn: Connection, stack: Stack) -> Running:
    """What the stack's current release has; nothing before the first."""
    release = releases.current(conn, stack)
    return of_release(conn, release) if release else Running()


def of_release(conn: Connection, release: Release) -> Running:
    found = {}
    for service in release.services:
        workload = releases.workload(conn, service.workload)
        specification = Specification.from_json(workload.specification)
        found[service.service] = Current(
            workload.id, service.definition, specification, workload.generation, service.replicas
        )
    return Running(found, tuple(Route.from_json(route) for route in release.routes))


def changed_secrets(running: Running, facts: Facts) -> frozenset[str]:
    """Secrets whose current version does not run, or was not built with: set with `--no-deploy`, used in a build alone,
    or left by a failed deployment."""
    made = [current.specification for current in running.services.values()]
    named = [version for each in made for version in (*secret_versions(each).items(), *each.build_secrets.items())]
    return frozenset(name for name, version in named if facts.secrets.get(name, version) != version)


async def gather(
    services: Services, project: Project, environment: Environment, stack: Stack, written: frozenset[str] | set[str]
) -> Facts:
    """The facts that the store and the runtime know; what a commit tells is added by the caller."""
    there = set(await services.runtime.images())
    settings = services.settings

    def rows(conn: Connection) -> Facts:
        owners = projects.host_owners(conn, written)
        served = _served(conn, project, environment, stack)
        elsewhere = {host for host, found in served.items() if found.environment != environment.name}
        names = stacks.services(conn, environment.id)
        return Facts(
            project=project.name,
            environment=environment.name,
            environment_class=environment.id,
            apps_domain=settings.apps_domain,
            commit=None,
            built={key: image for key, image in releases.images(conn, environment.id).items() if image.id in there},
            secrets=secrets.current(conn, environment.id),
            volumes=_mounted(conn, environment, stack),
            neighbours=_neighbours(conn, environment, stack),
            users_of=_users_of(conn, environment, stack),
            hosts={host: _host(host, owners, served, project, settings.host) for host in written},
            taken_names=projects.hosts_of_others(conn, project.id) | elsewhere,
            short_id=environment.id,
            policy=settings.policy(project.name),
            stopped=frozenset(name for name, found in names.items() if found.stack == stack.id and found.stopped),
        )

    return await services.store.read(rows)


@dataclass(frozen=True, slots=True)
class _Served:
    """What serves a host now: the environment's name and, in our own, path → service of other stacks."""

    environment: str
    paths: Mapping[str, str]


def _served(conn: Connection, project: Project, environment: Environment, stack: Stack) -> dict[str, _Served]:
    found: dict[str, _Served] = {}
    for other in stacks.of_project(conn, project.id):
        release = None if other.id == stack.id else releases.current(conn, other)
        for route in map(Route.from_json, release.routes if release else ()):
            name = projects.environment(conn, other.environment).name
            for host, path in ((route.host, route.path), *((host, "/") for host in route.redirect_from)):
                before = found.get(host, _Served(name, {}))
                ours = {path: route.service} if other.environment == environment.id else {}
                found[host] = _Served(name, {**before.paths, **ours})
    return found


def _host(
    host: str, owners: Mapping[str, str], served: Mapping[str, _Served], project: Project, reserved: str
) -> HostFact:
    if host in (reserved, "localhost"):  # on loopback Godploy answers itself, whatever its address is elsewhere
        return HostFact("reserved")
    owner = owners.get(host)
    if owner is None:
        return HostFact("free")
    if owner != project.id:
        return HostFact("other")
    now = served.get(host)
    return HostFact("project", now.environment if now else None, now.paths if now else {})


def _mounted(conn: Connection, environment: Environment, stack: Stack) -> dict[str, str | None]:
    """Existing volumes and who mounts them; the stack's own services count by their bare name."""
    found: dict[str, str | None] = {}
    for name, volume in volumes.of_environment(conn, environment.id).items():
        found[name] = f"{volume.stack}/{volume.service}" if volume.service else None
        if volume.stack == stack.id and volume.service:
            found[name] = volume.service
    return found


def source_name(conn: Connection, stack: Stack) -> str:
    """The stack's source in words."""
    if stack.repository is None:
        return "the dashboard manifest"
    repository: Repository = repositories.get(conn, stack.repository)
    return f"repository {repository.name}"


def _neighbours(conn: Connection, environment: Environment, stack: Stack) -> dict[str, Neighbour]:
    found = {}
    for other in stacks.of_environment(conn, environment.id):
        if other.id != stack.id:
            name = source_name(conn, other)
            for service, current in of_stack(conn, other).services.items():
                found[service] = Neighbour(other.id, name, current.specification.offers)
    return found


def _users_of(conn: Connection, environment: Environment, stack: Stack) -> dict[str, tuple[str, ...]]:
    """Our services → who in other stacks refers to them."""
    found: dict[str, tuple[str, ...]] = {}
    for other in stacks.of_environment(conn, environment.id):
        release = releases.current(conn, other) if other.id != stack.id else None
        for reference in release.references if release else ():
            service = reference.partition(".")[0]
            found[service] = (*found.get(service, ()), source_name(conn, other))
    return found


def _updates(job: Job) -> frozenset[str]:
    return frozenset(job.deployment.options.get("update", ()))


async def _images(job: Job, inputs: Inputs) -> dict[str, ResolvedImage]:
    """Where each image text leads now. What was resolved once is never looked up again until its text changes."""
    found = {}
    for text in sorted(inputs.images):
        try:
            found[text] = await job.services.runtime.resolve(text, environment=job.environment.id)
        except ImageNotFound as error:
            job.say(f"image {text}: {error}")  # the plan says whose it is
    return found


def _checked(job: Job, plan: Plan) -> Plan:
    """The plan, told in the log; one that destroys something needs a person's confirmation of exactly this plan."""
    for line in describe.lines(plan):
        job.say(line)
    deployment: Deployment = job.deployment
    digest = describe.digest(plan)
    if plan.destructive and deployment.options.get("confirm") != digest:
        raise failure("needs_confirmation", destructive="; ".join(plan.destructive), digest=digest)
    return plan
