"""Logging in: the certificate first, then the token, then git; and every way in which a server is not itself."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from godploy.cli.accounts import Account, Accounts
from godploy.cli.client import fingerprint

from .conftest import Run
from .fake_server import TOKEN, FakeServer


def certificate(tmp_path: Path, name: str, *hosts: str) -> Path:
    """A self-signed certificate with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Godploy")])
    names = [x509.DNSName(host) for host in hosts if not host[0].isdigit()]
    addresses = [x509.IPAddress(ipaddress.ip_address(host)) for host in hosts if host[0].isdigit()]
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([*names, *addresses]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / name
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


def context(path: Path) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(path)
    return made


def shown(path: Path) -> str:
    """The SHA-256 that the installer would print."""
    return fingerprint(
        x509.load_pem_x509_certificate(path.read_bytes()).public_bytes(serialization.Encoding.PEM).decode()
    )


@pytest.fixture
def own(tmp_path: Path) -> Path:
    return certificate(tmp_path, "own.pem", "localhost", "127.0.0.1")


@pytest.fixture
def tls_server(own: Path) -> Iterator[FakeServer]:
    it = FakeServer(context(own))
    yield it
    it.close()
    assert it.violations == []


def git_config(*arguments: str) -> str:
    done = subprocess.run(["git", "config", "--global", *arguments], capture_output=True, text=True)
    return done.stdout.strip()


def test_login_with_the_right_fingerprint_pins_the_certificate_for_us_and_for_git(
    run: Run, tls_server: FakeServer, own: Path, home: Path
) -> None:
    url = tls_server.url
    done = run("login", url, "--fingerprint", shown(own).replace(":", "").lower(), "--token-stdin", stdin=TOKEN + "\n")
    assert done.code == 0, done.err
    assert done.out == f"logged in to {url} as ada@example.com\n"
    assert run("projects", "--json").json == {"projects": []}
    pinned = Path(git_config("--get", f"http.{url}.sslCAInfo"))
    assert pinned.is_relative_to(home) and "BEGIN CERTIFICATE" in pinned.read_text()
    helpers = git_config("--get-all", f"credential.{url}.helper").splitlines()
    assert len(helpers) == 1 and helpers[0].endswith("git-credential")  # the empty one before it is stripped here
    assert TOKEN not in (home / ".gitconfig").read_text()


def test_git_itself_gets_the_token_from_the_helper(run: Run, bare_server: FakeServer) -> None:
    url = bare_server.url
    assert run("login", url, "--token-stdin", stdin=TOKEN).code == 0
    host = url.removeprefix("http://")
    filled = subprocess.run(
        ["git", "credential", "fill"],
        input=f"protocol=http\nhost={host}\n\n",
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", "HOME": str(Path.home()), "GIT_TERMINAL_PROMPT": "0"},
    )
    assert f"username=godploy\npassword={TOKEN}\n" in filled.stdout, filled.stderr
    other = run("git-credential", "get", stdin="protocol=https\nhost=elsewhere.example\n\n")
    assert (other.code, other.out) == (0, "")
    ours = run("git-credential", "get", stdin=f"protocol=http\nhost={host}\n\n")
    assert ours.out == f"username=godploy\npassword={TOKEN}\n"
    erased = run("git-credential", "erase", stdin=f"protocol=http\nhost={host}\n\n")
    assert f"godploy login {url}" in erased.err and Accounts.load().find(url) is not None


def test_logging_in_again_leaves_one_helper_and_logging_out_none(run: Run, bare_server: FakeServer) -> None:
    for _ in range(2):
        assert run("login", bare_server.url, "--token-stdin", stdin=TOKEN).code == 0
    helpers = subprocess.run(
        ["git", "config", "--global", "--get-all", f"credential.{bare_server.url}.helper"],
        capture_output=True,
        text=True,
    ).stdout.split("\n")
    assert len(helpers) == 3 and helpers[0] == "" and helpers[2] == ""
    assert run("logout").out == f"forgot {bare_server.url}\n"
    assert git_config("--get-all", f"credential.{bare_server.url}.helper") == ""
    assert run("projects").code == 1
    assert run("logout").code == 1


def test_nothing_is_sent_to_a_server_with_another_fingerprint(run: Run, tls_server: FakeServer) -> None:
    done = run("login", tls_server.url, "--fingerprint", "00" * 32, "--token-stdin", stdin=TOKEN)
    assert done.code == 1
    assert "another certificate than you expect" in done.err and "next: " in done.err
    assert tls_server.requests == [] and Accounts.load().urls == []
    assert run("login", tls_server.url, "--fingerprint", "abc", "--token-stdin", stdin=TOKEN).code == 2


def test_an_unknown_certificate_is_shown_and_nobody_is_there_to_agree(
    run: Run, tls_server: FakeServer, own: Path
) -> None:
    done = run("login", tls_server.url, "--token-stdin", stdin=TOKEN)
    assert done.code == 1
    assert shown(own) in done.err and "--fingerprint" in done.err
    assert tls_server.requests == []


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 1)])
def test_a_person_can_agree_to_a_certificate(
    run: Run, tls_server: FakeServer, monkeypatch: pytest.MonkeyPatch, answer: str, code: int
) -> None:
    monkeypatch.setattr("godploy.cli.signing_in._somebody_is_there", lambda: True)
    monkeypatch.setattr("godploy.cli.signing_in._ask_for_token", lambda: TOKEN)
    done = run("login", tls_server.url, stdin=answer)
    assert done.code == code, done.err
    assert bool(Accounts.load().urls) is (code == 0)


def test_a_changed_certificate_is_a_clear_warning_and_nothing_is_sent(
    run: Run, tls_server: FakeServer, own: Path, tmp_path: Path
) -> None:
    other = certificate(tmp_path, "other.pem", "localhost", "127.0.0.1").read_text()
    Accounts.load().remember(Account(tls_server.url, TOKEN, other[: other.index("-----BEGIN PRIVATE")]))
    done = run("projects")
    assert done.code == 1
    assert f"THE CERTIFICATE OF {tls_server.url} HAS CHANGED" in done.err and "--fingerprint" in done.err
    again = run("login", tls_server.url, "--token-stdin", stdin=TOKEN)
    assert again.code == 1 and "WARNING: this is not the certificate that you pinned" in again.err
    assert tls_server.requests == []
    assert run("login", tls_server.url, "--fingerprint", shown(own), "--token-stdin", stdin=TOKEN).code == 0
    assert run("projects").code == 0


def test_a_certificate_must_name_the_host(run: Run, tmp_path: Path) -> None:
    path = certificate(tmp_path, "elsewhere.pem", "elsewhere.example")
    it = FakeServer(context(path))
    try:
        done = run("login", it.url, "--fingerprint", shown(path), "--token-stdin", stdin=TOKEN)
        assert done.code == 1 and "is for another host" in done.err
    finally:
        it.close()


def test_an_exported_certificate_setting_of_git_is_mentioned(
    run: Run, tls_server: FakeServer, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_SSL_CAINFO", "/etc/ssl/certs/ca-certificates.crt")
    done = run("login", tls_server.url, "--fingerprint", shown(own), "--token-stdin", stdin=TOKEN)
    assert done.code == 0 and "GIT_SSL_CAINFO is set" in done.err


def test_a_wrong_token_is_not_remembered(run: Run, bare_server: FakeServer) -> None:
    done = run("login", bare_server.url, "--token-stdin", stdin="gdp_wrong")
    assert done.code == 1 and "does not accept your token" in done.err
    assert Accounts.load().urls == []


def test_a_token_is_never_taken_from_the_command_line(run: Run, bare_server: FakeServer) -> None:
    assert run("login", bare_server.url, TOKEN).code == 2
    assert run("login", bare_server.url, "--token", TOKEN).code == 2
    assert run("login", "http://deploy.example.com", "--token-stdin", stdin=TOKEN).code == 1


def test_an_expired_token_and_a_silent_server_have_sentences_of_their_own(run: Run, bare_server: FakeServer) -> None:
    Accounts.load().remember(Account(bare_server.url, "gdp_expired"))
    done = run("projects")
    assert done.code == 1
    assert done.err == (
        f"error: {bare_server.url} does not accept your token: it expired, was revoked, or belongs to another server\n"
        f"next: godploy login {bare_server.url}\n"
    )
    Accounts.load().remember(Account("http://127.0.0.1:9", TOKEN))
    done = run("projects")
    assert done.code == 1
    assert "http://127.0.0.1:9 does not answer (connection refused)" in done.err and "tunnel" in done.err


def test_a_job_brings_its_token_in_the_environment(
    run: Run, bare_server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GODPLOY_TOKEN", TOKEN)
    assert "GODPLOY_SERVER" in run("projects").err
    monkeypatch.setenv("GODPLOY_SERVER", bare_server.url)
    assert run("projects").code == 0


def test_tokens(run: Run, server: FakeServer) -> None:
    assert "laptop (this one)" in run("tokens").out
    assert run("tokens", "create", "ci", "--expires", "90d").out == "gdp_new\n"
    assert server.tokens == [{"name": "ci", "expires_in": 90 * 86400}]
    assert run("tokens", "create", "ci", "--expires", "soon").code == 2
    assert run("tokens", "revoke", "t2").code == 0
