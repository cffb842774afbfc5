"""Certificates from a real authority: for Godploy and for apps, by both challenges, renewed, or not to be had."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from godploy.drivers import traefik_container
from tests.certificates.conftest import OWN, with_hosts
from tests.certificates.front import Front
from tests.certificates.pebble import Pebble
from tests.e2e.elsewhere import Elsewhere, Hook
from tests.e2e.installation import GODPLOY, Answer, Installation, clean_environment, until
from tests.e2e.load import KEEP_ALIVE, SLOW_POST, STREAM, Load
from tests.e2e.person import App, Person

pytestmark = pytest.mark.engine


def verified(pebble: Pebble, host: str, root: str = "") -> http.client.HTTPSConnection:
    """A connection whose certificate is verified for the host by Pebble's `root` certificate; using it raises OSError
    where it cannot be."""
    context = ssl.create_default_context(cadata=root or pebble.root())
    connection = http.client.HTTPSConnection(host, pebble.https, timeout=10, context=context)
    connection._create_connection = lambda *_: _connect(pebble.https)  # type: ignore[attr-defined]
    return connection


def encrypted(pebble: Pebble, host: str, path: str = "/") -> tuple[int, str, str | None]:
    """Status, certificate's serial number and Location of an answer."""
    with closing(verified(pebble, host)) as connection:
        connection.request("GET", path)
        serial = str(connection.sock.getpeercert()["serialNumber"])
        answer = connection.getresponse()
        return answer.status, serial, answer.getheader("Location")


def _connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=10)


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
    return {"version": 1, "services": {"web": {**service, "deploy": {"drain": "3s"}}}}


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


def test_swaps_lose_no_request_over_https(shop: App, server: Installation, pebble: Pebble) -> None:
    context = ssl.create_default_context(cadata=pebble.root())
    with Load(pebble.https, "shop.example.com", trusted=context) as load:
        for _ in range(2):  # each is proven though plain HTTP only redirects
            seen = shop.deploy()
            assert f"https://shop.example.com:{server.https}/" in seen
            assert "being asked for" not in seen
    assert load.tally.failures == []
    assert all(load.tally.good[kind] == load.tally.sent[kind] > 0 for kind in (KEEP_ALIVE, SLOW_POST, STREAM))
    assert len(load.tally.releases) == 3


def test_a_signed_hook_over_verified_https_deploys(
    person: Person, shop: App, server: Installation, pebble: Pebble, elsewhere: Elsewhere
) -> None:
    origin = elsewhere.repository("hooked")
    app = person.app("hooked", manifest("hooked.example.com"), link=False)
    commit = app.git("rev-parse", "HEAD")
    app.git("push", "-q", str(origin), "main")
    server.api("POST", "projects", {"name": "hooked"})
    words = ("--url", f"{elsewhere.base}/hooked.git", "--project", "hooked", "--json")
    added = json.loads(app.godploy("repositories", "add", "hooked", *words).out)
    hook = Hook(app, added["hook_url"], added["hook_secret"])
    assert hook.url.startswith(f"https://{OWN}:{pebble.https}/hooks/")

    def call(secret: str = "") -> Answer:
        with closing(verified(pebble, OWN)) as connection:
            connection.request("POST", urlsplit(hook.url).path, *hook.signed(commit, secret=secret))
            answer = connection.getresponse()
            return Answer(answer.status, None, answer.read().decode())

    assert call(secret="guessed").status == 401
    assert commit[:7] in hook.announced(call())["verdict"]
    until(lambda: trusted(pebble, "hooked.example.com"))


def test_by_the_other_challenge_and_renewed(shop: App, server: Installation, pebble: Pebble, hosts: Any) -> None:
    before = {host: encrypted(pebble, host, "/healthz")[1] for host in (OWN, "shop.example.com")}
    assert server.stop() == 0
    server.start(command=(*with_hosts(hosts), GODPLOY), acme_challenge="tls-alpn-01")
    until(lambda: trusted(pebble, OWN, "/healthz"))  # Traefik was made anew
    shop.manifest = manifest({"host": "shop.example.com", "redirect_from": ["blog.example.com"]})
    shop.deploy()
    until(lambda: encrypted_location(pebble, "blog.example.com") == f"https://shop.example.com:{pebble.https}/page?x=1")
    assert plain(server, "blog.example.com") == (301, f"https://shop.example.com:{pebble.https}/page?x=1")
    until(lambda: all(encrypted(pebble, host, "/healthz")[1] != serial for host, serial in before.items()))
    until(lambda: any("the certificate of shop.example.com has been renewed" in text for text in events(shop)))


def test_a_limit_of_the_authority_is_told_and_kept(
    shop: App, server: Installation, pebble: Pebble, front: Front
) -> None:
    again = int(time.time()) + 2 * 86400
    front.limited["often.example.com"] = again
    shop.manifest = manifest("shop.example.com", "often.example.com")
    shop.deploy()
    (told,) = until(lambda: [text for text in events(shop) if text.startswith("no certificate for often.")])
    assert "too many certificates (5) already issued for this exact set of identifiers" in told
    assert f"it is tried again at {time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime(again))}" in told
    often = certificates(shop)["often.example.com"]
    assert (often["state"], often["next_attempt_at"]) == (
        "waiting",
        time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(again)),
    )
    assert plain(server, "often.example.com") == (200, None)
    asked = len(front.refused)
    shop.deploy()  # writes routes anew, upon which Traefik would ask for what they name
    assert trusted(pebble, "shop.example.com")
    assert len(front.refused) == asked


def test_the_doctor_sees_names_clock_and_certificates(
    shop: App, person: Person, server: Installation, hosts: Path
) -> None:
    words = [*with_hosts(hosts), GODPLOY, "doctor", "--data", server.data, "--json"]
    environment = clean_environment(person.home, **server.settings)
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60, check=False)
    lines = {f"{line['subject']}: {line['text']}": line["level"] for line in json.loads(done.stdout)["lines"]}
    told = {text.partition(",")[0].partition(" until ")[0]: level for text, level in lines.items()}
    assert told[f"DNS: {OWN} leads to 127.0.0.1; this server"] == "ok", lines
    assert told["clock: agrees with that of the certificate authority"] == "ok"
    assert told[f"certificate of {OWN}: valid"] == told["certificate of shop.example.com: valid"] == "ok"
    assert any(text.startswith("certificate of often.example.com: there is none: acme: error: 429") for text in lines)
    assert told["Traefik: its container runs"] == told[f"Traefik: {traefik_container.VERSION}"] == "ok"
    assert told[f"port {server.https}: something answers"] == "ok"


def test_without_the_authority_plain_http_goes_on_and_says_why(
    shop: App, server: Installation, pebble: Pebble, front: Front
) -> None:
    root = pebble.root()
    assert encrypted(pebble, "shop.example.com")
    front.stop()
    shop.manifest = manifest("shop.example.com", "late.example.com", "nowhere.example.com")
    shop.deploy()
    until(lambda: any(text.startswith("no certificate for late.example.com: ") for text in events(shop)))
    assert plain(server, "late.example.com") == (200, None)
    late = certificates(shop)["late.example.com"]
    assert late["state"] == "waiting"
    assert late["next_attempt_at"] is not None
    assert "connection refused" in late["error"]
    assert plain(server, "shop.example.com")[0] == 302
    with closing(verified(pebble, "shop.example.com", root)) as connection:  # the old certificate goes on
        connection.request("GET", "/")
        assert connection.getresponse().status == 200
    until(lambda: any(text.startswith("nowhere.example.com leads nowhere") for text in events(shop)))
    assert plain(server, "nowhere.example.com") == (200, None)
