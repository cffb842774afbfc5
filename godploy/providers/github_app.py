"""A GitHub App, made by the manifest flow: https://docs.github.com/en/apps/sharing-github-apps

A person posts the manifest to GitHub by a form, GitHub sends them back with a code, and the code is good for the App's
key. Requests that the App makes for itself carry a token that it has signed with that.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

from godploy.providers import answers, github_api
from godploy.providers.github import account_of
from godploy.providers.protocol import Account, Grant, ProviderError, Request, Talk, Trouble

# Hooks are made for each repository, as everywhere else; the App itself has none.
_PERMISSIONS = {
    "contents": "read",
    "metadata": "read",
    "statuses": "write",
    "repository_hooks": "write",
    "pull_requests": "read",
}
_SLUG = re.compile(r"[a-z0-9_-]{1,100}")
_EARLIER, _LATER = 60, 540  # seconds: clocks differ, and more than ten minutes is refused


@dataclass(frozen=True, slots=True)
class App:
    """What GitHub gives for one."""

    id: str
    slug: str
    client_id: str
    client_secret: str = field(repr=False)
    pem: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Installation:
    """`account` is the user or organization that it was installed for."""

    id: str
    account: Account


def manifest(url: str, name: str, callback: str, setup: str) -> dict[str, Any]:
    """What the form carries. `url` is the server's own, `callback` where the code comes to, `setup` where a person is
    sent after an installation."""
    return {
        "name": name,
        "url": url,
        "hook_attributes": {"url": url, "active": False},
        "redirect_url": callback,
        "setup_url": setup,
        "public": False,
        "default_permissions": dict(_PERMISSIONS),
        "default_events": [],
    }


def creation_url(base: str, owner: str | None, state: str) -> str:
    """Where the form is posted to; `owner` is an organization, None for the person's own account."""
    place = f"/organizations/{quote(owner, safe='')}" if owner else ""
    return f"{base}{place}/settings/apps/new?{urlencode({'state': state})}"


def convert(base: str, code: str) -> Talk[tuple[App, Account]]:
    """The App for a code, and the account that owns it; a code is good once, for an hour. Raises ProviderError."""
    path = f"/app-manifests/{quote(code, safe='')}/conversions"
    request = _anonymous(github_api.asking(base, "POST", path))
    response = yield from github_api.answered(base, request, also=(404,))
    if response.status == 404:
        reason = "GitHub does not know the code: it was used already, or is more than an hour old"
        raise ProviderError(Trouble.INVALID, reason, next_step="begin anew in the terminal")
    found = github_api.read(response)
    owner = account_of(answers.at(found, "owner"))
    app = App(
        id=str(answers.number(found, "id")),
        slug=answers.text(found, "slug"),
        client_id=answers.text(found, "client_id"),
        client_secret=answers.text(found, "client_secret"),
        pem=answers.text(found, "pem"),
    )
    if owner is None or app.id == "0" or not _SLUG.fullmatch(app.slug) or not app.pem:
        raise github_api.unreadable("an App")
    return app, owner


def installation_url(base: str, app: App, state: str) -> str:
    """Where a person installs it."""
    apps = "apps" if base == "https://github.com" else "github-apps"
    query = f"?{urlencode({'state': state})}" if state else ""
    return f"{base}/{apps}/{app.slug}/installations/new{query}"


def jwt(app: App, now: float) -> str:
    """The App's own token, good for nine minutes; `now` in seconds since 1970. Raises ProviderError where its key is
    none."""
    import jwt as json_web_token  # 9 MB that a server without an App does without

    claims = {"iat": int(now) - _EARLIER, "exp": int(now) + _LATER, "iss": app.id}
    try:
        return json_web_token.encode(claims, app.pem, algorithm="RS256")
    except (ValueError, TypeError, json_web_token.PyJWTError) as error:
        raise ProviderError(Trouble.CREDENTIAL, "the key of the GitHub App cannot be read") from error


def installations(base: str, app: App, now: float) -> Talk[tuple[Installation, ...]]:
    """Those that are not suspended. Raises ProviderError."""
    path = f"/app/installations?per_page={github_api.PAGE}"
    items = yield from github_api.pages(base, _as_app(base, app, now, "GET", path))
    found = []
    for item in items:
        number, account = answers.number(item, "id"), account_of(answers.at(item, "account"))
        if number and account is not None and answers.at(item, "suspended_at") is None:
            found.append(Installation(str(number), account))
    return tuple(found)


def installation_token(base: str, app: App, installation: str, now: float) -> Talk[Grant]:
    """A token for an hour. Raises ProviderError, CREDENTIAL where the App is not installed there any more."""
    path = f"/app/installations/{quote(installation, safe='')}/access_tokens"
    response = yield from github_api.answered(base, _as_app(base, app, now, "POST", path), also=(404,))
    if response.status == 404:
        step = f"install it: {installation_url(base, app, '')}"
        raise ProviderError(Trouble.CREDENTIAL, "the GitHub App is not installed any more", next_step=step)
    found = github_api.read(response)
    token = answers.text(found, "token")
    if not token:
        raise github_api.unreadable("a token")
    return Grant(token, lifetime=_lifetime(answers.text(found, "expires_at"), now))


def _lifetime(text: str, now: float) -> float | None:
    try:
        return max(datetime.fromisoformat(text).timestamp() - now, 0.0)
    except (ValueError, OverflowError):
        return None


def _as_app(base: str, app: App, now: float, method: str, path: str) -> Request:
    return _anonymous(github_api.asking(base, method, path, headers={"Authorization": f"Bearer {jwt(app, now)}"}))


def _anonymous(request: Request) -> Request:
    return Request(request.method, request.url, request.body, request.headers, anonymous=True)
