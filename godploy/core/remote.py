"""Addresses of git repositories: an allow-list, since a git address can name a program, a file or an inner host.

What passes here is `https` to anywhere public, `ssh` too where there is a key for it, and `http`, `git` or either of
these below a base that the server's own setting lists (`http://10.0.0.5:3000`, `git://10.0.0.6`). Whether a name leads
to a public address is asked at each use, by the driver, with `is_public`.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from urllib.parse import unquote

from godploy.core import naming
from godploy.errors import Invalid

_PORTS = {"https": 443, "http": 80, "git": 9418, "ssh": 22}
_SAFE = ("https", "ssh")  # who listens on the way learns nothing, and cannot take the server's place
_LONGEST = 2048
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_SCP_LIKE = re.compile(r"(?:([^/@:]+)@)?(\[[^\]/@]+\]|[^/@:]+):(?!:|//)(.+)")
_USER = re.compile(r"[A-Za-z0-9._][A-Za-z0-9._-]{0,63}")
_DEFAULT_USER = "git"
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(?::([0-9]{1,5}))?")
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_PATH = re.compile(r"(?:/[A-Za-z0-9._~+@%!$&'()*,;=:-]+)*/?")

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
# What git refuses, and what would end a line, move a cursor or turn around the text where the name is shown: controls,
# spaces and line ends of all kinds, directions of writing, halves of characters.
_REF_FORBIDDEN = re.compile(
    r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//"
    r"|[\x80-\xa0\u061c\u1680\u2000-\u200a\u200e\u200f\u2028-\u202f\u205f\u2066-\u2069\u3000\ud800-\udfff]"
)

# Addresses that carry an IPv4 address inside, and reach it:
# RFC 4291 section 2.5.5.1, RFC 6052, RFC 8215, RFC 3056.
_WRAPPING = tuple(ipaddress.IPv6Network(net) for net in ("::/96", "64:ff9b::/96", "64:ff9b:1::/48", "2002::/16"))


@dataclass(frozen=True, slots=True)
class Remote:
    """A repository's address that may be given to git. `private`: a base of the server's setting covers it, so it may
    be an inner one. `user` is the name at an ssh server, empty for the other schemes."""

    url: str  # as it was written; for ssh always `ssh://user@host[:port]/path`
    scheme: str
    host: str  # lower case; an IPv6 address without its brackets
    port: int
    path: str
    private: bool
    user: str = ""

    @property
    def origin(self) -> str:
        """Scheme, host and, where it is not the usual one, port; no path."""
        return f"{self.scheme}://{_authority(self)}"


def parse(url: str, private: Sequence[str] = (), ssh: bool = False) -> Remote:
    """The address in its parts; `private` holds the bases of the server's setting, `ssh`: there is a key for it. The
    short form of an ssh address, `user@host:path`, means `ssh://user@host/path`. Raises Invalid with the reason."""
    remote = _allowed(_split(url), private, ssh)
    if remote.path.strip("/") == "":
        raise _refused(url, "it names no repository, only a server")
    return remote


def parse_server(url: str, private: Sequence[str] = ()) -> Remote:
    """The web address of a server, held to the same rules as the repositories there. Raises Invalid with the reason."""
    return _allowed(_split(url), private, False)


def _allowed(remote: Remote, private: Sequence[str], ssh: bool) -> Remote:
    url = remote.url
    listed = any(_covers(base, remote) for base in map(parse_base, private))
    if remote.scheme == "ssh" and not ssh:
        raise _refused(
            url,
            "ssh needs a key",
            f"Use https://{_host_in_url(remote.host)}{remote.path}, or add it with its deploy key: "
            f"godploy repositories add NAME --url {remote.url}",
        )
    inside = naming.is_address(remote.host) and not is_public(remote.host)
    listing = f"sk a server administrator to list {remote.origin} in private_bases."
    if remote.scheme not in _SAFE and not listed:
        raise _refused(
            url,
            f"{remote.scheme}:// is served only below the private bases that the server's setting lists",
            f"A{listing}" if inside else f"Use https://{_host_in_url(remote.host)}{remote.path}, or a{listing}",
        )
    if not listed and inside:
        raise _refused(url, "it is a private address", f"A{listing}")
    return replace(remote, private=listed)


def parse_base(base: str) -> Remote:
    """One entry of the server's setting: scheme and host, with or without port and path. Raises Invalid."""
    remote = _split(base)
    if "@" in base:
        raise _refused(base, "a base holds no user name", "Leave that out: a base covers every user of its server.")
    return replace(remote, url=base, path=remote.path.rstrip("/"), private=True)


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the public internet: none that is loopback, private, link-local, shared,
    multicast or otherwise special, nor one that only wraps an IPv4 address."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            parsed = parsed.ipv4_mapped
        elif parsed.is_site_local or any(parsed in network for network in _WRAPPING):
            return False
    return parsed.is_global and not parsed.is_multicast


def is_commit(text: str) -> bool:
    """Whether this is a full object name: SHA-1 or SHA-256 in lower-case hexadecimal."""
    return _COMMIT.fullmatch(text) is not None


def is_branch(name: str) -> bool:
    """Whether git takes this as the name of a branch or tag, and people can read it:
    https://git-scm.com/docs/git-check-ref-format"""
    return (
        0 < len(name) <= 255
        and not name.startswith(("-", "/"))
        and not name.endswith(("/", "."))
        and name != "HEAD"
        and _REF_FORBIDDEN.search(name) is None
        and not any(part.startswith(".") or part.endswith(".lock") for part in name.split("/"))
    )


def _split(url: str) -> Remote:
    """Syntax alone: what each scheme may reach is decided above."""
    if not url or len(url) > _LONGEST or not url.isascii() or not url.isprintable() or " " in url:
        raise _refused(url, "it is empty, too long, or holds blanks, control or non-ASCII characters")
    written = _SCHEME.fullmatch(url)
    if written is None:
        return _short(url)
    scheme, rest = written[1].lower(), written[2]
    if scheme in ("git+ssh", "ssh+git"):
        raise _refused(url, f"{scheme}:// is not served", "Write ssh:// instead.")
    if scheme not in _PORTS:
        raise _refused(url, f"{scheme}:// is not served", "Use the repository's https:// address.")
    authority, slash, path = rest.partition("/")
    user, at, place = authority.rpartition("@")
    if at and (scheme != "ssh" or ":" in user):
        raise _refused(url, "it holds a user name or password", "Leave that out of the address.")
    parts = _AUTHORITY.fullmatch(place)
    if parts is None:
        raise _refused(url, "its host or port is not valid")
    found = Remote(url, scheme, _host(url, parts[1]), _port(url, parts[2], scheme), _path(url, slash + path), False)
    return found if scheme != "ssh" else _with_user(found, user if at else _DEFAULT_USER)


def _short(url: str) -> Remote:
    """An address without a scheme: ssh's short form, or nothing that leads to a server."""
    parts = None if url.startswith("-") else _SCP_LIKE.fullmatch(url)
    if parts is None:
        raise _refused(url, "it is no address of a server", "Write it with https:// in front.")
    authority = _AUTHORITY.fullmatch(parts[2])
    if authority is None:
        raise _refused(url, "its host is not valid")
    if "@" in parts[3]:  # user:password@host, which would be taken for a host and a path
        raise _refused(url, "it may hold a password", "Write it as ssh://user@host/path.")
    path = _path(url, "/" + parts[3].removeprefix("/"))
    found = Remote(url, "ssh", _host(url, authority[1]), _PORTS["ssh"], path, False)
    return _with_user(found, _DEFAULT_USER if parts[1] is None else parts[1])


def _with_user(remote: Remote, user: str) -> Remote:
    """An ssh address in its one form: what is told, compared and given to git."""
    if not _USER.fullmatch(user):
        raise _refused(remote.url, "its user name is not valid")
    return replace(remote, url=f"ssh://{user}@{_authority(remote)}{remote.path}", user=user)


def _authority(remote: Remote) -> str:
    port = "" if remote.port == _PORTS[remote.scheme] else f":{remote.port}"
    return _host_in_url(remote.host) + port


def _host_in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _host(url: str, text: str) -> str:
    host = text.lower()
    if host.startswith("["):
        host = host[1:-1]
        if not naming.is_address(host):
            raise _refused(url, "its host is no IPv6 address")
        return host
    labels = host.split(".")
    # Whatever ends in a number is read as an IPv4 address somewhere, in octal, in hexadecimal or as one large number:
    # https://url.spec.whatwg.org/#ends-in-a-number-checker
    if _NUMBER.fullmatch(labels[-1]) and not naming.is_address(host):
        raise _refused(url, "its host looks like an address, but is not one in the usual form")
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise _refused(url, "its host is not valid")
    return host


def _port(url: str, text: str | None, scheme: str) -> int:
    port = int(text) if text is not None else _PORTS[scheme]
    if not 1 <= port <= 65535:
        raise _refused(url, "its port is not valid")
    return port


def _path(url: str, path: str) -> str:
    if not _PATH.fullmatch(path):
        raise _refused(url, "its path holds characters that do not belong there")
    if any(unquote(part) in (".", "..") or "/" in unquote(part) for part in path.split("/")):
        raise _refused(url, "its path climbs")
    return path


def _covers(base: Remote, remote: Remote) -> bool:
    same = (base.scheme, base.host, base.port) == (remote.scheme, remote.host, remote.port)
    return same and (remote.path + "/").startswith(base.path + "/")


def _refused(url: str, reason: str, next_step: str = "") -> Invalid:
    shown = "".join(character if character.isprintable() else "?" for character in url[:200])
    authority = re.sub(r"(//|^)[^/]*@", r"\1•••@", shown)
    return Invalid(f"{authority} cannot be used: {reason}.", next_step=next_step, code="repository_refused")
