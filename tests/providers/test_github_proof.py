"""How GitHub's deliveries prove themselves, and by what a repeat is known."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from multidict import CIMultiDict

from godploy.providers.github import GITHUB

_SECRET, _OLD = "5e" * 32, "0d" * 32
_BODY = b'{"ref":"refs/heads/main"}'


def _sign(secret: str, body: bytes = _BODY) -> str:
    return f"sha256={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}"


def _verify(signature: str | None, body: bytes = _BODY, secrets: tuple[str, ...] = (_SECRET,)) -> bool:
    headers = CIMultiDict({} if signature is None else {"X-Hub-Signature-256": signature})
    return GITHUB.verify(headers, body, secrets, "", 0.0)


@pytest.mark.parametrize(
    ("secret", "body", "signature"),
    [
        # Of GitHub's documentation
        (
            "It's a Secret to Everybody",
            b"Hello, World!",
            "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
        ),
        (
            "godploy-test-secret",
            _BODY,
            "sha256=58cbf5bbe3c28b369fe7918b7689782a20c48c5fde1717d69ee7d83a9a84bc6a",
        ),
        (_SECRET, b"\xff\xfe\x00", _sign(_SECRET, b"\xff\xfe\x00")),
        (_SECRET, b"", _sign(_SECRET, b"")),
    ],
)
def test_an_authentic_delivery_is_one(secret: str, body: bytes, signature: str) -> None:
    assert _verify(signature, body, (secret,))
    assert GITHUB.well_formed(CIMultiDict({"x-hub-signature-256": signature}), "", 0.0)


def test_two_secrets_are_good_while_one_replaces_the_other() -> None:
    assert _verify(_sign(_OLD), secrets=(_SECRET, _OLD))
    assert _verify(_sign(_SECRET), secrets=(_SECRET, _OLD))
    assert not _verify(_sign(_OLD), secrets=(_SECRET,))


_SHA1 = hmac.new(_SECRET.encode(), _BODY, hashlib.sha1).hexdigest()


@pytest.mark.parametrize(
    ("signature", "formed"),
    [
        (_sign(_OLD), True),
        (_sign(_SECRET, _BODY + b" "), True),
        (None, False),
        ("", False),
        ("sha256=", False),
        (_sign(_SECRET).removeprefix("sha256="), False),
        (_sign(_SECRET).replace("sha256", "SHA256"), False),
        (_sign(_SECRET).upper(), False),
        (_sign(_SECRET)[:-1], False),
        (f"{_sign(_SECRET)} ", False),
        (f"{_sign(_SECRET)}\n", False),
        (f"sha1={_SHA1}", False),
        (f"sha256={_SHA1}", False),
        ("sha256=" + "ß" * 64, False),
        ("sha256=\udcff" + "0" * 63, False),
        ("sha256=" + "１" * 64, False),
    ],
)
def test_any_other_delivery_is_not(signature: str | None, formed: bool) -> None:
    headers = {} if signature is None else {"X-Hub-Signature-256": signature}
    assert not _verify(signature)
    assert GITHUB.well_formed(CIMultiDict(headers), "", 0.0) is formed


def test_the_older_signature_proves_nothing() -> None:
    for signature in (f"sha1={_SHA1}", _sign(_SECRET)):
        headers = CIMultiDict({"X-Hub-Signature": signature})
        assert not GITHUB.verify(headers, _BODY, (_SECRET,), "", 0.0)
        assert not GITHUB.well_formed(headers, "", 0.0)


@pytest.mark.parametrize("secrets", [(), ("",)])
def test_without_a_secret_nothing_is_authentic(secrets: tuple[str, ...]) -> None:
    nobodys = "a secret that signs nothing, so that an unknown hook takes as long as a wrong signature"
    for secret in ("", nobodys):
        assert not _verify(_sign(secret), secrets=secrets)


def test_without_a_secret_the_whole_body_is_hashed_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    hashed = []
    real = hmac.new

    def counted(key: bytes, msg: bytes, digestmod: str) -> hmac.HMAC:
        hashed.append(len(msg))
        return real(key, msg, digestmod)

    monkeypatch.setattr(hmac, "new", counted)
    _verify("", secrets=())
    assert hashed == [len(_BODY)]


@pytest.mark.parametrize(
    ("delivery", "key"),
    [
        ("72d3162e-cc78-11e3-81ab-4c9367dc0958", "72d3162e-cc78-11e3-81ab-4c9367dc0958"),
        ("x" * 128, "x" * 128),
        ("x" * 129, None),
        ("a b", None),
        ("é", None),
        ("a\n", None),
        ("", None),
        (None, None),
    ],
)
def test_a_delivery_is_known_by_its_id_or_its_body(delivery: str | None, key: str | None) -> None:
    headers = {} if delivery is None else {"X-GitHub-Delivery": delivery}
    expected = key or f"sha256:{hashlib.sha256(_BODY).hexdigest()}"
    assert GITHUB.key(CIMultiDict(headers), _BODY) == expected


def test_no_log_keeps_a_signature() -> None:
    assert {name.lower() for name in GITHUB.signature_headers} == {"x-hub-signature-256", "x-hub-signature"}
