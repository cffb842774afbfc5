"""Ids, names and hosts: what they may look like, and how those that Godploy makes are made.

Everything that becomes a name of a container, a host in a routing rule or a label of DNS passes through here first.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
import secrets
import string

from godploy.core.references import SERVICE_NAME, VARIABLE_NAME
from godploy.redact import Secret

NAME = SERVICE_NAME  # of services, environments and volumes; matched whole
VARIABLE = VARIABLE_NAME  # of environment variables and secrets
HOST_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
HOST = rf"{HOST_LABEL}(?:\.{HOST_LABEL})*"
PATH = r"/(?:[A-Za-z0-9._~!&'()*+,;=:@-]|%[0-9A-Fa-f]{2}|/)*"  # RFC 3986, section 3.3; no quote, no backtick

_LETTERS = string.ascii_lowercase
_SIGNS = _LETTERS + string.digits
_ID_LENGTH = 7  # what 63 characters leave for an id in the longest container name
_LABEL_LIMIT = 63  # RFC 1035, section 2.3.4, for a label of a host; Docker's names follow the same limit as host names
_HOST_LIMIT = 253


def new_id() -> str:
    """A fresh id: seven characters, a letter first, so that it may begin any name. About 8·10¹⁰ of them."""
    drawn = secrets.randbelow(len(_LETTERS) * len(_SIGNS) ** (_ID_LENGTH - 1))
    signs = []
    for _ in range(_ID_LENGTH - 1):
        drawn, number = divmod(drawn, len(_SIGNS))
        signs.append(_SIGNS[number])
    return _LETTERS[drawn] + "".join(signs)


def new_password(length: int = 32) -> Secret:
    """A generated secret of letters and digits only, so that it stands in a URL or a command line as it is."""
    return Secret("".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(length)))


def is_name(text: str) -> bool:
    return re.fullmatch(NAME, text) is not None


def is_host(text: str) -> bool:
    """Whether it is a host as it goes into a routing rule: lower case, IDNA-encoded already, no port, no final dot."""
    return len(text) <= _HOST_LIMIT and re.fullmatch(HOST, text) is not None


def is_address(text: str) -> bool:
    """Whether it is an IP address in its usual form, without brackets or port."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def is_path(text: str) -> bool:
    """Whether it is an absolute URL path that is safe in a routing rule."""
    return len(text) <= 1024 and re.fullmatch(PATH, text) is not None


def container_name(environment: str, service: str, workload: str, replica: int) -> str:
    """Of one replica (counted from 1), by ids and the service's name. Raises ValueError past 63 characters, which
    ids of seven characters, service names of forty and two digits of replicas cannot reach."""
    return _limited(f"gp-{environment}-{service}-{workload}-{replica}")


def volume_name(environment: str, volume: str) -> str:
    return _limited(f"gp-{environment}-{volume}")


def network_name(environment: str) -> str:
    return _limited(f"gp-{environment}")


def generated_host(parts: list[str], domain: str) -> str:
    """The name under `domain` that is made from `parts` (service, project, environment, …), joined by hyphens.

    What DNS does not allow becomes a hyphen; a label past 63 characters ends in a hash of the whole instead."""
    label = re.sub(r"[^a-z0-9]+", "-", "-".join(parts).lower()).strip("-")
    if len(label) > _LABEL_LIMIT:
        tail = hashlib.sha256(label.encode()).hexdigest()[:8]
        label = f"{label[: _LABEL_LIMIT - 9].rstrip('-')}-{tail}"
    return f"{label}.{domain}"


def _limited(name: str) -> str:
    if len(name) > _LABEL_LIMIT:
        raise ValueError(f"the name {name} has more than {_LABEL_LIMIT} characters")
    return name
