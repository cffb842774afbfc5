"""Requests that no client of ours would send: each is answered plainly, and costs nobody else anything."""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from godploy.api import hooks
from godploy.core import signing
from tests.api.conftest import Site

API = "/api/v1/projects"
WRONG_TOKENS = [
    b"Bearer \xff\xfe",
    b"Bearer gdp_\xed\xa0\x80", b"Basic \xff", b"Basic !!!!", b"Basic Og==", b"Bearer", b"Bearer \x00",
    b"Bearer " + b"x" * 7000, b"bearer gdp_", b"Digest x", "Bearer é".encode("latin-1"), b"",
]  # fmt: skip


async def raw(site: Site, request: bytes, within: float = 20.0) -> bytes:
    """What the server answers to exactly these bytes, until it closes or the head and its body are there."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    try:
        writer.write(request)
        async with asyncio.timeout(within):
            return await reader.read(65536)
    finally:
        writer.close()


def get(path: str, *headers: bytes, host: bytes = b"127.0.0.1") -> bytes:
    lines = [f"GET {path} HTTP/1.1".encode(), b"Host: " + host, b"Connection: close", *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n"


@pytest.mark.parametrize("token", WRONG_TOKENS)
async def test_a_token_that_is_no_text_is_a_wrong_token(site: Site, token: bytes) -> None:
    for path in (API, "/git/default/shop/app.git/info/refs?service=git-upload-pack"):
        answer = await raw(site, get(path, b"Authorization: " + token))
        assert answer.startswith((b"HTTP/1.1 401", b"HTTP/1.0 400")), answer[:100]


async def test_a_token_in_the_address_is_none(site: Site) -> None:
    for query in ("token", "access_token", "private_token", "api_key"):
        assert (await site.as_(None).get(f"{API}?{query}={site.token}")).status == 401


@pytest.mark.parametrize(
    "path",
    [
        "/git/default/shop/app.git/config",
        "/git/default/shop/app.git/HEAD",
        "/git/default/shop/app.git/objects/info/packs",
        "/git/default/shop/app.git/info/refs",
        "/git/default/shop/app.git/info/refs?service=git-upload-archive",
        "/git/default/shop/app.git/info/refs?service=git-upload-pack%0a",
        "/git/default/shop/../../key",
        "/git/default/shop/..%2f..%2fkey.git/info/refs?service=git-upload-pack",
        "/git/default/shop/%2e%2e.git/info/refs?service=git-upload-pack",
        "/git/default/shop/%2fetc.git/info/refs?service=git-upload-pack",
        "/git//default/shop/app.git/info/refs?service=git-upload-pack",
        "/git/default/shop/app.git//info/refs?service=git-upload-pack",
        "/git/default/shop/app%00.git/info/refs?service=git-upload-pack",
        "/git/of-other/other/app.git/info/refs?service=git-upload-pack",
        "/git/default/%2e%2e/app.git/info/refs?service=git-upload-pack",
    ],
)
async def test_the_git_remote_serves_nothing_but_its_protocol(site: Site, path: str) -> None:
    await site.made(API, {"name": "shop"})
    await site.made(f"{API}/shop/repositories", {"name": "app"})
    other = await site.member(None)
    await other.made(API, {"name": "other"})
    await other.made(f"{API}/other/repositories", {"name": "app"})
    answer = await raw(site, get(path, b"Authorization: Bearer " + str(site.token).encode()))
    assert answer.startswith((b"HTTP/1.1 404", b"HTTP/1.1 422", b"HTTP/1.1 400", b"HTTP/1.1 401")), answer[:200]
    assert b"[core]" not in answer and b"service=git" not in answer


async def test_headers_do_not_reach_gits_environment(site: Site) -> None:
    await site.made(API, {"name": "shop"})
    await site.made(f"{API}/shop/repositories", {"name": "app"})
    path = "/git/default/shop/app.git/info/refs?service=git-upload-pack"
    for header in (
        b"Git-Protocol: version=2:evil\tvalue",
        b"Git-Config-Parameters: 'core.hooksPath'='/tmp'",
        b"Git-Project-Root: /",
        b"Path-Translated: /etc",
        b"Content-Encoding: gzip",
        b"Content-Length: 0",
        b"Remote-User: somebody",
    ):
        answer = await raw(site, get(path, b"Authorization: Bearer " + str(site.token).encode(), header))
        assert answer.startswith(b"HTTP/1.1 200"), (header, answer[:200])


@pytest.mark.parametrize(
    "host", [b"evil.example", b"localhost.evil.example", b"", b"localhost@evil.example", b"[", b"\xff"]
)
async def test_a_name_that_is_not_ours_is_not_answered(site: Site, host: bytes) -> None:
    answer = await raw(site, get(API, host=host))
    assert answer.startswith((b"HTTP/1.1 421", b"HTTP/1.1 400")), answer[:100]


@pytest.mark.parametrize(
    "path", ["/hooks/../api/v1/me", "/hooks/%2e%2e/api/v1/me", "/healthz/../api/v1/me", "/schemas//api/v1/me"]
)
async def test_plain_http_from_elsewhere_reaches_no_api_by_any_path(site: Site, path: str) -> None:
    bearer = b"Authorization: Bearer " + str(site.token).encode()
    elsewhere = b"X-Forwarded-For: 203.0.113.9"
    for headers in (
        (elsewhere,),
        (b"X-Forwarded-For: 127.0.0.1, 203.0.113.9",),
        (elsewhere, b"X-Forwarded-Proto: http"),
        (elsewhere, b"X-Forwarded-Proto: HTTPS"),
        (elsewhere, b"Forwarded: proto=https;for=127.0.0.1"),
    ):
        for wanted in (path, "/api/v1/me"):
            answer = await raw(site, get(wanted, bearer, *headers))
            assert b"ada@example.com" not in answer, (wanted, headers)


@pytest.mark.parametrize(
    "body",
    [b"[" * 100_000, b'{"a":' * 50_000, b'{"name": "\\ud800"}', b'{"name": "x\\u0000"}', b'{"name":"a","name":"b"}',
     b"\xff\xfe", b"NaN", b'{"name": 1e999}', b'{"name": ' + b"9" * 5000 + b"}", b"null", b'"x"', b""],
)  # fmt: skip
async def test_a_hostile_body_is_the_senders_mistake(site: Site, body: bytes) -> None:
    head = f"POST {API} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {site.token}\r\nConnection: close\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    answer = await raw(site, head.encode() + body)
    assert answer.startswith(b"HTTP/1.1 422"), answer[:200]


async def test_slow_strangers_do_not_hold_up_deliveries(site: Site) -> None:
    """Connections that begin a delivery to nowhere and never go on leave the way free for everybody else's."""
    await site.made(API, {"name": "shop"})
    made = await site.made(f"{API}/shop/repositories", {"name": "app", "url": "https://git.example.com/a.git"})
    strangers = []
    for number in range(4 * hooks._BODIES_AT_ONCE):
        _, writer = await asyncio.open_connection("127.0.0.1", site.port)
        signed = (
            f"{signing.DELIVERY}: {number}\r\n{signing.TIMESTAMP}: {int(time.time())}\r\n"
            f"{signing.SIGNATURE}: sha256={'0' * 64}\r\n"
        )
        head = f"POST /hooks/generic/nowhere HTTP/1.1\r\nHost: 127.0.0.1\r\n{signed}Content-Length: 1000\r\n\r\n{{"
        writer.write(head.encode())
        await writer.drain()
        strangers.append(writer)
    body = json.dumps({"event": "ping"}).encode()
    async with asyncio.timeout(20):
        answer = await site.hook(made["hook_url"], made["hook_secret"], body, "slow-1")
    assert answer.status == 202, answer.raw
    for writer in strangers:
        writer.close()
