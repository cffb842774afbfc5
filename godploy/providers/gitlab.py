"""GitLab, gitlab.com or self-managed: https://docs.gitlab.com/api/rest/

What its deliveries tell is in `gitlab_events`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from godploy.core.remote import is_branch, is_commit
from godploy.providers import answers, oauth
from godploy.providers.gitlab_events import SIGNATURE, TOKEN, GitLabSender, plain_token, signing_token
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
_TOKENS = "/-/user_settings/personal_access_tokens"
_PAGE, _MOST_PAGES = 100, 20
_LONGEST_TEXT = 140  # code points; GitLab takes 255
_FULL_NAME = re.compile(r"[A-Za-z0-9_.-]{1,255}(?:/[A-Za-z0-9_.-]{1,255}){1,20}")
_EVENTS = ("push_events", "tag_push_events", "merge_requests_events")
_REDIRECTS = (301, 302, 307, 308)

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
    """Both halves: what can be asked, and what is told. Projects are addressed by their ids, which a rename leaves."""

    name = "gitlab"
    title = _TITLE
    usual_base = "https://gitlab.com"
    single = False
    token_page = _TOKENS
    token_scopes = ("api", "read_repository")
    token_username = ""
    oauth_scopes = ("api", "read_user", "read_repository")
    oauth_page = "/-/user_settings/applications"
    pkce = True

    def api(self, base: str) -> str:
        return f"{base}/api/v4"

    def authorization(self, credential: Credential) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {credential.token}"}

    def git_login(self, credential: Credential) -> tuple[str, str]:
        return "oauth2", credential.token

    def account(self, base: str) -> Talk[Account]:
        """A project's or a group's own token is of a bot, which has a name like anybody."""
        user = yield from _tree(base, answers.asking("GET", f"{self.api(base)}/user"))
        number, name = answers.number(user, "id"), answers.text(user, "username")
        if not number or not name:
            raise _unreadable("who the token belongs to")
        return Account(str(number), name)

    def repositories(self, base: str, search: str, limit: int) -> Talk[Listing]:
        query = {"membership": "true", "min_access_level": 40, "archived": "false", "simple": "true"}
        more = {"search": search, "search_namespaces": "true"} if search else {}
        asked = {**query, **more, "order_by": "last_activity_at"}
        items = yield from _pages(base, f"{self.api(base)}/projects", asked, limit + 1)
        found = [each for each in (_hosted(base, item, administered=True) for item in items) if each is not None]
        return Listing(tuple(found[:limit]), complete=len(found) <= limit)

    def repository(self, base: str, full_name: str) -> Talk[HostedRepository]:
        return (yield from self._one(base, full_name))

    def located(self, base: str, id: str) -> Talk[HostedRepository]:
        return (yield from self._one(base, id))

    def _one(self, base: str, address: str) -> Talk[HostedRepository]:
        item = yield from _tree(base, answers.asking("GET", f"{self.api(base)}/projects/{quote(address, safe='')}"))
        permissions = answers.at(item, "permissions")
        ways = ("project_access", "group_access")
        level = max(answers.number(permissions, way, "access_level") for way in ways)
        found = _hosted(base, item, administered=level >= 40)
        if found is None:
            raise _unreadable("a project")
        return found

    def branches(self, base: str, place: Place) -> Talk[tuple[str, ...]]:
        items = yield from _pages(base, f"{_project(base, place)}/repository/branches", {}, _PAGE * _MOST_PAGES)
        return tuple(name for name in (answers.text(item, "name") for item in items) if is_branch(name))

    def hooks(self, base: str, place: Place) -> Talk[tuple[HostedHook, ...]]:
        items = yield from _pages(base, f"{_project(base, place)}/hooks", {}, _PAGE * _MOST_PAGES)
        return tuple(hook for hook in map(_hook, items) if hook is not None)

    def create_hook(self, base: str, place: Place, wish: HookWish) -> Talk[HostedHook]:
        return (yield from self._put_hook(base, place, "", wish))

    def update_hook(self, base: str, place: Place, hook: str, wish: HookWish) -> Talk[HostedHook]:
        """A hook's secrets are lost where its address changes, so they are always sent."""
        return (yield from self._put_hook(base, place, hook, wish))

    def _put_hook(self, base: str, place: Place, hook: str, wish: HookWish) -> Talk[HostedHook]:
        """Servers of before 19 leave the signing token out in silence. One that takes it is told to send the other no
        more: a hook proves itself one way."""
        url = f"{_project(base, place)}/hooks"
        method, there = ("PUT", f"{url}/{quote(hook, safe='')}") if hook else ("POST", url)
        tree = {"url": wish.url, **dict.fromkeys(_EVENTS, True), "enable_ssl_verification": True}
        secrets = {"token": plain_token(wish.secret), "signing_token": signing_token(wish.secret)}
        made = _hook((yield from _tree(base, answers.asking(method, there, {**tree, **secrets}))))
        if made is not None and made.scheme == SIGNATURE:
            alone = {**tree, "token": "", "signing_token": secrets["signing_token"]}
            request = answers.asking("PUT", f"{url}/{quote(made.id, safe='')}", alone)
            made = _hook((yield from _tree(base, request)))
        if made is None:
            raise _unreadable("the hook that it made")
        return made

    def delete_hook(self, base: str, place: Place, hook: str) -> Talk[None]:
        request = answers.asking("DELETE", f"{_project(base, place)}/hooks/{quote(hook, safe='')}")
        yield from _answered(base, request, also=(404,))

    def test_hook(self, base: str, place: Place, hook: str, branch: str) -> Talk[bool]:
        """It sends the last push to itself; a project without commits has none to send, and an old server no way."""
        url = f"{_project(base, place)}/hooks/{quote(hook, safe='')}/test/push_events"
        response = yield from _answered(base, answers.asking("POST", url), also=(404, 422, 429, 500))
        return response.status < 300

    def set_status(self, base: str, place: Place, status: CommitStatus) -> Talk[None]:
        tree = {
            "state": _STATES[status.state],
            "name": status.context[:_LONGEST_TEXT],
            "description": status.description[:_LONGEST_TEXT],
            "target_url": status.url,
            **({"ref": status.branch} if status.branch else {}),
        }
        url = f"{_project(base, place)}/statuses/{quote(status.commit, safe='')}"
        response = yield from _answered(base, answers.asking("POST", url, tree), also=(400,))
        # Older servers refuse to say the same again, or less than before: it is said already.
        if response.status == 400 and "Cannot transition status" not in answers.words(response.tree()):
            raise answers.refusal(response, _TITLE)

    def pull_requests(self, base: str, place: Place) -> Talk[tuple[PullRequest, ...]]:
        query = {"state": "opened", "order_by": "updated_at"}
        items = yield from _pages(base, f"{_project(base, place)}/merge_requests", query, _PAGE)
        return tuple(pull for pull in map(_merge_request, items) if pull is not None)

    def pull_ref(self, number: int, branch: str) -> str:
        return f"refs/merge-requests/{number}/head"

    def authorize_url(self, base: str, client: OAuthClient, callback: str, state: str, challenge: str) -> str:
        return oauth.authorize_url(f"{base}/oauth/authorize", client, callback, state, self.oauth_scopes, challenge)

    def exchange(self, base: str, client: OAuthClient, callback: str, code: str, verifier: str) -> Talk[Grant]:
        return (yield from oauth.exchange(f"{base}/oauth/token", _TITLE, client, callback, code, verifier))

    def refresh(self, base: str, client: OAuthClient, callback: str, refresh: str) -> Talk[Grant]:
        return (yield from oauth.refresh(f"{base}/oauth/token", _TITLE, client, callback, refresh))


GITLAB = GitLab()


def _project(base: str, place: Place) -> str:
    return f"{base}/api/v4/projects/{quote(place.id, safe='')}"


def _answered(base: str, request: Request, also: tuple[int, ...] = ()) -> Talk[Response]:
    """As `answers.answered`, with a word on what a person can do."""
    response = yield request
    if 200 <= response.status < 300 or response.status in also:
        return response
    if response.status in _REDIRECTS:
        raise ProviderError(Trouble.MISSING, f"{_TITLE} knows the project by another name now")
    error = answers.refusal(response, _TITLE)
    if error.trouble is Trouble.CREDENTIAL:
        error.next_step = f"connect it anew, or make another access token at {base}{_TOKENS}"
    elif error.trouble is Trouble.FORBIDDEN:
        error.next_step = (
            f"the token needs the scopes api and read_repository, its account the role Maintainer: {base}{_TOKENS}"
        )
    elif error.trouble is Trouble.INVALID and "Invalid url" in error.message:
        error.next_step = (
            "its administrator allows hooks to the local network: Admin, Settings, Network, Outbound requests"
        )
    raise error


def _tree(base: str, request: Request) -> Talk[Any]:
    found = (yield from _answered(base, request)).tree()
    if found is None:
        raise _unreadable("something that is JSON; is the address right?")
    return found


def _unreadable(what: str) -> ProviderError:
    return ProviderError(Trouble.DOWN, f"{_TITLE} did not answer {what}")


def _pages(base: str, url: str, query: Mapping[str, Any], most: int) -> Talk[list[Any]]:
    """Page by page; the addresses are made here and never read from an answer, since the token goes with them."""
    found: list[Any] = []
    for page in range(1, _MOST_PAGES + 1):
        asked = urlencode({**query, "per_page": _PAGE, "page": page})
        response = yield from _answered(base, answers.asking("GET", f"{url}?{asked}"))
        items = response.tree()
        if not isinstance(items, list):
            raise _unreadable("a list")
        found += items
        last = len(items) < _PAGE if "x-next-page" not in response.headers else not response.headers["x-next-page"]
        if last or not items or len(found) >= most:
            break
    return found[:most]


def _hosted(base: str, item: Any, *, administered: bool) -> HostedRepository | None:
    """Addresses are made of `base`, by which the server can be reached, not of what it believes its own to be."""
    number, full_name = answers.number(item, "id"), answers.text(item, "path_with_namespace")
    branch = answers.text(item, "default_branch")
    if not number or not _FULL_NAME.fullmatch(full_name) or any(not part.strip(".") for part in full_name.split("/")):
        return None
    return HostedRepository(
        id=str(number),
        full_name=full_name,
        clone_url=f"{base}/{full_name}.git",
        web_url=f"{base}/{full_name}",
        default_branch=branch if is_branch(branch) else None,
        private=answers.text(item, "visibility") != "public",
        administered=administered,
    )


def _hook(item: Any) -> HostedHook | None:
    number = answers.number(item, "id")
    if not number:
        return None
    return HostedHook(
        id=str(number),
        url=answers.text(item, "url"),
        scheme=SIGNATURE if answers.at(item, "signing_token_present") is True else TOKEN,
        active=answers.text(item, "alert_status") in ("", "executable"),
        wanted=all(answers.at(item, event) is True for event in _EVENTS)
        and not answers.text(item, "push_events_branch_filter"),
    )


def _merge_request(item: Any) -> PullRequest | None:
    number, commit = answers.number(item, "iid"), answers.text(item, "sha")
    branch, into = answers.text(item, "source_branch"), answers.text(item, "target_branch")
    if number < 1 or not is_commit(commit) or not is_branch(branch) or not is_branch(into):
        return None
    return PullRequest(
        number=number,
        title=answers.text(item, "title"),
        commit=commit,
        branch=branch,
        base=into,
        url=answers.text(item, "web_url"),
        author=answers.text(item, "author", "username"),
        fork=answers.number(item, "source_project_id") != answers.number(item, "target_project_id"),
    )
