"""What the fake server knows of git providers: connections, consents, OAuth clients, repositories and their hooks."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

NOW = "2026-03-01T12:00:00Z"
KEY = "SHA256:" + base64.b64encode(bytes(32)).decode().rstrip("=")

Answer = tuple[int, Any]
Json = dict[str, Any]


class Providers:
    """Its state is attributes that tests set and read; `stages` is what a consent is at, one a look."""

    def __init__(self) -> None:
        self.connections: dict[str, Json] = {}
        self.clients: list[Json] = []
        self.consents: list[str] = []  # those under way
        self.stages: list[str] = ["waiting", "answered"]
        self.code = "AB12-CD34"
        self.guesses = 3
        self.app_looks = 0  # how often the App is still not installed
        self.hosted = [_hosted("ada/shop"), _hosted("ada/Other_Thing", default_branch="trunk")]
        self.branches = ["dev", "main"]
        self.hook_state = "working"
        self.left: list[str] = []

    def connect(self, provider: str, **more: Any) -> Json:
        made = connection(provider, **more)
        self.connections[made["name"]] = made
        return made


def connection(provider: str, **more: Any) -> Json:
    return {
        "id": f"c-{provider}",
        "name": provider,
        "provider": provider,
        "url": f"https://{provider}.com",
        "kind": "token",
        "account": "ada",
        "state": "usable",
        "trouble": None,
        "next_step": "",
        "expires_at": None,
        "checked_at": NOW,
        "created_at": NOW,
        "repositories": [],
        "install_url": None,
        **more,
    }


def repository(project: str, body: Json, provider: str = "") -> Json:
    """As the API tells of one that was just attached."""
    url, hosted = body.get("url"), body.get("connection")
    return {
        "id": "r1",
        "name": body["name"],
        "provider": provider if hosted else "generic" if url else "godploy",
        "url": f"https://{provider}.com/{body['full_name']}.git" if hosted else url,
        "manifest_path": body.get("manifest_path", "godploy.yaml"),
        "status_url": body.get("status_url"),
        "default_branch": body.get("branch"),
        "git_url": None if url or hosted else f"https://deploy.example.com/git/default/{project}/{body['name']}.git",
        "hook_url": "https://deploy.example.com/hooks/generic/h1" if url else None,
        "environments": {"production": {"branch": None, "tag": None}},
        "connection": hosted,
        "full_name": body.get("full_name"),
        "web_url": None,
        "hook": None,
        "deploy_key": "ssh-ed25519 AAAAkey godploy" if body.get("host_keys") else None,
    }


def _hosted(full_name: str, **more: Any) -> Json:
    url = f"https://github.com/{full_name}"
    return {
        "full_name": full_name,
        "url": f"{url}.git",
        "web_url": url,
        "default_branch": "main",
        "private": True,
        **more,
    }


def facts(it: Any) -> list[Json]:
    """GET providers: two are enough, one with Apps and a usual address, one with neither."""
    callback = "https://deploy.example.com/oauth/{}/callback"
    github = {
        "name": "github",
        "title": "GitHub",
        "url": "https://github.com",
        "kinds": ["token", "oauth", "app"],
        "token_page": "/settings/tokens/new",
        "token_scopes": ["repo", "admin:repo_hook"],
        "token_username": None,
        "oauth_page": "/settings/applications/new",
        "oauth_scopes": ["repo"],
        "callback": callback.format("github"),
        "oauth_urls": [],
    }
    gitea = {
        **github,
        "name": "gitea",
        "title": "Gitea or Forgejo",
        "url": None,
        "kinds": ["token", "oauth"],
        "token_page": "/user/settings/applications",
        "oauth_page": "/user/settings/applications",
        "callback": callback.format("gitea"),
        "oauth_urls": [each["url"] for each in it.providers.clients],
    }
    return [github, gitea]


def _failure(code: str, message: str) -> Json:
    return {"error": {"code": code, "message": message, "next_step": "", "retry": False, "fields": {}}}


def _put_client(it: Any, path: Any, query: Any, body: Any) -> Answer:
    told = {key: body[key] for key in ("provider", "url", "client_id")}
    it.providers.clients.append({**told, "created_at": NOW})
    return 200, it.providers.clients[-1]


def _delete_client(it: Any, path: Any, query: Any, body: Any) -> Answer:
    it.providers.clients = [each for each in it.providers.clients if each["url"] != query["url"]]
    return 204, None


def _create_connection(it: Any, path: Any, query: Any, body: Any) -> Answer:
    more = {key: body[key] for key in ("url", "expires_at") if key in body}
    return 201, it.providers.connect(body["provider"], name=body.get("name", body["provider"]), **more)


def _check(it: Any, path: Any, query: Any, body: Any) -> Answer:
    found = it.providers.connections[path["connection"]]
    if found["state"] == "uninstalled":
        if it.providers.app_looks:
            it.providers.app_looks -= 1
            return 409, _failure("conflict", "the GitHub App is not installed yet")
        found.update(state="usable", install_url=None)
    return 200, found


def _delete_connection(it: Any, path: Any, query: Any, body: Any) -> Answer:
    del it.providers.connections[path["connection"]]
    return 200, {"left": it.providers.left}


def _consent(it: Any, stage: str, url: str | None = None) -> Json:
    return {
        "id": "n1",
        "url": url,
        "stage": stage,
        "account": "ada\x07" if stage == "answered" else None,
        "trouble": "you said no\x07" if stage == "failed" else None,
        "expires_at": NOW,
    }


def _begin(it: Any, path: Any, query: Any, body: Any) -> Answer:
    it.providers.consents.append("n1")
    return 201, _consent(it, "waiting", "https://deploy.example.com/oauth/github/app?state=s")


def _look(it: Any, *_: Any) -> Answer:
    stages = it.providers.stages
    return 200, _consent(it, stages.pop(0) if len(stages) > 1 else stages[0])


def _cancel(it: Any, *_: Any) -> Answer:
    it.providers.consents.clear()
    return 204, None


def _confirm(it: Any, path: Any, query: Any, body: Any) -> Answer:
    if body["code"] != it.providers.code:
        it.providers.guesses -= 1
        if not it.providers.guesses:
            it.providers.stages[:] = ["failed"]
        return 422, _failure("wrong_code", "this is not the code that the page shows")
    begun = it.said("POST", "/api/v1/consents")[-1]
    it.providers.consents.clear()
    app = begun["kind"] == "app" and not begun.get("renews")
    more = {"state": "uninstalled", "install_url": "https://github.com/apps/g/installations/new"} if app else {}
    return 201, it.providers.connect(begun["provider"], kind=begun["kind"], **more)


def _list_hosted(it: Any, path: Any, query: Any, body: Any) -> Answer:
    found = [each for each in it.providers.hosted if query.get("search", "").lower() in each["full_name"].lower()]
    limit = int(query.get("limit", 50))
    return 200, {"repositories": found[:limit], "complete": len(found) <= limit}


def _named(it: Any, path: Any) -> Json:
    return next(dict(one) for one in it.repositories[path["project"]] if one["name"] == path["repository"])


def _create_repository(it: Any, path: Any, query: Any, body: Any) -> Answer:
    by = it.providers.connections[body["connection"]]["provider"] if body.get("connection") else ""
    made = repository(path["project"], body, by)
    it.repositories.setdefault(path["project"], []).append(made)
    return 201, {**made, "hook_secret": "hook-secret" if body.get("url") else None}


def _hook(it: Any, path: Any, query: Any, body: Any) -> Answer:
    trouble = "GitHub could not reach https://deploy.example.com\x07; pushes will be found by polling"
    state = it.providers.hook_state
    hook = {
        "state": state,
        "trouble": None if state == "working" else trouble,
        "url": "https://deploy.example.com/hooks/github/h1",
        "made_at": NOW,
        "warning": None,
        "heard_at": None,
    }
    found = next(one for one in it.repositories[path["project"]] if one["name"] == path["repository"])
    found["hook"] = hook
    return 200, found


def _rotate(it: Any, path: Any, *_: Any) -> Answer:
    found = _named(it, path)
    return 201, {**found, "hook_secret": None if found["connection"] else "another-secret"}


def _reconnect(it: Any, path: Any, query: Any, body: Any) -> Answer:
    return 200, {**_named(it, path), "connection": body["connection"]}


def _scan(it: Any, *_: Any) -> Answer:
    return 200, {"host": "git.example.com", "host_keys": [{"type": "ssh-ed25519", "fingerprint": KEY}]}


OPERATIONS: dict[str, Callable[..., Any]] = {
    "list_providers": lambda it, *_: (200, {"providers": facts(it)}),
    "list_oauth_clients": lambda it, *_: (200, {"oauth_clients": it.providers.clients}),
    "put_oauth_client": _put_client,
    "delete_oauth_client": _delete_client,
    "list_connections": lambda it, *_: (200, {"connections": list(it.providers.connections.values())}),
    "create_connection": _create_connection,
    "renew_connection": lambda it, path, *_: (200, it.providers.connections[path["connection"]]),
    "check_connection": _check,
    "delete_connection": _delete_connection,
    "begin_consent": _begin,
    "get_consent": _look,
    "cancel_consent": _cancel,
    "confirm_consent": _confirm,
    "list_hosted_repositories": _list_hosted,
    "list_hosted_branches": lambda it, *_: (200, {"branches": it.providers.branches}),
    "create_repository": _create_repository,
    "get_repository": lambda it, path, *_: (200, _named(it, path)),
    "ensure_hook": _hook,
    "rotate_hook_secret": _rotate,
    "connect_repository": _reconnect,
    "set_repository_login": lambda *_: (204, None),
    "scan_host_keys": _scan,
    "pin_host_keys": lambda *_: (204, None),
}
