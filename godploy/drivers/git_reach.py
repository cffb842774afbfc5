"""The way to a repository elsewhere: to a checked address, with its own credential and no other, and what went wrong.

A login is given to git by its environment, as a header for the remote's own origin: it is neither in an argument, nor
in an address, nor in a file. A key is in a file of the one call, which `drivers.process` writes and removes.
https://git-scm.com/docs/git-config#Documentation/git-config.txt-httpltURLgt names the first, ssh_config(5) the second.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from godploy.core.access import Access
from godploy.core.command import Command
from godploy.core.remote import Remote
from godploy.drivers import git_ssh, ssh
from godploy.drivers.git_program import GitError, checked, environment, words
from godploy.drivers.process import Result
from godploy.errors import Invalid
from godploy.redact import Redactor

_LOGIN_SCHEMES = ("https", "http")
_REDIRECTED = ("error: 301", "error: 302", "error: 307", "error: 308")
# 401 makes git ask for a name, or say that the one in the header failed; 403 it only tells.
_DENIED = (b"could not read Username", b"Authentication failed for", b"requested URL returned error: 403")
_KEY_DENIED = b"Permission denied ("
_NOT_THE_PINNED = b"Host key verification failed"
_MISSING = re.compile(rb"repository '[^'\n]*' not found|[Rr]epository not found|not appear to be a git repository")
_SEEN = re.compile(rb"SHA256:[A-Za-z0-9+/]{43}")


@dataclass(frozen=True, slots=True)
class Way:
    """What one call to a remote is given besides its arguments."""

    remote: Remote
    access: Access
    env: Mapping[str, str] = field(repr=False)
    files: Mapping[str, str] = field(default_factory=dict, repr=False)

    def taken(self, command: Command) -> Command:
        return replace(command, env={**command.env, **self.env}, secret_files=self.files)

    def trouble(self, result: Result) -> GitError:
        """Why the call came to nothing, without the credential, which a server may well repeat."""
        url, said = self.remote.url, self._hidden(words(result))
        if self.remote.scheme == "ssh" and _NOT_THE_PINNED in result.stderr:
            seen = _SEEN.search(result.stderr)
            pinned = [key.fingerprint for key in map(ssh.read_host_key, self.access.host_keys)]
            return GitError(
                "host_key_changed", url=url, pinned=pinned, seen=seen[0].decode() if seen else "one of another kind"
            )
        if self.remote.scheme == "ssh" and _KEY_DENIED in result.stderr:
            return GitError("repository_denied", url=url, detail="its server does not accept the deploy key")
        if any(sign in result.stderr for sign in _DENIED):
            wants = "does not accept the login" if self.access.login else "asks for a login, and there is none"
            return GitError("repository_denied", url=url, detail=f"its server {wants}")
        if _MISSING.search(result.stderr):
            said = f"its server has no such repository, or none that may be seen from here ({said})"
        if any(status in said for status in _REDIRECTED):
            said = f"it redirects, which is not followed: give the address that it leads to ({said})"
        return GitError("repository_unreachable", url=url, detail=said)

    def _hidden(self, text: str) -> str:
        if (login := self.access.login) is None:
            return text
        secret = login[1] or login[0]  # some servers take a token as the name, with no password
        hidden = Redactor([secret, _basic(self.remote, login)])(text)
        # a short password is nothing that a redactor looks for
        return hidden if not secret or secret not in hidden else "its answer holds the password, and is not told"

    def silence(self, timeout: float) -> GitError:
        detail = f"it did not finish within {timeout:g} s"
        return GitError("repository_unreachable", url=self.remote.url, detail=detail)


async def reach(remote: Remote, access: Access, program: Path) -> Way:
    """The way for one call; `program` is git_ssh as a program. Raises GitError; Invalid for a credential that does
    not belong to the scheme, or cannot be one."""
    _must_fit(remote, access)
    addresses = await checked(remote)
    allowed = {"GIT_ALLOW_PROTOCOL": remote.scheme}
    if remote.scheme == "ssh":
        env = {**allowed, "GIT_SSH": str(program), "GIT_SSH_VARIANT": "ssh", git_ssh.CONFIG: "{secrets}/config"}
        return Way(remote, access, env, ssh.files(remote, access, addresses))
    config: dict[str, str] = {}
    if addresses and addresses != [remote.host]:
        bracketed = ",".join(f"[{address}]" if ":" in address else address for address in addresses)
        config["http.curloptResolve"] = f"{remote.host}:{remote.port}:{bracketed}"
    if access.login is not None:
        config[f"http.{remote.origin}/.extraHeader"] = f"Authorization: Basic {_basic(remote, access.login)}"
    return Way(remote, access, {**environment(config), **allowed})


def _basic(remote: Remote, login: tuple[str, str]) -> str:
    """https://www.rfc-editor.org/rfc/rfc7617"""
    name, password = login
    if ":" in name or not (name + password).isprintable():
        raise Invalid(f"the login for {remote.host} holds characters that no login can hold", code="invalid_login")
    return base64.b64encode(f"{name}:{password}".encode()).decode()


def _must_fit(remote: Remote, access: Access) -> None:
    if access.login is not None and remote.scheme not in _LOGIN_SCHEMES:
        raise Invalid(f"a login is for https, not for {remote.url}", next_step="Use the repository's https:// address.")
    if access.key and remote.scheme != "ssh":
        raise Invalid(f"a key is for ssh, not for {remote.url}", next_step="Use the repository's ssh:// address.")
