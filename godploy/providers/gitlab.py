"""GitLab, at gitlab.com or at an address of its own: https://docs.gitlab.com/api/rest/

Projects are named by their number, which no rename changes. What its deliveries tell is in `gitlab_events`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Generator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

from godploy.core.remote import is_branch, is_commit
from godploy.providers import answers, oauth
from godploy.providers.gitlab_events import (
    SIGNATURE_SCHEME,
    TOKEN_SCHEME,
    GitLabSender,
    is_fork,
    plain_token,
    signing_token,
)
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
    Request,
    Response,
    StatusState,
    Talk,
    Trouble,
)

_TITLE = "GitLab"
_SCOPES = ("api", "read_repository")  # only `api` makes hooks and sets statuses
_TOKENS = "/-/user_settings/personal_access_tokens?name=Godploy&scopes=" + ",".join(_SCOPES)
_MAINTAINER = 40  # https://docs.gitlab.com/api/access_requests/#valid-access-levels
_PAGE, _MOST_PAGES = 100, 20
_LONGEST_TEXT = 255  # characters of each of a status's texts
_SEGMENT = r"(?!\.+(?:/|$))[A-Za-z0-9_.][A-Za-z0-9_.-]{0,254}"
_FULL_NAME = re.compile(rf"{_SEGMENT}(?:/{_SEGMENT}){{1,30}}")
_NUMBER = re.compile(r"[0-9]{1,9}")
_EVENTS = ("push_events", "tag_push_events", "merge_requests_events")
_SENDS_NOTHING = (404, 422, 500)  # a test of a project without commits, or one that did not arrive

_STATES = {
    StatusState.PENDING: "pending",
    StatusState.RUNNING: "running",
    StatusState.SUCCESS: "success",
    StatusState.FAILURE: "failed",
    StatusState.ERROR: "failed",
    StatusState.SUPERSEDED: "canceled",
    StatusState.CANCELLED: "canceled",
}


class GitLab(GitLabSender):
    """Both halves: what can be asked, and what is told."""

    name = "gitlab"
    title = _TITLE
    usual_base = "https://gitlab.com"
    tests_hooks = True
    single = False
    token_page = _TOKENS
    token_scopes: tuple[str, ...] = _SCOPES
    token_username = ""
    oauth_scopes: tuple[str, ...] = _SCOPES
    oauth_page = "/-/user_settings/applications"
    pkce = True

    def api(self, base: str) -> str:
        return f"{base}/api/v4"

    def authorization(self, credential: Credential) -> Mapping[str, str]:
        """Tokens of all kinds go so: https://docs.gitlab.com/api/rest/authentication/"""
        return {"Authorization": f"Bearer {credential.token}"}

    def git_login(self, credential: Credential) -> tuple[str, str]:
        return "oauth2", credential.token

    def account(self, base: str) -> Talk[Account]:
        """A project's or group's token belongs to a user made for it. A token that a person made tells its scopes and
        its end; an OAuth grant is not asked about itself there, which older servers do not have at all."""
        user = yield from _tree(base, answers.asking("GET", f"{self.api(base)}/user"))
        number, name = answers.number(user, "id"), answers.text(user, "username")
        if not number or not name:
            raise _unreadable("who the token belongs to")
        request = answers.asking("GET", f"{self.api(base)}/personal_access_tokens/self")
        response = yield from _answered(base, request, also=(400, 401, 403, 404))
        own = response.tree() if response.status == 200 else None
        scopes = answers.at(own, "scopes")
        told = tuple(each for each in scopes if isinstance(each, str)) if isinstance(scopes, list) else None
        return Account(str(number), name, told, _midnight(answers.text(own, "expires_at")))

    def repositories(self, base: str, search: str, limit: int) -> Talk[Listing]:
        """The server searches descriptions, too, so what it finds is looked through again."""
        query = {
            "membership": "true",
            "min_access_level": str(_MAINTAINER),
            "archived": "false",
            "simple": "true",
            "order_by": "last_activity_at",
            "sort": "desc",
        }
        if search:
            query |= {"search": search, "search_namespaces": "true"}
        found: list[HostedRepository] = []
        page: int | None = 1
        while page is not None and page <= _MOST_PAGES and len(found) <= limit:
            items, page = yield from _page(base, f"{self.api(base)}/projects", query, page)
            named = (item for item in items if _is_named(item, search))
            found += [each for each in (_hosted(base, item, administered=True) for item in named) if each is not None]
        return Listing(tuple(found[:limit]), complete=page is None and len(found) <= limit)

    def repository(self, base: str, full_name: str) -> Talk[HostedRepository]:
        return (yield from self.located(base, full_name))

    def located(self, base: str, id: str) -> Talk[HostedRepository]:
        item = yield from _tree(base, answers.asking("GET", _project(self.api(base), id)))
        levels = (
            answers.number(item, "permissions", access, "access_level") for access in ("project_access", "group_access")
        )
        found = _hosted(base, item, administered=max(levels) >= _MAINTAINER)
        if found is None:
            raise _unreadable("a project")
        return found

    def branches(self, base: str, place: Place) -> Talk[tuple[str, ...]]:
        items = yield from _pages(base, f"{_project(self.api(base), place.id)}/repository/branches")
        return tuple(name for name in (answers.text(item, "name") for item in items) if is_branch(name))

    def hooks(self, base: str, place: Place) -> Talk[tuple[HostedHook, ...]]:
        items = yield from _pages(base, self._hooks(base, place))
        return tuple(found for found in map(_hook, items) if found is not None)

    def create_hook(self, base: str, place: Place, wish: HookWish) -> Talk[HostedHook]:
        tree = {**_wished(wish), "name": "Godploy", "enable_ssl_verification": True}
        made = yield from _one_hook(base, answers.asking("POST", self._hooks(base, place), tree))
        return (yield from self._signing(base, place, made, wish))

    def update_hook(self, base: str, place: Place, hook: str, wish: HookWish) -> Talk[HostedHook]:
        """A change of its address takes its secrets away, so they are sent each time. One that was switched off comes
        back only by a test that arrives: https://docs.gitlab.com/user/project/integrations/webhooks/#auto-disabled-webhooks"""
        url = f"{self._hooks(base, place)}/{quote(hook, safe='')}"
        made = yield from _one_hook(base, answers.asking("PUT", url, _wished(wish)))
        made = yield from self._signing(base, place, made, wish)
        if not made.active and (yield from self.test_hook(base, place, hook, "")):
            made = yield from _one_hook(base, answers.asking("GET", url))
        return made

    def _signing(self, base: str, place: Place, made: HostedHook, wish: HookWish) -> Talk[HostedHook]:
        """Takes the plain token away again where the server can sign; an older one has silently ignored the other."""
        if made.scheme != SIGNATURE_SCHEME:
            return made
        url = f"{self._hooks(base, place)}/{quote(made.id, safe='')}"
        tree = {**_wished(wish), "token": ""}
        return (yield from _one_hook(base, answers.asking("PUT", url, tree)))

    def delete_hook(self, base: str, place: Place, hook: str) -> Talk[None]:
        request = answers.asking("DELETE", f"{self._hooks(base, place)}/{quote(hook, safe='')}")
        yield from _answered(base, request, also=(404,))

    def test_hook(self, base: str, place: Place, hook: str, branch: str) -> Talk[bool]:
        """It sends a push of the default branch, and says whether that arrived."""
        url = f"{self._hooks(base, place)}/{quote(hook, safe='')}/test/push_events"
        response = yield from _answered(base, answers.asking("POST", url), also=_SENDS_NOTHING)
        return response.status < 300

    def set_status(self, base: str, place: Place, status: CommitStatus) -> Talk[None]:
        """A state that it is in already is refused by older servers, in these words."""
        texts = {"description": _cut(status.description)}
        # Half a name or an address would be another one.
        whole = {"ref": status.branch, "target_url": status.url}
        texts |= {name: text for name, text in whole.items() if text and len(text) <= _LONGEST_TEXT}
        tree = {"state": _STATES[status.state], "name": _cut(status.context), **texts}
        url = f"{_project(self.api(base), place.id)}/statuses/{quote(status.commit, safe='')}"
        response = yield answers.asking("POST", url, tree)
        repeated = response.status == 400 and "Cannot transition status" in answers.words(response.tree())
        if not repeated and not 200 <= response.status < 300:
            raise _refusal(base, response)

    def pull_requests(self, base: str, place: Place) -> Talk[tuple[PullRequest, ...]]:
        query = {"state": "opened", "order_by": "updated_at", "sort": "desc"}
        items, _ = yield from _page(base, f"{_project(self.api(base), place.id)}/merge_requests", query, 1)
        return tuple(found for found in (_pull(base, item) for item in items[:_PAGE]) if found is not None)

    def pull_ref(self, number: int, branch: str) -> str:
        return f"refs/merge-requests/{number}/head"

    def authorize_url(self, base: str, client: OAuthClient, callback: str, state: str, challenge: str) -> str:
        return oauth.authorize_url(f"{base}/oauth/authorize", client, callback, state, self.oauth_scopes, challenge)

    def exchange(self, base: str, client: OAuthClient, callback: str, code: str, verifier: str) -> Talk[Grant]:
        return (yield from oauth.exchange(f"{base}/oauth/token", _TITLE, client, callback, code, verifier))

    def refresh(self, base: str, client: OAuthClient, callback: str, refresh: str) -> Talk[Grant]:
        """Both old tokens end with it."""
        return (yield from oauth.refresh(f"{base}/oauth/token", _TITLE, client, callback, refresh))

    def _hooks(self, base: str, place: Place) -> str:
        return f"{_project(self.api(base), place.id)}/hooks"


GITLAB = GitLab()


def _project(api: str, id: str) -> str:
    """By its number or by its whole name, as one segment."""
    return f"{api}/projects/{quote(id, safe='')}"


def _wished(wish: HookWish) -> dict[str, Any]:
    """Both forms of the secret: whether the server knows the newer one is told by its answer only."""
    return {
        "url": wish.url,
        **dict.fromkeys(_EVENTS, True),
        "push_events_branch_filter": "",
        "branch_filter_strategy": "all_branches",
        "token": plain_token(wish.secret),
        "signing_token": signing_token(wish.secret),
    }


def _hook(item: Any) -> HostedHook | None:
    number, url = answers.number(item, "id"), answers.text(item, "url")
    if not number or not url:
        return None
    signs = answers.at(item, "signing_token_present") is True
    every = answers.text(item, "branch_filter_strategy") == "all_branches"
    filtered = bool(answers.text(item, "push_events_branch_filter")) and not every
    return HostedHook(
        id=str(number),
        url=url,
        scheme=SIGNATURE_SCHEME if signs else TOKEN_SCHEME,
        active=(answers.text(item, "alert_status") or "executable") == "executable",
        wanted=not filtered and all(answers.at(item, event) is True for event in _EVENTS),
    )


def _one_hook(base: str, request: Request) -> Talk[HostedHook]:
    found = _hook((yield from _tree(base, request)))
    if found is None:
        raise _unreadable("the hook")
    return found


def _is_named(item: Any, search: str) -> bool:
    names = (answers.text(item, "path_with_namespace"), answers.text(item, "name_with_namespace"))
    return any(search.casefold() in name.casefold() for name in names)


def _hosted(base: str, item: Any, *, administered: bool) -> HostedRepository | None:
    """Its addresses are made of its name: what a server behind a proxy tells may be an inner one, and the credential
    goes to the base that was connected only."""
    number, full_name = answers.number(item, "id"), answers.text(item, "path_with_namespace")
    if not number or not _FULL_NAME.fullmatch(full_name):
        return None
    branch = answers.text(item, "default_branch")
    there = is_branch(branch) and answers.at(item, "empty_repo") is not True
    return HostedRepository(
        id=str(number),
        full_name=full_name,
        clone_url=f"{base}/{full_name}.git",
        web_url=f"{base}/{full_name}",
        default_branch=branch if there else None,
        private=answers.text(item, "visibility") != "public",
        administered=administered,
    )


def _pull(base: str, item: Any) -> PullRequest | None:
    """`sha` is null for a moment after it was opened."""
    number, commit = answers.number(item, "iid"), answers.text(item, "sha")
    branch, target, url = (answers.text(item, name) for name in ("source_branch", "target_branch", "web_url"))
    if number < 1 or not is_commit(commit) or not is_branch(branch) or not is_branch(target):
        return None
    return PullRequest(
        number=number,
        title=answers.text(item, "title"),
        commit=commit,
        branch=branch,
        base=target,
        url=url if url.startswith(f"{base}/") else "",
        author=answers.text(item, "author", "username"),
        fork=is_fork(item),
    )


def _midnight(date: str) -> float | None:
    """A token ends at the beginning of that day in UTC."""
    try:
        return datetime.strptime(date, "%Y-%m-%d").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None


def _cut(text: str) -> str:
    """Half of a surrogate pair is no character, and the server refuses it."""
    return text[:_LONGEST_TEXT].encode(errors="replace").decode()


def _pages(base: str, url: str) -> Talk[list[Any]]:
    found: list[Any] = []
    page: int | None = 1
    while page is not None and page <= _MOST_PAGES:
        items, page = yield from _page(base, url, {}, page)
        found += items
    return found


def _page(base: str, url: str, query: Mapping[str, str], page: int) -> Talk[tuple[list[Any], int | None]]:
    """The items and the number of the next page. The `Link` header is not followed: the number says the same, and
    leads nowhere else, neither with a hostile server nor with one whose proxy hides its address."""
    asked = urlencode({**query, "per_page": str(_PAGE), "page": str(page)})
    response = yield from _answered(base, answers.asking("GET", f"{url}?{asked}"))
    items = response.tree()
    if not isinstance(items, list):
        raise _unreadable("a list")
    following = response.headers.get("x-next-page", "").strip()
    return items, int(following) if _NUMBER.fullmatch(following) and int(following) > page else None


def _tree(base: str, request: Request) -> Generator[Request, Response, Any]:
    response = yield from _answered(base, request)
    found = response.tree()
    if found is None:
        raise _unreadable("anything in JSON")
    return found


def _answered(base: str, request: Request, also: Collection[int] = ()) -> Talk[Response]:
    response = yield request
    if 200 <= response.status < 300 or response.status in also:
        return response
    raise _refusal(base, response)


def _refusal(base: str, response: Response) -> ProviderError:
    """A redirect is of a project that was renamed: https://docs.gitlab.com/api/rest/#redirects"""
    if 300 <= response.status < 400:
        return ProviderError(Trouble.MISSING, f"{_TITLE} has it at another address: it was renamed or moved")
    found = answers.refusal(response, _TITLE)
    return ProviderError(
        found.trouble, found.message, wait=found.wait, next_step=_next_step(base, found, response.tree())
    )


def _next_step(base: str, found: ProviderError, tree: Any) -> str:
    scopes = " and ".join(_SCOPES)
    if found.trouble is Trouble.CREDENTIAL:
        return f"make a new access token with the scopes {scopes} at {base}{_TOKENS}, or authorize Godploy again"
    if found.trouble is Trouble.FORBIDDEN and answers.text(tree, "error") == "insufficient_scope":
        return f"the token lacks a scope: make one with {scopes} at {base}{_TOKENS}"
    if found.trouble is Trouble.FORBIDDEN:
        return "give the token's user (or the token itself, if it is a project's) the role Maintainer in the project"
    if "invalid url given" in answers.words(tree).lower():
        return "an administrator of GitLab must allow hooks to private addresses: Admin, Network, Outbound requests"
    return ""


def _unreadable(what: str) -> ProviderError:
    return ProviderError(Trouble.DOWN, f"{_TITLE}'s answer does not tell {what}; is the address right?")
