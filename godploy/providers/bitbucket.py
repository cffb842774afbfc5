"""Bitbucket Cloud: https://developer.atlassian.com/cloud/bitbucket/rest/

What its deliveries tell is in `bitbucket_events`. Bitbucket Data Center has another API and is not this.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote, urlencode

from godploy.core.remote import is_branch
from godploy.providers import answers, oauth
from godploy.providers.bitbucket_events import BitbucketSender, is_full_name, person, pull_request
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

_TITLE = "Bitbucket"
_EVENTS = ("repo:push", "pullrequest:created", "pullrequest:updated", "pullrequest:fulfilled", "pullrequest:rejected")
_PAGE, _MOST_PAGES, _MOST_PULLS = 100, 20, 100
_LONGEST_TEXT, _LONGEST_NAME, _LONGEST_KEY = 140, 255, 40
_CALM = 60.0  # seconds; a limit is of an hour that rolls, and the refusal does not say how much of it is left
_UUID = re.compile(r"\{[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\}")
_NEXT = re.compile(r"[!-~]{1,4000}")
_CLIMBING = re.compile(r"/(\.|%2e){1,2}(/|\?|#|\\|%2f|%5c|$)", re.IGNORECASE)
_REDIRECTS = (301, 302, 307, 308)
_SETTINGS = "/account/settings/"  # leads to the account's own page for API tokens, which is on another host
_TOKENS = "https://id.atlassian.com/manage-profile/security/api-tokens"
_NAMELESS = (
    f"make another API token at {_TOKENS}, and give the account's e-mail address with it; a token of a repository or "
    "workspace names no user, and where it can list nothing it looks like one that has ended"
)

_STATES = {
    StatusState.PENDING: "INPROGRESS",
    StatusState.RUNNING: "INPROGRESS",
    StatusState.SUCCESS: "SUCCESSFUL",
    StatusState.FAILURE: "FAILED",
    StatusState.ERROR: "FAILED",
    StatusState.SUPERSEDED: "STOPPED",
    StatusState.CANCELLED: "STOPPED",
}


class Bitbucket(BitbucketSender):
    """Both halves: what can be asked, and what is told."""

    name = "bitbucket"
    title = _TITLE
    tests_hooks = False
    single = True
    # For an Atlassian API token; a repository's or workspace's own access token goes without.
    token_username = "e-mail address"  # noqa: S105
    token_page = _SETTINGS
    token_scopes = (
        "read:user:bitbucket",
        "read:workspace:bitbucket",
        "read:repository:bitbucket",
        "read:pullrequest:bitbucket",
        "read:webhook:bitbucket",
        "write:webhook:bitbucket",
        "delete:webhook:bitbucket",
    )
    oauth_scopes = ("account", "repository", "pullrequest", "webhook")  # ticked at the consumer, never asked for
    oauth_page = "/WORKSPACE/workspace/settings/api"  # with the name of a workspace of one's own
    pkce = False

    def api(self, base: str) -> str:
        return "https://api.bitbucket.org/2.0" if base == self.usual_base else f"{base}/2.0"

    def authorization(self, credential: Credential) -> Mapping[str, str]:
        if _is_api_token(credential):
            login = base64.b64encode(f"{credential.username}:{credential.token}".encode()).decode()
            return {"Authorization": f"Basic {login}"}
        return {"Authorization": f"Bearer {credential.token}"}

    def git_login(self, credential: Credential) -> tuple[str, str]:
        """With an API token git wants this name, not the e-mail address that the API wants."""
        name = "x-bitbucket-api-token-auth" if _is_api_token(credential) else "x-token-auth"
        return name, credential.token

    def account(self, base: str) -> Talk[Account]:
        """A token of a repository or workspace may not ask who it is; it is named by what it sees."""
        request = answers.asking("GET", f"{self.api(base)}/user")
        response = yield from _answered(request, also=(401, 403))
        if response.status in (401, 403):
            return (yield from self._of_what(base, _refusal(response)))
        user = _read(response)
        uuid, name = answers.text(user, "uuid"), person(user)
        if not _UUID.fullmatch(uuid) or not name:
            raise _unreadable("who the credential belongs to")
        return Account(uuid, name)

    def _of_what(self, base: str, error: ProviderError) -> Talk[Account]:
        """Where nothing is seen either, the first refusal stands: a token that has ended is refused just so. A user's
        token that lacks a scope is told its own name for that."""
        if error.retry or "read:user:bitbucket" in error.next_step:
            raise error
        error.next_step = _NAMELESS
        try:
            seen = yield from self._seen(base)
        except ProviderError as refused:
            raise (refused if refused.retry else error) from None
        if seen is None:
            raise error
        return seen

    def _seen(self, base: str) -> Talk[Account | None]:
        workspaces, _ = yield from self._workspaces(base)
        if not workspaces:
            return None
        uuid, slug = workspaces[0]
        url = f"{self.api(base)}/repositories/{quote(uuid or slug, safe='')}?pagelen=2"
        items, _, _ = yield from _pages(self.api(base), url, 1)
        found = [read for read in (_hosted(base, item, administered=False) for item in items) if read is not None]
        if len(found) == len(workspaces) == 1:
            return Account(f"repository:{found[0].id}", found[0].full_name)
        return Account(f"workspace:{uuid or slug}", slug or uuid)

    def repositories(self, base: str, search: str, limit: int) -> Talk[Listing]:
        """There is no list over all workspaces, so each is asked; names are compared here."""
        workspaces, complete = yield from self._workspaces(base)
        found: list[tuple[str, HostedRepository]] = []
        left = _MOST_PAGES
        for uuid, slug in workspaces:
            query = urlencode({"role": "admin", "pagelen": _PAGE, "sort": "-updated_on"})
            url = f"{self.api(base)}/repositories/{quote(uuid or slug, safe='')}?{query}"
            items, used, whole = yield from _pages(self.api(base), url, left)
            left, complete = left - used, complete and whole
            for item in items:
                read = _hosted(base, item, administered=True)
                if read is not None and search.casefold() in read.full_name.casefold():
                    found.append((answers.text(item, "updated_on"), read))
        found.sort(key=lambda each: each[0], reverse=True)
        return Listing(tuple(read for _, read in found[:limit]), complete=complete and len(found) <= limit)

    def _workspaces(self, base: str) -> Talk[tuple[list[tuple[str, str]], bool]]:
        """(uuid, slug) of each, and whether these are all. Older answers hold them bare."""
        api = self.api(base)
        items, _, whole = yield from _pages(api, f"{api}/user/workspaces?pagelen={_PAGE}", _MOST_PAGES)
        found = []
        for item in items:
            held = answers.at(item, "workspace")
            held = held if isinstance(held, Mapping) else item
            uuid, slug = answers.text(held, "uuid"), answers.text(held, "slug")
            uuid, slug = uuid if _UUID.fullmatch(uuid) else "", slug if is_full_name(f"{slug}/x") else ""
            if uuid or slug:
                found.append((uuid, slug))
        return list(dict.fromkeys(found)), whole

    def repository(self, base: str, full_name: str) -> Talk[HostedRepository]:
        workspace, _, name = full_name.partition("/")
        return (yield from self._one(base, f"{quote(workspace, safe='')}/{quote(name, safe='')}"))

    def located(self, base: str, id: str) -> Talk[HostedRepository]:
        return (yield from self._one(base, _by_id(id)))

    def _one(self, base: str, path: str) -> Talk[HostedRepository]:
        """Its answer does not tell what the credential may do there, so its hooks are asked for: only an administrator
        sees them."""
        tree = _read((yield from _answered(answers.asking("GET", f"{self.api(base)}/repositories/{path}"))))
        found = _hosted(base, tree, administered=False)
        if found is None:
            raise _unreadable("a repository")
        try:
            url = f"{self.api(base)}/repositories/{_by_id(found.id)}/hooks?pagelen=1"
            yield from _answered(answers.asking("GET", url))
        except ProviderError as refused:
            if refused.trouble in (Trouble.FORBIDDEN, Trouble.MISSING):
                return found
            raise
        return replace(found, administered=True)

    def branches(self, base: str, place: Place) -> Talk[tuple[str, ...]]:
        url = f"{self._url(base, place)}/refs/branches?pagelen={_PAGE}"
        items, _, _ = yield from _pages(self.api(base), url, _MOST_PAGES)
        return tuple(name for name in (answers.text(item, "name") for item in items) if is_branch(name))

    def hooks(self, base: str, place: Place) -> Talk[tuple[HostedHook, ...]]:
        url = f"{self._url(base, place)}/hooks?pagelen={_PAGE}"
        items, _, _ = yield from _pages(self.api(base), url, _MOST_PAGES)
        return tuple(_hooks(items))

    def create_hook(self, base: str, place: Place, wish: HookWish) -> Talk[HostedHook]:
        return (yield from self._put_hook("POST", f"{self._url(base, place)}/hooks", wish))

    def update_hook(self, base: str, place: Place, hook: str, wish: HookWish) -> Talk[HostedHook]:
        return (yield from self._put_hook("PUT", f"{self._url(base, place)}/hooks/{quote(hook, safe='')}", wish))

    def _put_hook(self, method: str, url: str, wish: HookWish) -> Talk[HostedHook]:
        tree = {
            "description": "Godploy",
            "url": wish.url,
            "active": True,
            "secret": wish.secret,
            "events": list(_EVENTS),
        }
        for hook in _hooks([_read((yield from _answered(answers.asking(method, url, tree))))]):
            return hook
        raise _unreadable("the hook that it made")

    def delete_hook(self, base: str, place: Place, hook: str) -> Talk[None]:
        url = f"{self._url(base, place)}/hooks/{quote(hook, safe='')}"
        yield from _answered(answers.asking("DELETE", url), also=(404,))

    def test_hook(self, base: str, place: Place, hook: str, branch: str) -> Talk[bool]:
        """There is no such request."""
        yield from ()
        return False

    def set_status(self, base: str, place: Place, status: CommitStatus) -> Talk[None]:
        """The address may be a template, in which a brace begins a name: https://www.rfc-editor.org/rfc/rfc6570"""
        tree = {
            "key": _key(status.context),
            "state": _STATES[status.state],
            "name": status.context[:_LONGEST_NAME],
            "description": status.description[:_LONGEST_TEXT],
            "url": status.url.replace("{", "%7B").replace("}", "%7D"),
            **({"refname": status.branch} if status.branch else {}),
        }
        url = f"{self._url(base, place)}/commit/{quote(status.commit, safe='')}/statuses/build"
        yield from _answered(answers.asking("POST", url, tree))

    def pull_requests(self, base: str, place: Place) -> Talk[tuple[PullRequest, ...]]:
        """Fifty a page is the most here."""
        query = urlencode({"state": "OPEN", "pagelen": 50, "sort": "-updated_on"})
        url = f"{self._url(base, place)}/pullrequests?{query}"
        items, _, _ = yield from _pages(self.api(base), url, _MOST_PULLS // 50)
        found = (pull_request(base, item) for item in items[:_MOST_PULLS])
        return tuple(pull for pull in found if pull is not None)

    def pull_ref(self, number: int, branch: str) -> str:
        """It keeps no ref of the pull request itself."""
        return f"refs/heads/{branch}"

    def _url(self, base: str, place: Place) -> str:
        return f"{self.api(base)}/repositories/{_by_id(place.id)}"

    def authorize_url(self, base: str, client: OAuthClient, callback: str, state: str, challenge: str) -> str:
        return oauth.authorize_url(f"{base}/site/oauth2/authorize", client, callback, state, ())

    def exchange(self, base: str, client: OAuthClient, callback: str, code: str, verifier: str) -> Talk[Grant]:
        return (yield from oauth.exchange(_token_url(base), _TITLE, client, callback, code, "", basic=True))

    def refresh(self, base: str, client: OAuthClient, callback: str, refresh: str) -> Talk[Grant]:
        return (yield from oauth.refresh(_token_url(base), _TITLE, client, callback, refresh, basic=True))


BITBUCKET = Bitbucket()


def _is_api_token(credential: Credential) -> bool:
    return credential.kind == "token" and bool(credential.username)


def _token_url(base: str) -> str:
    return f"{base}/site/oauth2/access_token"


def _by_id(id: str) -> str:
    """A repository's uuid is enough; empty braces stand for its workspace, whichever that is now:
    https://developer.atlassian.com/cloud/bitbucket/rest/intro/#repository-object-and-uuid"""
    return f"%7B%7D/{quote(id, safe='')}"


def _key(context: str) -> str:
    """A status of the same key takes the place of the former one."""
    if len(context) <= _LONGEST_KEY:
        return context
    return f"gp-{hashlib.sha256(context.encode(errors='replace')).hexdigest()[:32]}"


def _answered(request: Request, also: tuple[int, ...] = ()) -> Talk[Response]:
    """As `answers.answered`, with a word on what a person can do."""
    response = yield request
    if 200 <= response.status < 300 or response.status in also:
        return response
    raise _refusal(response)


def _refusal(response: Response) -> ProviderError:
    error = answers.refusal(response, _TITLE)
    if response.status in _REDIRECTS:
        return ProviderError(Trouble.MISSING, f"{_TITLE} knows the repository by another name now")
    if response.status == 402:
        next_step = "look at the workspace's plan: Bitbucket wants it paid, or has fewer users"
        return ProviderError(Trouble.FORBIDDEN, error.message, next_step=next_step)
    if response.status == 410:
        next_step = "update Godploy: Bitbucket has removed this part of its API"
        return ProviderError(Trouble.INVALID, error.message, next_step=next_step)
    if response.status == 429 and error.wait is None:
        error.wait = _CALM
    if response.status == 400 and (fields := answers.words(answers.at(response.tree(), "error", "fields"))):
        return ProviderError(error.trouble, f"{error.message} ({fields})")
    if error.trouble is Trouble.CREDENTIAL:
        error.next_step = f"connect it anew, or make another API token at {_TOKENS}"
    elif error.trouble is Trouble.FORBIDDEN:
        error.next_step = _next_step_for_scopes(response)
    return error


def _next_step_for_scopes(response: Response) -> str:
    required = answers.at(response.tree(), "error", "detail", "required")
    names = [name for name in required if isinstance(name, str)] if isinstance(required, list) else []
    wanted = ", ".join(re.sub(r"[^a-z:_-]", "", name[:60]) for name in names[:10])
    if not wanted:
        return "use a credential that may administer the repository"
    return f"use a credential with the scope {wanted}; API tokens are made at {_TOKENS}"


def _read(response: Response) -> Any:
    found = response.tree()
    if found is None:
        raise _unreadable("something that is JSON; is the address right?")
    return found


def _unreadable(what: str) -> ProviderError:
    return ProviderError(Trouble.DOWN, f"{_TITLE} did not answer {what}")


def _pages(api: str, url: str, most: int) -> Talk[tuple[list[Any], int, bool]]:
    """What is listed, how many pages that were, at most `most`, and whether it is all."""
    found: list[Any] = []
    for page in range(1, most + 1):
        tree = _read((yield from _answered(answers.asking("GET", url))))
        items = answers.at(tree, "values")
        if not isinstance(items, list):
            raise _unreadable("a list")
        found += items
        following = answers.text(tree, "next")
        if not following:
            return found, page, True
        url = _own(api, following)
    return found, most, False


def _own(api: str, url: str) -> str:
    """The credential goes with the request, so the next page is below the API's own address or not asked for."""
    inside = url.startswith(f"{api}/") and _NEXT.fullmatch(url) and not _CLIMBING.search(url.removeprefix(api))
    if not inside:
        raise ProviderError(Trouble.DOWN, f"{_TITLE} names a next page that is not its own, so it was not asked for")
    return quote(url, safe="%:/?#[]@!$&'()*+,;=-._~")


def _hosted(base: str, item: Any, *, administered: bool) -> HostedRepository | None:
    """Addresses are made of `base`: those in the answer hold the user's name, and are no other."""
    uuid, full_name = answers.text(item, "uuid"), answers.text(item, "full_name")
    if not _UUID.fullmatch(uuid) or not is_full_name(full_name):
        return None
    branch = answers.text(item, "mainbranch", "name")
    return HostedRepository(
        id=uuid,
        full_name=full_name,
        clone_url=f"{base}/{full_name}.git",
        web_url=f"{base}/{full_name}",
        default_branch=branch if is_branch(branch) else None,
        private=answers.at(item, "is_private") is not False,
        administered=administered,
    )


def _hooks(items: list[Any]) -> Iterator[HostedHook]:
    for item in items:
        uuid, url, events = answers.text(item, "uuid"), answers.text(item, "url"), answers.at(item, "events")
        heard = {event for event in events if isinstance(event, str)} if isinstance(events, list) else set()
        if _UUID.fullmatch(uuid):
            active = answers.at(item, "active") is True
            signed = answers.at(item, "secret_set") is not False
            yield HostedHook(uuid, url, active=active, wanted=signed and heard.issuperset(_EVENTS))
