"""The signature of a generic hook: who sends it knows the hook's secret, and sent it just now.

`X-Godploy-Signature-256: sha256=HEX` is the HMAC-SHA-256 of the timestamp, a dot and the body as it was sent; verified
on the raw bytes, before anything is parsed, in constant time. Since the timestamp is signed, what was recorded is worth
nothing after five minutes, and the delivery key stops it until then. Pure.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable, Mapping

DELIVERY = "X-Godploy-Delivery"
TIMESTAMP = "X-Godploy-Timestamp"
SIGNATURE = "X-Godploy-Signature-256"

SKEW = 300.0  # seconds that the sender's clock may be off, either way

_DELIVERY_FORM = re.compile(r"[!-~]{1,128}")
_TIMESTAMP_FORM = re.compile(r"[0-9]{1,12}")
_SIGNATURE_FORM = re.compile(r"sha256=[0-9a-f]{64}")
_NOBODYS = b"a secret that signs nothing, so that an unknown hook takes as long as a wrong signature"


def sign(secret: str, timestamp: str | int, body: bytes) -> str:
    """The value of the signature header."""
    return f"sha256={_digest(secret.encode(), str(timestamp), body)}"


def well_formed(headers: Mapping[str, str], now: float) -> bool:
    """Whether the headers could belong to an authentic delivery: what can be said before the body is read.

    `now` in seconds since 1970. `headers` finds names in whatever case they are asked for.
    """
    timestamp = headers.get(TIMESTAMP, "")
    return (
        _DELIVERY_FORM.fullmatch(headers.get(DELIVERY, "")) is not None
        and _TIMESTAMP_FORM.fullmatch(timestamp) is not None
        and abs(now - int(timestamp)) <= SKEW
        and _SIGNATURE_FORM.fullmatch(headers.get(SIGNATURE, "")) is not None
    )


def verify(headers: Mapping[str, str], body: bytes, secrets: Iterable[str], now: float) -> bool:
    """Whether one of `secrets` signed it. Without any secret nothing is authentic, and that takes as long to say."""
    known = [secret.encode() for secret in secrets if secret]
    timestamp, given = headers.get(TIMESTAMP, ""), headers.get(SIGNATURE, "").encode(errors="replace")
    matches = [
        hmac.compare_digest(f"sha256={_digest(secret, timestamp, body)}".encode(), given)
        for secret in known or [_NOBODYS]
    ]
    return bool(known) and any(matches) and well_formed(headers, now)


def nobodys() -> hmac.HMAC:
    """Takes a body that no secret can have signed, with the work that a verification is."""
    return hmac.new(_NOBODYS, digestmod="sha256")


def _digest(secret: bytes, timestamp: str, body: bytes) -> str:
    signed = hmac.new(secret, timestamp.encode(errors="replace") + b".", "sha256")
    signed.update(body)
    return signed.hexdigest()
