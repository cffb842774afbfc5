"""Certificates from a real authority: for Godploy and for apps, by both challenges, renewed, or not to be had."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Iterator
from contextlib import closing, contextmanager
from threading import Event, Thread
from typing import Any

import pytest

from tests.certificates.conftest import OWN, with_hosts
from tests.certificates.pebble import Pebble
from tests.e2e.installation import GODPLOY, Installation, until
from tests.e2e.person import App, Person

pytestmark = pytest.mark.engine


def encrypted(pebble: Pebble, host: str, path: str = "/") -> tuple[int, str, str | None]:
    """Status, certificate's serial number and Location of an answer whose certificate is verified for the host; raises
    OSError where it cannot be."""
    context = ssl.create_default_context(cadata=pebble.root())
    with closing(http.client.HTTPSConnection(host, pebble.https, timeout=10, context=context)) as connection:
        connection._create_connection = lambda *_: _connect(pebble.https)  # type: ignore[attr-defined]
        connection.request("GET", path)
        serial = str(connection.sock.getpeercert()["serialNumber"])
        answer = connection.getresponse()
        return answer.status, serial, answer.getheader("Location")


def _connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=10)


@contextmanager
def asking(pebble: Pebble, host: str) -> Iterator[list[int]]:
    """The statuses of requests over HTTPS, one after the other for as long as the block lasts; 0 where one was lost."""
    statuses, over = [encrypted(pebble, host)[0]], Event()

    def ask() -> None:
        while not over.is_set():
            try:
                statuses.append(encrypted(pebble, host)[0])
            except OSError:
                statuses.append(0)

    thread = Thread(target=ask)
    thread.start()
    try:
        yield statuses
    finally:
        over.set()
        thread.join()


def encrypted_location(pebble: Pebble, host: str) -> str | None:
    try:
        return encrypted(pebble, host, "/page?x=1")[2]
    except OSError:
        return None


def trusted(pebble: Pebble, host: str, path: str = "/") -> bool:
    try:
        return encrypted(pebble, host, path)[0] == 200
    except OSError:
        return False


def plain(server: Installation, host: str) -> tuple[int, str | None]:
    """Status and Location of an answer on plain HTTP."""
    with closing(http.client.HTTPConnection("127.0.0.1", server.http, timeout=10)) as connection:
        connection.request("GET", "/page?x=1", headers={"Host": host})
        answer = connection.getresponse()
        return answer.status, answer.getheader("Location")


def certificates(app: App) -> dict[str, dict[str, Any]]:
    """Host → its certificate, as the API tells."""
    return {
        each["host"]: each["certificate"] for each in app.server.api("GET", f"projects/{app.project}/hosts")["hosts"]
    }


def events(app: App) -> list[str]:
    found = app.server.api("GET", f"projects/{app.project}/events")["events"]
    return [each["message"] for each in found if each["kind"] == "certificate"]


def manifest(*hosts: Any) -> dict[str, Any]:
    service = {"build": ".", "port": 8000, "routes": list(hosts), "health": {"path": "/healthz"}}
    return {"version": 1, "services": {"web": {**service, "deploy": {"drain": "1s"}}}}


@pytest.fixture(scope="module")
def shop(person: Person, server: Installation, pebble: Pebble) -> Iterator[App]:
    """Linked over HTTPS that is verified: no fingerprint is told, and none is asked for."""
    until(lambda: trusted(pebble, OWN, "/healthz"))
    for name, value in (("user.name", "Ada"), ("user.email", "ada@example.com"), ("init.defaultBranch", "main")):
        person.run("git", "config", "--global", name, value)
    person.run(GODPLOY, "login", f"https://{OWN}:{server.https}", stdin=server.token)
    yield person.app("shop", manifest("shop.example.com"))


def test_a_push_over_verified_https_brings_a_host_its_certificate(
    shop: App, server: Installation, pebble: Pebble
) -> None:
    seen = shop.live(shop.push())
    assert "shop.example.com: its certificate is being asked for" in seen
    assert f"http://shop.example.com:{server.http}/" in seen
    until(lambda: trusted(pebble, "shop.example.com"))
    until(lambda: plain(server, "shop.example.com")[0] != 200)
    assert plain(server, "shop.example.com") == (302, f"https://shop.example.com:{server.https}/page?x=1")
    (found,) = server.api("GET", f"projects/{shop.project}/services")["services"]
    assert found["routes"] == [f"https://shop.example.com:{server.https}/"]
    assert [(host["host"], host["state"]) for host in found["hosts"]] == [("shop.example.com", "valid")]
    assert "Pebble" in certificates(shop)["shop.example.com"]["issuer"]
    assert any(text.startswith("the certificate of shop.example.com is there: from Pebble") for text in events(shop))


def test_a_switch_is_proven_where_plain_http_only_redirects(shop: App, server: Installation, pebble: Pebble) -> None:
    with asking(pebble, "shop.example.com") as statuses:
        seen = shop.deploy()
    assert set(statuses) == {200}  # none was lost at the swap
    assert f"https://shop.example.com:{server.https}/" in seen
    assert "being asked for" not in seen
    assert trusted(pebble, "shop.example.com")


def test_by_the_other_challenge_and_renewed(shop: App, server: Installation, pebble: Pebble, hosts: Any) -> None:
    before = {host: encrypted(pebble, host, "/healthz")[1] for host in (OWN, "shop.example.com")}
    assert server.stop() == 0
    server.start(command=(*with_hosts(hosts), GODPLOY), acme_challenge="tls-alpn-01")
    shop.manifest = manifest({"host": "shop.example.com", "redirect_from": ["blog.example.com"]})
    shop.deploy()
    until(lambda: encrypted_location(pebble, "blog.example.com") == f"https://shop.example.com:{pebble.https}/page?x=1")
    assert plain(server, "blog.example.com") == (301, f"https://shop.example.com:{pebble.https}/page?x=1")
    until(lambda: all(encrypted(pebble, host, "/healthz")[1] != serial for host, serial in before.items()))
    until(lambda: any("the certificate of shop.example.com has been renewed" in text for text in events(shop)))


def test_without_the_authority_plain_http_goes_on_and_says_why(shop: App, server: Installation, pebble: Pebble) -> None:
    assert trusted(pebble, "shop.example.com")
    pebble.stop()
    shop.manifest = manifest("shop.example.com", "late.example.com", "nowhere.example.com")
    shop.deploy()
    until(lambda: any(text.startswith("no certificate for late.example.com: ") for text in events(shop)))
    assert plain(server, "late.example.com") == (200, None)
    late = certificates(shop)["late.example.com"]
    assert late["state"] == "waiting"
    assert late["next_attempt_at"] is not None
    assert "connection refused" in late["error"]
    assert plain(server, "shop.example.com")[0] == 302
    until(lambda: any(text.startswith("nowhere.example.com leads nowhere") for text in events(shop)))
    assert plain(server, "nowhere.example.com") == (200, None)
