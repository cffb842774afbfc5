"""Rows become the records of `core.model`; JSON columns become trees."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import fields
from typing import Any

from godploy.core.model import (
    Consent,
    Delivery,
    Deployment,
    Environment,
    Event,
    Feed,
    HostedHook,
    Kind,
    Project,
    ProviderConnection,
    PullRequest,
    Release,
    ReleaseService,
    Repository,
    Stack,
    Stage,
    State,
    User,
    Volume,
    Workload,
    WorkloadState,
)

Row = sqlite3.Row


def dumps(tree: Any) -> str:
    return json.dumps(tree, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def user(row: Row) -> User:
    return User(row["id"], row["email"], bool(row["administrator"]))


def project(row: Row) -> Project:
    return Project(row["id"], row["organization"], row["name"])


def environment(row: Row) -> Environment:
    return Environment(row["id"], row["project"], row["name"])


def repository(row: Row) -> Repository:
    mapping = {name: Feed(**feed) for name, feed in json.loads(row["mapping"]).items()}
    return Repository(
        id=row["id"],
        project=row["project"],
        name=row["name"],
        provider=row["provider"],
        url=row["url"],
        manifest_path=row["manifest_path"],
        default_branch=row["default_branch"],
        hook_id=row["hook_id"],
        mapping=mapping,
        status_url=row["status_url"],
        connection=row["connection"],
        remote_id=row["remote_id"],
        full_name=row["full_name"],
        web_url=row["web_url"],
    )


def connection(row: Row) -> ProviderConnection:
    return ProviderConnection(**{field.name: row[field.name] for field in fields(ProviderConnection)})


def consent(row: Row) -> Consent:
    return Consent(**{field.name: row[field.name] for field in fields(Consent)})


def hosted_hook(row: Row) -> HostedHook:
    return HostedHook(**{field.name: row[field.name] for field in fields(HostedHook)})


def pull_request(row: Row) -> PullRequest:
    return PullRequest(
        id=row["id"],
        repository=row["repository"],
        number=row["number"],
        title=row["title"],
        branch=row["branch"],
        base=row["base"],
        url=row["url"],
        author=row["author"],
        fork=bool(row["fork"]),
        source_url=row["source_url"],
        state=row["state"],
        commit=row["commit_id"],
        outcome=json.loads(row["outcome"]) if row["outcome"] else None,
        planned_at=row["planned_at"],
        updated_at=row["updated_at"],
    )


def stack(row: Row) -> Stack:
    return Stack(
        row["id"],
        row["environment"],
        row["repository"],
        row["current_release"],
        bool(row["held"]),
        bool(row["detached"]),
    )


def delivery(row: Row) -> Delivery:
    return Delivery(
        row["id"],
        row["repository"],
        row["key"],
        row["kind"],
        row["state"],
        row["verdict"],
        json.loads(row["body"]),
        row["received_at"],
        row["decided_at"],
        json.loads(row["headers"]) if row["headers"] else None,
    )


def deployment(row: Row) -> Deployment:
    return Deployment(
        id=row["id"],
        number=row["number"],
        stack=row["stack"],
        kind=Kind(row["kind"]),
        state=State(row["state"]),
        stage=Stage(row["stage"]) if row["stage"] else None,
        commit=row["commit_id"],
        revision=row["revision"],
        branch=row["branch"],
        message=row["message"],
        actor=row["actor"],
        delivery=row["delivery"],
        from_release=row["from_release"],
        attempt=row["attempt"],
        options=json.loads(row["options"]),
        ending=row["ending"],
        created_at=row["created_at"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        stage_times=json.loads(row["stage_times"]),
        error=json.loads(row["error"]) if row["error"] else None,
        result=row["result"],
    )


def release(row: Row, services: tuple[ReleaseService, ...]) -> Release:
    return Release(
        id=row["id"],
        number=row["number"],
        stack=row["stack"],
        deployment=row["deployment"],
        kind=Kind(row["kind"]),
        commit=row["commit_id"],
        revision=row["revision"],
        manifest=row["manifest"],
        routes=tuple(json.loads(row["routes"])),
        references=json.loads(row["reference_values"]),
        secrets_changed=json.loads(row["secrets_changed"]),
        created_at=row["created_at"],
        services=services,
    )


def release_service(row: Row) -> ReleaseService:
    return ReleaseService(row["service"], row["workload"], row["replicas"], json.loads(row["definition"]))


def workload(row: Row) -> Workload:
    return Workload(
        id=row["id"],
        environment=row["environment"],
        stack=row["stack"],
        service=row["service"],
        specification=json.loads(row["specification"]),
        hash=row["hash"],
        generation=row["generation"],
        state=WorkloadState(row["state"]),
        commit=row["commit_id"],
        made_by=row["made_by"],
        replicas=row["replicas"],
        drain_until=row["drain_until"],
        stopped_by=row["stopped_by"],
        created_at=row["created_at"],
    )


def volume(row: Row) -> Volume:
    names = ("id", "environment", "name", "stack", "service", "made_by", "created_at")
    return Volume(*(row[name] for name in names))


def event(row: Row) -> Event:
    return Event(
        id=row["id"],
        at=row["at"],
        environment=row["environment"],
        stack=row["stack"],
        service=row["service"],
        deployment=row["deployment"],
        kind=row["kind"],
        message=row["message"],
        fields=json.loads(row["fields"]),
    )
