"""Keys that are made here, and the keys that servers show."""

from __future__ import annotations

import asyncio
import socket
import subprocess
from pathlib import Path

import pytest

from godploy.core.remote import parse
from godploy.drivers import ssh
from godploy.drivers.git_program import GitError
from godploy.errors import GodployError, Invalid

from .conftest import Sshd, new_host_key


def keygen(*argv: str) -> str:
    return subprocess.run(["ssh-keygen", *argv], check=True, capture_output=True, text=True).stdout.strip()


def test_a_new_key_is_one_that_openssh_reads(tmp_path: Path) -> None:
    private, public = ssh.new_key()
    path = tmp_path / "key"
    path.write_text(private)
    path.chmod(0o600)
    assert keygen("-y", "-P", "", "-f", str(path)).split()[:2] == public.split()[:2]
    assert public.startswith("ssh-ed25519 AAAA")
    assert public.endswith(" godploy")
    assert ssh.new_key()[0] != private


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_fingerprints_are_those_of_openssh(tmp_path: Path, kind: str) -> None:
    line = new_host_key(tmp_path, kind)
    key = ssh.read_host_key(line)
    assert key.line == line
    assert key.fingerprint == keygen("-l", "-f", str(tmp_path / "host_key.pub")).split()[1]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "ssh-ed25519",
        "ssh-ed25519 ",
        "ssh-ed25519 " + "A" * 68,  # says nothing of its type
        "ssh-dss AAAAB3NzaC1kc3MAAACBAAAAB3NzaC1kc3MAAACBAAAAB3NzaC1kc3MAAACB",
        "ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",  # another type inside
        "host ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA x",
        "@cert-authority * ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    ],
)
def test_what_is_no_host_key(line: str) -> None:
    with pytest.raises(Invalid):
        ssh.read_host_key(line)


async def test_a_server_s_keys_are_seen(sshd: Sshd) -> None:
    (key,) = await ssh.scan(parse(sshd.url, [sshd.base], ssh=True))
    assert key.line == await asyncio.to_thread(lambda: sshd.host_key)


async def test_a_server_that_shows_none(free_port: int) -> None:
    base = f"ssh://127.0.0.1:{free_port}"
    with pytest.raises(GitError) as failed:
        await ssh.scan(parse(f"{base}/x", [base], ssh=True))
    assert failed.value.code == "repository_unreachable"
    assert str(free_port) in str(failed.value.facts["detail"])


async def test_a_name_that_leads_inside_is_not_scanned(sshd: Sshd) -> None:
    with pytest.raises(GitError) as failed:
        await ssh.scan(parse(f"ssh://localhost:{sshd.port}/x", ssh=True))
    assert "private address" in str(failed.value.facts["detail"])
    assert "Connection from" not in await asyncio.to_thread(lambda: sshd.log)


async def test_the_scan_goes_to_the_address_that_was_checked(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    async def answer(*_: object, **__: object) -> object:
        return [(socket.AF_INET, 1, 6, "", ("127.0.0.1", sshd.port))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", answer)
    monkeypatch.setattr("godploy.drivers.git_program.is_public", lambda _: True)
    assert await ssh.scan(parse(f"ssh://git.example.invalid:{sshd.port}/x", ssh=True))


async def test_without_the_program_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GodployError) as failed:
        await ssh.scan(parse("ssh://127.0.0.1/x", ["ssh://127.0.0.1"], ssh=True))
    assert "openssh-client" in failed.value.next_step
