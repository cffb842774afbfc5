"""What is looked at before Traefik's container is made, or kept: its ports and its folders."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from godploy.drivers.traefik_container import Ports
from godploy.errors import Conflict
from godploy.runtimes.engine.ingress import Ingress, must_be_free


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


def test_a_folder_that_took_another_ones_name_makes_another_container(tmp_path: Path) -> None:
    """As after a restore: a container that runs goes on seeing the folder that it was given."""
    routes, tls = tmp_path / "routes", tmp_path / "tls"
    routes.mkdir()
    tls.mkdir()
    nothing: Any = None
    ingress = Ingress(nothing, nothing, "test", Ports(1, 2, 3), routes, tls)
    labels = ingress._config("traefik")["Labels"]
    assert ingress._config("traefik")["Labels"] == labels
    routes.rename(tmp_path / "before")
    routes.mkdir()
    assert ingress._config("traefik")["Labels"] != labels
