"""How deliveries prove themselves at providers that sign the raw body alone, without a timestamp; and how they are told
from their repeats. In constant time where secrets are compared."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable

_KEY_FORM = re.compile(r"[!-~]{1,128}")
_NOBODYS = b"a secret that signs nothing, so that an unknown hook takes as long as a wrong signature"


def signed(given: str, body: bytes, secrets: Iterable[str], prefix: str = "") -> bool:
    """Whether `given` is the prefix and the HMAC-SHA-256 of the body, in hexadecimal, by one of `secrets`. Without any
    secret nothing is signed, and that takes as long to say."""
    known = [secret.encode() for secret in secrets if secret]
    found = given.encode(errors="replace")
    matches = [
        hmac.compare_digest(f"{prefix}{hmac.new(secret, body, 'sha256').hexdigest()}".encode(), found)
        for secret in known or [_NOBODYS]
    ]
    return bool(known) and any(matches)


def key(delivery: str, body: bytes) -> str:
    """The id that came with a delivery, where it can be kept; else what its body alone gives."""
    return delivery if _KEY_FORM.fullmatch(delivery) else f"sha256:{hashlib.sha256(body).hexdigest()}"
