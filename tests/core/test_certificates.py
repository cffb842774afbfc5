"""Who may have a certificate, what Traefik's store and log say, and when it is tried again."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from godploy.core.certificates import Attempt, Certificate, astray, complaints, is_public, stored
from godploy.drivers import selfsigned


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("shop.example.com", True),
        ("xn--bcher-kva.example.com", True),
        ("localhost.example.com", True),
        ("localhost", False),
        ("web-shop.localhost", False),
        ("server", False),
        ("203.0.113.7", False),
        ("web-shop.203-0-113-7.sslip.io", False),
        ("nas.home.arpa", False),
        ("shop.test", False),
        ("git.internal", False),
    ],
)
def test_public_hosts(host: str, expected: bool) -> None:
    assert is_public(host) is expected


def test_the_store_of_traefik(tmp_path: Path) -> None:
    pem = selfsigned.ensure(tmp_path, ["shop.example.com"]).certificate.read_bytes()
    entry = {
        "domain": {"main": "shop.example.com"},
        "certificate": base64.b64encode(pem).decode(),
        "key": "",
        "Store": "",
    }
    found = stored(json.dumps({"acme": {"Account": {}, "Certificates": [entry]}}))
    assert found is not None
    assert found["shop.example.com"].issuer == "Godploy on this machine"
    assert found["shop.example.com"].begins < found["shop.example.com"].overdue_at < found["shop.example.com"].expires
    text = json.dumps({"acme": {"Account": {}, "Certificates": [entry]}})
    assert stored(text[: len(text) // 2]) is None
    assert stored("") == {}
    assert stored('{"acme": {"Account": {}, "Certificates": null}}') == {}
    assert stored('{"acme": null}') is None
    assert isinstance(found["shop.example.com"], Certificate)


# As Traefik 3.7.15 and Pebble 2.4 wrote them; the last is Let's Encrypt's sentence in Traefik's frame.
REFUSED = (
    '2026-11-24T14:17:53Z ERR Unable to obtain ACME certificate for domains error="unable to generate a certificate '
    "for the domains [bad.example.com]: resolver: one or more domains had a problem: [bad.example.com: invalid "
    "authorization: acme: error: 403 :: urn:ietf:params:acme:error:unauthorized :: Non-200 status code from HTTP: "
    'http://bad.example.com/.well-known/acme-challenge/x returned 404]" ACME CA=https://127.0.0.1:14000/dir '
    'acmeCA=https://127.0.0.1:14000/dir domains=["bad.example.com"] providerName=acme.acme routerName=c-tls@file '
    "rule=Host(`bad.example.com`)"
)
DOWN = (
    '2026-11-24T14:18:03Z ERR Unable to obtain ACME certificate for domains error="cannot get ACME client get '
    "directory at 'https://127.0.0.1:14009/dir': unable to communicate with the API server: error: Get "
    '\\"https://127.0.0.1:14009/dir\\": dial tcp 127.0.0.1:14009: connect: connection refused" ACME '
    'CA=https://127.0.0.1:14009/dir domains=["shop.example.com"] providerName=acme.acme routerName=b-tls@file '
    'rule="Host(`shop.example.com`) && (Path(`/api`) || PathPrefix(`/api/`))"'
)
LIMITED = (
    '2026-11-24T14:18:03Z ERR Unable to obtain ACME certificate for domains error="unable to generate a certificate '
    "for the domains [shop.example.com]: acme: error: 429 :: POST :: https://acme/new-order :: "
    "urn:ietf:params:acme:error:rateLimited :: too many certificates (5) already issued for this exact set of "
    'identifiers in the last 168h0m0s, retry after 2026-11-26 10:00:00 UTC" domains=["shop.example.com"]'
)


@pytest.mark.parametrize(
    ("line", "host", "reason"),
    [
        (REFUSED, "bad.example.com",
         "invalid authorization: acme: error: 403 :: urn:ietf:params:acme:error:unauthorized :: Non-200 status code "
         "from HTTP: http://bad.example.com/.well-known/acme-challenge/x returned 404"),
        (DOWN, "shop.example.com",
         "get directory at 'https://127.0.0.1:14009/dir': unable to communicate with the API server: error: Get "
         '"https://127.0.0.1:14009/dir": dial tcp 127.0.0.1:14009: connect: connection refused'),
    ],
)  # fmt: skip
def test_the_log_of_traefik(line: str, host: str, reason: str) -> None:
    noise = "2026-11-24T14:17:24Z WRN aliasHeadersStrategy is not configured domains=[] error="
    (found,) = complaints([noise, line, "\x00\xff", ""])
    assert (found.host, found.reason) == (host, reason)
    assert found.at == pytest.approx(1795529873, abs=20)


def test_it_waits_longer_each_time() -> None:
    attempt, now, pauses = Attempt(), 1_000_000.0, []
    for _ in range(8):
        attempt = attempt.begun(now)
        assert attempt.asked_at == now
        attempt = attempt.failed(now, "no")
        assert (attempt.asked_at, attempt.error) == (None, "no")
        pauses.append(attempt.next_at - now)
        now = attempt.next_at
    assert pauses == [120, 600, 1800, 3600, 7200, 14400, 14400, 14400]
    assert Attempt(**json.loads(json.dumps(attempt.to_json()))) == attempt


def test_it_waits_as_long_as_the_authority_says() -> None:
    (found,) = complaints([LIMITED])
    assert found.reason.startswith("acme: error: 429")
    attempt = Attempt().begun(found.at).failed(found.at, found.reason)
    assert attempt.next_at == 1795687200  # 2026-11-26 10:00 UTC


@pytest.mark.parametrize(
    ("leads_to", "server", "expected"),
    [
        (["9.9.9.9"], ["8.8.4.4", "10.0.0.2"], "shop.example.com leads to 9.9.9.9, this server is 8.8.4.4"),
        (["8.8.4.4"], ["8.8.4.4"], None),
        (["9.9.9.9", "2001:4860::4"], ["8.8.4.4", "2001:4860::4"], None),
        (["9.9.9.9"], ["10.0.0.2"], None),
        (["127.0.0.1"], ["8.8.4.4"], None),
        ([], ["8.8.4.4"], "shop.example.com leads nowhere: DNS has no address for it; this server is 8.8.4.4"),
        ([], [], "shop.example.com leads nowhere: DNS has no address for it"),
    ],
)  # fmt: skip
def test_where_a_host_leads(leads_to: list[str], server: list[str], expected: str | None) -> None:
    assert astray("shop.example.com", leads_to, server) == expected
