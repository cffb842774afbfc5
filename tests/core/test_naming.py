"""Ids and names."""

from __future__ import annotations

import re

import pytest

from godploy.core import naming


def test_ids_are_short_begin_with_a_letter_and_differ() -> None:
    ids = {naming.new_id() for _ in range(2000)}
    assert len(ids) == 2000
    assert all(re.fullmatch("[a-z][a-z0-9]{6}", found) for found in ids)


def test_a_password_needs_no_quoting() -> None:
    password = naming.new_password()
    assert re.fullmatch("[A-Za-z0-9]{32}", password.reveal())
    assert password != naming.new_password()


def test_the_longest_container_name_fits() -> None:
    name = naming.container_name("e" * 7, "s" * 40, "w" * 7, 50)
    assert len(name) <= 63
    assert naming.container_name("e1", "web", "w1", 1) == "gp-e1-web-w1-1"
    with pytest.raises(ValueError, match="63"):
        naming.container_name("e" * 7, "s" * 60, "w" * 7, 1)


@pytest.mark.parametrize(
    ("parts", "host"),
    [
        (["web", "shop"], "web-shop.apps.test"),
        (["web", "My Shop_2"], "web-my-shop-2.apps.test"),
        (["web", "shop", ""], "web-shop.apps.test"),
    ],
)
def test_generated_hosts(parts: list[str], host: str) -> None:
    assert naming.generated_host(parts, "apps.test") == host


def test_long_generated_hosts_stay_hosts_and_apart() -> None:
    one, two = (naming.generated_host(["s" * 40, "p" * 40, end], "apps.test") for end in ("a", "b"))
    assert one != two
    assert naming.is_host(one)
    assert naming.is_host(two)


@pytest.mark.parametrize("name", ["web", "a", "a1", "my-app", "a" * 40])
def test_names(name: str) -> None:
    assert naming.is_name(name)


@pytest.mark.parametrize("name", ["", "Web", "1a", "-a", "a-", "a_b", "a" * 41, "web\n"])
def test_no_names(name: str) -> None:
    assert not naming.is_name(name)
