"""Gitea and Forgejo, at any address: their API is one, https://docs.gitea.com/api/

What its deliveries tell is in `gitea_events`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode

from godploy.core.remote import is_branch
from godploy.providers import answers, oauth
from godploy.providers.gitea_events import GiteaSender, pull_request
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

_TITLE = "Gitea"
_APPLICATIONS = "/user/settings/applications"
_SCOPES = ("read:user", "write:repository", "read:organization")
_EVENTS = ("push", "create", "delete", "pull_request", "pull_request_sync")
_PAGE, _MOST_PAGES = 50, 20  # a server lowers a limit that is above its own, 50 unless it is set otherwise
_MOST_PULLS = 100
_LONGEST_TEXT = 140  # code points of a status; the server has no limit of its own, its page shows one line
_NAME = re.compile(r"[A-Za-z0-9._-]{1,255}")
_NEEDED = re.compile(r"required=\[([a-z:, ]{1,200})\]")
_REDIRECTS = (301, 302, 307, 308)

_STATES = {
    StatusState.PENDING: "pending",
    StatusState.RUNNING: "pending",
    StatusState.SUCCESS: "success",
    StatusState.FAILURE: "failure",
    StatusState.ERROR: "error",
    StatusState.SUPERSEDED: "error",  # "skipped" is refused by servers of before 2025
    StatusState.CANCELLED: "error",
}


class Gitea(GiteaSender):
    """Both halves: what can be asked, and what is told."""

    name = "gitea"
    title = _TITLE
    usual_base = ""
    tests_hooks = True
    single = False
    token_username = ""
    token_page = _APPLICATIONS
    token_scopes = _SCOPES
    # A word that it does not know would be taken as full access, so nothing is asked for on trial.
    oauth_scopes = _SCOPES
    oauth_page = _APPLICATIONS
    pkce = True

    def api(self, base: str) -> str:
        return f"{base}/api/v1"

    def authorization(self, credential: Credential) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {credential.token}"}

    def git_login(self, credential: Credential) -> tuple[str, str]:
        """Any name does: the password is looked up as a token first."""
        return "oauth2", credential.token

    def account(self, base: str) -> Talk[Account]:
        user = yield from _tree(base, answers.asking("GET", f"{self.api(base)}/user"))
        number, login = answers.number(user, "id"), answers.text(user, "login")
        if not number or not login:
            raise _unreadable("who the token belongs to")
        return Account(str(number), login)

    def repositories(self, base: str, search: str, limit: int) -> Talk[Listing]:
        """The server's search looks at a repository's own name; `owner/name` is compared here."""
        account = yield from self.account(base)
        query = {"uid": account.id, "q": search.rpartition("/")[2], "sort": "updated", "order": "desc"}
        found: list[HostedRepository] = []
        for page in range(1, _MOST_PAGES + 1):
            items, more = yield from _page(base, f"{self.api(base)}/repos/search", query, page)
            readable = (_hosted(base, item) for item in items)
            wanted = (item for item in readable if item is not None and item.administered)
            found += [item for item in wanted if search.casefold() in item.full_name.casefold()]
            if len(found) > limit or not more:
                return Listing(tuple(found[:limit]), complete=len(found) <= limit)
        return Listing(tuple(found), complete=False)

    def repository(self, base: str, full_name: str) -> Talk[HostedRepository]:
        return (yield from self._one(base, _repository_url(base, full_name)))

    def located(self, base: str, id: str) -> Talk[HostedRepository]:
        return (yield from self._one(base, f"{self.api(base)}/repositories/{quote(id, safe='')}"))

    def _one(self, base: str, url: str) -> Talk[HostedRepository]:
        found = _hosted(base, (yield from _tree(base, answers.asking("GET", url))))
        if found is None:
            raise _unreadable("a repository")
        return found

    def branches(self, base: str, place: Place) -> Talk[tuple[str, ...]]:
        items = yield from _pages(base, f"{_repository_url(base, place.full_name)}/branches", {})
        return tuple(name for name in (answers.text(item, "name") for item in items) if is_branch(name))

    def hooks(self, base: str, place: Place) -> Talk[tuple[HostedHook, ...]]:
        items = yield from _pages(base, _hooks_url(base, place), {})
        return tuple(_hooks(items))

    def create_hook(self, base: str, place: Place, wish: HookWish) -> Talk[HostedHook]:
        """Its values of `config` are all strings, and a hook is off unless it is said to be on."""
        config = {"url": wish.url, "content_type": "json", "secret": wish.secret}
        tree = {"type": "gitea", "active": True, "events": list(_EVENTS), "branch_filter": "*", "config": config}
        made = yield from _tree(base, answers.asking("POST", _hooks_url(base, place), tree))
        for hook in _hooks([made]):
            return hook
        raise _unreadable("the hook that it made")

    def update_hook(self, base: str, place: Place, hook: str, wish: HookWish) -> Talk[HostedHook]:
        """Another one takes its place, with an id of its own: a server up to 1.25 at least leaves the secret of a hook
        as it was made, whatever an edit says. Both exist for a moment, so that no push is missed; what an attempt that
        was cut short has left at the same address goes, too."""
        made = yield from self.create_hook(base, place, wish)
        for each in (yield from self.hooks(base, place)):
            if each.id != made.id and (each.id == hook or each.url == wish.url):
                yield from self.delete_hook(base, place, each.id)
        return made

    def delete_hook(self, base: str, place: Place, hook: str) -> Talk[None]:
        request = answers.asking("DELETE", f"{_hooks_url(base, place)}/{quote(hook, safe='')}")
        yield from _answered(base, request, also=(404,))

    def test_hook(self, base: str, place: Place, hook: str, branch: str) -> Talk[bool]:
        """It sends a push of the branch's head to itself; an empty repository has none to send."""
        url = f"{_hooks_url(base, place)}/{quote(hook, safe='')}/tests?{urlencode({'ref': branch})}"
        response = yield from _answered(base, answers.asking("POST", url), also=(404, 422))
        return response.status == 204

    def set_status(self, base: str, place: Place, status: CommitStatus) -> Talk[None]:
        tree = {
            "state": _STATES[status.state],
            "context": status.context[:_LONGEST_TEXT],
            "description": status.description[:_LONGEST_TEXT],
            "target_url": status.url,
        }
        url = f"{_repository_url(base, place.full_name)}/statuses/{quote(status.commit, safe='')}"
        response = yield from _answered(base, answers.asking("POST", url, tree), also=(500,))
        if response.status == 500:
            # So it answers for a commit that it does not have, which some servers tell and others do not.
            refused = answers.refusal(response, _TITLE)
            gone = "object does not exist" in answers.words(response.tree())
            raise ProviderError(Trouble.MISSING, refused.message) if gone else refused

    def pull_requests(self, base: str, place: Place) -> Talk[tuple[PullRequest, ...]]:
        url = f"{_repository_url(base, place.full_name)}/pulls"
        items = yield from _pages(base, url, {"state": "open", "sort": "recentupdate"}, _MOST_PULLS)
        found = (pull_request(item) for item in items)
        return tuple(pull for pull in found if pull is not None)

    def pull_ref(self, number: int, branch: str) -> str:
        return f"refs/pull/{number}/head"

    def authorize_url(self, base: str, client: OAuthClient, callback: str, state: str, challenge: str) -> str:
        endpoint = f"{base}/login/oauth/authorize"
        return oauth.authorize_url(endpoint, client, callback, state, self.oauth_scopes, challenge)

    def exchange(self, base: str, client: OAuthClient, callback: str, code: str, verifier: str) -> Talk[Grant]:
        return (yield from oauth.exchange(_token_url(base), _TITLE, client, callback, code, verifier))

    def refresh(self, base: str, client: OAuthClient, callback: str, refresh: str) -> Talk[Grant]:
        return (yield from oauth.refresh(_token_url(base), _TITLE, client, callback, refresh))


GITEA = Gitea()


def _token_url(base: str) -> str:
    return f"{base}/login/oauth/access_token"


def _repository_url(base: str, full_name: str) -> str:
    owner, _, name = full_name.partition("/")
    return f"{base}/api/v1/repos/{quote(owner, safe='')}/{quote(name, safe='')}"


def _hooks_url(base: str, place: Place) -> str:
    return f"{_repository_url(base, place.full_name)}/hooks"


def _answered(base: str, request: Request, also: tuple[int, ...] = ()) -> Talk[Response]:
    """As `answers.answered`, with a word on what a person can do."""
    response = yield request
    if 200 <= response.status < 300 or response.status in also:
        return response
    if response.status in _REDIRECTS:
        if request.url.startswith(f"{base}/api/v1/repos/"):
            raise ProviderError(Trouble.MISSING, f"{_TITLE} knows the repository by another name now")
        raise ProviderError(
            Trouble.INVALID,
            f"{_TITLE} answered {response.status}, a redirect",
            next_step="give the address that a browser shows at last when it opens this one",
        )
    error = answers.refusal(response, _TITLE)
    page = f"{base}{_APPLICATIONS}"
    if error.trouble is Trouble.CREDENTIAL:
        error.next_step = f"connect it anew, or make another access token at {page}"
    elif error.trouble is Trouble.FORBIDDEN and (needed := _NEEDED.search(answers.words(response.tree()))):
        error.next_step = f"make an access token with the scope {needed[1]} at {page}; needed are {', '.join(_SCOPES)}"
    raise error


def _tree(base: str, request: Request) -> Talk[Any]:
    return _read((yield from _answered(base, request)))


def _read(response: Response) -> Any:
    found = response.tree()
    if found is None:
        raise _unreadable("something that is JSON; is the address right?")
    return found


def _unreadable(what: str) -> ProviderError:
    return ProviderError(Trouble.DOWN, f"{_TITLE} did not answer {what}")


def _page(base: str, url: str, query: Mapping[str, str], page: int) -> Talk[tuple[list[Any], bool]]:
    """One page, and whether there is another. Its address is made here and never read from an answer, since the token
    goes with the request."""
    asked = urlencode({**query, "limit": _PAGE, "page": page})
    response = yield from _answered(base, answers.asking("GET", f"{url}?{asked}"))
    found = [] if response.body.strip() == b"null" else _read(response)  # so it says that there are none
    items = answers.at(found, "data") if isinstance(found, Mapping) else found
    if not isinstance(items, list):
        raise _unreadable("a list")
    return items, bool(items) and answers.next_page(response) is not None


def _pages(base: str, url: str, query: Mapping[str, str], most: int = _PAGE * _MOST_PAGES) -> Talk[list[Any]]:
    found: list[Any] = []
    for page in range(1, _MOST_PAGES + 1):
        items, more = yield from _page(base, url, query, page)
        found += items
        if not more or len(found) >= most:
            break
    return found[:most]


def _hosted(base: str, item: Any) -> HostedRepository | None:
    """Addresses are made of `base`, by which the server can be reached, not of what it believes its own to be."""
    number, full_name = answers.number(item, "id"), answers.text(item, "full_name")
    branch = answers.text(item, "default_branch")
    parts = full_name.split("/")
    if not number or len(parts) != 2 or not all(_NAME.fullmatch(part) and part.strip(".") for part in parts):
        return None
    return HostedRepository(
        id=str(number),
        full_name=full_name,
        clone_url=f"{base}/{full_name}.git",
        web_url=f"{base}/{full_name}",
        default_branch=branch if is_branch(branch) and answers.at(item, "empty") is not True else None,
        private=answers.at(item, "private") is not False,
        administered=answers.at(item, "permissions", "admin") is True,
    )


def _hooks(items: list[Any]) -> Iterator[HostedHook]:
    for item in items:
        number, url = answers.number(item, "id"), answers.text(item, "config", "url")
        events = answers.at(item, "events")
        heard = {event for event in events if isinstance(event, str)} if isinstance(events, list) else set()
        as_json = answers.text(item, "config", "content_type") == "json"
        everywhere = answers.text(item, "branch_filter") in ("", "*")
        if number:
            active = answers.at(item, "active") is True
            wanted = heard.issuperset(_EVENTS) and as_json and everywhere
            yield HostedHook(str(number), url, active=active, wanted=wanted)
