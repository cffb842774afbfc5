"""The whole way from another network: log in, link, push, open. Only the command line and git are there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.installation import Installation
from tests.e2e.namespace import Namespace
from tests.e2e.person import Person

pytestmark = pytest.mark.engine


def test_from_login_to_an_address_that_opens(server: Installation, away: Namespace, tmp_path: Path) -> None:
    person = Person(tmp_path, server, inside=away.inside)
    url = f"https://{away.server}:{server.https}"
    person.login(url)
    manifest = {"version": 1, "services": {"web": {"build": ".", "port": 8000, "health": {"path": "/healthz"}}}}
    app = person.app("far", manifest)
    assert app.git("remote", "get-url", "godploy").startswith(f"{url}/git/")
    assert server.token not in app.git("config", "--list", "--show-origin")
    last = [line.rstrip() for line in app.push().splitlines() if line.startswith("remote: ")][-1]
    assert last == f"remote: http://{app.host}:{server.http}/"
    resolved = ("--resolve", f"{app.host}:{server.http}:{away.server}")
    assert person.run("curl", "-sS", *resolved, last.removeprefix("remote: ")).out == "version 1\n"


def test_the_server_itself_answers_there_over_https_only(server: Installation, away: Namespace, tmp_path: Path) -> None:
    person = Person(tmp_path, server, inside=away.inside)
    asked = ("curl", "-sS", "-o", "/dev/null", "-w", "%{http_code} %{redirect_url}")
    plain = person.run(*asked, f"http://{away.server}:{server.http}/api/v1/me").out
    assert plain == f"302 https://{away.server}:{server.https}/api/v1/me"
    person.run("curl", "-sS", f"http://{away.server}:{server.listen}/readyz", code=7)
