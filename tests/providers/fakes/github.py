"""GitHub, at the addresses of an Enterprise Server: https://docs.github.com/en/enterprise-server/rest"""

from __future__ import annotations

import hashlib
import hmac
import secrets as random
import uuid
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from tests.providers.fakes import bare
from tests.providers.fakes.base import Call
from tests.providers.fakes.github_apps import Apps
from tests.providers.fakes.grants import basic_login
from tests.providers.fakes.state import Hook, Moved, Pull, Refused, Repository, Sent, Token

_PREFIXES = {"token": "ghp_", "oauth": "gho_", "refresh": "ghr_", "installation": "ghs_"}
_ALL_SCOPES = ("admin:repo_hook", "read:org", "repo")
_HOOK_SCOPES = ("admin:repo_hook", "repo", "write:repo_hook")
_STATUS_SCOPES = ("repo", "repo:status")
_PULL_ACTIONS = {
    "opened": "opened",
    "pushed": "synchronize",
    "retargeted": "edited",
    "closed": "closed",
    "merged": "closed",
}
_STATES = ("error", "failure", "pending", "success")
_PER_PAGE, _MOST = 30, 100
_EVENTS = ("push", "pull_request", "create", "delete", "status", "*")


class GitHubFake(Apps):
    known_scopes = (*_ALL_SCOPES, "repo:status", "public_repo", "write:repo_hook", "read:repo_hook", "read:user")
    sends_callback = False  # it may be left out, not changed
    wants_response_type = False
    refusal_status = 200

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.token_lifetime = None  # unless its owner wants tokens that end

    def routes(self) -> None:
        """Below its name a repository is found, and below its number: there the links between pages lead."""
        self.app_routes()
        self.route("GET", "/api/v3/user", self._user)
        self.route("GET", "/api/v3/user/repos", self._own_repositories)
        for place in ("/api/v3/repos/{owner}/{name}", "/api/v3/repositories/{id}"):
            for method, path, answer in (
                ("GET", "", self._one),
                ("GET", "/branches", self._branches),
                ("GET", "/pulls", self._pulls),
                ("GET", "/hooks", self._hooks),
                ("POST", "/hooks", self._create_hook),
                ("PATCH", "/hooks/{hook}", self._edit_hook),
                ("DELETE", "/hooks/{hook}", self._delete_hook),
                ("POST", "/hooks/{hook}/pings", self._ping),
                ("POST", "/statuses/{sha}", self._create_status),
                ("GET", "/commits/{sha}/statuses", self._statuses),
            ):
                self.route(method, f"{place}{path}", answer)

    # OAuth

    def new_text(self, kind: str) -> str:
        return _PREFIXES[kind] + random.token_hex(18)

    def grant_answer(self, token: str, refresh: str, scopes: tuple[str, ...]) -> dict[str, Any]:
        more = {"refresh_token_expires_in": 15811200} if refresh else {}
        return {**super().grant_answer(token, refresh, scopes), "scope": ",".join(scopes), **more}

    def wrong_client(self) -> Refused:
        text = "The client_id and/or client_secret passed are incorrect."
        return self.oauth_refusal("incorrect_client_credentials", text)

    def wrong_code(self) -> Refused:
        return self.oauth_refusal("bad_verification_code", "The code passed is incorrect or expired.")

    def wrong_refresh(self) -> Refused:
        return self.oauth_refusal("bad_refresh_token", "The refresh token passed is incorrect or expired.")

    async def _routed(self, request: web.Request, path: str, body: bytes) -> web.Response:
        """Whoever does not ask for JSON gets a form from the token endpoint."""
        as_form = path == self.token_path and "json" not in request.headers.get("Accept", "")
        try:
            answer = await super()._routed(request, path, body)
        except Refused as refused:
            if as_form:
                return web.Response(text=urlencode(refused.tree), content_type="application/x-www-form-urlencoded")
            raise
        if as_form:
            raise AssertionError("a token was asked for without Accept: application/json")
        return answer

    # Who asks

    def credential(self, headers: Mapping[str, str]) -> Token | None:
        if not headers.get("User-Agent"):
            raise Refused(403, {"message": "Request forbidden by administrative rules."})
        authorization = headers.get("Authorization", "")
        if not authorization:
            return None
        scheme, _, text = authorization.partition(" ")
        login = basic_login(authorization)
        shown = login[1] if login else text if scheme.lower() in ("bearer", "token") else ""
        found = self.app_of(shown) or self.token(shown)
        if found is None:
            raise Refused(401, {"message": "Bad credentials", "documentation_url": "https://docs.github.com/rest"})
        return found

    def may(self, token: Token | None, repository: Repository, role: str) -> bool:
        """What is private is not there for a person's token without the scope."""
        lacks = token is not None and token.scopes is not None and "repo" not in token.scopes
        return super().may(token, repository, role) and not (lacks and repository.private)

    def not_found(self) -> Refused:
        return Refused(404, {"message": "Not Found", "documentation_url": "https://docs.github.com/rest"})

    def _repository(
        self, call: Call, role: str = "read", scopes: Sequence[str] = (), permission: str = ""
    ) -> Repository:
        """Who may not know of it is told that it is not there; a missing scope is told in headers alone."""
        if "id" in call.path:
            found = self.repositories.get(int(call.path["id"]))
        else:
            full_name = f"{call.path['owner']}/{call.path['name']}"
            found = self.named(full_name)
            moved = self.old_names.get(full_name) if found is None else None
            if moved is not None and self.may(call.token, moved, "read"):
                raise self._redirected(call, full_name, moved)
        if found is None or not self.may(call.token, found, "read"):
            raise self.not_found()
        token = call.token
        if token is not None and token.kind == "installation" and permission:
            name, _, level = permission.partition("=")
            if self.installation_of[token.text].app.permissions.get(name) not in (level, "write"):
                headers = {"X-Accepted-GitHub-Permissions": permission}
                raise Refused(403, {"message": "Resource not accessible by integration"}, headers)
        held = _ALL_SCOPES if token is None or token.scopes is None else token.scopes
        if scopes and not set(held) & set(scopes):
            headers = {"X-OAuth-Scopes": ", ".join(held), "X-Accepted-OAuth-Scopes": ", ".join(scopes)}
            raise Refused(404, {"message": "Not Found"}, headers)
        if not self.may(token, found, role):
            raise self.not_found()
        return found

    def _redirected(self, call: Call, full_name: str, repository: Repository) -> Refused:
        """To its number, with the method kept where it writes."""
        below = call.url.raw_path_qs.partition(f"/repos/{full_name}")[2]
        target = f"{self.base}/api/v3/repositories/{repository.id}{below}"
        status, message = (301, "Moved Permanently") if call.method == "GET" else (307, "Temporary Redirect")
        return Refused(status, {"message": message, "url": target}, {"Location": target})

    # What is there

    def _told(self, call: Call, tree: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
        limits = {"X-RateLimit-Limit": "5000", "X-RateLimit-Remaining": "4999", "X-RateLimit-Reset": "1900000000"}
        token, scopes = call.token, {}
        if token is not None and token.kind in ("token", "oauth"):
            held = _ALL_SCOPES if token.scopes is None else token.scopes
            scopes = {"X-OAuth-Scopes": ", ".join(sorted(held))}
        return web.json_response(tree, status=status, headers={**limits, **scopes, **(headers or {})})

    def _page(self, call: Call, trees: Sequence[Any], repository: Repository | None = None) -> web.Response:
        page, per_page = int(call.query.get("page", "1")), min(int(call.query.get("per_page", _PER_PAGE)), _MOST)
        headers = {}
        if page * per_page < len(trees):
            below = call.url.update_query(page=page + 1).raw_path_qs.removeprefix(f"{self.prefix}/api/v3")
            if repository is not None and "id" not in call.path:
                below = f"/repositories/{repository.id}" + below.removeprefix(f"/repos/{repository.full_name}")
            headers["Link"] = f'<{self.base}/api/v3{below}>; rel="next", <{self.base}/api/v3{below}>; rel="last"'
        return self._told(call, trees[(page - 1) * per_page : page * per_page], headers=headers)

    async def _user(self, call: Call) -> web.Response:
        return self._told(call, self.user_tree(self._person(call)))

    def _person(self, call: Call) -> Any:
        if call.token is None:
            raise Refused(401, {"message": "Requires authentication"})
        if call.token.user is None:
            raise Refused(403, {"message": "Resource not accessible by integration"})
        return call.token.user

    async def _own_repositories(self, call: Call) -> web.Response:
        user = self._person(call)
        if "type" in call.query and "affiliation" in call.query:
            raise Refused(422, {"message": "If you specify visibility or affiliation, you cannot specify type."})
        mine = [each for each in self.repositories.values() if each.owner is user or user.id in each.roles]
        seen = [each for each in mine if self.may(call.token, each, "read")]
        return self._page(call, [self.repository_tree(each, call.token) for each in reversed(seen)])

    async def _one(self, call: Call) -> web.Response:
        """Its size is counted late; 0 is what a new one shows."""
        return self._told(call, self.repository_tree(self._repository(call), call.token, size=0))

    async def _branches(self, call: Call) -> web.Response:
        repository = self._repository(call)
        found = sorted((await bare.branches(repository.directory)).items())
        trees = [{"name": name, "commit": {"sha": sha, "url": ""}, "protected": False} for name, sha in found]
        return self._page(call, trees, repository)

    async def _pulls(self, call: Call) -> web.Response:
        repository, state = self._repository(call), call.query.get("state", "open")
        found = [each for each in repository.pulls.values() if state == "all" or each.open == (state == "open")]
        return self._page(call, [await self.pull_tree(repository, each) for each in reversed(found)], repository)

    # Statuses

    async def _create_status(self, call: Call) -> web.Response:
        repository, asked = self._repository(call, "write", _STATUS_SCOPES, "statuses=write"), call.tree
        sha = call.path["sha"]
        description = asked.get("description") or ""
        if await bare.commit_of(repository.directory, sha) is None:
            raise Refused(422, {"message": f"No commit found for SHA: {sha}"})
        if asked.get("state") not in _STATES:
            raise _invalid("Status", "state", "custom", "state is not included in the list")
        if len(description) > 140:
            raise _invalid("Status", "description", "custom", "description is too long (maximum is 140 characters)")
        context, url = asked.get("context", "default"), asked.get("target_url") or ""
        self.add_status(repository, sha, asked["state"], context, description, url)
        made = self.statuses(repository, sha)
        return self._told(call, self.status_tree(repository, len(made) - 1, made[-1]), 201)

    async def _statuses(self, call: Call) -> web.Response:
        """The newest first."""
        repository = self._repository(call)
        found = self.statuses(repository, call.path["sha"])
        trees = [self.status_tree(repository, index, each) for index, each in enumerate(found)]
        return self._page(call, trees[::-1], repository)

    # What is told

    def _about(self, repository: Repository) -> dict[str, Any]:
        return {"repository": self.repository_tree(repository), "sender": self.user_tree(repository.owner)}

    async def push_events(self, repository: Repository, moved: Moved) -> list[tuple[str, Any]]:
        """A branch or tag that is made or deleted is told twice."""
        told: list[tuple[str, Any]] = [("push", await self.push_tree(repository, moved))]
        short = {"ref": moved.name, "ref_type": "tag" if moved.is_tag else "branch", "pusher_type": "user"}
        if moved.before is None:
            told.append(("create", {**short, "master_branch": repository.default_branch, **self._about(repository)}))
        if moved.after is None:
            told.append(("delete", {**short, **self._about(repository)}))
        return told

    async def pull_events(
        self, repository: Repository, pull: Pull, action: str, before: str | None = None
    ) -> list[tuple[str, Any]]:
        tree: dict[str, Any] = {"action": _PULL_ACTIONS[action], "number": pull.number}
        tree["pull_request"] = await self.pull_tree(repository, pull)
        if action == "pushed":
            tree |= {"before": before, "after": pull.head}
        if action == "retargeted":
            tree["changes"] = {"base": {"ref": {"from": before}, "sha": {"from": "0" * 40}}}
        return [("pull_request", {**tree, **self._about(repository)})]

    # Hooks

    def _hooked(self, call: Call) -> Repository:
        return self._repository(call, "admin", _HOOK_SCOPES, "repository_hooks=write")

    def _hook(self, call: Call, repository: Repository) -> Hook:
        found = next((each for each in repository.hooks if str(each.id) == call.path["hook"]), None)
        if found is None:
            raise self.not_found()
        return found

    async def _hooks(self, call: Call) -> web.Response:
        repository = self._hooked(call)
        return self._page(call, [self.hook_tree(repository, each) for each in repository.hooks], repository)

    async def _create_hook(self, call: Call) -> web.Response:
        repository, asked = self._hooked(call), call.tree
        if asked.get("name", "web") != "web":
            raise _invalid("Hook", "name", "custom")
        made = Hook(self.new_id(), "", "", [])
        self._change(made, {"events": ["push"], **asked})
        for each in repository.hooks:
            if each.url == made.url and set(each.events) & set(made.events):
                raise _invalid("Hook", "", "custom", "Hook already exists on this repository")
        repository.hooks.append(made)
        self.soon(self._pinged(repository, made))
        return self._told(call, self.hook_tree(repository, made), 201)

    def _change(self, hook: Hook, asked: Mapping[str, Any]) -> None:
        """`events` and `config` replace what was there, the secret included."""
        events = asked.get("events", hook.events)
        if not set(events) <= set(_EVENTS):
            raise _invalid("Hook", "events", "invalid")
        hook.events, hook.active = list(events), asked.get("active", hook.active)
        config = asked.get("config", None if hook.url else {})
        if config is not None:
            if not config.get("url"):
                raise _invalid("Hook", "url", "missing_field")
            hook.url, hook.secret = config["url"], config.get("secret", "")
            hook.settings = {name: config[name] for name in ("content_type", "insecure_ssl") if name in config}

    async def _edit_hook(self, call: Call) -> web.Response:
        repository = self._hooked(call)
        hook = self._hook(call, repository)
        self._change(hook, call.tree)
        return self._told(call, self.hook_tree(repository, hook))

    async def _delete_hook(self, call: Call) -> web.Response:
        repository = self._hooked(call)
        repository.hooks.remove(self._hook(call, repository))
        return web.Response(status=204)

    async def _ping(self, call: Call) -> web.Response:
        repository = self._hooked(call)
        self.soon(self._pinged(repository, self._hook(call, repository)))
        return web.Response(status=204)

    async def _pinged(self, repository: Repository, hook: Hook) -> None:
        tree = {"zen": "Design for failure.", "hook_id": hook.id, "hook": self.hook_tree(repository, hook)}
        await self.send(repository, hook, "ping", {**tree, **self._about(repository)})

    def subscribed(self, hook: Hook, event: str) -> bool:
        return event in hook.events or "*" in hook.events

    async def send(self, repository: Repository, hook: Hook, event: str, tree: Any) -> Sent:
        """Unless a hook wants JSON, it is a field of a form, and that is what is signed."""
        if hook.settings.get("content_type") == "json":
            return await super().send(repository, hook, event, tree)
        body = urlencode({"payload": self.encoded(tree).decode()}).encode()
        headers = self.delivery_headers(repository, hook, event, body)
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        return await self._post(Sent(repository, hook, event, headers, body))

    def delivery_headers(self, repository: Repository, hook: Hook, event: str, body: bytes) -> dict[str, str]:
        headers = {
            "Accept": "*/*",
            "User-Agent": "GitHub-Hookshot/044aadd",
            "X-GitHub-Delivery": str(uuid.uuid4()),
            "X-GitHub-Event": event,
            "X-GitHub-Hook-ID": str(hook.id),
            "X-GitHub-Hook-Installation-Target-ID": str(repository.id),
            "X-GitHub-Hook-Installation-Target-Type": "repository",
        }
        if hook.secret:
            secret = hook.secret.encode()
            headers["X-Hub-Signature"] = f"sha1={hmac.new(secret, body, hashlib.sha1).hexdigest()}"
            headers["X-Hub-Signature-256"] = f"sha256={hmac.new(secret, body, hashlib.sha256).hexdigest()}"
        return headers


def _invalid(resource: str, field: str, code: str, message: str = "") -> Refused:
    named = {"resource": resource, "code": code, **({"field": field} if field else {})}
    error = {**named, "message": message} if message else named
    return Refused(422, {"message": "Validation Failed", "errors": [error]})
