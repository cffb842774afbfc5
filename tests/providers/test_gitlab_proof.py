"""How GitLab's deliveries prove themselves, checked with the reference implementation of Standard Webhooks."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from multidict import CIMultiDict
from standardwebhooks import Webhook, WebhookVerificationError

from godploy.providers import gitlab_events
from godploy.providers.gitlab import GITLAB

_SECRET = bytes(range(32)).hex()
_OTHER = "5a" * 32
_NOW = 1_760_000_000
_BODY = b'{"object_kind":"push"}'
_VECTOR = {
    "webhook-id": "f5e5f430-f57b-4e6e-9fac-d9128cd7232f",
    "webhook-timestamp": str(_NOW),
    "webhook-signature": "v1,UBiAxHF1Quhbh7KWziQ8lUWrdKEEJnlI3UUzZfTY6l4=",
}
_TOKEN = {"X-Gitlab-Token": gitlab_events.plain_token(_SECRET)}


def _verify(
    headers: dict[str, str],
    scheme: str,
    *,
    body: bytes = _BODY,
    secrets: tuple[str, ...] = (_SECRET,),
    now: float = float(_NOW),
) -> bool:
    return GITLAB.verify(CIMultiDict(headers), body, secrets, scheme, now)


def _signed(secret: str, body: bytes, at: int = _NOW, id: str = _VECTOR["webhook-id"]) -> dict[str, str]:
    """By somebody else's program."""
    signer = Webhook(gitlab_events.signing_token(secret))
    signature = signer.sign(id, datetime.fromtimestamp(at, UTC), body.decode())
    return {"webhook-id": id, "webhook-timestamp": str(at), "webhook-signature": signature}


def test_the_vector_and_the_reference_implementation_agree() -> None:
    assert gitlab_events.signing_token(_SECRET) == "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    assert _signed(_SECRET, _BODY) == _VECTOR
    assert _verify(_VECTOR, "signature")
    body = '{"größe": "\U0001f600"}'.encode()
    assert _verify(_signed(_OTHER, body), "signature", body=body, secrets=(_OTHER,))


def test_what_was_signed_elsewhere_by_our_token_is_refused_there_where_it_is_refused_here() -> None:
    theirs = Webhook(gitlab_events.signing_token(_SECRET))
    now = int(datetime.now(UTC).timestamp())
    good = _signed(_SECRET, _BODY, now)
    theirs.verify(_BODY, good)
    assert _verify(good, "signature", now=now)
    for bad in (_signed(_OTHER, _BODY, now), {**good, "webhook-id": "another"}, _signed(_SECRET, _BODY, now - 400)):
        with pytest.raises(WebhookVerificationError):
            theirs.verify(_BODY, bad)
        assert not _verify(bad, "signature", now=now)


def test_the_plain_token_is_derived_and_tells_nothing_of_the_secret() -> None:
    expected = hmac.new(bytes(range(32)), b"X-Gitlab-Token", hashlib.sha256).hexdigest()
    assert gitlab_events.plain_token(_SECRET) == expected
    assert _verify(_TOKEN, "token")
    assert not _verify({"X-Gitlab-Token": _SECRET}, "token")
    as_key = _signed(gitlab_events.plain_token(_SECRET), _BODY)
    assert not _verify(as_key, "signature")


@pytest.mark.parametrize("scheme", ["", "unknown", "Token", "SIGNATURE", "signature,token", "token "])
def test_no_other_scheme_accepts_anything(scheme: str) -> None:
    headers = CIMultiDict({**_VECTOR, **_TOKEN})
    assert not GITLAB.well_formed(headers, scheme, _NOW)
    assert not _verify({**_VECTOR, **_TOKEN}, scheme)


def test_neither_scheme_accepts_the_other_ones_proof() -> None:
    assert not _verify(_TOKEN, "signature")
    assert not _verify(_VECTOR, "token")
    wrong_signature = {**_VECTOR, **_TOKEN, "webhook-signature": "v1," + "A" * 43 + "="}
    assert not _verify(wrong_signature, "signature")
    assert not _verify({**_VECTOR, "X-Gitlab-Token": "0" * 64}, "token")


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-signature": ""},
        {"webhook-signature": None},
        {"webhook-signature": "UBiAxHF1Quhbh7KWziQ8lUWrdKEEJnlI3UUzZfTY6l4="},
        {"webhook-signature": "V1,UBiAxHF1Quhbh7KWziQ8lUWrdKEEJnlI3UUzZfTY6l4="},
        {"webhook-signature": "v2,UBiAxHF1Quhbh7KWziQ8lUWrdKEEJnlI3UUzZfTY6l4="},
        {"webhook-signature": "v1a,UBiAxHF1Quhbh7KWziQ8lUWrdKEEJnlI3UUzZfTY6l4="},
        {"webhook-signature": "v1,UBiAxHF1Quhbh7KWziQ8lUWrdKEEJnlI3UUzZfTY6l4"},
        {"webhook-signature": "v1,ubiAxHF1Quhbh7KWziQ8lUWrdKEEJnlI3UUzZfTY6l4="},
        {"webhook-signature": "v1,"},
        {"webhook-signature": "sha1=" + "a" * 40},
        {"webhook-signature": "sha256=" + "a" * 64},
        {"webhook-signature": "v1,größe" + "A" * 38 + "="},
        {"webhook-signature": "v1,\udcff" + "A" * 42 + "="},
        {"webhook-id": ""},
        {"webhook-id": None},
        {"webhook-id": "another"},
        {"webhook-id": "x" * 129},
        {"webhook-id": "größe"},
        {"webhook-timestamp": ""},
        {"webhook-timestamp": None},
        {"webhook-timestamp": "x"},
        {"webhook-timestamp": "-1"},
        {"webhook-timestamp": f"{_NOW}.0"},
        {"webhook-timestamp": "١٧٦٠٠٠٠٠٠٠"},
        {"webhook-timestamp": str(_NOW + 1)},
        {"webhook-timestamp": "9" * 5000},
    ],
)
def test_a_signature_that_is_not_whole_is_refused(change: dict[str, str | None]) -> None:
    headers = {name: value for name, value in {**_VECTOR, **change}.items() if value is not None}
    assert not _verify(headers, "signature")
    assert not _verify({**headers, **_TOKEN}, "signature")


@pytest.mark.parametrize("age", [-300, -299, 0, 299, 300])
def test_a_clock_may_be_off_by_five_minutes(age: int) -> None:
    assert _verify(_VECTOR, "signature", now=_NOW + age)


@pytest.mark.parametrize("age", [-100_000, -301, 301, 100_000])
def test_a_clock_may_not_be_off_by_more(age: int) -> None:
    assert not GITLAB.well_formed(CIMultiDict(_VECTOR), "signature", _NOW + age)
    assert not _verify(_VECTOR, "signature", now=_NOW + age)


@pytest.mark.parametrize("timestamp", [f"0{_NOW}", str(_NOW).zfill(12), "9" * 13])
def test_the_time_is_signed_as_it_is_written(timestamp: str) -> None:
    assert not _verify({**_VECTOR, "webhook-timestamp": timestamp}, "signature")


@pytest.mark.parametrize("place", [0, 1, 2])
def test_any_of_several_signatures_may_be_ours(place: int) -> None:
    others = ["v1," + "A" * 43 + "=", "v1a," + "B" * 86 + "=="]
    others.insert(place, _VECTOR["webhook-signature"])
    assert _verify({**_VECTOR, "webhook-signature": " ".join(others)}, "signature")


@pytest.mark.parametrize(
    "token",
    [
        "",
        None,
        "0" * 64,
        gitlab_events.plain_token(_SECRET).upper(),
        gitlab_events.plain_token(_SECRET)[:-1],
        gitlab_events.plain_token(_SECRET) + " ",
        "größe",
        "\udcff" * 64,
        gitlab_events.signing_token(_SECRET),
    ],
)
def test_a_wrong_token_is_refused(token: str | None) -> None:
    assert not _verify({} if token is None else {"X-Gitlab-Token": token}, "token")


@pytest.mark.parametrize(
    "body", [_BODY + b" ", b" " + _BODY, b"", _BODY.upper(), _BODY.replace(b"push", b"p\xff")], ids=repr
)
def test_any_other_body_is_refused(body: bytes) -> None:
    assert not _verify(_VECTOR, "signature", body=body)


@pytest.mark.parametrize("scheme", ["signature", "token"])
def test_two_secrets_count_while_one_takes_the_others_place(scheme: str) -> None:
    headers = _VECTOR if scheme == "signature" else _TOKEN
    assert _verify(headers, scheme, secrets=(_OTHER, _SECRET))
    assert _verify(headers, scheme, secrets=(_SECRET, _OTHER))
    assert not _verify(headers, scheme, secrets=(_OTHER,))


@pytest.mark.parametrize("secrets", [(), ("",), ("x",), (_SECRET.upper()[:-1],), ("größe" * 20,)])
@pytest.mark.parametrize("scheme", ["signature", "token"])
def test_without_a_secret_nothing_is_authentic(scheme: str, secrets: tuple[str, ...]) -> None:
    """Not even what is made with the key that stands in for one."""
    key = gitlab_events._NOBODYS
    forged = hmac.new(key, f"id.{_NOW}.".encode() + _BODY, "sha256")
    headers = {
        "webhook-id": "id",
        "webhook-timestamp": str(_NOW),
        "webhook-signature": "v1," + base64.b64encode(forged.digest()).decode(),
        "X-Gitlab-Token": hmac.new(key, b"X-Gitlab-Token", "sha256").hexdigest(),
    }
    assert not _verify(headers, scheme, secrets=secrets)


@pytest.mark.parametrize("secrets", [(), (_OTHER,)])
@pytest.mark.parametrize("scheme", ["signature", "token", ""])
def test_the_work_is_the_same_whatever_is_wrong(
    monkeypatch: pytest.MonkeyPatch, scheme: str, secrets: tuple[str, ...]
) -> None:
    """The body is hashed and proofs are compared once, with or without a secret, by either scheme."""
    counted = {"hmac": 0, "compared": 0}
    new, compare = hmac.new, hmac.compare_digest

    def counting(name: str, real: Callable[..., object]) -> Callable[..., object]:
        def count(*given: object) -> object:
            counted[name] += 1
            return real(*given)

        return count

    monkeypatch.setattr(hmac, "new", counting("hmac", new))
    monkeypatch.setattr(hmac, "compare_digest", counting("compared", compare))
    assert not _verify({**_VECTOR, **_TOKEN}, scheme, secrets=secrets)
    assert counted == {"hmac": 2, "compared": 2}


def test_the_key_of_a_delivery() -> None:
    def key(headers: dict[str, str]) -> str:
        return GITLAB.key(CIMultiDict(headers), _BODY)

    digest = "sha256:" + hashlib.sha256(_BODY).hexdigest()
    assert key({"Idempotency-Key": "one"}) == "one"
    assert key({"webhook-id": "one", "idempotency-key": "one"}) == "one"
    assert key({"Webhook-Id": "signed", "Idempotency-Key": "anybody's"}) == "signed"
    assert key({"X-Gitlab-Event-UUID": "shared"}) == digest
    for malformed in ("", "a b", "größe", "x" * 129, "a\tb"):
        assert key({"Idempotency-Key": malformed}) == digest
    assert key({"Idempotency-Key": "x" * 128}) == "x" * 128
    assert len(digest) <= 128


def test_no_log_keeps_what_proves_something() -> None:
    assert {name.lower() for name in GITLAB.signature_headers} == {"x-gitlab-token", "webhook-signature"}
