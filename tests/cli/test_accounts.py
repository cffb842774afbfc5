"""What is remembered, who can read it, and which addresses are accepted as a server's."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from godploy.cli import accounts
from godploy.cli.accounts import Account, Accounts
from godploy.cli.client import normal
from godploy.errors import Invalid


def test_nobody_else_can_read_what_is_remembered(home: Path) -> None:
    Accounts.load().remember(Account("https://a.example", "gdp_secret", "-----PEM-----"))
    top = home / ".config/godploy"
    files = [path for path in top.rglob("*") if path.is_file()]
    assert {path.name for path in files} == {"config.json", "a.example.pem"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in top.rglob("*") if path.is_dir()} == {0o700}
    assert Accounts.load().find("https://a.example") == Account("https://a.example", "gdp_secret", "-----PEM-----")


def test_the_last_login_is_the_default_until_it_is_forgotten() -> None:
    known = Accounts.load()
    known.remember(Account("https://a.example", "1"))
    known.remember(Account("https://b.example", "2", "-----PEM-----"))
    assert Accounts.load().default == "https://b.example"
    Accounts.load().forget("https://b.example")
    assert Accounts.load().default == "https://a.example"
    assert not known.certificate_file("https://b.example").exists()


def test_nothing_is_left_of_the_last_one_that_is_forgotten(home: Path) -> None:
    Accounts.load().remember(Account("https://a.example", "1", "-----PEM-----"))
    Accounts.load().forget("https://a.example")
    assert not (home / ".config/godploy").exists()
    assert Accounts.load().urls == []


def test_what_somebody_else_put_there_stays(home: Path) -> None:
    Accounts.load().remember(Account("https://a.example", "1"))
    (home / ".config/godploy/mine").write_text("mine")
    Accounts.load().forget("https://a.example")
    assert [path.name for path in (home / ".config/godploy").iterdir()] == ["mine"]


def test_xdg_decides_the_place(tmp_path: Path) -> None:
    assert accounts.place({"XDG_CONFIG_HOME": "/x", "HOME": "/h"}) == Path("/x/godploy")
    assert accounts.place({"XDG_CONFIG_HOME": "relative", "HOME": "/h"}) == Path("/h/.config/godploy")


def test_a_damaged_file_is_told(home: Path) -> None:
    path = home / ".config/godploy/config.json"
    path.parent.mkdir(parents=True)
    path.write_text("{")
    with pytest.raises(Invalid, match="damaged"):
        Accounts.load()


def test_a_token_of_the_environment_is_for_the_server_that_is_named_with_it() -> None:
    assert accounts.from_environment({}) is None
    assert accounts.from_environment({"GODPLOY_TOKEN": "t", "GODPLOY_SERVER": "https://A.example/"}) == Account(
        "https://a.example", "t"
    )
    with pytest.raises(Invalid, match="GODPLOY_TOKEN is set, but not the server"):
        accounts.from_environment({"GODPLOY_TOKEN": "t"})


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("deploy.example.com", "https://deploy.example.com"),
        ("https://Deploy.Example.com:443/", "https://deploy.example.com"),
        ("https://10.0.0.5:8443", "https://10.0.0.5:8443"),
        ("https://[::1]:8443", "https://[::1]:8443"),
        ("http://localhost:8400", "http://localhost:8400"),
        ("http://127.0.0.1", "http://127.0.0.1"),
        ("http://[::1]:80", "http://[::1]"),
    ],
)
def test_addresses(url: str, expected: str) -> None:
    assert normal(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "http://deploy.example.com",
        "http://10.0.0.5",
        "http://localhost.evil.example",
        "ftp://localhost",
        "https://",
        "https://u:p@deploy.example.com",
        "https://deploy.example.com/path",
        "https://deploy.example.com?x",
        "https://deploy.example.com:port",
        "",
    ],
)
def test_what_is_no_address_of_a_server(url: str) -> None:
    with pytest.raises(Invalid):
        normal(url)
