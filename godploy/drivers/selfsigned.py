"""One certificate of our own, made once, for a machine that has no domain yet.

It is Traefik's default certificate: Traefik's own changes at each start and names no host, so nobody could pin it. The
CLI and git trust exactly this one, by its fingerprint or its file.
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

_YEARS = 10
_CERTIFICATE, _KEY = "certificate.pem", "key.pem"


@dataclass(frozen=True, slots=True)
class Certificate:
    """Where it is, and its SHA-256 fingerprint as browsers and openssl show it (`AB:CD:…`)."""

    certificate: Path
    key: Path
    fingerprint: str


def ensure(folder: Path, names: Sequence[str], never: str | None = None) -> Certificate:
    """The certificate in a folder, which is made for `names` (hosts and IP addresses) where there is none.

    One that is there stays as it is, whatever it names: people have pinned it. Only one that names `never`, a host that
    an authority is to vouch for, is made anew: Traefik would take it for that host's certificate, and ask for no
    other [measured]. Blocking; for the start.
    """
    certificate, key = folder / _CERTIFICATE, folder / _KEY
    names = [name for name in names if name != never]
    if not (certificate.exists() and key.exists()) or (never and _names(certificate.read_bytes(), never)):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _make(certificate, key, names)
    return Certificate(certificate, key, fingerprint(certificate.read_bytes()))


def fingerprint(pem: bytes) -> str:
    """SHA-256 of a certificate, as pairs of capital hexadecimal digits between colons."""
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem.decode("ascii"))).digest().hex(":").upper()


def _names(pem: bytes, host: str) -> bool:
    from cryptography import x509

    extensions = x509.load_pem_x509_certificate(pem).extensions
    return host in extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(
        x509.DNSName
    )


def _make(certificate: Path, key: Path, names: Sequence[str]) -> None:
    """The certificate comes last: without it, the next start makes both anew."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    private = ec.generate_private_key(ec.SECP256R1())
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _write(key, pem, 0o600)
    _write(certificate, _signed(private, names).public_bytes(serialization.Encoding.PEM), 0o644)


def _signed(private: ec.EllipticCurvePrivateKey, names: Sequence[str]) -> x509.Certificate:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Godploy on this machine")])
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))  # clocks differ
        .not_valid_after(now + timedelta(days=365 * _YEARS))
        .add_extension(x509.SubjectAlternativeName([_alternative(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(private, hashes.SHA256())
    )


def _alternative(name: str) -> x509.GeneralName:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _write(path: Path, data: bytes, mode: int) -> None:
    draft = path.with_name(f"{path.name}.tmp")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
