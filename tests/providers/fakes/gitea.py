"""Gitea as it is on the wire; what it answers and sends was compared with a real one (`test_gitea_real.py`)."""

from __future__ import annotations

import hashlib
import hmac
import secrets as random
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web

from tests.providers.fakes import bare
from tests.providers.fakes.base import Call, Fake
from tests.providers.fakes.gitea_shapes import Shapes
from tests.providers.fakes.grants import basic_login
from tests.providers.fakes.state import Hook, Moved, Pull, Refused, Repository, Sent, Token

_CATEGORIES = ("activitypub", "admin", "issue", "misc", "notification", "organization", "package", "repository", "user")
_PULL_EVENTS = tuple(
    f"pull_request{kind}"
    for kind in ("", "_assign", "_label", "_milestone", "_comment", "_review", "_review_request", "_sync")
)
_STATES = ("pending", "success", "error", "failure", "warning", "skipped")
_DEFAULT_PAGE, _MOST = 30, 50


class GiteaFake(Fake, Shapes):
    known_scopes = tuple(f"{may}:{category}" for category in _CATEGORIES for may in ("read", "write"))
    rotates = False  # as it is set unless an administrator says otherwise
    replaces = False
    delivery_timeout = 5.0

    def routes(self) -> None:
        repository = "/api/v1/repos/{owner}/{name}"
        for method, path, answer in (
            ("GET", "/api/v1/user", self._user),
            ("GET", "/api/v1/repos/search", self._search),
            ("GET", "/api/v1/repositories/{id}", self._by_id),
            ("GET", repository, self._by_name),
            ("GET", f"{repository}/branches", self._branches),
            ("GET", f"{repository}/hooks", self._hooks),
            ("POST", f"{repository}/hooks", self._create_hook),
            ("PATCH", f"{repository}/hooks/{{id}}", self._edit_hook),
            ("DELETE", f"{repository}/hooks/{{id}}", self._delete_hook),
            ("POST", f"{repository}/hooks/{{id}}/tests", self._test_hook),
            ("POST", f"{repository}/statuses/{{sha}}", self._create_status),
            ("GET", f"{repository}/commits/{{sha}}/statuses", self._statuses),
            ("GET", f"{repository}/pulls", self._pulls),
        ):
            self.route(method, path, answer)

    # Who asks

    def new_text(self, kind: str) -> str:
        """What OAuth gives is a JWT, and long."""
        return random.token_hex(20) if kind == "token" else f"ey{random.token_urlsafe(400)}"

    def credential(self, headers: Mapping[str, str]) -> Token | None:
        authorization = headers.get("Authorization", "")
        if not authorization:
            return None
        scheme, _, text = authorization.partition(" ")
        login = basic_login(authorization)
        shown = login[1] if login else text if scheme.lower() in ("bearer", "token") else ""
        found = self.token(shown)
        if found is None:
            raise _refused(401, "invalid username, password or token")
        return found

    def not_found(self) -> Refused:
        return Refused(404, {"errors": None, "message": "not found", "url": "/api/swagger"})

    def grant_answer(self, token: str, refresh: str, scopes: tuple[str, ...]) -> dict[str, Any]:
        answer = super().grant_answer(token, refresh, scopes)
        del answer["scope"]
        return answer

    def wrong_client(self) -> Refused:
        return self.oauth_refusal("unauthorized_client", "invalid client secret")

    def wrong_code(self) -> Refused:
        return self.oauth_refusal("unauthorized_client", "client is not authorized")

    def wrong_refresh(self) -> Refused:
        return self.oauth_refusal("unauthorized_client", "unable to parse refresh token")

    def _allowed(self, call: Call, *scopes: str) -> Token:
        if call.token is None:
            raise _refused(401, "token is required")
        held = call.token.scopes
        for scope in scopes:
            if held is not None and not {scope, scope.replace("read:", "write:")} & set(held):
                said = f"required=[{scope}], token scope={','.join(held)}"
                raise _refused(403, f"token does not have at least one of required scope(s), {said}")
        return call.token

    def _repository(self, call: Call, role: str = "read") -> Repository:
        write = call.method != "GET"
        token = self._allowed(call, "write:repository" if write else "read:repository")
        full_name = f"{call.path['owner']}/{call.path['name']}"
        found = self.named(full_name)
        if found is None and (moved := self.old_names.get(full_name)) is not None:
            target = call.url.raw_path_qs.replace(full_name, moved.full_name, 1)
            raise Refused(301, None, {"Location": target})
        if found is None or not self.may(token, found, "read"):
            raise self.not_found()
        if not self.may(token, found, role):
            raise _refused(403, "user should be an owner or a collaborator with admin write of a repository")
        return found

    # What is there

    async def _user(self, call: Call) -> web.Response:
        token = self._allowed(call, "read:user")
        return web.json_response(self.user_tree(token.user))

    async def _search(self, call: Call) -> web.Response:
        token = self._allowed(call, "read:repository")
        uid, words = int(call.query.get("uid", "0")), call.query.get("q", "").lower()
        found = [
            each
            for each in reversed(self.repositories.values())
            if self.may(token, each, "read")
            and (not uid or each.owner.id == uid or uid in each.roles)
            and words in each.name.lower()
        ]
        page, headers = self._page(call, found)
        data = [await self.repository_tree(each, token) for each in page]
        return web.json_response({"ok": True, "data": data}, headers=headers)

    async def _by_id(self, call: Call) -> web.Response:
        token = self._allowed(call, "read:repository")
        found = self.repositories.get(int(call.path["id"])) if call.path["id"].isdecimal() else None
        if found is None or not self.may(token, found, "read"):
            raise self.not_found()
        return web.json_response(await self.repository_tree(found, token))

    async def _by_name(self, call: Call) -> web.Response:
        return web.json_response(await self.repository_tree(self._repository(call), call.token))

    async def _branches(self, call: Call) -> web.Response:
        """`null` where there are none."""
        repository = self._repository(call)
        found = sorted((await bare.branches(repository.directory)).items())
        page, headers = self._page(call, found)
        tree = [{"name": name, "commit": {"id": sha}, "protected": False} for name, sha in page]
        return web.json_response(tree or None, headers=headers)

    async def _pulls(self, call: Call) -> web.Response:
        repository = self._repository(call)
        state = call.query.get("state", "open")
        found = [
            pull for pull in reversed(repository.pulls.values()) if state == "all" or pull.open == (state == "open")
        ]
        page, headers = self._page(call, found)
        return web.json_response([await self.pull_tree(repository, pull) for pull in page], headers=headers)

    def _page(self, call: Call, found: Sequence[Any]) -> tuple[Sequence[Any], dict[str, str]]:
        """A limit that is too large is lowered, without a word."""
        number, limit = int(call.query.get("page", "1")), min(int(call.query.get("limit", _DEFAULT_PAGE)), _MOST)
        headers = {"X-Total-Count": str(len(found))}
        if number * limit < len(found):
            following = call.url.update_query(page=number + 1)
            own = f"{self.base}{following.raw_path_qs.removeprefix(self.prefix)}"
            headers["Link"] = f'<{own}>; rel="next",<{own}>; rel="last"'
        return found[(number - 1) * limit : number * limit], headers

    # Statuses

    async def _create_status(self, call: Call) -> web.Response:
        repository, asked = self._repository(call, "write"), call.tree
        sha = await bare.commit_of(repository.directory, call.path["sha"])
        if sha is None:
            raise _refused(500, f"GetCommit[{call.path['sha']}]: object does not exist")
        if asked["state"] not in _STATES:
            raise _refused(422, "[State]: Invalid")
        texts = [asked.get(name, "").strip() for name in ("context", "description", "target_url")]
        self.add_status(repository, sha, asked["state"], *texts)
        index = len(self.statuses(repository, sha))
        return web.json_response(self.status_tree(repository, sha, index), status=201)

    async def _statuses(self, call: Call) -> web.Response:
        """The newest first."""
        repository, sha = self._repository(call), call.path["sha"]
        page, headers = self._page(call, range(len(self.statuses(repository, sha)), 0, -1))
        return web.json_response([self.status_tree(repository, sha, index) for index in page], headers=headers)

    # Hooks

    async def _hooks(self, call: Call) -> web.Response:
        page, headers = self._page(call, self._repository(call, "admin").hooks)
        return web.json_response([self.hook_tree(hook) for hook in page], headers=headers)

    async def _create_hook(self, call: Call) -> web.Response:
        repository, asked = self._repository(call, "admin"), call.tree
        config = asked.get("config", {})
        if not all(isinstance(value, str) for value in config.values()):
            raise _refused(422, "json: cannot unmarshal into Go struct field CreateHookOption.config of type string")
        if config.get("content_type") not in ("json", "form") or not config.get("url", "").startswith("http"):
            raise _refused(422, "Invalid url or content type")
        hook = Hook(self.new_id(), config["url"], config.get("secret", ""), _heard(asked), asked.get("active", False))
        hook.settings = {"content_type": config["content_type"], "branch_filter": asked.get("branch_filter", "")}
        repository.hooks.append(hook)
        return web.json_response(self.hook_tree(hook), status=201)

    async def _edit_hook(self, call: Call) -> web.Response:
        """What is not said of events is lost, and the secret stays as it was, whatever is said."""
        _, hook = self._hook(call)
        asked = call.tree
        hook.url = asked.get("config", {}).get("url", hook.url)
        hook.settings["content_type"] = asked.get("config", {}).get("content_type", hook.settings["content_type"])
        hook.settings["branch_filter"] = asked.get("branch_filter", "")
        hook.events, hook.active = _heard(asked), asked.get("active", hook.active)
        return web.json_response(self.hook_tree(hook))

    async def _delete_hook(self, call: Call) -> web.Response:
        repository, hook = self._hook(call)
        repository.hooks.remove(hook)
        return web.Response(status=204)

    async def _test_hook(self, call: Call) -> web.Response:
        """A push that moves nothing, with the name of the branch as it was given."""
        repository = self._repository(call, "admin")
        head = await bare.commit_of(repository.directory, f"refs/heads/{repository.default_branch}")
        if head is None:
            raise Refused(404, {"errors": None, "message": "repository is empty", "url": "/api/swagger"})
        _, hook = self._hook(call)
        ref = call.query.get("ref", f"refs/heads/{repository.default_branch}")
        tree = await self.push_tree(repository, ref, head, head, [await bare.described(repository.directory, head)])
        self.soon(self._send_alone(repository, hook, tree))
        return web.Response(status=204)

    async def _send_alone(self, repository: Repository, hook: Hook, tree: Any) -> None:
        await self.send(repository, hook, "push", tree)

    def _hook(self, call: Call) -> tuple[Repository, Hook]:
        repository = self._repository(call, "admin")
        for hook in repository.hooks:
            if str(hook.id) == call.path["id"]:
                return repository, hook
        raise self.not_found()

    # What is told

    async def push_events(self, repository: Repository, moved: Moved) -> list[tuple[str, Any]]:
        """A branch that is gone is told by `delete` alone, a tag that is by `push` as well."""
        sha = moved.after or moved.before or ""
        none = "0" * len(sha)
        commits = await bare.commits(repository.directory, moved)
        commit = await bare.commit_of(repository.directory, moved.after) if moved.after else None
        head = await bare.described(repository.directory, commit) if commit else None
        push = await self.push_tree(repository, moved.ref, moved.before or none, moved.after or none, commits, head)
        kind = "tag" if moved.is_tag else "branch"
        told: dict[str, Any] = {"ref": moved.name, "ref_type": kind, **await self.whole(repository)}
        if moved.after is None:
            gone = ("delete", {**told, "pusher_type": "user"})
            return [("push", push), gone] if moved.is_tag else [gone]
        if moved.before is not None:
            return [("push", push)]
        made = ("create", {**told, "sha": sha})
        return [("push", push), made] if moved.is_tag else [made, ("push", push)]

    async def pull_events(
        self, repository: Repository, pull: Pull, action: str, before: str | None = None
    ) -> list[tuple[str, Any]]:
        words = {"opened": "opened", "pushed": "synchronized", "retargeted": "edited"}
        tree = {
            "action": words.get(action, "closed"),
            "number": pull.number,
            **({"changes": {"ref": {"from": before}}} if action == "retargeted" else {}),
            "pull_request": await self.pull_tree(repository, pull),
            **await self.whole(repository),
            "commit_id": "",
            "review": None,
        }
        return [("pull_request_sync" if action == "pushed" else "pull_request", tree)]

    def encoded(self, tree: Any) -> bytes:
        return self.indented(tree)

    def delivery_headers(self, repository: Repository, hook: Hook, event: str, body: bytes) -> dict[str, str]:
        """As other providers' too, and empty where there is no secret."""
        kind = "pull_request" if event.startswith("pull_request") else event
        own = [hmac.new(hook.secret.encode(), body, name).hexdigest() if hook.secret else "" for name in _DIGESTS]
        told = {"Delivery": str(uuid.uuid4()), "Event": kind, "Event-Type": event}
        headers = {f"X-{who}-{name}": value for who in ("GitHub", "Gitea", "Gogs") for name, value in told.items()}
        return {
            **headers,
            "X-Gitea-Signature": own[1],
            "X-Gogs-Signature": own[1],
            "X-Hub-Signature": f"sha1={own[0]}",
            "X-Hub-Signature-256": f"sha256={own[1]}",
        }

    async def redeliver(self, sent: Sent) -> Sent:
        """The same body with an id of its own."""
        headers = {**sent.headers, **self.delivery_headers(sent.repository, sent.hook, sent.event, sent.body)}
        return await self._post(Sent(sent.repository, sent.hook, sent.event, headers, sent.body))


_DIGESTS = (hashlib.sha1, hashlib.sha256)


def _heard(asked: Mapping[str, Any]) -> list[str]:
    """`pull_request` is everything that happens to one."""
    events = asked.get("events") or ["push"]
    return sorted({*events, *(_PULL_EVENTS if "pull_request" in events else ())})


def _refused(status: int, message: str) -> Refused:
    return Refused(status, {"message": message, "url": "/api/swagger"})
