"""The server's settings: from `GODPLOY_*`, then the installer's file, then `config.yaml` in the data directory, then
defaults.

The installer's file lies beside its program, so that the service and a command on the console go by the same. Unset
never means "allowed": what opens something up must be written down.
"""

from __future__ import annotations

import ipaddress
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from godploy.core import packets
from godploy.core.plan import Policy
from godploy.core.units import size
from godploy.errors import Invalid

LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"  # https://letsencrypt.org/docs/acme-protocol-updates/
CHALLENGES = ("http-01", "tls-alpn-01")

_CAPABILITY = re.compile(r"[A-Z][A-Z_]{1,30}")
_EMAIL = re.compile(r"[^@\s,]+@[^@\s,]+\.[^@\s,]+")
_INSTANCE = re.compile(r"[a-z]([a-z0-9-]{0,18}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Settings:
    """`url` is how others reach us; it is never taken from a Host header. Everything shared on a host (ports, pool,
    names of containers) is per instance, so that several instances can run side by side."""

    data: Path
    listen: str = "127.0.0.1:8400"
    url: str = "https://localhost"
    apps_domain: str = "localhost"
    http_port: int = 80
    https_port: int = 443
    traefik_api_port: int = 8499
    instance: str = "main"
    pool: str = "10.213.0.0/16"
    private_bases: tuple[str, ...] = ()
    engine_reaches: tuple[str, ...] = ()  # ADDRESS:PORT that the engine's own fetches may reach in spite of the rules
    builds: int = 1
    build_timeout: float = 1800.0
    poll_interval: float = 180.0
    capabilities: tuple[str, ...] | None = None  # of containers; None: the runtime's short list
    acme_email: str = ""  # the account at the certificate authority; without one no certificate is asked for
    acme_url: str = LETS_ENCRYPT
    acme_ca: Path | None = None  # file of the authority that vouches for the ACME server itself, where it is private
    acme_challenge: str = "http-01"
    policies: Mapping[str, Policy] | None = None  # "" for all, else by project name

    @property
    def listen_host(self) -> str:
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def listen_port(self) -> int:
        return int(self.listen.rpartition(":")[2])

    @property
    def host(self) -> str:
        """The dashboard's own host: no app may claim it."""
        return urlsplit(self.url).hostname or "localhost"

    def address(self, host: str, path: str = "/", *, encrypted: bool = False) -> str:
        """Where a route opens in a browser: `encrypted` once its host has a certificate."""
        scheme, number, usual = ("https", self.https_port, 443) if encrypted else ("http", self.http_port, 80)
        port = "" if number == usual else f":{number}"
        return f"{scheme}://{host}{port}{path}"

    def policy(self, project: str) -> Policy:
        policies = self.policies or {}
        general, own = policies.get("", Policy()), policies.get(project, Policy())
        chosen = {f.name: _first(getattr(own, f.name), getattr(general, f.name)) for f in fields(Policy)}
        return Policy(**chosen)


def _first(own: Any, general: Any) -> Any:
    return general if own is None else own


def load(data: Path, environment: Mapping[str, str] | None = None, **given: Any) -> Settings:
    """Settings for a data directory; `given` (command line) wins over the environment (this process's own, and what
    the installer wrote down), that over `config.yaml`.

    Raises Invalid with every problem, each with where it stands.
    """
    environment = {**installed(data), **os.environ} if environment is None else environment
    written = _file(data / "config.yaml")
    problems: list[str] = []
    values: dict[str, Any] = {"data": data.absolute()}  # the engine, git and sockets need it whole
    for name, convert in _CONVERT.items():
        for origin, found in (
            ("the command line", given.get(name)),
            (f"GODPLOY_{name.upper()}", environment.get(f"GODPLOY_{name.upper()}")),
            (f"config.yaml: {name}", written.pop(name, None)),
        ):
            if found is not None:
                try:
                    values[name] = convert(found)
                except (ValueError, TypeError) as error:
                    problems.append(f"{origin}: {error}")
                break
    policy = written.pop("policy", None)
    if policy is not None:
        try:
            values["policies"] = _policies(policy)
        except (ValueError, TypeError, AttributeError, Invalid) as error:
            problems.append(f"config.yaml: policy: {error}")
    problems += [f"config.yaml: {name}: unknown setting" for name in written]
    if problems:
        raise Invalid("the settings are wrong", problems)
    return Settings(**values)


def origins(data: Path, environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Where each setting's value comes from."""
    beside = installed(data) if environment is None else {}
    environment = os.environ if environment is None else environment
    written = _file(data / "config.yaml")
    found = {}
    for name in _CONVERT:
        variable = f"GODPLOY_{name.upper()}"
        if variable in environment:
            found[name] = variable
        elif variable in beside:
            found[name] = str(_beside())
        else:
            found[name] = "config.yaml" if name in written else "default"
    return found


def installed(data: Path) -> dict[str, str]:
    """What the installer wrote down for the service that has this data directory; nothing where the program that runs
    was not installed by it. Raises Invalid where the file may not be read."""
    file = _beside()
    try:
        lines = file.read_text().splitlines() if file.is_file() else []
    except OSError as error:
        raise Invalid(f"{file}: {error.strerror}", next_step="run this as root") from error
    pairs = (line.split("=", 1) for line in lines if line.startswith("GODPLOY_") and "=" in line)
    found = {name: value.strip() for name, value in pairs}
    return found if found.get("GODPLOY_DATA") == str(data.absolute()) else {}


def _beside() -> Path:
    """The installer's file: its program is a virtual environment in the folder of the file."""
    return Path(sys.prefix).parent / "settings"


def _file(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        tree = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise Invalid(f"{path} is not valid YAML: {error}") from error
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise Invalid(f"{path} must hold settings by name")
    return tree


def _port(value: Any) -> int:
    number = int(value)
    if not 1 <= number <= 65535:
        raise ValueError(f"{number} is not a port (1 to 65535)")
    return number


def _listen(value: Any) -> str:
    text = str(value)
    host, colon, port = text.rpartition(":")
    if not colon or not host:
        raise ValueError(f'"{text}" is not HOST:PORT')
    _port(port)
    return text


def _url(value: Any) -> str:
    text = str(value).rstrip("/")
    parts = urlsplit(text)
    loopback = parts.hostname in ("localhost", "127.0.0.1", "::1")
    if parts.scheme not in ("https", "http") or not parts.hostname or parts.path or parts.query or parts.username:
        raise ValueError(f'"{text}" is not https://HOST[:PORT]')
    if parts.scheme == "http" and not loopback:
        raise ValueError("plain http is for loopback only; write https://")
    return text


def _instance(value: Any) -> str:
    if not _INSTANCE.fullmatch(str(value)):
        raise ValueError("an instance's name is 1 to 20 of a-z, 0-9 and hyphens, beginning with a letter")
    return str(value)


def _pool(value: Any) -> str:
    network = ipaddress.ip_network(str(value))
    if not network.is_private or network.prefixlen > 24:
        raise ValueError("the address pool must be a private network of at least a /24")
    return str(network)


def _names(value: Any) -> tuple[str, ...]:
    items = value.split(",") if isinstance(value, str) else value
    return tuple(str(item).strip() for item in items if str(item).strip())


def _endpoints(value: Any) -> tuple[str, ...]:
    names = _names(value)
    for name in names:
        packets.endpoint(name)
    return names


def _capabilities(value: Any) -> tuple[str, ...]:
    names = tuple(name.upper().removeprefix("CAP_") for name in _names(value))
    for name in names:
        if not _CAPABILITY.fullmatch(name):
            raise ValueError(f'"{name}" is not a capability, such as CHOWN or NET_BIND_SERVICE')
    return names


def _count(value: Any) -> int:
    number = int(value)
    if number < 1:
        raise ValueError("it must be at least 1")
    return number


def _email(value: Any) -> str:
    if not _EMAIL.fullmatch(str(value)):
        raise ValueError(f'"{value}" is not an e-mail address')
    return str(value)


def _acme_url(value: Any) -> str:
    parts = urlsplit(str(value))
    if parts.scheme != "https" or not parts.hostname or parts.username:
        raise ValueError(f'"{value}" is not the https:// address of an ACME directory')
    return str(value)


def _file_there(value: Any) -> Path:
    path = Path(str(value)).absolute()
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    return path


def _challenge(value: Any) -> str:
    if value not in CHALLENGES:
        raise ValueError(f'"{value}" is none of {", ".join(CHALLENGES)}')
    return str(value)


def _seconds(value: Any) -> float:
    number = float(value)
    if number <= 0:
        raise ValueError("a time must be more than 0 seconds")
    return number


def _policies(tree: Mapping[str, Any]) -> dict[str, Policy]:
    """`policy:` with limits for all at its top and `projects: {NAME: limits}`."""
    general = dict(tree)
    by_project = general.pop("projects", None) or {}
    return {"": _limits(general), **{name: _limits(limits) for name, limits in by_project.items()}}


def _limits(tree: Mapping[str, Any]) -> Policy:
    known = {f.name for f in fields(Policy)}
    unknown = sorted(set(tree) - known)
    if unknown:
        raise ValueError(f"unknown limit {unknown[0]}; there are {', '.join(sorted(known))}")
    values: dict[str, Any] = dict(tree)
    if "memory" in values:
        values["memory"] = size(str(values["memory"]))
    if "replicas" in values:
        values["replicas"] = _count(values["replicas"])
    if "cpus" in values:
        values["cpus"] = float(values["cpus"])
    for name in ("hosts", "registries"):
        if name in values:
            values[name] = _names(values[name])
    return Policy(**values)


_CONVERT: Mapping[str, Any] = {
    "listen": _listen,
    "url": _url,
    "apps_domain": str,
    "http_port": _port,
    "https_port": _port,
    "traefik_api_port": _port,
    "instance": _instance,
    "pool": _pool,
    "private_bases": _names,
    "engine_reaches": _endpoints,
    "builds": _count,
    "build_timeout": _seconds,
    "poll_interval": _seconds,
    "capabilities": _capabilities,
    "acme_email": _email,
    "acme_url": _acme_url,
    "acme_ca": _file_there,
    "acme_challenge": _challenge,
}
