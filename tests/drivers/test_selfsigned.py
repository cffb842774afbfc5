from __future__ import annotations

import subprocess
from pathlib import Path

from godploy.drivers.selfsigned import ensure


def openssl(*argv: str) -> str:
    return subprocess.run(["openssl", *argv], check=True, capture_output=True, text=True).stdout


def test_it_is_made_once(tmp_path: Path) -> None:
    first = ensure(tmp_path / "tls", ["localhost"])
    assert first.key.stat().st_mode & 0o777 == 0o600
    assert ensure(tmp_path / "tls", ["localhost", "192.0.2.1"]) == first


def test_names_and_fingerprint_are_as_openssl_shows_them(tmp_path: Path) -> None:
    made = ensure(tmp_path, ["localhost", "192.0.2.1", "2001:db8::1"])
    shown = openssl("x509", "-in", str(made.certificate), "-noout", "-fingerprint", "-sha256", "-ext", "subjectAltName")
    assert f"={made.fingerprint}\n" in shown
    assert "DNS:localhost, IP Address:192.0.2.1, IP Address:2001:DB8:0:0:0:0:0:1" in shown
    assert openssl("verify", "-CAfile", str(made.certificate), str(made.certificate)).endswith("OK\n")


def test_half_of_it_is_made_anew(tmp_path: Path) -> None:
    first = ensure(tmp_path, ["localhost"])
    first.certificate.unlink()
    second = ensure(tmp_path, ["localhost"])
    assert second.fingerprint != first.fingerprint
    modulus = openssl("x509", "-in", str(second.certificate), "-noout", "-pubkey")
    assert modulus == openssl("pkey", "-in", str(second.key), "-pubout")


def test_one_that_names_a_host_of_an_authority_is_made_anew_without_it(tmp_path: Path) -> None:
    first = ensure(tmp_path, ["deploy.example.com", "localhost"])
    second = ensure(tmp_path, ["deploy.example.com", "localhost"], "deploy.example.com")
    assert second.fingerprint != first.fingerprint
    assert "example" not in openssl("x509", "-in", str(second.certificate), "-noout", "-ext", "subjectAltName")
    assert ensure(tmp_path, ["deploy.example.com", "localhost"], "deploy.example.com") == second
