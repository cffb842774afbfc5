"""How GitHub's REST API is asked, and what its refusals mean: https://docs.github.com/en/rest/using-the-rest-api"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import unquote, urlsplit

from godploy.providers import answers
from godploy.providers.protocol import ProviderError, Request, Response, Talk, Trouble

TITLE = "GitHub"
TOKENS = "/settings/tokens"
MOST_PAGES = 20
PAGE = 100  # the most that it takes

_PUBLIC, _PUBLIC_API = "https://github.com", "https://api.github.com"
_HEADERS = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}
_REDIRECTS = (301, 302, 307, 308)
_SECONDARY_WAIT = 60.0  # seconds, the least that it asks for where it names no time
_PERMISSIONS = re.compile(r"[a-z_=,; ]{1,200}")
_SCOPES = re.compile(r"[a-z_:, ]{1,200}")


def address(base: str) -> str:
    """Where the API of that server is."""
    return _PUBLIC_API if base == _PUBLIC else f"{base}/api/v3"


def asking(base: str, method: str, path: str, tree: Any = None, headers: Mapping[str, str] | None = None) -> Request:
    return answers.asking(method, f"{address(base)}{path}", tree, {**_HEADERS, **(headers or {})})


def answered(base: str, request: Request, also: Collection[int] = ()) -> Talk[Response]:
    """As `answers.answered`, with a word on what a person can do. Raises ProviderError."""
    response = yield request
    if 200 <= response.status < 300 or response.status in also:
        return response
    if response.status in _REDIRECTS:
        raise _moved(base, request, response)
    raise refusal(base, response)


def tree(base: str, request: Request) -> Talk[Any]:
    return read((yield from answered(base, request)))


def read(response: Response) -> Any:
    """The JSON of an answer. Raises ProviderError."""
    found = response.tree()
    if found is None:
        raise unreadable("something that is JSON; is the address right?")
    return found


def unreadable(what: str) -> ProviderError:
    return ProviderError(Trouble.DOWN, f"{TITLE} did not answer {what}")


def page(base: str, request: Request, name: str = "") -> Talk[tuple[list[Any], Request | None]]:
    """A page's items, which stand at `name` of the answer, and how the next one is asked for, None after the last. The
    next page's address is the server's own word, and the token goes with it: so it is kept to the API."""
    response = yield from answered(base, request)
    found = read(response)
    items = answers.at(found, name) if name else found
    if not isinstance(items, list):
        raise unreadable("a list")
    url = answers.next_page(response)
    if url is None:
        return items, None
    if not url.startswith(f"{address(base)}/") or not url.isprintable() or " " in url or _climbs(url):
        raise ProviderError(Trouble.DOWN, f"{TITLE} named a next page that is not below {address(base)}")
    return items, Request("GET", url, headers=request.headers, anonymous=request.anonymous)


def pages(base: str, request: Request, name: str = "") -> Talk[list[Any]]:
    """All items, of twenty pages at most."""
    found: list[Any] = []
    following: Request | None = request
    for _ in range(MOST_PAGES):
        if following is None:
            break
        items, following = yield from page(base, following, name)
        found += items
    return found


def refusal(base: str, response: Response) -> ProviderError:
    """Too many requests are told by 403 as well as by 429:
    https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api"""
    error = answers.refusal(response, TITLE)
    if response.status in (403, 429) and error.wait is None:
        wait = _wait(response)
        if wait is not None:
            return ProviderError(Trouble.BUSY, error.message, wait=wait)
    error.next_step = _next_step(base, response, error.trouble)
    return error


def of_an_app(response: Response) -> bool:
    """Whether it is refused since an App, not a person, asks."""
    return response.status == 403 and "accessible by integration" in answers.words(response.tree())


def _moved(base: str, request: Request, response: Response) -> ProviderError:
    if request.url.startswith(f"{address(base)}/repos/"):
        return ProviderError(Trouble.MISSING, f"{TITLE} knows the repository by another name now")
    step = "give the address that a browser shows at last when it opens this one"
    return ProviderError(Trouble.INVALID, f"{TITLE} answered {response.status}, a redirect", next_step=step)


def _wait(response: Response) -> float | None:
    """Seconds until it may be asked again, None where its refusal is of another kind. The time of its reset is on its
    own clock, which `Date` tells."""
    if response.headers.get("x-ratelimit-remaining") == "0":
        reset = response.headers.get("x-ratelimit-reset", "")
        try:
            now = parsedate_to_datetime(response.headers.get("date", "")).timestamp()
        except (ValueError, OverflowError):
            return _SECONDARY_WAIT
        return min(max(float(reset) - now, 1.0), 3600.0) if re.fullmatch(r"[0-9]{1,12}", reset) else _SECONDARY_WAIT
    limited = response.status == 429 or "secondary rate limit" in answers.words(response.tree()).lower()
    return _SECONDARY_WAIT if limited else None


def _next_step(base: str, response: Response, trouble: Trouble) -> str:
    if trouble is Trouble.CREDENTIAL:
        return f"connect it anew, or make another access token at {base}{TOKENS}"
    if trouble not in (Trouble.FORBIDDEN, Trouble.MISSING):
        return ""
    _, _, sign_on = response.headers.get("x-github-sso", "").partition("url=")
    if sign_on.startswith(f"{base}/") and sign_on.isprintable() and " " not in sign_on:
        return f"let the organization's single sign-on know the token: {sign_on[:500]}"
    accepted = response.headers.get("x-accepted-oauth-scopes", "")
    held = response.headers.get("x-oauth-scopes")
    if held is not None and _SCOPES.fullmatch(accepted) and not _scopes(held) & _scopes(accepted):
        return f"make an access token with one of the scopes {accepted} at {base}{TOKENS}"
    needed = response.headers.get("x-accepted-github-permissions", "")
    if trouble is Trouble.FORBIDDEN and _PERMISSIONS.fullmatch(needed):
        return f"give the token or the App the permission {needed}"
    return ""


def _scopes(text: str) -> set[str]:
    return set(text.replace(",", " ").split())


def _climbs(url: str) -> bool:
    return ".." in unquote(urlsplit(url).path).split("/")
