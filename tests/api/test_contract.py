"""`schemas/openapi.yaml` and the server say the same."""

from __future__ import annotations

from typing import Any

import pytest

from godploy.api import contract, guard
from godploy.api.guard import Route
from godploy.api.routes import ROUTES
from godploy.core import permissions
from godploy.errors import Invalid

OPERATIONS = contract.operations()


def test_every_route_is_in_the_contract_and_the_other_way_round() -> None:
    assert {(route.method, route.path): route.permission for route in ROUTES} == {
        key: operation.permission for key, operation in OPERATIONS.items()
    }


def test_every_permission_is_used_and_known() -> None:
    used = {route.permission for route in ROUTES} - {guard.OPEN}
    assert used <= permissions.ALL
    assert permissions.ALL - used == {"repository.pull", "repository.push"}  # the git remote


@pytest.mark.parametrize("permission", ["project.raed", "", "project.create"])
def test_a_route_without_its_permission_cannot_start(permission: str) -> None:
    with pytest.raises(ValueError):
        guard.guarded(Route("GET", "/api/v1/projects/{project}", ROUTES[0].handler, permission))


def test_a_route_outside_the_contract_cannot_start() -> None:
    with pytest.raises(ValueError):
        guard.guarded(Route("GET", "/api/v1/other", ROUTES[0].handler, "account.read"))


@pytest.mark.parametrize("key", OPERATIONS, ids=lambda key: OPERATIONS[key].id)
def test_every_operation_is_told_whole(key: tuple[str, str]) -> None:
    method, path = key
    tree = contract.document()["paths"][path][method.lower()]
    assert tree["summary"].endswith(".")
    assert tree["tags"]
    assert tree["responses"]["default"] == {"$ref": "#/components/responses/Error"}
    assert any(status.startswith("2") for status in tree["responses"])
    assert (tree.get("security") == []) == (tree["x-permission"] == guard.OPEN)
    if tree["x-permission"] == guard.OPEN:
        assert method == "GET" or tree["x-signed"]


def test_operation_ids_are_unique() -> None:
    assert len({operation.id for operation in OPERATIONS.values()}) == len(OPERATIONS)


def deploy() -> contract.Operation:
    return OPERATIONS[("POST", "/api/v1/projects/{project}/deployments")]


def test_defaults_are_filled_in() -> None:
    nothing = {"environment": "production", "repository": None, "commit": None, "confirm": None, "update": None}
    assert deploy().read_body(b"") == nothing
    assert deploy().read_body(b'{"commit": "3f2a91c"}') == {**nothing, "commit": "3f2a91c"}


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (b'{"environmnet": "staging"}', 'the body: unknown key "environmnet"'),
        (b'{"environment": "Staging"}', "environment: expected an environment's name"),
        (b'{"environment": "staging\\n"}', "environment: expected an environment's name"),
        (b'{"commit": "main"}', "commit: expected a commit's hash"),
        (b'{"update": ["web", 3]}', "update.1: expected 1 to 40"),
        (b'{"update": null}', "update: expected array"),
        (b"[]", "the body: expected object"),
        (b'{"commit": null, "commit": null}', "the body is not valid JSON"),
        (b'{"confirm": NaN}', "the body is not valid JSON"),
        (b'{"confirm": "\xff"}', "the body is not valid JSON"),
        (b'{"confirm": "\\ud800"}', "half a character"),
        (b"[" * 100_000, "the body is not valid JSON"),
    ],
)
def test_what_a_body_may_not_be(raw: bytes, problem: str) -> None:
    with pytest.raises(Invalid) as caught:
        deploy().read_body(raw)
    assert problem in "; ".join([caught.value.message, *caught.value.problems])


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, {"project": "shop", "environment": None, "limit": 50}),
        ({"limit": "7", "environment": "staging"}, {"project": "shop", "environment": "staging", "limit": 7}),
        ({"limit": "0"}, "limit: expected at least 1"),
        ({"limit": "seven"}, "limit: expected integer"),
        ({"limit": "1e3"}, "limit: expected integer"),
        ({"lmiit": "7"}, "lmiit: unknown parameter"),
        ({"environment": ""}, "environment: expected 1 to 40"),
    ],
)
def test_parameters(query: dict[str, str], expected: Any) -> None:
    operation = OPERATIONS[("GET", "/api/v1/projects/{project}/deployments")]
    if isinstance(expected, dict):
        assert operation.read_parameters({"project": "shop"}, query) == expected
        return
    with pytest.raises(Invalid) as caught:
        operation.read_parameters({"project": "shop"}, query)
    assert expected in caught.value.message
