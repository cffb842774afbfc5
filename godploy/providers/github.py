"""GitHub, at github.com and on Enterprise Servers: https://docs.github.com/en/rest

How its API is asked is in `github_api`, what its deliveries tell in `github_events`, its Apps in `github_app`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

from godploy.core.remote import is_branch
from godploy.providers import answers, github_api, oauth
from godploy.providers.github_api import PAGE, TITLE, asking
from godploy.providers.github_events import GitHubSender, pull_request
from godploy.providers.protocol import (
    Account,
    CommitStatus,
    Credential,
    Grant,
    HookWish,
    HostedHook,
    HostedRepository,
    Listing,
    OAuthClient,
    Place,
    ProviderError,
    PullRequest,
    Response,
    StatusState,
    Talk,
    Trouble,
)

_SCOPES: tuple[str, ...] = ("repo", "admin:repo_hook", "read:org")
_EVENTS = ("push", "pull_request")  # a push tells of tags and deletions, too
_LONGEST_DESCRIPTION = 140  # more is refused
_LONGEST_CONTEXT = 255
_NAME = re.compile(r"[A-Za-z0-9._-]{1,255}")
_AFFILIATION = "owner,collaborator,organization_member"
_MINE = f"/user/repos?affiliation={_AFFILIATION}&sort=pushed&per_page={PAGE}"
_INSTALLED = f"/installation/repositories?per_page={PAGE}"
_ENDS = "github-authentication-token-expiration"

_STATES = {
    StatusState.PENDING: "pending",
    StatusState.RUNNING: "pending",
    StatusState.SUCCESS: "success",
    StatusState.FAILURE: "failure",
    StatusState.ERROR: "error",
    StatusState.SUPERSEDED: "error",
    StatusState.CANCELLED: "error",
}


class GitHub(GitHubSender):
    """Both halves: what can be asked, and what is told."""

    name = "github"
    title = TITLE
    usual_base = "https://github.com"
    tests_hooks = True
    single = False
    token_username = ""
    token_page = f"{github_api.TOKENS}/new?description=Godploy&scopes={','.join(_SCOPES)}"
    token_scopes = _SCOPES
    oauth_scopes = _SCOPES
    oauth_page = "/settings/applications/new"
    pkce = True

    def api(self, base: str) -> str:
        return github_api.address(base)

    def authorization(self, credential: Credential) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {credential.token}"}

    def git_login(self, credential: Credential) -> tuple[str, str]:
        """Any name does."""
        return "x-access-token", credential.token

    def account(self, base: str) -> Talk[Account]:
        """An App's installation is nobody: it is called after the owner of what it was installed on."""
        response = yield from self._user(base)
        if github_api.of_an_app(response):
            return (yield from self._owner(base))
        account = account_of(github_api.read(response))
        if account is None:
            raise github_api.unreadable("who the token belongs to")
        scopes = response.headers.get("x-oauth-scopes")
        return Account(
            id=account.id,
            name=account.name,
            scopes=tuple(scopes.replace(",", " ").split()) if scopes is not None else None,
            expires_at=_ends_at(response.headers.get(_ENDS, "")),
        )

    def _user(self, base: str) -> Talk[Response]:
        response = yield from github_api.answered(base, asking(base, "GET", "/user"), also=(403,))
        if response.status == 403 and not github_api.of_an_app(response):
            raise github_api.refusal(base, response)
        return response

    def _owner(self, base: str) -> Talk[Account]:
        found = yield from github_api.tree(base, asking(base, "GET", "/installation/repositories?per_page=1"))
        account = account_of(answers.at(found, "repositories", 0, "owner"))
        if account is None:
            step = "choose repositories in the settings of the App's installation"
            raise ProviderError(Trouble.FORBIDDEN, "the GitHub App may use no repository", next_step=step)
        return account

    def repositories(self, base: str, search: str, limit: int) -> Talk[Listing]:
        """An installation lists what it was installed on, in GitHub's order. Archived ones take no hooks."""
        found: list[HostedRepository] = []
        as_app = github_api.of_an_app((yield from self._user(base)))
        request, name = asking(base, "GET", _INSTALLED if as_app else _MINE), "repositories" if as_app else ""
        for _ in range(github_api.MOST_PAGES):
            items, following = yield from github_api.page(base, request, name)
            readable = (_hosted(base, item) for item in items if answers.at(item, "archived") is not True)
            wanted = (item for item in readable if item is not None and item.administered)
            found += [item for item in wanted if search.casefold() in item.full_name.casefold()]
            if len(found) > limit or following is None:
                return Listing(tuple(found[:limit]), complete=len(found) <= limit)
            request = following
        return Listing(tuple(found), complete=False)

    def repository(self, base: str, full_name: str) -> Talk[HostedRepository]:
        return (yield from self._one(base, _path(full_name)))

    def located(self, base: str, id: str) -> Talk[HostedRepository]:
        return (yield from self._one(base, f"/repositories/{quote(id, safe='')}"))

    def _one(self, base: str, path: str) -> Talk[HostedRepository]:
        """An empty repository has a default branch in name only; its size is 0, as that of some others is."""
        item = yield from github_api.tree(base, asking(base, "GET", path))
        found = _hosted(base, item)
        if found is None:
            raise github_api.unreadable("a repository")
        if answers.at(item, "size") == 0:
            request = asking(base, "GET", f"{_path(found.full_name)}/branches?per_page=1")
            branches, _ = yield from github_api.page(base, request)
            return found if branches else _hosted(base, {**item, "default_branch": None}) or found
        return found

    def branches(self, base: str, place: Place) -> Talk[tuple[str, ...]]:
        request = asking(base, "GET", f"{_path(place.full_name)}/branches?per_page={PAGE}")
        items = yield from github_api.pages(base, request)
        return tuple(name for name in (answers.text(item, "name") for item in items) if is_branch(name))

    def hooks(self, base: str, place: Place) -> Talk[tuple[HostedHook, ...]]:
        items = yield from github_api.pages(base, asking(base, "GET", f"{_hooks_path(place)}?per_page={PAGE}"))
        return tuple(_hooks(items))

    def create_hook(self, base: str, place: Place, wish: HookWish) -> Talk[HostedHook]:
        """Where the same is there already, made by an attempt whose answer was lost, that is made what is wished."""
        request = asking(base, "POST", _hooks_path(place), {"name": "web", **_hook_tree(wish)})
        response = yield from github_api.answered(base, request, also=(422,))
        if response.status != 422:
            return _hook(github_api.read(response))
        for each in (yield from self.hooks(base, place)):
            if each.url == wish.url:
                return (yield from self.update_hook(base, place, each.id, wish))
        raise github_api.refusal(base, response)

    def update_hook(self, base: str, place: Place, hook: str, wish: HookWish) -> Talk[HostedHook]:
        """Its `config` is replaced as a whole, and so is always sent whole."""
        request = asking(base, "PATCH", f"{_hooks_path(place)}/{quote(hook, safe='')}", _hook_tree(wish))
        return _hook((yield from github_api.tree(base, request)))

    def delete_hook(self, base: str, place: Place, hook: str) -> Talk[None]:
        request = asking(base, "DELETE", f"{_hooks_path(place)}/{quote(hook, safe='')}")
        yield from github_api.answered(base, request, also=(404,))

    def test_hook(self, base: str, place: Place, hook: str, branch: str) -> Talk[bool]:
        """A ping, which needs no branch."""
        request = asking(base, "POST", f"{_hooks_path(place)}/{quote(hook, safe='')}/pings")
        yield from github_api.answered(base, request)
        return True

    def set_status(self, base: str, place: Place, status: CommitStatus) -> Talk[None]:
        tree = {
            "state": _STATES[status.state],
            "context": status.context[:_LONGEST_CONTEXT],
            "description": status.description[:_LONGEST_DESCRIPTION],
            "target_url": status.url,
        }
        path = f"{_path(place.full_name)}/statuses/{quote(status.commit, safe='')}"
        yield from github_api.answered(base, asking(base, "POST", path, tree))

    def pull_requests(self, base: str, place: Place) -> Talk[tuple[PullRequest, ...]]:
        query = f"state=open&sort=updated&direction=desc&per_page={PAGE}"
        items, _ = yield from github_api.page(base, asking(base, "GET", f"{_path(place.full_name)}/pulls?{query}"))
        found = (pull_request(item) for item in items)
        return tuple(pull for pull in found if pull is not None)

    def pull_ref(self, number: int, branch: str) -> str:
        return f"refs/pull/{number}/head"

    def authorize_url(self, base: str, client: OAuthClient, callback: str, state: str, challenge: str) -> str:
        endpoint = f"{base}/login/oauth/authorize"
        return oauth.authorize_url(endpoint, client, callback, state, self.oauth_scopes, challenge)

    def exchange(self, base: str, client: OAuthClient, callback: str, code: str, verifier: str) -> Talk[Grant]:
        return (yield from oauth.exchange(_token_url(base), TITLE, client, callback, code, verifier))

    def refresh(self, base: str, client: OAuthClient, callback: str, refresh: str) -> Talk[Grant]:
        """Only where the OAuth app has tokens that end."""
        return (yield from oauth.refresh(_token_url(base), TITLE, client, callback, refresh))


GITHUB = GitHub()


def account_of(found: Any) -> Account | None:
    """A user or an organization; None for what is neither."""
    number, login = answers.number(found, "id"), answers.text(found, "login")
    return Account(str(number), login) if number and login else None


def _token_url(base: str) -> str:
    return f"{base}/login/oauth/access_token"


def _path(full_name: str) -> str:
    owner, _, name = full_name.partition("/")
    return f"/repos/{quote(owner, safe='')}/{quote(name, safe='')}"


def _hooks_path(place: Place) -> str:
    return f"{_path(place.full_name)}/hooks"


def _hook_tree(wish: HookWish) -> Mapping[str, Any]:
    """Without a content type it would send forms."""
    config = {"url": wish.url, "content_type": "json", "secret": wish.secret, "insecure_ssl": "0"}
    return {"active": True, "events": list(_EVENTS), "config": config}


def _hook(item: Any) -> HostedHook:
    for hook in _hooks([item]):
        return hook
    raise github_api.unreadable("the hook that it made")


def _hooks(items: list[Any]) -> Iterator[HostedHook]:
    for item in items:
        number, events = answers.number(item, "id"), answers.at(item, "events")
        heard = {event for event in events if isinstance(event, str)} if isinstance(events, list) else set()
        as_json = answers.text(item, "config", "content_type") == "json"
        checked = answers.at(item, "config", "insecure_ssl") not in ("1", 1)  # our certificate, that is
        wanted = as_json and checked and ("*" in heard or heard.issuperset(_EVENTS))
        if number:
            active = answers.at(item, "active") is True
            yield HostedHook(str(number), answers.text(item, "config", "url"), active=active, wanted=wanted)


def _hosted(base: str, item: Any) -> HostedRepository | None:
    """An installation has no role in a repository that it was given, not even that of a reader."""
    number, full_name = answers.number(item, "id"), answers.text(item, "full_name")
    branch = answers.text(item, "default_branch")
    parts = full_name.split("/")
    if not number or len(parts) != 2 or not all(_NAME.fullmatch(part) and part.strip(".") for part in parts):
        return None
    roles = answers.at(item, "permissions")
    return HostedRepository(
        id=str(number),
        full_name=full_name,
        clone_url=f"{base}/{full_name}.git",
        web_url=f"{base}/{full_name}",
        default_branch=branch if is_branch(branch) else None,
        private=answers.at(item, "private") is not False,
        administered=answers.at(roles, "admin") is True or answers.at(roles, "pull") is False,
    )


def _ends_at(text: str) -> float | None:
    """ "2026-12-31 23:59:59 UTC", in seconds since 1970."""
    try:
        ends = datetime.strptime(text.replace("UTC", "+0000"), "%Y-%m-%d %H:%M:%S %z")
        return ends.timestamp() if 1970 < ends.year < 9999 else None  # at the ends of the calendar no other zone has it
    except ValueError:
        return None
