"""Records as the JSON of the contract. Ids of other rows become names where a person would ask for the name."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from godploy.api.call import source_name
from godploy.core.certificates import Standing
from godploy.core.model import Delivery, Deployment, Event, Organization, Project, Release, Repository, Stack, Volume
from godploy.core.template import Template
from godploy.deploy.hosting.hooks import address as hook_address
from godploy.deploy.status import ServiceStatus
from godploy.providers import gitlab_events
from godploy.settings import Settings
from godploy.store import (
    Connection,
    access,
    connections,
    deployments,
    hosted_hooks,
    projects,
    releases,
    repositories,
    stacks,
)

Json = dict[str, Any]

_OVERHEARD = (
    "its token goes over plain http, where anybody on the way can read it and send pushes of their own;"
    " give Godploy an https address (GODPLOY_URL)"
)


def time(at: float) -> str:
    """RFC 3339 in UTC, to the millisecond."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def maybe_time(at: float | None) -> str | None:
    return None if at is None else time(at)


def organization(found: Organization) -> Json:
    return {"id": found.id, "name": found.name}


def project(conn: Connection, found: Project) -> Json:
    place = projects.organization(conn, found.organization)
    return {"id": found.id, "name": found.name, "organization": organization(place)}


def project_details(conn: Connection, settings: Settings, found: Project) -> Json:
    environments = projects.environments(conn, found.id)
    held = [service for place in environments for service in stacks.services(conn, place.id).values()]
    names = {place.id: place.name for place in environments}
    sources = {each.id: source_name(conn, each) for each in stacks.of_project(conn, found.id)}
    return {
        **project(conn, found),
        "environments": [{"id": place.id, "name": place.name} for place in environments],
        "stacks": [stack(conn, each, names[each.environment]) for each in stacks.of_project(conn, found.id)],
        "repositories": [repository(conn, settings, each) for each in repositories.of_project(conn, found.id)],
        "services": [
            {
                "name": service.name,
                "environment": names[service.environment],
                "source": sources[service.stack],
                "stopped": service.stopped,
            }
            for service in held
        ],
    }


def stack(conn: Connection, found: Stack, environment: str) -> Json:
    current = releases.current(conn, found)
    return {
        "id": found.id,
        "environment": environment,
        "source": source_name(conn, found),
        "repository": found.repository,
        "release": current.number if current else None,
        "held": found.held,
        "detached": found.detached,
    }


def repository(conn: Connection, settings: Settings, found: Repository) -> Json:
    own = found.url is None
    return {
        "id": found.id,
        "name": found.name,
        "provider": found.provider,
        "url": found.url,
        "manifest_path": found.manifest_path,
        "default_branch": found.default_branch,
        "git_url": git_url(conn, settings, found) if own else None,
        "hook_url": None if own else hook_address(settings, found),
        "status_url": found.status_url,
        "environments": {name: {"branch": feed.branch, "tag": feed.tag} for name, feed in found.mapping.items()},
        "connection": connections.get(conn, found.connection).name if found.connection else None,
        "full_name": found.full_name,
        "web_url": found.web_url,
        "hook": _hook(conn, found),
        "deploy_key": access.of(conn, found.id).public_key,
    }


def _hook(conn: Connection, found: Repository) -> Json | None:
    made = hosted_hooks.of(conn, found.id)
    if made is None:
        return None
    return {
        "state": made.state,
        "trouble": made.trouble,
        "warning": _OVERHEARD if made.scheme == gitlab_events.TOKEN_SCHEME and made.url.startswith("http:") else None,
        "url": made.url,
        "made_at": time(made.made_at),
        "heard_at": maybe_time(made.heard_at),
    }


def git_url(conn: Connection, settings: Settings, found: Repository) -> str:
    place = projects.get(conn, found.project)
    owner = projects.organization(conn, place.organization)
    return f"{settings.url}/git/{owner.name}/{place.name}/{found.name}.git"


def deployment(conn: Connection, settings: Settings, found: Deployment) -> Json:
    of = stacks.get(conn, found.stack)
    environment = projects.environment(conn, of.environment)
    made = releases.of_deployment(conn, found.id)
    return {
        "id": found.id,
        "number": found.number,
        "project": projects.get(conn, environment.project).name,
        "environment": environment.name,
        "source": source_name(conn, of),
        "repository": of.repository,
        "kind": found.kind,
        "state": found.state,
        "stage": found.stage,
        "commit": found.commit,
        "revision": found.revision,
        "branch": found.branch,
        "message": found.message,
        "actor": found.actor,
        "delivery": found.delivery,
        "release": made.number if made else None,
        "attempt": found.attempt,
        "queue_position": deployments.queue_position(conn, found),
        "created_at": time(found.created_at),
        "started_at": maybe_time(found.started_at),
        "finished_at": maybe_time(found.finished_at),
        "stages": {stage: time(at) for stage, at in found.stage_times.items()},
        "result": found.result,
        "error": found.error,
        "url": f"{settings.url}/deployments/{found.id}",
    }


def release(conn: Connection, found: Release, environment: str, of: Stack) -> Json:
    return {
        "id": found.id,
        "number": found.number,
        "environment": environment,
        "source": source_name(conn, of),
        "current": found.id == of.current_release,
        "kind": found.kind,
        "deployment": deployments.get(conn, found.deployment).number,
        "commit": found.commit,
        "revision": found.revision,
        "created_at": time(found.created_at),
        "services": [service.service for service in found.services],
    }


def service(found: ServiceStatus) -> Json:
    """Figures are null where they were not asked for, health where there is nothing to be healthy."""
    stats = found.stats
    judged = not found.stopped and found.state != "unknown"
    return {
        "service": found.service,
        "environment": found.environment,
        "stack": found.stack,
        "source": found.source,
        "state": found.state,
        "health": ("healthy" if found.healthy >= found.replicas else "unhealthy") if judged else None,
        "replicas": found.replicas,
        "running": found.running,
        "healthy": found.healthy,
        "image": found.image,
        "commit": found.commit,
        "release": found.release,
        "routes": list(found.routes),
        "hosts": [{"host": each.host, **certificate(each)} for each in found.hosts],
        "cpu": stats.cpu if stats else None,
        "memory": stats.memory if stats else None,
        "memory_limit": stats.memory_limit if stats else None,
        "received": stats.received if stats else None,
        "sent": stats.sent if stats else None,
        "stopped": found.stopped,
    }


def volume(conn: Connection, found: Volume) -> Json:
    return {
        "id": found.id,
        "name": found.name,
        "environment": projects.environment(conn, found.environment).name,
        "service": found.service,
        "created_at": time(found.created_at),
    }


def host(found: projects.Host, standing: Standing | None = None) -> Json:
    return {
        "host": found.host,
        "given": found.given,
        "generated": found.generated,
        "certificate": certificate(standing) if standing else None,
    }


def certificate(found: Standing) -> Json:
    return {
        "state": found.state,
        "expires_at": maybe_time(found.expires),
        "issuer": found.issuer,
        "error": found.error,
        "next_attempt_at": maybe_time(found.next_at),
    }


def event(found: Event, environments: dict[str, str]) -> Json:
    return {
        "id": found.id,
        "at": time(found.at),
        "environment": environments.get(found.environment or ""),
        "service": found.service,
        "deployment": found.deployment,
        "kind": found.kind,
        "message": found.message,
        "fields": dict(found.fields),
    }


def delivery(conn: Connection, found: Delivery) -> Json:
    return {
        "id": found.id,
        "repository": repositories.get(conn, found.repository).name,
        "key": found.key,
        "kind": found.kind,
        "state": found.state,
        "verdict": found.verdict,
        "event": found.body.get("event"),
        "ref": found.body.get("ref"),
        "commit": found.body.get("commit"),
        "received_at": time(found.received_at),
        "decided_at": maybe_time(found.decided_at),
    }


def delivery_details(conn: Connection, settings: Settings, found: Delivery) -> Json:
    caused = deployments.of_delivery(conn, found.id)
    return {
        **delivery(conn, found),
        "headers": dict(found.headers or {}),
        "told": dict(found.body),
        "deployments": [deployment(conn, settings, each) for each in caused],
    }


def template(found: Template) -> Json:
    return {
        "name": found.name,
        "title": found.title,
        "description": found.description,
        "parameters": [
            {
                "name": name,
                "description": parameter.description,
                "default": parameter.default,
                "expects": parameter.expects,
                "initial": parameter.initial,
            }
            for name, parameter in found.parameters.items()
        ],
        "offers": list(found.offers),
    }
