"""The ports that Traefik is to have are looked at before its container is made."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from godploy.drivers.traefik_container import Ports
from godploy.errors import Conflict
from godploy.runtimes.engine.ingress import must_be_free


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening


def unused() -> int:
    with socket.socket() as candidate:
        candidate.bind(("127.0.0.1", 0))
        return int(candidate.getsockname()[1])


def forbidden(self: socket.socket, address: object) -> None:
    raise PermissionError(13, "Permission denied")


@pytest.mark.parametrize("root", [True, False], ids=["root", "another user"])
def test_a_port_that_is_held_is_told(listener: socket.socket, root: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    port = listener.getsockname()[1]
    ports = Ports(port, unused(), unused())
    if not root:
        monkeypatch.setattr(socket.socket, "bind", forbidden)
    with pytest.raises(Conflict, match=f"port {port}, which Traefik is to listen on, cannot be had"):
        must_be_free(ports)


def test_a_port_that_only_root_may_have_is_traefiks(monkeypatch: pytest.MonkeyPatch) -> None:
    ports = Ports(unused(), unused(), unused())
    monkeypatch.setattr(socket.socket, "bind", forbidden)
    must_be_free(ports)
