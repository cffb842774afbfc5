"""A server as the command line sees one: it keeps what it is told, and holds both sides to `schemas/openapi.yaml`.

A request or an answer that the contract does not allow is noted in `violations`, which the fixture checks at the end.
"""

from __future__ import annotations

import json
import re
import ssl
import threading
from collections.abc import Callable, Iterator
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import jsonschema
import yaml

from godploy import resources

from . import fake_providers

NOW = "2026-03-01T12:00:00Z"
TOKEN = "gdp_a-token-for-tests"

Answer = tuple[int, Any]
Events = Iterator[tuple[str, dict[str, Any]]]


class FakeServer:
    """Starts at once on a free port of 127.0.0.1; `close` ends it. Its state is attributes that tests set and read."""

    def __init__(self, certificate: ssl.SSLContext | None = None) -> None:
        self.providers = fake_providers.Providers()
        self.projects: dict[str, dict[str, Any]] = {}
        self.repositories: dict[str, list[dict[str, Any]]] = {}
        self.deployments: list[dict[str, Any]] = []
        self.lines: list[str] = ["fetching 3f2a91c", "built web", "http://web-shop.localhost/"]
        self.end: dict[str, Any] = {"state": "succeeded", "result": "live in 3.1 s", "error": None}
        self.services: list[dict[str, Any]] = []
        self.service_lines: list[dict[str, Any]] = []
        self.secrets: dict[str, dict[str, str]] = {}
        self.volumes: list[dict[str, Any]] = []
        self.hosts: list[str] = []
        self.manifest: tuple[int | None, str | None] = (None, None)
        self.run_events: list[tuple[str, dict[str, Any]]] = [("end", {"exit_code": 0})]
        self.tokens: list[dict[str, Any]] = []
        self.refusals: dict[str, tuple[int, dict[str, Any]]] = {}  # "METHOD /path" → status, error
        self.break_after: list[int] = []  # after how many lines each following stream breaks off
        self.hold = threading.Event()  # set: streams end; a test that clears it keeps them open
        self.hold.set()
        self.requests: list[tuple[str, str, dict[str, Any], Any]] = []
        self.violations: list[str] = []
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        if certificate is not None:
            self._http.socket = certificate.wrap_socket(self._http.socket, server_side=True)
            self.url = f"https://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.hold.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def said(self, method: str, path: str) -> list[Any]:
        """The bodies of all requests of one kind."""
        return [body for verb, where, _, body in self.requests if (verb, where) == (method, path)]

    def add_project(self, name: str) -> None:
        organization = {"id": "o1", "name": "default"}
        self.projects[name] = {"id": f"p{len(self.projects)}", "name": name, "organization": organization}

    def add_service(self, name: str, **more: Any) -> None:
        self.services.append(service(name, **more))

    def begin(self, kind: str, body: dict[str, Any]) -> dict[str, Any]:
        made = deployment(len(self.deployments) + 1, kind=kind, environment=body.get("environment", "production"))
        self.deployments.append(made)
        return made


def service(name: str, **more: Any) -> dict[str, Any]:
    return {
        "service": name,
        "environment": "production",
        "stack": "s1",
        "source": "shop",
        "state": "running",
        "health": "healthy",
        "replicas": 2,
        "running": 1,
        "healthy": 1,
        "image": "sha256:0123",
        "commit": "3f2a91c0d5a6f0b8c7e1d2a3b4c5d6e7f8091a2b",
        "release": 4,
        "routes": [],
        "hosts": [],
        "cpu": 0.125,
        "memory": 52 * 1024 * 1024,
        "memory_limit": 512 * 1024 * 1024,
        "received": 1536,
        "sent": 10 * 1024 * 1024,
        "stopped": False,
        **more,
    }


def deployment(number: int, **more: Any) -> dict[str, Any]:
    return {
        "id": f"d{number}",
        "number": number,
        "project": "shop",
        "environment": "production",
        "source": "shop",
        "repository": "uev0e5r",  # its id; the name is the source's
        "kind": "push",
        "state": "queued",
        "stage": None,
        "commit": "3f2a91c0d5a6f0b8c7e1d2a3b4c5d6e7f8091a2b",
        "revision": None,
        "branch": "main",
        "message": "A page",
        "actor": "ada@example.com",
        "delivery": None,
        "release": None,
        "attempt": 1,
        "queue_position": 1,
        "created_at": NOW,
        "started_at": None,
        "finished_at": None,
        "stages": {},
        "result": None,
        "error": None,
        "url": "https://deploy.example.com/deployments/d1",
        **more,
    }


def failure(code: str, message: str, next_step: str = "", **more: Any) -> dict[str, Any]:
    return {"code": code, "message": message, "next_step": next_step, "retry": False, "fields": {}, **more}


# What the server does, by operationId: (server, path parameters, query, body) → (status, JSON) or events.
def _me(it: FakeServer, *_: Any) -> Answer:
    user = {"id": "u1", "email": "ada@example.com", "administrator": True}
    return 200, {"user": user, "organizations": []}


def _list_projects(it: FakeServer, *_: Any) -> Answer:
    return 200, {"projects": list(it.projects.values())}


def _create_project(it: FakeServer, path: Any, query: Any, body: Any) -> Answer:
    it.add_project(body["name"])
    return 201, it.projects[body["name"]]


def _list_repositories(it: FakeServer, path: Any, *_: Any) -> Answer:
    return 200, {"repositories": it.repositories.get(path["project"], [])}


def _list_deployments(it: FakeServer, path: Any, query: Any, body: Any) -> Answer:
    newest = sorted(it.deployments, key=lambda one: -one["number"])
    return 200, {"deployments": newest[: int(query.get("limit", 50))]}


def _get_deployment(it: FakeServer, path: Any, *_: Any) -> Answer:
    return 200, next(one for one in it.deployments if one["number"] == int(path["number"]))


def _cancel(it: FakeServer, path: Any, *_: Any) -> Answer:
    found = it.deployments[int(path["number"]) - 1]
    found["state"] = "cancelled"
    return 200, found


def _log(it: FakeServer, path: Any, query: Any, body: Any) -> Answer | Events:
    numbered = [{"n": n, "at": NOW, "stage": None, "text": text} for n, text in enumerate(it.lines, 1)]
    later = [line for line in numbered if line["n"] > int(query.get("after", 0))]
    if query.get("follow") != "true":
        return 200, {"lines": later, "next": len(numbered)}

    def events() -> Events:
        limit = it.break_after.pop(0) if it.break_after else None
        for line in later[:limit]:
            yield "line", line
        if limit is None:
            it.hold.wait(10)
            found = it.deployments[int(path["number"]) - 1]
            found.update(state=it.end["state"], result=it.end["result"], error=it.end["error"])
            yield "end", it.end

    return events()


def _started(kind: str) -> Callable[..., Answer]:
    return lambda it, path, query, body: (202, it.begin(kind, body or {}))


def _list_releases(it: FakeServer, *_: Any) -> Answer:
    release = {
        "id": "e1",
        "number": 4,
        "environment": "production",
        "source": "shop",
        "current": True,
        "kind": "push",
        "deployment": 7,
        "commit": "3f2a91c0d5a6f0b8c7e1d2a3b4c5d6e7f8091a2b",
        "revision": None,
        "created_at": NOW,
        "services": ["db", "web"],
    }
    return 200, {"releases": [release, {**release, "id": "e0", "number": 3, "current": False}]}


def _list_services(it: FakeServer, *_: Any) -> Answer:
    return 200, {"services": it.services}


def _set_stopped(stopped: bool) -> Callable[..., Answer]:
    def answer(it: FakeServer, path: Any, query: Any, body: Any) -> Answer:
        environment = (body or {}).get("environment", "production")
        return 200, {"service": path["service"], "environment": environment, "stopped": stopped}

    return answer


def _service_logs(it: FakeServer, path: Any, query: Any, body: Any) -> Events:
    yield from (("line", line) for line in it.service_lines[-int(query["tail"]) :])
    yield "end", {}


def _run(it: FakeServer, *_: Any) -> Events:
    yield from it.run_events


def _list_secrets(it: FakeServer, path: Any, query: Any, body: Any) -> Answer:
    names = it.secrets.get(query.get("environment", "production"), {})
    return 200, {"secrets": [{"name": name, "version": 1, "changed_at": NOW} for name in names]}


def _set_secrets(it: FakeServer, path: Any, query: Any, body: Any) -> Answer:
    it.secrets.setdefault(body.get("environment", "production"), {}).update(body["values"])
    return 200, {"deployments": [it.begin("config", body)] if body.get("deploy", True) else []}


def _remove_secret(it: FakeServer, path: Any, query: Any, body: Any) -> Answer:
    del it.secrets[query.get("environment", "production")][path["name"]]
    return 204, None


def _delete_volume(it: FakeServer, path: Any, query: Any, body: Any) -> Answer:
    it.volumes = [one for one in it.volumes if one["id"] != path["volume"] or one["name"] != query["confirm"]]
    return 204, None


def _give_host(it: FakeServer, path: Any, *_: Any) -> Answer:
    it.hosts.append(path["host"])
    return 200, {"host": path["host"], "given": True, "generated": False, "certificate": None}


def _release_host(it: FakeServer, path: Any, *_: Any) -> Answer:
    it.hosts.remove(path["host"])
    return 204, None


def _list_hosts(it: FakeServer, *_: Any) -> Answer:
    return 200, {"hosts": [{"host": host, "given": True, "generated": False, "certificate": None} for host in it.hosts]}


def _get_manifest(it: FakeServer, *_: Any) -> Answer:
    return 200, {"revision": it.manifest[0], "text": it.manifest[1], "deployments": []}


def _save_manifest(it: FakeServer, path: Any, query: Any, body: Any) -> Answer:
    it.manifest = ((it.manifest[0] or 0) + 1, body["text"])
    return 200, {"revision": it.manifest[0], "text": body["text"], "deployments": [it.begin("manual", {})]}


def _plan(it: FakeServer, *_: Any) -> Answer:
    return 200, {"lines": ["~ web: build", "! destructive: x"], "plan": {}, "digest": "abc123", "destructive": ["x"]}


def _delivery(**more: Any) -> dict[str, Any]:
    return {
        "id": "v1",
        "repository": "shop",
        "key": "k",
        "kind": "hook",
        "state": "decided",
        "verdict": "branch main feeds production",
        "event": "push",
        "ref": "refs/heads/main",
        "commit": "3f2a91c0d5a6f0b8c7e1d2a3b4c5d6e7f8091a2b",
        "received_at": NOW,
        "decided_at": NOW,
        **more,
    }


_DETAILS = {
    "headers": {"X-GitHub-Event": "push\x07"},
    "told": {"kind": "push", "changes": [{"ref": "refs/heads/main"}]},
    "deployments": [deployment(7, state="succeeded", result="live in 3.1 s")],
}


def _create_token(it: FakeServer, path: Any, query: Any, body: Any) -> Answer:
    it.tokens.append({**body})
    return 201, {"id": "t2", "name": body["name"], "token": "gdp_new"}


def _list_tokens(it: FakeServer, *_: Any) -> Answer:
    times = {"created_at": NOW, "expires_at": None, "last_used_at": NOW}
    return 200, {"tokens": [{"id": "t1", "name": "laptop", "current": True, **times}]}


def _pull(**more: Any) -> dict[str, Any]:
    return {
        "id": "l1",
        "repository": "shop",
        "number": 7,
        "title": "A page\x1b]0;owned\x07",
        "state": "open",
        "author": "eve",
        "branch": "page",
        "base": "main",
        "fork": True,
        "commit": "3f2a91c0d5a6f0b8c7e1d2a3b4c5d6e7f8091a2b",
        "plan": {"state": "success", "description": "builds web, updates worker"},
        "planned_at": NOW,
        "updated_at": NOW,
        "provider_url": "https://git.example.com/ada/shop/pulls/7",
        "url": "https://deploy.example.com/pulls/l1",
        **more,
    }


def _list_pulls(it: FakeServer, path: Any, query: Any, body: Any) -> Answer:
    new = _pull(number=8, state="open", commit=None, plan=None, planned_at=None)
    closed = _pull(number=3, state="closed", title="Old")
    return 200, {"pulls": [each for each in (_pull(), new, closed) if query.get("state") in (None, each["state"])]}


def _get_pull(it: FakeServer, path: Any, query: Any, body: Any) -> Answer:
    if path["pull"] == "8":
        wrong = [
            "godploy.yaml:5:5: services.web.helth: unknown key",
            "godploy.yaml:6:5: services.web.prot: unknown key",
        ]
        plan = {"state": "failure", "description": wrong[0]}
        return 200, _pull(number=8, plan=plan, environments=[], problems=wrong)
    lines = ["~ web: build (context tree 3f2a… → 9bc1…)", "~ worker: update (web has another image)\x1b]0;owned\x07"]
    environment = {"name": "production", "lines": lines, "destructive": []}
    return 200, _pull(environments=[environment], problems=[])


_OPERATIONS: dict[str, Callable[..., Any]] = {
    **fake_providers.OPERATIONS,
    "me": _me,
    "list_tokens": _list_tokens,
    "create_token": _create_token,
    "delete_token": lambda *_: (204, None),
    "list_templates": lambda *_: (
        200,
        {
            "templates": [
                {
                    "name": "redis",
                    "title": "Redis",
                    "description": "A store of keys and values.",
                    "parameters": [
                        {
                            "name": "version",
                            "description": "Its version.",
                            "default": "7",
                            "expects": "",
                            "initial": False,
                        }
                    ],
                    "offers": ["url"],
                }
            ]
        },
    ),
    "list_projects": _list_projects,
    "create_project": _create_project,
    "list_repositories": _list_repositories,
    "get_dashboard_manifest": _get_manifest,
    "save_dashboard_manifest": _save_manifest,
    "get_stored_manifest": _get_manifest,
    "save_stored_manifest": _save_manifest,
    "plan": _plan,
    "list_deployments": _list_deployments,
    "deploy": _started("manual"),
    "get_deployment": _get_deployment,
    "cancel_deployment": _cancel,
    "deployment_log": _log,
    "list_releases": _list_releases,
    "rollback": _started("rollback"),
    "restart": _started("restart"),
    "list_services": _list_services,
    "stop_service": _set_stopped(True),
    "start_service": _set_stopped(False),
    "service_logs": _service_logs,
    "run": _run,
    "list_secrets": _list_secrets,
    "set_secrets": _set_secrets,
    "remove_secret": _remove_secret,
    "list_volumes": lambda it, *_: (200, {"volumes": it.volumes}),
    "delete_volume": _delete_volume,
    "list_hosts": _list_hosts,
    "give_host": _give_host,
    "release_host": _release_host,
    "list_deliveries": lambda *_: (200, {"deliveries": [_delivery()]}),
    "get_delivery": lambda it, path, *_: (200, _delivery(id=path["delivery"], **_DETAILS)),
    "list_pulls": _list_pulls,
    "get_pull": _get_pull,
    "replay_delivery": lambda *_: (202, _delivery(id="v2", state="received", verdict=None)),
}


@cache
def _document() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((resources.root("schemas") / "openapi.yaml").read_text())
    return found


def _resolved(part: Any) -> Any:
    """A part of the document, its own reference followed."""
    while isinstance(part, dict) and "$ref" in part:
        found: Any = _document()
        for step in part["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        part = found
    return part


@cache
def _operation(method: str, path: str) -> tuple[dict[str, Any], dict[str, str], tuple[Any, ...]] | None:
    """(operation, path parameters, declared parameters) of a request."""
    for template, item in _document()["paths"].items():
        found = re.fullmatch(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", template), path)
        if found is not None and method.lower() in item:
            operation = item[method.lower()]
            declared = [*item.get("parameters", []), *operation.get("parameters", [])]
            given = {name: unquote(value) for name, value in found.groupdict().items()}
            return operation, given, tuple(_resolved(one) for one in declared)
    return None


def _problems(value: Any, schema: Any) -> list[str]:
    whole = {**_resolved(schema), "components": _document()["components"]}
    return [error.message for error in jsonschema.Draft202012Validator(whole).iter_errors(value)]


def _handler(it: FakeServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def _serve(self) -> None:
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = json.loads(content) if content else None
            it.requests.append((self.command, parts.path, query, body))
            name = f"{self.command} {parts.path}"
            found = _operation(self.command, parts.path)
            if found is None:
                it.violations.append(f"{name}: no such operation")
                self._json(404, {"error": failure("not_found", "no such path")})
                return
            operation, path, declared = found
            self._check_request(name, operation, declared, query, body)
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                self._json(401, {"error": failure("unauthorized", "no such token")})
            elif name in it.refusals:
                status, error = it.refusals[name]
                self._json(status, {"error": error})
            else:
                answer = _OPERATIONS[operation["operationId"]](it, path, query, body)
                if isinstance(answer, tuple):
                    self._check_answer(name, operation, *answer)
                    self._json(*answer)
                else:
                    self._stream(answer)

        do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815  # the base class's names

        def _check_request(self, name: str, operation: Any, declared: Any, query: Any, body: Any) -> None:
            allowed = {one["name"] for one in declared if one["in"] == "query"}
            it.violations.extend(f"{name}: unknown query {extra}" for extra in query.keys() - allowed)
            asked = _resolved(operation.get("requestBody"))
            if body is not None and asked is None:
                it.violations.append(f"{name}: takes no body")
            elif body is not None or (asked and asked.get("required")):
                schema = asked["content"]["application/json"]["schema"]
                it.violations.extend(f"{name}: {problem}" for problem in _problems(body, schema))

        def _check_answer(self, name: str, operation: Any, status: int, data: Any) -> None:
            answers = operation["responses"]
            answer = _resolved(answers.get(str(status), answers["default"] if status >= 400 else None))
            if answer is None:
                it.violations.append(f"{name}: no answer {status}")
            elif data is not None:
                schema = answer["content"]["application/json"]["schema"]
                it.violations.extend(f"{name} answered: {problem}" for problem in _problems(data, schema))

        def _json(self, status: int, data: Any) -> None:
            content = b"" if data is None else json.dumps(data).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def _stream(self, events: Events) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(b": heartbeat\n\n")
            for kind, data in events:
                self.wfile.write(f"event: {kind}\ndata: {json.dumps(data)}\n\n".encode())
                self.wfile.flush()
            self.close_connection = True

    return Handler
