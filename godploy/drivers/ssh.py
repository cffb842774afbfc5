"""OpenSSH: keys that are made here, the keys by which servers are known, and a client that reads no other's files.

OpenSSH's own client is used, since it is the one that git uses. Of the options below ssh_config(5) says what each does.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from godploy.core.access import Access
from godploy.core.command import Command
from godploy.core.remote import Remote
from godploy.drivers import git_ssh
from godploy.drivers.git_program import GitError, checked
from godploy.drivers.process import Missing, TooMuchOutput, run
from godploy.errors import GodployError, Invalid

_TYPES = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa")  # best first
_HOST_KEY = re.compile(rf"({'|'.join(_TYPES)}) ([A-Za-z0-9+/]{{40,4096}}={{0,2}})")
_SCAN_TIMEOUT = 10  # seconds, for each kind of key
_SCAN_LIMIT = 64 * 1024

_OPTIONS = {
    "BatchMode": "yes",
    "ConnectTimeout": "15",  # seconds
    "ServerAliveInterval": "15",  # a server that has stopped talking is given up after …
    "ServerAliveCountMax": "3",  # … so many of these
    "LogLevel": "ERROR",
    # Who we are: by the one key, and by nothing that the machine or its user has.
    "IdentitiesOnly": "yes",
    "IdentityAgent": "none",
    "PreferredAuthentications": "publickey",
    "PasswordAuthentication": "no",
    "KbdInteractiveAuthentication": "no",
    "GSSAPIAuthentication": "no",
    "HostbasedAuthentication": "no",
    "PKCS11Provider": "none",
    "AddKeysToAgent": "no",
    # Who the server is: by the pinned keys alone.
    "StrictHostKeyChecking": "yes",
    "GlobalKnownHostsFile": "/dev/null",
    "UpdateHostKeys": "no",
    "VerifyHostKeyDNS": "no",
    "CheckHostIP": "no",
    "CanonicalizeHostname": "no",
    # Nothing but the one connection for git.
    "ProxyCommand": "none",
    "ProxyJump": "none",
    "ControlMaster": "no",
    "ControlPath": "none",
    "ForwardAgent": "no",
    "ForwardX11": "no",
    "ClearAllForwardings": "yes",
    "PermitLocalCommand": "no",
    "RequestTTY": "no",
    "Tunnel": "no",
}


@dataclass(frozen=True, slots=True)
class HostKey:
    """The public key by which an ssh server is known."""

    type: str
    base64: str

    @property
    def line(self) -> str:
        return f"{self.type} {self.base64}"

    @property
    def fingerprint(self) -> str:
        """As `ssh-keygen -l` and the server's administrator tell it: https://www.rfc-editor.org/rfc/rfc7479"""
        digest = hashlib.sha256(base64.b64decode(self.base64)).digest()
        return f"SHA256:{base64.b64encode(digest).decode().rstrip('=')}"


def read_host_key(line: str) -> HostKey:
    """Reads `TYPE BASE64`. Raises Invalid."""
    parts = _HOST_KEY.fullmatch(line)
    if parts is not None and _says_its_type(parts[1], parts[2]):
        return HostKey(parts[1], parts[2])
    raise Invalid(
        "that is not the public key of an ssh server", next_step="it reads TYPE BASE64, such as ssh-ed25519 AAAA…"
    )


def _says_its_type(kind: str, text: str) -> bool:
    """A key in SSH's own form begins with its type's length and name: https://www.rfc-editor.org/rfc/rfc4253 6.6"""
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError:
        return False
    return raw.startswith(len(kind).to_bytes(4, "big") + kind.encode())


def new_key() -> tuple[str, str]:
    """A new key: the private half in OpenSSH's form, and the public half as one line to be given to a server."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    return private, f"{public} godploy"


async def scan(remote: Remote) -> tuple[HostKey, ...]:
    """The keys that an ssh server shows now, the best kind first. Nothing proves yet that they are the right ones: a
    person compares the fingerprint. Raises GitError repository_unreachable, and GodployError without the program."""
    address = next(iter(await checked(remote)), remote.host)
    asked = Command(("ssh-keyscan", "-T", str(_SCAN_TIMEOUT), "-p", str(remote.port), "--", address))
    try:
        result = await run(asked, timeout=3.0 * _SCAN_TIMEOUT, limit=_SCAN_LIMIT)
    except Missing as error:
        raise GodployError(
            "the program ssh-keyscan is not installed on this server",
            next_step="install the package openssh-client",
            code="ssh_missing",
        ) from error
    except (TimeoutError, TooMuchOutput) as error:
        raise _keyless(remote) from error
    found = {key.type: key for key in _scanned(result.stdout.decode(errors="replace"))}
    if not found:
        raise _keyless(remote)
    return tuple(found[kind] for kind in _TYPES if kind in found)


def _scanned(output: str) -> list[HostKey]:
    """Lines of `ADDRESS TYPE BASE64`; what is no key of a kind that we know is passed over."""
    keys: list[HostKey] = []
    for line in output.split("\n"):
        if line.startswith("#") or " " not in line:
            continue
        try:
            keys.append(read_host_key(line.partition(" ")[2].strip()))
        except Invalid:
            continue
    return keys


def _keyless(remote: Remote) -> GitError:
    detail = f"no ssh server at {remote.host}, port {remote.port}, showed its key"
    return GitError("repository_unreachable", url=remote.url, detail=detail)


def files(remote: Remote, access: Access, addresses: Sequence[str]) -> dict[str, str]:
    """What `git_ssh` needs beside it for one call. With `addresses` the connection goes to the first of these, in the
    order that the system prefers. Raises Invalid for a pinned line that is no key."""
    pinned = [read_host_key(line) for line in access.host_keys]
    options = {**_OPTIONS, "HostKeyAlias": remote.host}
    if addresses:
        options["HostName"] = addresses[0]
    return {
        "config": "".join(f"{name} {value}\n" for name, value in options.items()),
        git_ssh.KEY: access.key.rstrip("\n") + "\n",
        git_ssh.KNOWN_HOSTS: "".join(f"{remote.host} {key.line}\n" for key in pinned),
    }
