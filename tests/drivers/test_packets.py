"""Which engines lose their control group with the last rules of a network."""

from __future__ import annotations

from pathlib import Path

import pytest

from godploy.drivers import packets


def test_an_engine_of_another_network_keeps_its_group(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    group = tmp_path / "godploy-engine"
    group.mkdir()
    (group / "cgroup.procs").write_text("11\n12\n")
    monkeypatch.setattr(packets, "_root", lambda: tmp_path)
    monkeypatch.setattr(packets, "_engines", lambda: iter([11]))
    monkeypatch.setattr(packets, "_group_of", lambda pid: "/godploy-engine")
    moved: list[str] = []
    write = Path.write_text

    def written(path: Path, text: str) -> int:
        moved.append(text)
        return write(path, text)

    monkeypatch.setattr(Path, "write_text", written)
    packets._release_engine()
    assert moved == ["11"]


@pytest.mark.parametrize(("ids", "roots"), [("0\t0\t0\t0", True), ("1000\t0\t0\t0", False), ("0\t0\t0\t1000", False)])
def test_only_roots_program_is_the_engine(ids: str, roots: bool) -> None:
    assert packets._is_roots(f"Name:\tdockerd\nUid:\t{ids}\nGid:\t0\t0\t0\t0\n") is roots
