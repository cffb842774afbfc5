"""A home of its own for every test, a fake server, and one call for the whole command line."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from godploy.cli import asking, consents, following, main
from godploy.cli.accounts import Account, Accounts

from .fake_server import TOKEN, FakeServer


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Done]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, and an empty folder beside it as the current one; nothing of the developer's shines through."""
    place, work = tmp_path / "home", tmp_path / "shop"
    place.mkdir()
    work.mkdir()
    for name in ("XDG_CONFIG_HOME", "GODPLOY_TOKEN", "GODPLOY_SERVER", "GIT_SSL_CAINFO", "GIT_CONFIG_GLOBAL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(place))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setattr(following, "_PAUSE", 0.01)
    monkeypatch.chdir(work)
    return place


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs one command with what it reads from standard input, which is no terminal."""

    def call(*arguments: str, stdin: str = "") -> Done:
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        capsys.readouterr()
        code = main.run(arguments)
        out, err = capsys.readouterr()
        return Done(code, out, err)

    return call


@pytest.fixture
def somebody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard input is as good as a terminal; hidden questions are answered from it as well."""
    monkeypatch.setattr(asking, "somebody_is_there", lambda: True)
    monkeypatch.setattr("click.termui.hidden_prompt_func", lambda prompt: input())
    monkeypatch.setattr(consents, "_PAUSE", 0.0)


@pytest.fixture
def bare_server() -> Iterator[FakeServer]:
    """A server that nobody has logged in to."""
    it = FakeServer()
    yield it
    it.close()
    assert it.violations == []


@pytest.fixture
def server(bare_server: FakeServer) -> FakeServer:
    """A server with the project shop, that one has logged in to."""
    bare_server.add_project("shop")
    Accounts.load().remember(Account(bare_server.url, TOKEN))
    return bare_server
