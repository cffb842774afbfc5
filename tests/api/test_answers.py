"""What holds for every answer: who may ask, in which shape errors come, and which headers there are."""

from __future__ import annotations

import asyncio

import pytest

from godploy.api.routes import ROUTES
from godploy.api.server import listening
from godploy.errors import Conflict
from godploy.runtimes.protocol import RuntimeUnavailable
from godploy.store import people
from tests.api.conftest import URL, Site


async def test_health(site: Site) -> None:
    nobody = site.as_(None)
    assert (await nobody.get("/healthz")).json == {"status": "alive"}
    assert (await nobody.get("/readyz")).json == {"status": "ready"}
    site.services.ready.clear()
    assert (await nobody.get("/readyz")).status == 503
    assert (await nobody.get("/healthz")).status == 200


async def test_public_documents(site: Site) -> None:
    nobody = site.as_(None)
    assert (await nobody.get("/schemas/godploy.schema.json")).json["$schema"]
    assert (await nobody.get("/api/v1/openapi.json")).json["openapi"] == "3.1.0"


async def test_pages_for_people(site: Site) -> None:
    page = await site.as_(None).get("/whatever")
    assert page.status == 200
    assert b"godploy projects" in page.raw
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert (await site.as_(None).get("/api/v1/nothing")).error["code"] == "not_found"


async def test_the_page_of_a_deployment_tells_strangers_its_state_and_no_more(whole: Site) -> None:
    await whole.made("/api/v1/projects", {"name": "shop"})
    text = "version: 1\nservices:\n  web: {image: 'web:1', port: 8000}\n"
    saved = await whole.ask("PUT", "/api/v1/projects/shop/manifest", {"text": text})
    (made,) = saved.json["deployments"]
    page = await whole.as_(None).get(f"/deployments/{made['id']}")
    assert page.status == 200
    assert b"deployment 1 of shop to production" in page.raw
    assert b"godploy logs 1 --project shop" in page.raw
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert (await whole.as_(None).get("/deployments/none")).status == 404


async def test_common_headers(site: Site) -> None:
    for path in ("/healthz", "/api/v1/me", "/api/v1/nothing"):
        headers = (await site.get(path)).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"
        assert headers["Server"] == "Godploy"
        assert len(headers["X-Request-Id"]) == 16
        assert "Access-Control-Allow-Origin" not in headers


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("deploy.example.com", 200),
        ("DEPLOY.example.com:8443", 200),
        ("localhost:8400", 200),
        ("127.0.0.1", 200),
        ("[::1]:8400", 200),
        ("203.0.113.7", 200),
        ("evil.example", 421),
        ("deploy.example.com.evil.example", 421),
        ("localhost.evil.example", 421),
        ("deploy.example.com@evil.example", 421),
        ("[", 421),
        ("", 421),
    ],
)
async def test_hosts(site: Site, host: str, status: int) -> None:
    assert (await site.get("/api/v1/me", headers={"Host": host})).status == status


async def test_two_hosts_are_none(site: Site) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    assert answer.split()[1] in (b"400", b"421")


@pytest.mark.parametrize(
    ("forwarded", "status"),
    [
        ({}, 200),
        ({"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"}, 200),
        ({"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "http"}, 403),
        ({"X-Forwarded-For": "203.0.113.9"}, 403),
        ({"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "http"}, 200),
    ],
)
async def test_plain_http_is_for_loopback(site: Site, forwarded: dict[str, str], status: int) -> None:
    assert (await site.get("/api/v1/me", headers=forwarded)).status == status
    assert (await site.get("/healthz", headers=forwarded)).status == 200


async def test_large_bodies(site: Site) -> None:
    answer = await site.ask("POST", "/api/v1/validate", {"text": "x" * 1_200_000})
    assert answer.status == 413
    assert answer.error["code"] == "too_large"


async def test_a_wrong_body_says_all_that_is_wrong(site: Site) -> None:
    answer = await site.ask("POST", "/api/v1/projects", {"name": "Shop", "nmae": 1})
    assert answer.status == 422
    assert len(answer.error["fields"]["problems"]) == 2


async def test_a_fault_of_ours_reveals_nothing(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    async def broken() -> list[str]:
        raise RuntimeError("the secret is hunter2")

    site.services.runtime.images = broken  # type: ignore[method-assign]
    answer = await site.get("/api/v1/server")
    assert answer.status == 500
    assert b"hunter2" not in answer.raw
    assert answer.error["fields"]["request"] in caplog.text
    assert "hunter2" in caplog.text


async def test_the_engine_may_be_down(site: Site) -> None:
    async def down() -> list[str]:
        raise RuntimeUnavailable("the engine does not answer")

    site.services.runtime.images = down  # type: ignore[method-assign]
    answer = (await site.get("/api/v1/server")).json
    assert answer["engine"] == {"available": False, "message": "the engine does not answer"}
    assert answer["url"] == URL


async def test_tokens(site: Site) -> None:
    made = await site.made("/api/v1/tokens", {"name": "ci", "expires_in": 3600})
    ci = site.as_(made["token"])
    assert (await ci.get("/api/v1/me")).json["user"]["email"] == "ada@example.com"
    listed = (await ci.get("/api/v1/tokens")).json["tokens"]
    assert [(token["name"], token["current"]) for token in listed] == [("test", False), ("ci", True)]
    assert made["token"] not in str(listed)
    assert (await site.ask("DELETE", f"/api/v1/tokens/{made['id']}")).status == 204
    refused = await ci.get("/api/v1/me")
    assert refused.status == 401
    assert "godploy login" in refused.error["next_step"]


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Bearer gdp_wrong", "Basic !", "Basic eA==", "Digest x"])
async def test_no_good_token(site: Site, header: str) -> None:
    answer = await site.as_(None).get("/api/v1/me", headers={"Authorization": header})
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


async def test_the_last_use_is_noted_once_a_minute(site: Site) -> None:
    writes = 0
    write = people.note_use

    def counted(*given: object) -> None:
        nonlocal writes
        writes += 1
        write(*given)  # type: ignore[arg-type]

    people.note_use = counted
    try:
        for _ in range(3):
            await site.get("/api/v1/me")
    finally:
        people.note_use = write
    assert writes == 1


def _filled(path: str) -> str:
    values = {"project": "shop", "number": "1", "pull": "1", "name": "KEY", "host": "shop.example.com"}
    for part in path.split("/"):
        if part.startswith("{"):
            path = path.replace(part, values.get(part[1:-1], "thing"))
    return path


async def test_nobody_reaches_what_is_not_theirs(site: Site) -> None:
    """Every route with a permission: 401 without a token, 404 for a stranger, 403 for a viewer who may not."""
    await site.made("/api/v1/projects", {"name": "shop"})
    viewer, stranger = await site.member("viewer"), await site.member(None)
    bodies = {
        "/plan": {"text": ""},
        "/runs": {"argv": ["x"]},
        "/secrets": {"values": {"A": "b"}},
        "/manifest": {"text": ""},
        "/repositories": {"name": "x"},
        "/connection": {"connection": "x"},
        "/login": {"username": "x", "password": "y"},
        "/host-keys": {"host_keys": ["SHA256:" + "x" * 43]},
    }
    for route in ROUTES:
        if not route.permission:
            continue
        path = _filled(route.path)
        body = next((given for ending, given in bodies.items() if path.endswith(ending)), None)
        more = {"params": {"confirm": "x"}} if route.handler.__name__ == "delete_volume" else {}
        sent = body if route.method != "GET" else None
        assert (await site.as_(None).ask(route.method, path, sent, **more)).status == 401, route
        if "{project}" in route.path:
            answer = await stranger.ask(route.method, path, sent, **more)
            assert (answer.status, answer.error["message"]) == (404, 'there is no project "shop"'), route
            answer = await viewer.ask(route.method, path, sent, **more)
            assert answer.status in ((403,) if route.permission != "project.read" else (200, 404, 409, 422)), route
    assert (await viewer.ask("POST", "/api/v1/projects", {"name": "mine"})).status == 403
    assert (await viewer.get("/api/v1/server")).status == 403


async def test_a_port_that_is_taken(site: Site) -> None:
    from dataclasses import replace

    settings = replace(site.services.settings, listen=f"127.0.0.1:{site.port}", data=site.services.settings.data / "2")
    with pytest.raises(Conflict, match="cannot listen"):
        async with listening(replace(site.services, settings=settings)):
            pass
