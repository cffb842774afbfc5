"""Every route of the contract, with the permission that it needs. `schemas/openapi.yaml` has no others."""

from __future__ import annotations

from godploy.api import account, deployments, history, holdings, hooks, pages, projects, services
from godploy.api.guard import OPEN, Route

_API = "/api/v1"
_PROJECT = f"{_API}/projects/{{project}}"
_REPOSITORY = f"{_PROJECT}/repositories/{{repository}}"
_DEPLOYMENT = f"{_PROJECT}/deployments/{{number}}"
_SERVICE = f"{_PROJECT}/services/{{service}}"

ROUTES = (
    Route("GET", "/healthz", pages.alive, OPEN),
    Route("GET", "/readyz", pages.ready, OPEN),
    Route("GET", "/schemas/godploy.schema.json", pages.manifest_schema, OPEN),
    Route("GET", "/wheels/{wheel}", pages.wheel, OPEN),
    Route("GET", f"{_API}/openapi.json", pages.openapi, OPEN),
    Route("POST", "/hooks/{provider}/{hook}", hooks.receive_hook, OPEN),
    Route("GET", f"{_API}/me", account.me, "account.read"),
    Route("GET", f"{_API}/tokens", account.list_tokens, "account.read"),
    Route("POST", f"{_API}/tokens", account.create_token, "account.write"),
    Route("DELETE", f"{_API}/tokens/{{token}}", account.delete_token, "account.write"),
    Route("GET", f"{_API}/server", account.server, "server.read"),
    Route("GET", f"{_API}/templates", account.list_templates, "template.read"),
    Route("POST", f"{_API}/validate", account.validate_manifest, "manifest.validate"),
    Route("GET", f"{_API}/projects", projects.list_projects, "account.read"),
    Route("POST", f"{_API}/projects", projects.create_project, "project.create"),
    Route("GET", _PROJECT, projects.get_project, "project.read"),
    Route("GET", f"{_PROJECT}/repositories", projects.list_repositories, "project.read"),
    Route("POST", f"{_PROJECT}/repositories", projects.create_repository, "repository.write"),
    Route("GET", _REPOSITORY, projects.get_repository, "project.read"),
    Route("POST", f"{_REPOSITORY}/hook-secret", projects.rotate_hook_secret, "repository.write"),
    Route("GET", f"{_REPOSITORY}/manifest", projects.get_stored_manifest, "project.read"),
    Route("PUT", f"{_REPOSITORY}/manifest", projects.save_stored_manifest, "manifest.write"),
    Route("GET", f"{_PROJECT}/manifest", projects.get_dashboard_manifest, "project.read"),
    Route("PUT", f"{_PROJECT}/manifest", projects.save_dashboard_manifest, "manifest.write"),
    Route("POST", f"{_PROJECT}/plan", projects.plan, "project.read"),
    Route("GET", f"{_PROJECT}/deployments", deployments.list_deployments, "project.read"),
    Route("POST", f"{_PROJECT}/deployments", deployments.deploy, "deployment.create"),
    Route("GET", _DEPLOYMENT, deployments.get_deployment, "project.read"),
    Route("POST", f"{_DEPLOYMENT}/cancel", deployments.cancel_deployment, "deployment.create"),
    Route("GET", f"{_DEPLOYMENT}/log", deployments.deployment_log, "project.read"),
    Route("GET", f"{_PROJECT}/releases", deployments.list_releases, "project.read"),
    Route("POST", f"{_PROJECT}/rollback", deployments.rollback, "deployment.create"),
    Route("POST", f"{_PROJECT}/restart", deployments.restart, "deployment.create"),
    Route("GET", f"{_PROJECT}/services", services.list_services, "project.read"),
    Route("POST", f"{_SERVICE}/stop", services.stop_service, "service.write"),
    Route("POST", f"{_SERVICE}/start", services.start_service, "service.write"),
    Route("GET", f"{_SERVICE}/logs", services.service_logs, "project.read"),
    Route("POST", f"{_PROJECT}/runs", services.run, "run.create"),
    Route("GET", f"{_PROJECT}/secrets", holdings.list_secrets, "secret.read"),
    Route("PUT", f"{_PROJECT}/secrets", holdings.set_secrets, "secret.write"),
    Route("DELETE", f"{_PROJECT}/secrets/{{name}}", holdings.remove_secret, "secret.write"),
    Route("GET", f"{_PROJECT}/volumes", holdings.list_volumes, "project.read"),
    Route("DELETE", f"{_PROJECT}/volumes/{{volume}}", holdings.delete_volume, "volume.delete"),
    Route("GET", f"{_PROJECT}/hosts", holdings.list_hosts, "project.read"),
    Route("PUT", f"{_PROJECT}/hosts/{{host}}", holdings.give_host, "host.give"),
    Route("DELETE", f"{_PROJECT}/hosts/{{host}}", holdings.release_host, "host.release"),
    Route("GET", f"{_PROJECT}/events", history.list_events, "project.read"),
    Route("GET", f"{_PROJECT}/deliveries", history.list_deliveries, "project.read"),
    Route("POST", f"{_PROJECT}/deliveries/{{delivery}}/replay", history.replay_delivery, "deployment.create"),
)
