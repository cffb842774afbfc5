"""OAuth's authorization-code grant as a provider plays it: who asks for what is checked to the letter."""

from __future__ import annotations

import base64
import hashlib
import secrets as random
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from aiohttp import web

from godploy.providers.protocol import OAuthClient
from tests.providers.fakes.state import Client, Code, NotApproved, Refresh, Refused, Token, User

_CODE_LIFE = 600.0  # seconds


class Grants:
    """The class attributes are how providers differ; a subclass of Fake sets them."""

    authorize_path = "/login/oauth/authorize"
    token_path = "/login/oauth/access_token"
    pkce = True
    client_by_basic = False  # the client names itself by HTTP Basic at the token endpoint
    sends_callback = True  # the redirect address must be named again with the code
    wants_response_type = True
    known_scopes: tuple[str, ...] = ()  # (): any
    refreshes = True
    rotates = True  # a refresh token serves once
    replaces = True  # the access token ends when it is refreshed
    refusal_status = 400

    base: str
    tokens: dict[str, Token]
    token_lifetime: float | None

    def __init__(self) -> None:
        self.clients: dict[str, Client] = {}
        self.codes: dict[str, Code] = {}
        self.refresh_tokens: dict[str, Refresh] = {}

    def now(self) -> float:
        raise NotImplementedError

    def make_token(self, user: User, scopes: tuple[str, ...] | None = None) -> str:
        raise NotImplementedError

    def new_text(self, kind: str) -> str:
        """A token's text; `kind` "token", "oauth", "refresh" or what the provider has besides."""
        return f"{kind}_{random.token_hex(20)}"

    # A person in a browser

    def register_client(self, callback: str) -> OAuthClient:
        made = Client(f"client{len(self.clients) + 1}", random.token_hex(20), callback)
        self.clients[made.id] = made
        return made.value

    def approve(self, url: str, user: User) -> str:
        """Where the browser is sent when the user agrees. Raises NotApproved where the page would show an error."""
        client, query = self._asked(url)
        challenge = query.get("code_challenge", "") if self.pkce else ""
        scopes = self.granted(tuple(query.get("scope", "").split()))
        text = random.token_hex(10)
        callback = query.get("redirect_uri") or client.callback
        self.codes[text] = Code(client, callback, challenge, user, scopes, self.now() + _CODE_LIFE)
        return _with_query(callback, {"code": text, "state": query["state"]})

    def deny(self, url: str) -> str:
        """Where the browser is sent when the user does not agree."""
        client, query = self._asked(url)
        refusal = {"error": "access_denied", "error_description": "The user has denied your application access."}
        return _with_query(query.get("redirect_uri") or client.callback, {**refusal, "state": query["state"]})

    def granted(self, asked: tuple[str, ...]) -> tuple[str, ...]:
        """What the user grants of it."""
        return asked

    def _asked(self, url: str) -> tuple[Client, dict[str, str]]:
        if not url.startswith(f"{self.base}{self.authorize_path}?"):
            raise NotApproved(f"{url} is not the authorize page")
        pairs = parse_qsl(urlsplit(url).query, keep_blank_values=True)
        query = dict(pairs)
        client = self.clients.get(query.get("client_id", ""))
        problems = {
            "the client is unknown": client is None,
            "the redirect address is not the registered one": client is not None
            and query.get("redirect_uri", "" if self.sends_callback else client.callback) != client.callback,
            "the response type is not code": self.wants_response_type and query.get("response_type") != "code",
            "a scope is unknown": bool(self.known_scopes)
            and not set(query.get("scope", "").split()) <= set(self.known_scopes),
            "there is no state": not query.get("state"),
            "the challenge is not S256": self.pkce
            and "code_challenge" in query
            and (query.get("code_challenge_method") != "S256" or len(query["code_challenge"]) != 43),
            "something is said twice": len(query) != len(pairs),
        }
        found = [problem for problem, there in problems.items() if there]
        if found or client is None:
            raise NotApproved("; ".join(found))
        return client, query

    # The token endpoint

    async def token_endpoint(self, fields: dict[str, str], authorization: str) -> web.Response:
        client = self._client(fields, authorization)
        kind = fields.get("grant_type", "authorization_code")
        if kind == "authorization_code":
            user, scopes = self._for_code(client, fields)
        elif kind == "refresh_token" and self.refreshes:
            user, scopes = self._for_refresh(client, fields)
        else:
            raise self.oauth_refusal("unsupported_grant_type", "The grant type is not supported.")
        text = self.new_text("oauth")
        ends_at = self.now() + self.token_lifetime if self.token_lifetime is not None else None
        self.tokens[text] = Token(text, user, scopes, "oauth", ends_at)
        refresh = ""
        if self.refreshes and self.token_lifetime is not None:
            refresh = self.new_text("refresh")
            self.refresh_tokens[refresh] = Refresh(client, user, scopes, text)
        return web.json_response(self.grant_answer(text, refresh, scopes))

    def grant_answer(self, token: str, refresh: str, scopes: tuple[str, ...]) -> dict[str, Any]:
        """The answer's JSON; `refresh` "" where there is none."""
        ends = {} if self.token_lifetime is None else {"expires_in": int(self.token_lifetime)}
        more = {"refresh_token": refresh} if refresh else {}
        return {"access_token": token, "token_type": "bearer", "scope": " ".join(scopes), **ends, **more}

    def oauth_refusal(self, error: str, description: str) -> Refused:
        return Refused(self.refusal_status, {"error": error, "error_description": description})

    def _client(self, fields: dict[str, str], authorization: str) -> Client:
        given = fields.get("client_id", ""), fields.get("client_secret", "")
        if self.client_by_basic:
            given = basic_login(authorization) or ("", "")
        client = self.clients.get(given[0])
        if client is None or client.secret != given[1]:
            raise self.wrong_client()
        return client

    def wrong_client(self) -> Refused:
        return Refused(401, {"error": "invalid_client", "error_description": "Client authentication failed."})

    def wrong_code(self) -> Refused:
        return self.oauth_refusal("invalid_grant", "The code is invalid, expired, or was issued to another client.")

    def wrong_refresh(self) -> Refused:
        return self.oauth_refusal("invalid_grant", "The refresh token is invalid, expired or revoked.")

    def _for_code(self, client: Client, fields: dict[str, str]) -> tuple[User, tuple[str, ...]]:
        code = self.codes.pop(fields.get("code", ""), None)
        callback = fields.get("redirect_uri")
        if code is None or code.client is not client or code.until <= self.now():
            raise self.wrong_code()
        if callback != code.callback and (self.sends_callback or callback is not None):
            raise self.wrong_code()
        verifier = fields.get("code_verifier", "")
        if code.challenge and _challenge(verifier) != code.challenge:
            raise self.wrong_code()
        return code.user, code.scopes

    def _for_refresh(self, client: Client, fields: dict[str, str]) -> tuple[User, tuple[str, ...]]:
        held = self.refresh_tokens.get(fields.get("refresh_token", ""))
        if held is None or held.client is not client or held.used:
            raise self.wrong_refresh()
        held.used = self.rotates
        if self.replaces:
            self.tokens[held.access].revoked = True
        return held.user, held.scopes


def basic_login(authorization: str) -> tuple[str, str] | None:
    """(name, password) of an Authorization header; None where it is not Basic."""
    scheme, _, rest = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, colon, password = base64.b64decode(rest, validate=True).decode().partition(":")
    except ValueError:
        return None
    return (name, password) if colon else None


def _challenge(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def _with_query(address: str, query: dict[str, str]) -> str:
    return f"{address}{'&' if '?' in address else '?'}{urlencode(query)}"
