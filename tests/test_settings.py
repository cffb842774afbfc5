"""Settings come from the command line, the environment, `config.yaml` and defaults, in that order."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from godploy import settings
from godploy.core.plan import Policy
from godploy.errors import Invalid


def load(data: Path, written: str = "", environment: dict[str, str] | None = None, **given: Any) -> settings.Settings:
    if written:
        (data / "config.yaml").write_text(written)
    return settings.load(data, environment or {}, **given)


def problems(data: Path, written: str = "", environment: dict[str, str] | None = None, **given: Any) -> list[str]:
    with pytest.raises(Invalid) as raised:
        load(data, written, environment, **given)
    return list(raised.value.problems)


def test_defaults_open_nothing(tmp_path: Path) -> None:
    found = load(tmp_path)
    assert found.listen_host == "127.0.0.1" and found.listen_port == 8400
    assert found.url == "https://localhost" and found.host == "localhost"
    assert found.private_bases == ()
    assert found.policy("anything") == Policy()


def test_who_wins(tmp_path: Path) -> None:
    written = "listen: 127.0.0.1:1\nhttp_port: 81\nhttps_port: 441\n"
    environment = {"GODPLOY_LISTEN": "127.0.0.1:2", "GODPLOY_HTTP_PORT": "82"}
    found = load(tmp_path, written, environment, listen="127.0.0.1:3")
    assert (found.listen, found.http_port, found.https_port) == ("127.0.0.1:3", 82, 441)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("listen", "8400"),
        ("listen", ":8400"),
        ("listen", "127.0.0.1:0"),
        ("listen", "127.0.0.1:http"),
        ("url", "http://deploy.example.com"),
        ("url", "deploy.example.com"),
        ("url", "https://deploy.example.com/path"),
        ("url", "https://user@deploy.example.com"),
        ("http_port", "0"),
        ("http_port", "65536"),
        ("instance", "Main"),
        ("instance", "a" * 21),
        ("instance", "a-"),
        ("instance", "main\n"),
        ("acme_email", "ada"),
        ("acme_url", "http://acme.example.com/dir"),
        ("acme_ca", "/nowhere/ca.pem"),
        ("acme_challenge", "dns-01"),
        ("pool", "8.8.0.0/16"),
        ("pool", "10.0.0.0/25"),
        ("pool", "nowhere"),
        ("builds", "many"),
        ("builds", "0"),
        ("build_timeout", "0"),
        ("poll_interval", "-1"),
        ("engine_reaches", "localhost:5000"),
        ("engine_reaches", "127.0.0.1"),
        ("engine_reaches", "127.0.0.1:0"),
    ],
)
def test_what_is_wrong_says_where_it_stands(tmp_path: Path, name: str, value: str) -> None:
    (problem,) = problems(tmp_path, environment={f"GODPLOY_{name.upper()}": value})
    assert problem.startswith(f"GODPLOY_{name.upper()}: ")


def test_all_problems_come_at_once(tmp_path: Path) -> None:
    found = problems(tmp_path, "http_port: 0\nlisten_on: all\n", {"GODPLOY_URL": "nonsense"}, listen="here")
    assert [problem.partition(": ")[0] for problem in found] == [
        "the command line",
        "GODPLOY_URL",
        "config.yaml",
        "config.yaml",
    ]
    assert "config.yaml: listen_on: unknown setting" in found


@pytest.mark.parametrize("written", ["just a text", "- a\n- list\n", "a: [\n"])
def test_a_config_that_holds_no_settings(tmp_path: Path, written: str) -> None:
    with pytest.raises(Invalid, match=r"config\.yaml"):
        load(tmp_path, written)


def test_an_empty_config_is_fine(tmp_path: Path) -> None:
    assert load(tmp_path, "# nothing yet\n") == load(tmp_path)


@pytest.mark.parametrize(
    "url", ["http://localhost:8400", "http://127.0.0.1", "http://[::1]:80", "https://a.example:1/"]
)
def test_plain_http_is_for_loopback(tmp_path: Path, url: str) -> None:
    assert load(tmp_path, environment={"GODPLOY_URL": url}).url == url.rstrip("/")


def test_a_project_has_its_limits_and_the_general_ones(tmp_path: Path) -> None:
    found = load(
        tmp_path,
        "policy:\n  memory: 1G\n  replicas: 3\n  hosts: ['*.example.com']\n  projects:\n    shop: {memory: 2G}\n",
    )
    assert found.policy("other") == Policy(memory=1 << 30, replicas=3, hosts=("*.example.com",))
    assert found.policy("shop") == Policy(memory=2 << 30, replicas=3, hosts=("*.example.com",))


@pytest.mark.parametrize(
    "policy",
    [
        "{memory: lots}",
        "{memry: 1G}",
        "[1]",
        "{projects: {shop: {cpu: 1}}}",
        "{projects: [shop]}",
        "{replicas: few}",
        "{cpus: [1]}",
    ],
)
def test_a_policy_that_is_wrong_is_no_policy(tmp_path: Path, policy: str) -> None:
    (problem,) = problems(tmp_path, f"policy: {policy}\n")
    assert problem.startswith("config.yaml: policy: ")


def test_where_a_route_opens(tmp_path: Path) -> None:
    assert load(tmp_path).address("shop.localhost", "/a") == "http://shop.localhost/a"
    assert load(tmp_path, http_port=8080).address("shop.localhost") == "http://shop.localhost:8080/"


def test_what_the_engine_reaches_are_addresses(tmp_path: Path) -> None:
    found = load(tmp_path, environment={"GODPLOY_ENGINE_REACHES": "127.0.0.1:5000, [::1]:5000"})
    assert found.engine_reaches == ("127.0.0.1:5000", "[::1]:5000")
    assert load(tmp_path).engine_reaches == ()


def test_private_bases_are_names(tmp_path: Path) -> None:
    found = load(tmp_path, environment={"GODPLOY_PRIVATE_BASES": "https://git.inside/, https://other.inside/"})
    assert found.private_bases == ("https://git.inside/", "https://other.inside/")


def test_where_a_route_opens_that_has_a_certificate(tmp_path: Path) -> None:
    found = load(tmp_path, "https_port: 8443\n")
    assert found.address("shop.example.com", "/api") == "http://shop.example.com/api"
    assert found.address("shop.example.com", encrypted=True) == "https://shop.example.com:8443/"


def test_no_certificate_is_asked_for_without_an_address_for_the_account(tmp_path: Path) -> None:
    assert load(tmp_path).acme_email == ""
    (tmp_path / "ca.pem").write_text("")
    found = load(tmp_path, f"acme_email: ada@example.com\nacme_ca: {tmp_path}/ca.pem\nacme_challenge: tls-alpn-01\n")
    assert (found.acme_email, found.acme_ca, found.acme_challenge) == (
        "ada@example.com", tmp_path / "ca.pem", "tls-alpn-01",
    )  # fmt: skip
    assert found.acme_url.startswith("https://acme-v02.api.letsencrypt.org/")


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The program is one that the installer put beside its settings; its data directory is `data`."""
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "program-1"))
    for name in ("GODPLOY_HTTP_PORT", "GODPLOY_URL"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "data").mkdir()
    (tmp_path / "settings").write_text(
        f"# by hand\nGODPLOY_DATA={tmp_path / 'data'}\nGODPLOY_HTTP_PORT=8080\nGODPLOY_URL=https://a.example.com\n"
    )
    return tmp_path


def test_a_command_on_the_console_goes_by_the_settings_of_the_service(
    installation: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = installation / "data"
    monkeypatch.setenv("GODPLOY_HTTP_PORT", "8081")
    (data / "config.yaml").write_text("url: https://b.example.com\nbuilds: 2\n")
    found = settings.load(data)
    assert (found.http_port, found.url, found.builds) == (8081, "https://a.example.com", 2)
    origins = settings.origins(data)
    assert origins["http_port"] == "GODPLOY_HTTP_PORT"
    assert origins["url"] == str(installation / "settings")
    assert (origins["builds"], origins["https_port"]) == ("config.yaml", "default")


def test_the_installers_settings_are_for_its_own_data_directory_only(installation: Path) -> None:
    (installation / "other").mkdir()
    assert settings.load(installation / "other").http_port == 80
