"""GitLab on loopback: 19, which signs its deliveries, or with `signs=False` one of before, which does not."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from aiohttp import web
from standardwebhooks import Webhook

from tests.providers.fakes import bare, gitlab_shapes
from tests.providers.fakes.base import Call, Fake
from tests.providers.fakes.gitlab_shapes import EVENTS, LEVELS
from tests.providers.fakes.state import Hook, Moved, Pull, Refused, Repository, Sent, Token

_PROJECT = "/api/v4/projects/{id}"
_HOOK = f"{_PROJECT}/hooks/{{hook}}"
_READS = {"api", "read_api"}
_USUAL_ITEMS, _MOST_ITEMS = 20, 100
_LONGEST_TEXT = 255
_STATES = ("pending", "running", "success", "failed", "canceled", "skipped")
_BEGUN = {"pending": "enqueue", "running": "run"}
_SETTINGS = ("name", "push_events_branch_filter", "branch_filter_strategy", "enable_ssl_verification")
_FAILURES_PAUSE, _FAILURES_END = 4, 40  # in a row


class GitLabFake(Fake):
    authorize_path = "/oauth/authorize"
    token_path = "/oauth/token"
    pull_ref = "refs/merge-requests/{}/head"
    known_scopes = ("api", "read_api", "read_user", "read_repository", "write_repository", "openid", "profile", "email")

    def __init__(self, folder: Path, prefix: str = "", *, signs: bool = True) -> None:
        super().__init__(folder, prefix)
        self.signs = signs

    def routes(self) -> None:
        self.route("GET", "/api/v4/user", self._user)
        self.route("GET", "/api/v4/version", self._version)
        self.route("GET", "/api/v4/personal_access_tokens/self", self._own_token)
        self.route("GET", "/api/v4/projects", self._projects)
        self.route("GET", _PROJECT, self._project_shown)
        self.route("GET", f"{_PROJECT}/repository/branches", self._branches)
        self.route("GET", f"{_PROJECT}/repository/branches/{{name}}", self._branch)
        self.route("GET", f"{_PROJECT}/merge_requests", self._merge_requests)
        self.route("GET", f"{_PROJECT}/hooks", self._hooks)
        self.route("POST", f"{_PROJECT}/hooks", self._create_hook)
        self.route("GET", _HOOK, self._show_hook)
        self.route("PUT", _HOOK, self._edit_hook)
        self.route("DELETE", _HOOK, self._delete_hook)
        self.route("POST", f"{_HOOK}/test/{{trigger}}", self._test_hook)
        self.route("POST", f"{_PROJECT}/statuses/{{sha}}", self._set_status)
        self.route("GET", f"{_PROJECT}/repository/commits/{{sha}}/statuses", self._statuses)

    # Who asks

    def credential(self, headers: Mapping[str, str]) -> Token | None:
        scheme, _, text = headers.get("Authorization", "").partition(" ")
        private = headers.get("PRIVATE-TOKEN", "")
        if not private and not scheme:
            return None
        found = self.token(private or text) if private or scheme.lower() == "bearer" else None
        if found is None or (private and found.kind == "oauth"):
            said = "Token was revoked. You have to re-authorize from the user."
            raise Refused(401, {"error": "invalid_token", "error_description": said})
        return found

    def git_login_fits(self, name: str, token: Token) -> bool:
        readable = {"api", "read_repository", "write_repository"}
        return bool(name) and (token.scopes is None or bool(readable & set(token.scopes)))

    def trouble_tree(self, status: int) -> Any:
        return {"message": f"{status} trouble"}

    def not_found(self) -> Refused:
        return Refused(404, {"error": "404 Not Found"})

    def _signed_in(self, call: Call, *scopes: str) -> Token:
        if call.token is None:
            raise Refused(401, {"message": "401 Unauthorized"})
        needed = {*scopes, *_READS} if call.method == "GET" else {"api"}
        if call.token.scopes is not None and not needed & set(call.token.scopes):
            said = "The request requires higher privileges than provided by the access token."
            raise Refused(403, {"error": "insufficient_scope", "error_description": said, "scope": "api"})
        return call.token

    def _project(self, call: Call, role: str = "read") -> Repository:
        """By its number or its whole name; an old name is answered by where it is now:
        https://docs.gitlab.com/api/rest/#redirects"""
        if call.token is not None or role != "read":
            self._signed_in(call)
        address = call.path["id"]
        found = self.repositories.get(int(address)) if address.isdecimal() else self.named(address)
        moved = self.old_names.get(address) if found is None else None
        if moved is not None and self.may(call.token, moved, "read"):
            begin = f"/projects/{quote(address, safe='')}"
            path = call.url.raw_path_qs.removeprefix(self.prefix).replace(begin, f"/projects/{moved.id}", 1)
            raise Refused(301, {"message": "This resource has been moved."}, {"Location": f"{self.base}{path}"})
        if found is None or not self.may(call.token, found, "read"):
            raise Refused(404, {"message": "404 Project Not Found"})
        if not self.may(call.token, found, role):
            raise Refused(403, {"message": "403 Forbidden"})
        return found

    # What is there

    async def _version(self, call: Call) -> web.Response:
        self._signed_in(call, "read_user")
        return web.json_response({"version": "19.2.0" if self.signs else "16.11.10", "revision": "abcdef0"})

    async def _user(self, call: Call) -> web.Response:
        token = self._signed_in(call, "read_user")
        assert token.user is not None
        return web.json_response({**gitlab_shapes.user(self.base, token.user), "email": token.user.mail})

    async def _own_token(self, call: Call) -> web.Response:
        token = call.token
        if token is None:
            raise Refused(401, {"message": "401 Unauthorized"})
        if token.kind == "oauth":
            raise Refused(400, {"message": "400 Bad request - This endpoint requires token type to be a PAT"})
        return web.json_response(gitlab_shapes.own_token(token))

    async def _projects(self, call: Call) -> web.Response:
        """Lately used is lately made, here."""
        self._signed_in(call)
        query, found = call.query, []
        for each in self.repositories.values():
            named = each.full_name if query.get("search_namespaces") == "true" else each.name
            member = each.full_name if self.may(call.token, each, "write") else ""
            if (
                self.may(call.token, each, "read")
                and query.get("search", "").lower() in named.lower()
                and (query.get("membership") != "true" or member)
                and self._level(call.token, each) >= int(query.get("min_access_level", "0"))
            ):
                found.append(each)
        if query.get("sort", "desc") == "desc":
            found.reverse()
        page, headers = self._page(call, found)
        simple = query.get("simple") == "true"
        shown = [await self._shown(each, None if simple else call.token, simple=simple) for each in page]
        return web.json_response(shown, headers=headers)

    async def _project_shown(self, call: Call) -> web.Response:
        return web.json_response(await self._shown(self._project(call), call.token))

    async def _shown(self, repository: Repository, token: Token | None, *, simple: bool = False) -> dict[str, Any]:
        empty = not await bare.branches(repository.directory)
        level = None if simple else self._level(token, repository)
        return gitlab_shapes.project(self.base, repository, empty=empty, level=level)

    def _level(self, token: Token | None, repository: Repository) -> int:
        return max((level for role, level in LEVELS.items() if self.may(token, repository, role)), default=0)

    async def _branches(self, call: Call) -> web.Response:
        repository = self._project(call)
        page, headers = self._page(call, sorted((await bare.branches(repository.directory)).items()))
        shown = [await self._shown_branch(repository, name, sha) for name, sha in page]
        return web.json_response(shown, headers=headers)

    async def _branch(self, call: Call) -> web.Response:
        repository, name = self._project(call), call.path["name"]
        sha = (await bare.branches(repository.directory)).get(name)
        if sha is None:
            raise Refused(404, {"message": "404 Branch Not Found"})
        return web.json_response(await self._shown_branch(repository, name, sha))

    async def _shown_branch(self, repository: Repository, name: str, sha: str) -> dict[str, Any]:
        return gitlab_shapes.branch(self.base, repository, name, await bare.described(repository.directory, sha))

    async def _merge_requests(self, call: Call) -> web.Response:
        repository, state = self._project(call), call.query.get("state", "all")
        found = [gitlab_shapes.merge_request(self.base, repository, pull) for pull in repository.pulls.values()]
        page, headers = self._page(call, [each for each in found[::-1] if state in ("all", each["state"])])
        return web.json_response(page, headers=headers)

    def _page(self, call: Call, items: list[Any]) -> tuple[list[Any], dict[str, str]]:
        page, size = int(call.query.get("page", "1")), int(call.query.get("per_page", str(_USUAL_ITEMS)))
        size = min(size, _MOST_ITEMS)
        last = max(-(-len(items) // size), 1)
        following = page + 1 if page < last else None
        headers = {
            "X-Page": str(page),
            "X-Per-Page": str(size),
            "X-Total": str(len(items)),
            "X-Total-Pages": str(last),
            "X-Next-Page": str(following or ""),
        }
        if following:
            query = urlencode({**call.query, "page": following, "per_page": size})
            path = call.url.raw_path.removeprefix(self.prefix)
            headers["Link"] = f'<{self.base}{path}?{query}>; rel="next"'
        return items[(page - 1) * size : page * size], headers

    # Hooks

    def _hook(self, call: Call) -> tuple[Repository, Hook]:
        repository = self._project(call, "admin")
        for hook in repository.hooks:
            if str(hook.id) == call.path["hook"]:
                return repository, hook
        raise Refused(404, {"message": "404 Not found"})

    def _shown_hook(self, repository: Repository, hook: Hook, status: int = 200) -> web.Response:
        return web.json_response(gitlab_shapes.hook(repository, hook, signs=self.signs), status=status)

    async def _hooks(self, call: Call) -> web.Response:
        repository = self._project(call, "admin")
        page, headers = self._page(call, repository.hooks)
        shown = [gitlab_shapes.hook(repository, hook, signs=self.signs) for hook in page]
        return web.json_response(shown, headers=headers)

    async def _show_hook(self, call: Call) -> web.Response:
        return self._shown_hook(*self._hook(call))

    async def _create_hook(self, call: Call) -> web.Response:
        repository, tree = self._project(call, "admin"), call.tree
        hook = Hook(self.new_id(), _url(tree), "", ["push_events"])
        self._set_hook(hook, tree)
        repository.hooks.append(hook)
        return self._shown_hook(repository, hook, 201)

    async def _edit_hook(self, call: Call) -> web.Response:
        """Another address takes the secrets away."""
        repository, hook = self._hook(call)
        url = _url(call.tree)
        if url != hook.url:
            hook.url, hook.secret, hook.signing_token = url, "", ""
        self._set_hook(hook, call.tree)
        return self._shown_hook(repository, hook)

    def _set_hook(self, hook: Hook, tree: Any) -> None:
        hook.events = [event for event in EVENTS if tree.get(event, event in hook.events)]
        hook.settings |= {name: tree[name] for name in _SETTINGS if name in tree}
        hook.secret = tree.get("token", hook.secret) or ""
        if self.signs:
            hook.signing_token = tree.get("signing_token", hook.signing_token) or ""

    async def _delete_hook(self, call: Call) -> web.Response:
        repository, hook = self._hook(call)
        repository.hooks.remove(hook)
        return web.Response(status=204)

    async def _test_hook(self, call: Call) -> web.Response:
        """It looks like the last push, waits for the answer, and is sent by a hook that was switched off, too."""
        repository, hook = self._hook(call)
        head = (await bare.branches(repository.directory)).get(repository.default_branch)
        if call.path["trigger"] not in EVENTS or head is None:
            raise Refused(422, {"message": "Ensure the project has at least one commit."})
        before = await bare.resolve(repository.directory, f"{head}~1")
        moved = Moved(f"refs/heads/{repository.default_branch}", before, head)
        ((event, tree),) = await self.push_events(repository, moved)
        sent = await self.send(repository, hook, event, tree)
        if not 200 <= sent.status < 300:
            raise Refused(422, {"message": f"Hook executed successfully but returned HTTP {sent.status}"})
        return web.json_response({"message": "201 Created"}, status=201)

    async def send(self, repository: Repository, hook: Hook, event: str, tree: Any) -> Sent:
        """One that fails again and again is switched off; one answer that is good switches it on."""
        sent = await super().send(repository, hook, event, tree)
        failures = 0 if 200 <= sent.status < 300 else hook.settings.get("failures", 0) + 1
        status = "disabled" if failures >= _FAILURES_END else "temporarily_disabled"
        hook.active = failures < _FAILURES_PAUSE
        hook.settings |= {"failures": failures, "alert_status": "executable" if hook.active else status}
        return sent

    # Statuses

    async def _set_status(self, call: Call) -> web.Response:
        repository, tree = self._project(call, "write"), call.tree
        sha, state = call.path["sha"], tree.get("state")
        if state not in _STATES:
            raise Refused(400, {"error": "state does not have a valid value"})
        for name in ("description", "target_url", "ref", "name"):
            if len(tree.get(name) or "") > _LONGEST_TEXT:
                raise Refused(400, {"message": {name: [f"is too long (maximum is {_LONGEST_TEXT} characters)"]}})
        if await bare.commit_of(repository.directory, sha) is None:
            raise Refused(404, {"message": "404 Commit Not Found"})
        context = tree.get("name") or tree.get("context") or "default"
        told = repository.statuses.setdefault(sha, [])
        self._may_become(state, next((each["state"] for each in told[::-1] if each["context"] == context), None))
        self.add_status(repository, sha, state, context, tree.get("description", ""), tree.get("target_url", ""))
        told[-1]["ref"] = tree.get("ref")
        return web.json_response(self._shown_statuses(repository, sha)[-1], status=201)

    def _may_become(self, state: str, before: str | None) -> None:
        """From nothing it may become anything; nothing begins again; the same again is fine where the server is new."""
        again = state == before and not self.signs
        if before is not None and (again or (state in _BEGUN and before not in ("pending", state))):
            how = _BEGUN.get(state, state)
            raise Refused(400, {"message": f"Cannot transition status via :{how} from :{before}"})

    async def _statuses(self, call: Call) -> web.Response:
        repository = self._project(call)
        page, headers = self._page(call, self._shown_statuses(repository, call.path["sha"]))
        return web.json_response(page, headers=headers)

    def _shown_statuses(self, repository: Repository, sha: str) -> list[dict[str, Any]]:
        author = gitlab_shapes.user(self.base, repository.owner)
        told = self.statuses(repository, sha)
        return [gitlab_shapes.status(number, each, sha, author) for number, each in enumerate(told, 1)]

    # What is told

    def grant_answer(self, token: str, refresh: str, scopes: tuple[str, ...]) -> dict[str, Any]:
        return {**super().grant_answer(token, refresh, scopes), "token_type": "Bearer", "created_at": int(time.time())}

    async def push_events(self, repository: Repository, moved: Moved) -> list[tuple[str, Any]]:
        checkout = await bare.commit_of(repository.directory, moved.after) if moved.after else None
        commits = await bare.commits(repository.directory, moved)
        if moved.is_tag and checkout:
            commits = [await bare.described(repository.directory, checkout)]
        tree = gitlab_shapes.push(self.base, repository, moved, checkout, commits)
        return [("tag_push_events" if moved.is_tag else "push_events", tree)]

    async def pull_events(
        self, repository: Repository, pull: Pull, action: str, before: str | None = None
    ) -> list[tuple[str, Any]]:
        head = await bare.described(pull.source.directory, pull.head)
        tree = gitlab_shapes.told_merge_request(self.base, repository, pull, action, before, head)
        return [("merge_requests_events", tree)]

    def delivery_headers(self, repository: Repository, hook: Hook, event: str, body: bytes) -> dict[str, str]:
        headers = {
            "User-Agent": "GitLab/19.2.0",
            "X-Gitlab-Event": EVENTS[event],
            "X-Gitlab-Instance": self.base,
            "X-Gitlab-Webhook-UUID": hook.uuid.strip("{}"),
            "X-Gitlab-Event-UUID": str(uuid.uuid4()),
            "Idempotency-Key": str(uuid.uuid4()),
        }
        return {**headers, **self._proof(hook, headers["Idempotency-Key"], body)}

    def _proof(self, hook: Hook, key: str, body: bytes) -> dict[str, str]:
        """Made by the reference implementation of https://www.standardwebhooks.com"""
        proof = {"X-Gitlab-Token": hook.secret} if hook.secret else {}
        if hook.signing_token:
            now = datetime.now(UTC)
            signature = Webhook(hook.signing_token).sign(key, now, body.decode())
            signed = {"webhook-id": key, "webhook-timestamp": str(int(now.timestamp())), "webhook-signature": signature}
            proof |= signed
        return proof

    async def redeliver(self, sent: Sent) -> Sent:
        """The same key, and proven anew."""
        headers = {**sent.headers, **self._proof(sent.hook, sent.headers["Idempotency-Key"], sent.body)}
        return await self._post(Sent(sent.repository, sent.hook, sent.event, headers, sent.body))


def _url(tree: Any) -> str:
    url = tree.get("url")
    if not isinstance(url, str):
        raise Refused(400, {"error": "url is missing"})
    if not url.startswith(("https://", "http://")):
        raise Refused(422, {"error": "Invalid url given"})
    return url
