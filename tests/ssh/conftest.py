"""A real OpenSSH server of this machine's, with a repository behind it, that lets in one key."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from godploy.core.access import Access
from godploy.drivers import ssh
from tests.drivers.conftest import Source, free_port, server, source

__all__ = ["free_port", "source"]

_CONFIG = """\
ListenAddress 127.0.0.1
HostKey {host_key}
AuthorizedKeysFile {authorized}
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
AcceptEnv GIT_PROTOCOL
LogLevel VERBOSE
"""


@dataclass
class Sshd:
    """`key` is let in; `log` is what the server says."""

    folder: Path
    port: int
    key: str
    repository: Path

    @property
    def base(self) -> str:
        return f"ssh://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}{self.repository}"

    @property
    def host_key(self) -> str:
        """The line to pin."""
        return " ".join((self.folder / "host_key.pub").read_text().split()[:2])

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def access(self, **other: object) -> Access:
        given: dict[str, object] = {"url": self.url, "key": self.key, "host_keys": (self.host_key,), **other}
        return Access(**given)  # type: ignore[arg-type]


def new_host_key(folder: Path, kind: str = "ed25519") -> str:
    """Made by ssh-keygen in the place of an earlier one; the line to pin."""
    path = folder / "host_key"
    path.unlink(missing_ok=True)
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", str(path)], check=True)
    return " ".join(path.with_suffix(".pub").read_text().split()[:2])


@pytest.fixture
def sshd(source: Source, free_port: int, tmp_path: Path) -> Iterator[Sshd]:
    folder = tmp_path / "sshd"
    folder.mkdir()
    new_host_key(folder)
    private, public = ssh.new_key()
    (folder / "authorized").write_text(f"{public}\n")
    config = folder / "config"
    config.write_text(_CONFIG.format(host_key=folder / "host_key", authorized=folder / "authorized"))
    program = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:" + os.environ["PATH"])
    assert program is not None, "sshd is not installed; tests/run installs openssh-server"
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where it locks itself in; a boot makes it
    argv = [program, "-D", "-e", "-f", str(config), "-p", str(free_port)]
    with (folder / "log").open("wb") as log, server(argv, free_port, stderr=log):
        yield Sshd(folder, free_port, private, source.folder / ".git")
