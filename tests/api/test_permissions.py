"""Who may do what, as a table."""

from __future__ import annotations

import pytest

from godploy.core.permissions import ADMINISTRATOR, ALL, OF_ORGANIZATION, ROLES, SIGNED_IN, may


@pytest.mark.parametrize(
    ("permission", "roles"),
    [
        ("project.read", "viewer developer admin owner"),
        ("repository.pull", "viewer developer admin owner"),
        ("secret.read", "developer admin owner"),
        ("secret.write", "developer admin owner"),
        ("deployment.create", "developer admin owner"),
        ("repository.push", "developer admin owner"),
        ("run.create", "developer admin owner"),
        ("project.create", "admin owner"),
        ("repository.write", "admin owner"),
        ("volume.delete", "admin owner"),
        ("host.release", "admin owner"),
    ],
)
def test_roles(permission: str, roles: str) -> None:
    assert {role for role in ROLES if may(permission, role=role)} == set(roles.split())


def test_each_role_has_what_the_one_below_has() -> None:
    assert ROLES["viewer"] < ROLES["developer"] < ROLES["admin"] <= ROLES["owner"]


@pytest.mark.parametrize("permission", sorted(OF_ORGANIZATION))
def test_an_administrator_is_nobody_in_another_organization(permission: str) -> None:
    assert not may(permission, role=None, administrator=True)


@pytest.mark.parametrize("permission", sorted(ADMINISTRATOR))
def test_only_an_administrator(permission: str) -> None:
    assert may(permission, administrator=True)
    assert not any(may(permission, role=role) for role in ROLES)


@pytest.mark.parametrize("permission", sorted(SIGNED_IN))
def test_everybody_who_is_signed_in(permission: str) -> None:
    assert may(permission)


@pytest.mark.parametrize("permission", ["", "project.raed", "project.*", "*", "owner"])
def test_what_is_not_known_grants_nothing(permission: str) -> None:
    assert permission not in ALL
    assert not any(may(permission, role=role, administrator=True) for role in [*ROLES, None, "root"])
