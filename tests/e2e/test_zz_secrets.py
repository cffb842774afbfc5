"""After everything else has run: no secret's value is in the data directory, a log, an argument list or an image."""

from __future__ import annotations

import re
import uuid

import pytest

from tests.e2e.installation import Installation
from tests.e2e.person import App, Person
from tests.e2e.secrecy import Arguments, forms, found_in, found_in_files, found_in_image

pytestmark = pytest.mark.engine

RUNTIME = "Känarie/9f+3c? &x=y%z"
BUILD = "npm_Z2l0b3BzLWNhbmFyeQ"
DOCKERFILE = """\
FROM python:3.11-slim
WORKDIR /app
COPY . .
RUN --mount=type=secret,id=NPM_TOKEN echo "token: $(cat /run/secrets/NPM_TOKEN)" && base64 /run/secrets/NPM_TOKEN
CMD ["python", "app.py"]
"""


@pytest.fixture(scope="module")
def vault(person: Person) -> App:
    """An app that tells its secrets: its build prints one, and so does a bad push that ends at once."""
    manifest = {
        "version": 1,
        "services": {
            "web": {
                "build": {"context": ".", "secrets": ["NPM_TOKEN"]},
                "port": 8000,
                "health": {"path": "/healthz"},
                "env": {"LONG": "begin ${secrets.API_KEY} end"},
                "secrets": ["API_KEY"],
                "release_command": ["sh", "-c", "echo the key is $API_KEY"],
                "deploy": {"drain": "1s"},
            },
            "cache": {"template": "redis"},
        },
    }
    app = person.app("vault", manifest)
    app.write("Dockerfile", DOCKERFILE)
    app.write("nonce", uuid.uuid4().hex)  # an earlier run's layer would say nothing again
    app.godploy("secrets", "set", "API_KEY", stdin=f"{RUNTIME}\n")
    app.godploy("secrets", "import", "-", stdin=f"NPM_TOKEN={BUILD}\n")
    app.deploy()
    return app


def test_what_runs_has_them_and_nothing_else_does(vault: App, arguments: Arguments) -> None:
    server = vault.server
    assert f"begin {RUNTIME} end" in vault.ask("/env").text.encode().decode("unicode_escape")
    vault.behave(exit=5, tell="API_KEY")
    vault.commit()
    seen = vault.push()
    assert vault.last()["error"]["code"] == "exited"
    assert "cannot start: •••" in seen, "its last lines are told, without the secret"
    assert "token: •••" in build_log(vault)

    secrets = [RUNTIME, BUILD, server.token, *generated(server)]
    assert len(secrets) >= 4
    found = [
        *found_in_files(server.data, secrets),
        *found_in(server.log.read_bytes(), secrets, "the server's log"),
        *(hit for words in arguments.seen for hit in found_in(words, secrets, f"arguments {words[:60]!r}")),
        *found_in_image(server.engine, image_of(vault), secrets),
        *found_in(seen.encode(), secrets, "the pusher's terminal"),
    ]
    assert found == []


def test_the_search_would_find_one() -> None:
    for form in forms(RUNTIME):
        assert list(found_in(b"x" + form + b"y", [RUNTIME], "here"))
    assert list(found_in(b"\0".join([b"sh", RUNTIME.encode()]), [RUNTIME], "here"))


def test_the_arguments_were_watched(vault: App, arguments: Arguments) -> None:
    assert any(b"godploy" in words and b"serve" in words for words in arguments.seen)
    assert any(words.startswith(b"git\0") for words in arguments.seen)


def build_log(app: App) -> str:
    lines = app.server.api("GET", f"projects/{app.project}/deployments/1/log")["lines"]
    return "\n".join(line["text"] for line in lines)


def image_of(app: App) -> str:
    return str(app.server.engine.containers.get(app.running()["web"]).image.id)


def generated(server: Installation) -> list[str]:
    """The passwords that Godploy made up, as the containers have them."""
    listed = server.engine.containers.list(filters=server.label)
    lines = [line for each in listed for line in each.attrs["Config"]["Env"] or ()]
    return [match[1] for line in lines if (match := re.fullmatch(r"(?:REDIS|POSTGRES)_PASSWORD=(.+)", line))]
