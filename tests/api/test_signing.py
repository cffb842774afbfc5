"""The signature of a generic hook, as a table."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from multidict import CIMultiDict

from godploy.core import signing

NOW = 1_700_000_000.0
BODY = b'{"event": "ping"}'


def headers(secret: str = "s3cret", at: int = int(NOW), body: bytes = BODY, **changed: str) -> CIMultiDict[str]:
    given = {
        signing.DELIVERY: "d-1",
        signing.TIMESTAMP: str(at),
        signing.SIGNATURE: signing.sign(secret, at, body),
    }
    return CIMultiDict({**given, **{name.replace("_", "-"): value for name, value in changed.items()}})


def test_the_signature_is_the_documented_one() -> None:
    digest = hmac.new(b"s3cret", b"1700000000." + BODY, hashlib.sha256).hexdigest()
    assert signing.sign("s3cret", 1_700_000_000, BODY) == f"sha256={digest}"


@pytest.mark.parametrize("off", [0, -300, 300])
def test_an_authentic_delivery(off: int) -> None:
    given = headers(at=int(NOW) + off)
    assert signing.well_formed(given, NOW)
    assert signing.verify(given, BODY, ["s3cret"], NOW)


def test_either_secret_of_a_rotation_is_good() -> None:
    assert signing.verify(headers("old"), BODY, ["new", "old"], NOW)
    assert signing.verify(headers("new"), BODY, ["new", "old"], NOW)


@pytest.mark.parametrize(
    ("given", "body", "secrets"),
    [
        (headers("wrong"), BODY, ["s3cret"]),
        (headers(), BODY + b" ", ["s3cret"]),
        (headers(), BODY, []),
        (headers(""), BODY, [""]),
        (headers(at=int(NOW) - 301), BODY, ["s3cret"]),
        (headers(at=int(NOW) + 301), BODY, ["s3cret"]),
        (headers(X_Godploy_Timestamp=str(int(NOW) + 1)), BODY, ["s3cret"]),
        (headers(X_Godploy_Timestamp=""), BODY, ["s3cret"]),
        (headers(X_Godploy_Timestamp="١٧٠٠٠٠٠٠٠٠"), BODY, ["s3cret"]),
        (headers(X_Godploy_Timestamp="1700000000\n"), BODY, ["s3cret"]),
        (headers(X_Godploy_Delivery=""), BODY, ["s3cret"]),
        (headers(X_Godploy_Delivery="a b"), BODY, ["s3cret"]),
        (headers(X_Godploy_Delivery="x" * 129), BODY, ["s3cret"]),
        (headers(X_Godploy_Signature_256=""), BODY, ["s3cret"]),
        (headers(X_Godploy_Signature_256="sha256=é"), BODY, ["s3cret"]),
        (headers(X_Godploy_Signature_256="sha1=" + "0" * 40), BODY, ["s3cret"]),
        (headers(X_Godploy_Signature_256=signing.sign("s3cret", int(NOW), BODY).upper()), BODY, ["s3cret"]),
        (headers(X_Godploy_Signature_256="\udcff"), BODY, ["s3cret"]),
    ],
)
def test_what_is_not_authentic(given: CIMultiDict[str], body: bytes, secrets: list[str]) -> None:
    assert not signing.verify(given, body, secrets, NOW)


def test_missing_headers() -> None:
    assert not signing.verify(CIMultiDict(), BODY, ["s3cret"], NOW)
