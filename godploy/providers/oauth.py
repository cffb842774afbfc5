"""The authorization-code grant, with PKCE where a provider has it: https://www.rfc-editor.org/rfc/rfc6749#section-4.1

oauthlib writes and reads the protocol's texts (it is sans-I/O and the field's reference); what differs by provider is
given by its module.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets as random
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

from godploy.providers import answers
from godploy.providers.protocol import Grant, OAuthClient, ProviderError, Response, Talk, Trouble

_LONGEST_LIFETIME = 10 * 365 * 86400.0  # seconds; what is longer ends sooner than somebody finds out
_TOKEN = re.compile(r"[ -~]{1,65536}")  # https://www.rfc-editor.org/rfc/rfc6749#appendix-A.12
_NEVER_BACK = ("invalid_grant", "bad_refresh_token", "bad_verification_code", "unauthorized_client")


def new_verifier() -> str:
    """A PKCE verifier: https://www.rfc-editor.org/rfc/rfc7636#section-4.1"""
    return random.token_urlsafe(48)


def challenge(verifier: str) -> str:
    """Its S256 challenge."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def authorize_url(
    endpoint: str, client: OAuthClient, callback: str, state: str, scopes: Sequence[str], challenge: str = ""
) -> str:
    """Where the browser goes; `challenge` "" is without PKCE."""
    from oauthlib.oauth2 import WebApplicationClient  # a megabyte that most servers do without

    more = {"code_challenge": challenge, "code_challenge_method": "S256"} if challenge else {}
    # oauthlib refuses http, whose use is decided where the server's private bases are known; only the query is its own.
    asked: str = WebApplicationClient(client.id).prepare_request_uri(
        "https://here", redirect_uri=callback, scope=list(scopes) or None, state=state, **more
    )
    return endpoint + asked.removeprefix("https://here")


def exchange(
    endpoint: str, title: str, client: OAuthClient, callback: str, code: str, verifier: str, *, basic: bool = False
) -> Talk[Grant]:
    """The grant for a code. `basic`: the client names itself by HTTP Basic instead of in the form."""
    fields = {"grant_type": "authorization_code", "code": code, "redirect_uri": callback}
    if verifier:
        fields["code_verifier"] = verifier
    return (yield from _grant(endpoint, title, client, fields, basic))


def refresh(
    endpoint: str, title: str, client: OAuthClient, callback: str, token: str, *, basic: bool = False
) -> Talk[Grant]:
    """A new grant for a refresh token, which usually ends with that."""
    fields = {"grant_type": "refresh_token", "refresh_token": token, "redirect_uri": callback}
    return (yield from _grant(endpoint, title, client, fields, basic))


def _grant(endpoint: str, title: str, client: OAuthClient, fields: Mapping[str, str], basic: bool) -> Talk[Grant]:
    own = {} if basic else {"client_id": client.id, "client_secret": client.secret}
    named = base64.b64encode(f"{client.id}:{client.secret}".encode()).decode()
    headers = {"Authorization": f"Basic {named}"} if basic else {}
    response = yield answers.posting(endpoint, {**fields, **own}, headers)
    return _read(response, title)


def _read(response: Response, title: str) -> Grant:
    """GitHub says what is wrong with status 200, so the body is looked at first."""
    from oauthlib.oauth2 import OAuth2Error, WebApplicationClient

    if response.status in (403, 404, 429) or response.status >= 500:
        raise answers.refusal(response, title)
    body = response.body.decode(errors="replace")
    found: Any = response.tree() or dict(parse_qsl(body))
    try:
        told = WebApplicationClient("").parse_request_body_response(body)
    except OAuth2Error as error:
        reason = answers.words(found) or str(error.error)
        trouble = Trouble.CREDENTIAL if error.error in _NEVER_BACK else Trouble.INVALID
        raise ProviderError(trouble, f"{title} refused: {reason}") from error
    except (ValueError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:  # oauthlib takes any JSON
        raise ProviderError(Trouble.DOWN, f"{title} gave no token that can be read") from error
    if not all(_TOKEN.fullmatch(str(told.get(name) or "-")) for name in ("access_token", "refresh_token")):
        raise ProviderError(Trouble.DOWN, f"{title} gave no token that can be read")
    lifetime = told.get("expires_in")
    scopes = answers.at(found, "scope") or answers.at(found, "scopes")
    return Grant(
        token=str(told["access_token"]),
        refresh=str(told.get("refresh_token") or ""),
        lifetime=min(lifetime, _LONGEST_LIFETIME) if isinstance(lifetime, int | float) and lifetime > 0 else None,
        scopes=tuple(scopes.replace(",", " ").split()) if isinstance(scopes, str) else None,
    )
