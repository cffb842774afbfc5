"""The wheel: it holds what the program needs, the server hands it out, pip takes it from there, and it installs."""

from __future__ import annotations

import asyncio
import csv
import subprocess
import sys
from pathlib import Path

import pytest

from godploy import __version__, resources
from tests.api.conftest import Site, whole

from .conftest import CHECKOUT, CLEAN, PIP, contents, environment, run

__all__ = ["whole"]  # a fixture

NAME = f"godploy-{__version__}-py3-none-any.whl"


def test_it_holds_everything_that_is_shipped(wheel: Path) -> None:
    assert wheel.name == NAME
    held = contents(wheel)
    for folder in ("schemas", "templates", "install"):
        shipped = {
            path for path in (CHECKOUT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts
        }
        assert shipped
        for path in shipped:
            assert held[f"godploy/_data/{path.relative_to(CHECKOUT)}"] == path.read_bytes()
    assert "godploy/store/migrations/0001.sql" in held
    strange = [name for name in held if not name.startswith(("godploy/", f"godploy-{__version__}.dist-info/"))]
    assert strange == []


@pytest.fixture
def kept(wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The wheel where an installation keeps it."""
    (tmp_path / NAME).write_bytes(wheel.read_bytes())
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    return tmp_path / NAME


async def test_a_server_without_its_wheel_says_so(whole: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    nobody = whole.as_(None)
    missing = await nobody.get(f"/wheels/{NAME}")
    assert missing.status == 404
    assert missing.error["message"] == "this server was installed without its wheel, so it cannot offer it"
    assert b"pipx" not in (await nobody.get("/")).raw


async def test_a_server_offers_its_own_version_alone(whole: Site, kept: Path) -> None:
    nobody = whole.as_(None)
    answer = await nobody.get(f"/wheels/{NAME}")
    assert answer.status == 200
    assert answer.raw == kept.read_bytes()
    assert f"pipx install https://deploy.example.com/wheels/{NAME}".encode() in (await nobody.get("/")).raw
    older = await nobody.get("/wheels/godploy-0.0.1-py3-none-any.whl")
    assert older.status == 404
    assert older.error["next_step"] == f"pipx install https://deploy.example.com/wheels/{NAME}"
    assert (await nobody.get("/wheels/..%2Fpyvenv.cfg")).status == 404
    assert (await nobody.get("/wheels/")).status == 404
    abroad = await nobody.get(f"/wheels/{NAME}", headers={"X-Forwarded-For": "203.0.113.9"})
    assert abroad.status == 403, "a program that is to be run comes encrypted, or from this machine"


async def test_pip_installs_the_command_line_from_the_server(
    whole: Site, kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"{whole.address}/wheels/{NAME}"
    programs = await asyncio.to_thread(environment, tmp_path / "laptop", url)
    godploy = programs / "godploy"

    def use() -> None:
        home = {**CLEAN, "HOME": str(tmp_path / "home")}
        shop = tmp_path / "shop"
        shop.mkdir()
        (tmp_path / "home").mkdir()
        (shop / "Dockerfile").write_text("FROM busybox\nEXPOSE 8000\n")
        assert run(godploy, "--version") == f"godploy {__version__}\n"
        run(godploy, "init", cwd=shop, env=home)
        run(godploy, "validate", cwd=shop, env=home)
        run(godploy, "login", whole.address, "--token-stdin", env=home, input=f"{whole.token}\n")
        assert "projects" in run(godploy, "projects", "--json", env=home)
        packages = run(programs / "python", "-m", "pip", "list")
        assert "docker" in packages and "traefik" not in packages

    await asyncio.to_thread(use)
    await asyncio.to_thread(the_installation_gives_back_its_wheel, programs, kept)
    await asyncio.to_thread(the_installer_comes_along, godploy, tmp_path)


def the_installation_gives_back_its_wheel(programs: Path, original: Path) -> None:
    """What pip installed is packed into a wheel again, which is what the installer installs from."""
    code = "import sys; from pathlib import Path; from godploy.cli.packing import pack; print(pack(Path(sys.prefix)))"
    packed = Path(run(programs / "python", "-c", code).strip())
    assert packed == programs.parent / NAME
    made, first = contents(packed), contents(original)
    record = f"godploy-{__version__}.dist-info/RECORD"
    assert {name: made[name] for name in made if name != record} == {
        name: first[name] for name in first if name != record
    }
    rows = [sorted(csv.reader(held[record].decode().splitlines())) for held in (made, first)]
    assert rows[0] == rows[1]
    run(programs / "python", *PIP, "install", "--no-deps", "--force-reinstall", packed)


def the_installer_comes_along(godploy: Path, folder: Path) -> None:
    assert "--wheel FILE" in run(godploy, "install", "--help")
    assert "--prefix DIR" in run(godploy, "uninstall", "--help")
    refused = subprocess.run(
        [godploy, "install", "--prefix", folder / "here", "--port", "http"], capture_output=True, text=True, env=CLEAN
    )
    assert refused.returncode == 1
    assert '"http" is not a port' in refused.stderr
    script = run(godploy.parent / "python", "-c", "from godploy import resources; print(resources.root('install'))")
    alone = ["bash", f"{script.strip()}/install.sh", "--prefix", folder / "here"]
    refused = subprocess.run(alone, capture_output=True, text=True, env=CLEAN)
    assert refused.returncode == 1
    assert "Run it as: godploy install" in refused.stderr
    assert not (folder / "here").exists()


def test_a_checkout_has_no_wheel() -> None:
    assert resources.wheel() is None
