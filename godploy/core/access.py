"""How a repository that is kept elsewhere is reached."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Access:
    """An address, and what its server wants to see: nothing, a login (user name and password, for http and https), or
    a key (the text of an OpenSSH private key, for ssh). `host_keys` are the lines `TYPE BASE64` that were pinned for an
    ssh server; no other server is talked to."""

    url: str
    login: tuple[str, str] | None = field(default=None, repr=False)
    key: str = field(default="", repr=False)
    host_keys: tuple[str, ...] = ()
