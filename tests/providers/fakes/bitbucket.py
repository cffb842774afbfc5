"""Bitbucket Cloud as it answers and tells, below `BASE/2.0` instead of a host of its own."""

from __future__ import annotations

import hmac
import ipaddress
import re
import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from tests.providers.fakes import bare
from tests.providers.fakes.base import Call
from tests.providers.fakes.bitbucket_shapes import BitbucketShapes, state
from tests.providers.fakes.grants import basic_login
from tests.providers.fakes.state import Hook, Refused, Repository, Sent, Token

_LONGEST_BODY = 256 * 1024
_ATTEMPTS = 3
_LONGEST_KEY = 40
_STATES = ("INPROGRESS", "SUCCESSFUL", "FAILED", "STOPPED")
# What a request needs: as a consumer has it, and as an API token has it.
_USER, _WORKSPACES = ("account", "read:user:bitbucket"), ("account", "read:workspace:bitbucket")
_READ, _PULLS = ("repository", "read:repository:bitbucket"), ("pullrequest", "read:pullrequest:bitbucket")
_HOOKS, _SET_HOOKS = ("webhook", "read:webhook:bitbucket"), ("webhook", "write:webhook:bitbucket")
_END_HOOKS = ("webhook", "delete:webhook:bitbucket")
_IMPLIED = {"repository": ("repository:write", "repository:admin", "pullrequest", "pullrequest:write")}


class BitbucketFake(BitbucketShapes):
    """A token made by a person is an API token, which goes with the account's mail address."""

    authorize_path = "/site/oauth2/authorize"
    token_path = "/site/oauth2/access_token"
    pkce = False
    client_by_basic = True
    sends_callback = False
    replaces = False
    pull_ref = ""
    longest_page = 100
    consumer_scopes: tuple[str, ...] = ("account", "repository", "pullrequest", "webhook")
    access_tokens_list = True  # whether a token of a repository sees the workspace that it belongs to

    def routes(self) -> None:
        repository = "/2.0/repositories/{workspace}/{slug}"
        self.route("GET", "/2.0/user", self._user)
        self.route("GET", "/2.0/user/workspaces", self._workspaces)
        self.route("GET", "/2.0/repositories/{workspace}", self._listed)
        self.route("GET", repository, self._repository)
        self.route("GET", f"{repository}/refs/branches", self._branches)
        self.route("GET", f"{repository}/hooks", self._hooks)
        self.route("POST", f"{repository}/hooks", self._make_hook)
        self.route("GET", f"{repository}/hooks/{{hook}}", self._hook)
        self.route("PUT", f"{repository}/hooks/{{hook}}", self._edit_hook)
        self.route("DELETE", f"{repository}/hooks/{{hook}}", self._end_hook)
        self.route("GET", f"{repository}/commit/{{commit}}", self._commit)
        self.route("GET", f"{repository}/commit/{{commit}}/statuses", self._statuses)
        self.route("POST", f"{repository}/commit/{{commit}}/statuses/build", self._set_status)
        self.route("GET", f"{repository}/pullrequests", self._pulls)
        for gone in ("/2.0/repositories", "/2.0/workspaces", "/2.0/user/permissions/{kind}"):
            self.route("GET", gone, self._gone)

    # Who asks

    def make_access_token(self, *repositories: Repository, scopes: tuple[str, ...] | None = None) -> str:
        """Of a repository or, with several, of a workspace: no user's."""
        text = self.new_text("access")
        self.tokens[text] = Token(text, None, scopes, "access", repositories={each.id for each in repositories})
        return text

    def granted(self, asked: tuple[str, ...]) -> tuple[str, ...]:
        return self.consumer_scopes

    def credential(self, headers: Mapping[str, str]) -> Token | None:
        authorization = headers.get("Authorization", "")
        if not authorization:
            return None
        login = basic_login(authorization)
        scheme, _, bearer = authorization.partition(" ")
        token = self.token(login[1] if login else bearer)
        if token is not None and token.kind == "token":
            good = login is not None and token.user is not None and login[0] == token.user.mail
        else:
            good = token is not None and scheme == "Bearer"
        if not good:
            raise _refused(401, "Token is invalid, expired, or not supported for this endpoint.")
        return token

    def git_login_fits(self, name: str, token: Token) -> bool:
        if token.kind == "token":
            return name == "x-bitbucket-api-token-auth" or (token.user is not None and name == token.user.name)
        return name == "x-token-auth"

    def not_found(self) -> Refused:
        return _refused(404, "The requested resource either does not exist or you do not have access.")

    def trouble_tree(self, status: int) -> Any:
        return _error(f"trouble {status}")

    def _needs(self, token: Token | None, need: tuple[str, str]) -> None:
        """Raises Refused where the token's scopes do not cover it."""
        if token is None or token.scopes is None:
            return
        wanted = need[1] if token.kind == "token" else need[0]
        if not {wanted, *_IMPLIED.get(wanted, ())} & set(token.scopes):
            detail = {"required": [wanted], "granted": list(token.scopes)}
            said = "Your credentials lack one or more required privilege scopes."
            raise Refused(403, {"type": "error", "error": {"message": said, "detail": detail}})

    def _found(self, call: Call, need: tuple[str, str] = _READ, role: str = "read") -> Repository:
        """By names or uuids; `{}` is whichever workspace it is in."""
        workspace, slug = call.path["workspace"], call.path["slug"]
        for repository in self.repositories.values():
            owner = repository.full_name.partition("/")[0]
            by_id = slug == repository.uuid and workspace == "{}"
            if not by_id and (workspace not in (owner, self._workspace(owner)) or slug not in _slugs(repository)):
                continue
            if not self.may(call.token, repository, "read"):
                break
            self._needs(call.token, need)
            if not self.may(call.token, repository, role):
                raise _refused(403, "Your credentials do not allow this.")
            return repository
        raise self.not_found()

    # What is there

    async def _gone(self, call: Call) -> web.Response:
        raise _refused(410, "This resource has been removed. See CHANGE-2770.")

    async def _user(self, call: Call) -> web.Response:
        if call.token is None:
            raise _refused(401, "Authentication required.")
        if call.token.user is None:
            raise _refused(403, "This endpoint does not support the token-based authentication.")
        self._needs(call.token, _USER)
        return web.json_response(self._person(call.token.user))

    async def _workspaces(self, call: Call) -> web.Response:
        if call.token is None:
            raise _refused(401, "Authentication required.")
        if call.token.user is None and not self.access_tokens_list:
            raise _refused(403, "This endpoint does not support the token-based authentication.")
        self._needs(call.token, _WORKSPACES)
        seen = [each for each in self.repositories.values() if self._belongs(call.token, each)]
        owners = dict.fromkeys(each.full_name.partition("/")[0] for each in seen)
        return self._page(call, [self._workspace_access(owner) for owner in owners])

    def _belongs(self, token: Token, repository: Repository) -> bool:
        member = token.user is repository.owner or (token.user is not None and token.user.id in repository.roles)
        return repository.id in token.repositories if token.repositories is not None else member

    def _workspace_access(self, slug: str) -> dict[str, Any]:
        held = {"type": "workspace_base", "uuid": self._workspace(slug), "slug": slug, "name": slug}
        return {"type": "workspace_access", "administrator": True, "workspace": held}

    async def _listed(self, call: Call) -> web.Response:
        self._needs(call.token, _READ)
        role, named = call.query.get("role", ""), call.path["workspace"]
        wanted = {"admin": "admin", "contributor": "write"}.get(role, "read")
        found = []
        for each in self.repositories.values():
            owner = each.full_name.partition("/")[0]
            if named in (owner, self._workspace(owner)) and self.may(call.token, each, wanted):
                found.append(each)
        found.sort(key=lambda each: each.id, reverse=call.query.get("sort") == "-updated_on")
        return self._page(call, [await self._full(each, call.token) for each in found])

    async def _repository(self, call: Call) -> web.Response:
        return web.json_response(await self._full(self._found(call), call.token))

    async def _branches(self, call: Call) -> web.Response:
        repository = self._found(call)
        listed = await bare.branches(repository.directory)
        named = [
            {"type": "branch", "name": name, "target": await self._target(repository, sha)}
            for name, sha in listed.items()
        ]
        return self._page(call, named)

    async def _commit(self, call: Call) -> web.Response:
        repository = self._found(call)
        return web.json_response(await self._target(repository, await self._full_hash(repository, call)))

    async def _full_hash(self, repository: Repository, call: Call) -> str:
        sha = await bare.commit_of(repository.directory, call.path["commit"])
        if sha is None or not re.fullmatch(r"[0-9a-f]{7,64}", call.path["commit"]):
            raise _refused(404, "Commit not found")
        return sha

    def _page(self, call: Call, items: list[Any], most: int = 100) -> web.Response:
        size = min(int(call.query.get("pagelen", "10")), most, self.longest_page)
        page = int(call.query.get("page", "1"))
        tree = {"values": items[(page - 1) * size : page * size], "pagelen": size, "size": len(items), "page": page}
        if len(items) > page * size:
            tree["next"] = f"{self.base.removesuffix(self.prefix)}{call.url.update_query(page=page + 1)}"
        return web.json_response(tree)

    # Hooks

    async def _hooks(self, call: Call) -> web.Response:
        repository = self._found(call, _HOOKS, "admin")
        return self._page(call, [self._hook_tree(repository, hook) for hook in repository.hooks])

    async def _hook(self, call: Call) -> web.Response:
        repository = self._found(call, _HOOKS, "admin")
        return web.json_response(self._hook_tree(repository, self._that_hook(repository, call)))

    async def _make_hook(self, call: Call) -> web.Response:
        repository = self._found(call, _SET_HOOKS, "admin")
        hook = Hook(self.new_id(), "", "", [])
        self._set_hook(hook, call)
        repository.hooks.append(hook)
        return web.json_response(self._hook_tree(repository, hook), status=201)

    async def _edit_hook(self, call: Call) -> web.Response:
        repository = self._found(call, _SET_HOOKS, "admin")
        hook = self._that_hook(repository, call)
        self._set_hook(hook, call)
        return web.json_response(self._hook_tree(repository, hook))

    async def _end_hook(self, call: Call) -> web.Response:
        repository = self._found(call, _END_HOOKS, "admin")
        repository.hooks.remove(self._that_hook(repository, call))
        return web.Response(status=204)

    def _that_hook(self, repository: Repository, call: Call) -> Hook:
        found = next((hook for hook in repository.hooks if hook.uuid == call.path["hook"]), None)
        if found is None:
            raise _refused(404, "Webhook not found")
        return found

    def _set_hook(self, hook: Hook, call: Call) -> None:
        """A secret that is not named stays; null or "" takes it away."""
        tree = call.tree
        events, url = tree.get("events", []), tree.get("url", "")
        if not _public(url):
            raise _refused(400, "Bad request", {"url": ["Enter a valid URL that is publicly accessible."]})
        if not events:
            raise _refused(400, "Bad request", {"events": ["required key not provided"]})
        for event in events:
            self._needs(call.token, _READ if event.startswith("repo:") else _PULLS)
        hook.url, hook.events, hook.active = url, list(events), tree.get("active", True)
        hook.secret = (tree["secret"] or "") if "secret" in tree else hook.secret
        hook.settings = {"description": tree.get("description", "")}

    def _hook_tree(self, repository: Repository, hook: Hook) -> dict[str, Any]:
        return {
            "type": "webhook_subscription",
            "uuid": hook.uuid,
            "url": hook.url,
            "description": hook.settings["description"],
            "subject_type": "repository",
            "subject": self._short(repository),
            "active": hook.active,
            "events": hook.events,
            "secret_set": bool(hook.secret),
        }

    # Statuses

    async def _set_status(self, call: Call) -> web.Response:
        repository = self._found(call, _READ, "write")
        sha, tree = await self._full_hash(repository, call), call.tree
        problems = {
            "key": not isinstance(tree.get("key"), str) or not 0 < len(tree["key"]) <= _LONGEST_KEY,
            "state": tree.get("state") not in _STATES,
            "url": not re.fullmatch(r"https?://[^\s{}]+", tree.get("url") or ""),  # braces would be a template's
        }
        found = {name: ["Invalid value"] for name, there in problems.items() if there}
        if found:
            raise _refused(400, "Bad request", found)
        told = {"state": tree["state"], "context": tree.get("name") or tree["key"], "key": tree["key"]}
        more = {name: tree.get(name, "") for name in ("description", "url", "refname")}
        repository.statuses.setdefault(sha, []).append({**told, **more})
        return web.json_response(_status(told | more, sha), status=201)

    async def _statuses(self, call: Call) -> web.Response:
        repository = self._found(call)
        sha = await self._full_hash(repository, call)
        latest = {each["key"]: each for each in self.statuses(repository, sha)}
        return self._page(call, [_status(each, sha) for each in latest.values()])

    # Pull requests

    async def _pulls(self, call: Call) -> web.Response:
        repository = self._found(call, _PULLS)
        wanted = call.query.get("state", "OPEN")
        found = [each for each in repository.pulls.values() if state(each) == wanted]
        return self._page(call, [await self._pull(repository, each) for each in reversed(found)], 50)

    # Deliveries

    def delivery_headers(self, repository: Repository, hook: Hook, event: str, body: bytes) -> dict[str, str]:
        signed = f"sha256={hmac.new(hook.secret.encode(), body, 'sha256').hexdigest()}"
        return {
            "User-Agent": "Bitbucket-Webhooks/2.0",
            "X-Event-Key": event,
            "X-Hook-UUID": hook.uuid.strip("{}"),
            "X-Request-UUID": str(uuid.uuid4()),
            **({"X-Hub-Signature": signed} if hook.secret else {}),
        }

    async def send(self, repository: Repository, hook: Hook, event: str, tree: Any) -> Sent:
        """What is too large is not sent, and nobody is told. A server in trouble gets it twice more at once."""
        body = self.encoded(tree)
        headers = {"Content-Type": "application/json", **self.delivery_headers(repository, hook, event, body)}
        sent = Sent(repository, hook, event, headers, body)
        if len(body) > _LONGEST_BODY:
            return sent
        for attempt in range(1, _ATTEMPTS + 1):
            numbered = {**headers, "X-Attempt-Number": str(attempt)}
            sent = await self._post(Sent(repository, hook, event, numbered, body))
            if sent.status < 500:
                break
        return sent


def _error(message: str, fields: Mapping[str, list[str]] | None = None) -> dict[str, Any]:
    return {"type": "error", "error": {"message": message, **({"fields": fields} if fields else {})}}


def _refused(status: int, message: str, fields: Mapping[str, list[str]] | None = None) -> Refused:
    headers = {"WWW-Authenticate": 'Basic realm="Bitbucket.org HTTP"'} if status == 401 else {}
    return Refused(status, _error(message, fields), headers)


def _slugs(repository: Repository) -> tuple[str, str]:
    return repository.name, repository.uuid


def _status(told: Mapping[str, Any], sha: str) -> dict[str, Any]:
    shown = {name: told[name] for name in ("key", "state", "description", "url", "refname")}
    return {"type": "build", **shown, "name": told["context"], "commit": {"type": "commit", "hash": sha}}


def _public(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        return url.startswith(("http://", "https://")) and "." in host
