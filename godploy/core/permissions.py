"""Who may do what, as data. Every route names one of these permissions; a name that is not here grants nothing.

Three kinds: what everybody who is signed in may do (with their own account, mostly), what a role in an organization
gives, and what only a server administrator may. The last is no role: it opens no organization's contents.
"""

from __future__ import annotations

from collections.abc import Mapping

SIGNED_IN = frozenset({"account.read", "account.write", "template.read", "manifest.validate"})

ADMINISTRATOR = frozenset({"server.read", "host.give", "oauth_client.write"})

_VIEWER = frozenset({"project.read", "repository.pull"})
_DEVELOPER = _VIEWER | {
    "connection.read",
    "deployment.create",
    "manifest.write",
    "repository.push",
    "run.create",
    "secret.read",
    "secret.write",
    "service.write",
}
_ADMIN = _DEVELOPER | {"connection.write", "project.create", "repository.write", "host.release", "volume.delete"}

ROLES: Mapping[str, frozenset[str]] = {
    "viewer": _VIEWER,
    "developer": _DEVELOPER,
    "admin": _ADMIN,
    "owner": _ADMIN,  # ownership adds what concerns the organization itself, of which there is nothing to do yet
}

OF_ORGANIZATION = frozenset().union(*ROLES.values())
ALL = SIGNED_IN | ADMINISTRATOR | OF_ORGANIZATION


def may(permission: str, *, role: str | None = None, administrator: bool = False) -> bool:
    """Whether a signed-in user may: `role` is theirs in the organization concerned, None where they have none there."""
    if permission in SIGNED_IN:
        return True
    if permission in ADMINISTRATOR:
        return administrator
    return permission in ROLES.get(role or "", frozenset())
