"""How a GitHub App proves itself, and what it reads of its installations."""

from __future__ import annotations

from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from godploy.providers import github_app
from godploy.providers.github_app import App, Installation
from godploy.providers.protocol import Account, ProviderError, Request, Response, Talk, Trouble
from tests.providers.test_github_answers import API, WEB, answer, play, refused

_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
_PEM = _KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
).decode()
_APP = App("5", "godploy", "Iv1", "hush", _PEM)
_NOW = 1796083200.5  # 2026-12-01 00:00:00.5


def _claims(request: Request) -> Any:
    """Of the token that the request carries, which its key has signed."""
    scheme, _, token = request.headers["Authorization"].partition(" ")
    assert (scheme, request.anonymous) == ("Bearer", True)
    checks: Any = {"verify_exp": False, "verify_iat": False}
    return jwt.decode(token, _KEY.public_key(), algorithms=["RS256"], options=checks)


def test_an_app_proves_itself_for_nine_minutes() -> None:
    _, (request,) = play(github_app.installations(WEB, _APP, _NOW), answer([]))
    assert _claims(request) == {"iat": 1796083140, "exp": 1796083740, "iss": "5"}


@pytest.mark.parametrize("pem", ["", "no key", "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----"])
def test_a_key_that_is_none_is_told_and_not_repeated(pem: str) -> None:
    with pytest.raises(ProviderError) as told:
        github_app.jwt(App("5", "godploy", "Iv1", "hush", pem), _NOW)
    assert told.value.trouble is Trouble.CREDENTIAL
    assert "AAAA" not in told.value.message


def test_suspended_and_unreadable_installations_are_left_out() -> None:
    account = {"id": 9, "login": "acme"}
    there = [
        {"id": 1, "account": account, "suspended_at": "2026-01-01T00:00:00Z"},
        {"id": "2", "account": account},
        {"id": 3, "account": None},
        7,
        {"id": 4, "account": account, "suspended_at": None},
    ]
    found, _ = play(github_app.installations(WEB, _APP, _NOW), answer(there))
    assert found == (Installation("4", Account("9", "acme")),)


def test_further_pages_are_asked_for_by_the_app_too() -> None:
    second = answer([], link=f'<{API}/app/installations?page=2>; rel="next"')
    _, asked = play(github_app.installations(WEB, _APP, _NOW), second, answer([]))
    assert [_claims(each)["iss"] for each in asked] == ["5", "5"]


@pytest.mark.parametrize(
    ("expires_at", "lifetime"),
    [("2026-12-01T01:00:00Z", 3599.5), ("2026-11-30T01:00:00Z", 0.0), ("soon", None), (7, None)],
)
def test_a_token_of_an_installation_ends(expires_at: Any, lifetime: float | None) -> None:
    given = answer({"token": "ghs_1", "expires_at": expires_at}, 201)
    found, (request,) = play(github_app.installation_token(WEB, _APP, "4/x", _NOW), given)
    assert (found.token, found.lifetime, found.refresh) == ("ghs_1", lifetime, "")
    assert (request.method, request.url) == ("POST", f"{API}/app/installations/4%2Fx/access_tokens")


def _token() -> Talk[Any]:
    return github_app.installation_token(WEB, _APP, "4", _NOW)


def _convert() -> Talk[Any]:
    return github_app.convert(WEB, "C")


_OWNER = {"id": 3, "login": "ada"}
_MADE = {"id": 5, "slug": "godploy", "client_id": "Iv1", "client_secret": "hush", "pem": "key", "owner": _OWNER}


@pytest.mark.parametrize(
    ("talk", "response", "trouble", "step"),
    [
        (_token(), answer({}, 404), Trouble.CREDENTIAL, "https://github.com/apps/godploy/installations/new"),
        (_token(), answer({"token": 7}, 201), Trouble.DOWN, ""),
        (_token(), answer(b"", 500), Trouble.DOWN, ""),
        (_convert(), answer({}, 404), Trouble.INVALID, "begin anew"),
        (_convert(), answer({**_MADE, "owner": None}, 201), Trouble.DOWN, ""),
        (_convert(), answer({**_MADE, "slug": "../x"}, 201), Trouble.DOWN, ""),
        (_convert(), answer({**_MADE, "id": "5"}, 201), Trouble.DOWN, ""),
        (_convert(), answer({**_MADE, "pem": None}, 201), Trouble.DOWN, ""),
    ],
)
def test_what_goes_wrong_with_an_app(talk: Talk[Any], response: Response, trouble: Trouble, step: str) -> None:
    error = refused(talk, response)
    assert error.trouble is trouble
    assert step in error.next_step
    assert "hush" not in error.message
