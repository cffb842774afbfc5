"""What the installer finds in the way, told before anything is changed; and that --dry-run changes nothing.

The facts are real where that is possible (a listener, a folder that is there); the others come from programs in front
of the machine's own, or from files that a mount namespace puts over them."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from tests.e2e.installation import free_ports

INSTALL = Path(__file__).parents[2] / "install"
NOTHING = "#!/bin/sh\nexit 1\n"


def flags() -> list[str]:
    http, https, api, own = free_ports(4)
    ports = ("--port", http, "--https-port", https, "--traefik-api-port", api, "--listen", f"127.0.0.1:{own}")
    return ["--instance", "none", *map(str, ports)]


def dry_run(
    folder: Path, *more: str, programs: dict[str, str] | None = None, files: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """`programs` stand in front of the machine's, `files` lie over its own."""
    stand_ins = folder / "bin"
    stand_ins.mkdir(exist_ok=True)
    for name, text in {"docker": NOTHING, **(programs or {})}.items():
        (stand_ins / name).write_text(text)
        (stand_ins / name).chmod(0o755)
    mounts = []
    for number, (place, text) in enumerate((files or {}).items()):
        (folder / f"file{number}").write_text(text)
        mounts.append(f"mount --bind {folder}/file{number} {place}")
    script = " && ".join([*mounts, 'exec "$@"'])
    command = ["unshare", "--mount", "sh", "-c", script, "sh", str(INSTALL / "install.sh"), "--dry-run"]
    return subprocess.run(
        [*command, "--prefix", str(folder / "here"), *flags(), *more],
        env={**os.environ, "PATH": f"{stand_ins}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )


def refused(done: subprocess.CompletedProcess[str], *sentences: str) -> None:
    assert done.returncode == 1, done.stdout
    for sentence in sentences:
        assert sentence in done.stderr
    assert "Nothing was changed." in done.stderr


@pytest.mark.parametrize(
    ("release", "told"),
    [
        (
            'ID=alpine\nPRETTY_NAME="Alpine Linux v3.20"\n',
            "this is Alpine Linux v3.20; Godploy is installed on Debian 12",
        ),
        ('ID=debian\nVERSION_ID="11"\nPRETTY_NAME="Debian 11"\n', "this is Debian 11;"),
        ('ID=ubuntu\nVERSION_ID="20.04"\nPRETTY_NAME="Ubuntu 20.04"\n', "this is Ubuntu 20.04;"),
    ],
)
def test_another_distribution(release: str, told: str, tmp_path: Path) -> None:
    refused(dry_run(tmp_path, files={"/etc/os-release": release}), told)


def test_a_port_that_is_held_is_told_with_who_holds_it(tmp_path: Path) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        port = held.getsockname()[1]
        name = Path("/proc/self/comm").read_text().strip()
        done = dry_run(tmp_path, "--port", str(port))
    refused(done, f"port {port} is taken by {name} (process {os.getpid()})", "choose another port: --port")


def test_everything_that_is_in_the_way_is_told_at_once(tmp_path: Path) -> None:
    done = dry_run(
        tmp_path,
        programs={"df": "#!/bin/sh\necho head\necho disk 9 9 100 9 /\n"},
        files={"/proc/meminfo": "MemTotal: 512000 kB\nSwapTotal: 0 kB\n", "/etc/os-release": "ID=arch\n"},
    )
    refused(
        done, "has 100 MB left; 2048 MB are needed", "this machine has 500 MB of memory and swap; 900 MB", "Debian 12"
    )
    assert done.stderr.count("error: ") == 3


def test_a_clock_that_is_off(tmp_path: Path) -> None:
    curl = "#!/bin/sh\nprintf 'HTTP/1.1 200 OK\\r\\nDate: Sat, 01 Jan 2022 00:00:00 GMT\\r\\n'\n"
    refused(dry_run(tmp_path, programs={"curl": curl}), "the clock is off by ", "certificates would fail")


def test_a_clock_that_nobody_can_tell_is_no_obstacle(tmp_path: Path) -> None:
    done = dry_run(tmp_path, programs={"curl": NOTHING})
    assert done.returncode == 0, done.stderr
    assert "warning: the clock was not checked" in done.stdout


@pytest.mark.parametrize(
    ("docker", "told"),
    [
        ("echo podman version 4.3.1", "docker is Podman here (package podman-docker)"),
        ("echo 1.38", "the Docker engine speaks API 1.38; 1.41 (Docker 20.10) or newer is needed"),
        (
            'case "$2" in inspect) echo /somewhere/else ;; *) echo 1.41 ;; esac',
            'an instance "none" of Godploy is on this machine already; its data is in /somewhere/else',
        ),
    ],
)
def test_a_docker_that_will_not_do(docker: str, told: str, tmp_path: Path) -> None:
    refused(dry_run(tmp_path, programs={"docker": f"#!/bin/sh\n{docker}\n"}), told)


def test_docker_from_snap(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    script = f'source "{INSTALL}/lib/preflight.sh"; app=/a data=/d; check_docker; echo "${{problems[0]}}"'
    stand_in = "readlink() { echo /snap/docker/1/bin/docker; }; command() { echo docker; }; "
    done = subprocess.run(["bash", "-c", stand_in + script], capture_output=True, text=True, timeout=30)
    assert "Docker comes from snap here" in done.stdout


def test_a_container_on_dockers_default_network_is_named(tmp_path: Path) -> None:
    docker = 'case "$2" in ls) echo blog ;; inspect) exit 1 ;; *) echo 1.41 ;; esac'
    done = dry_run(tmp_path, programs={"docker": f"#!/bin/sh\n{docker}\n"})
    assert "warning: on Docker's default network there are containers of yours: blog" in done.stdout


@pytest.mark.parametrize(
    ("getent", "told"),
    [
        ("exit 2", "warning: deploy.example.com does not resolve yet"),
        ("echo 203.0.113.7 STREAM", "warning: deploy.example.com leads to 203.0.113.7, this server is "),
    ],
)
def test_dns_that_does_not_lead_here_is_a_warning(getent: str, told: str, tmp_path: Path) -> None:
    domain = ("--domain", "deploy.example.com", "--email", "ada@example.com")
    done = dry_run(tmp_path, *domain, programs={"getent": f"#!/bin/sh\n{getent}\n"})
    assert done.returncode == 0, done.stderr
    assert told in done.stdout


def test_what_somebody_else_put_there_is_left_alone(tmp_path: Path) -> None:
    folder, link = tmp_path / "here/opt/godploy", tmp_path / "here/usr/local/bin/godploy"
    for place in (folder / "theirs", link):
        place.parent.mkdir(parents=True)
        place.write_text("theirs")
    refused(dry_run(tmp_path), f"{folder} is there already", f"{link} is there already")


def test_without_root_and_sudo_it_says_so(tmp_path: Path) -> None:
    script = f'id() {{ echo 1000; }}; command() {{ return 1; }}; source "{INSTALL}/lib/common.sh"; as_root install.sh'
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert "this needs root, and there is no sudo" in done.stderr


def seen(folder: Path) -> str:
    """What an installation would change."""
    script = (
        f"find {folder} /opt /usr/local/bin /etc/cron.d /etc/systemd/system | sort; cat /etc/passwd /etc/group;"
        "dpkg-query -W | sort; nft list tables | grep -v none-; ls -la /var/lib | grep -i godploy"
    )
    return subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=60).stdout


def test_a_dry_run_changes_nothing(tmp_path: Path) -> None:
    where = tmp_path / "machine"
    where.mkdir()
    before = seen(where)
    done = dry_run(tmp_path, "--prefix", str(where), "--domain", "deploy.example.com", "--email", "ada@example.com")
    assert done.returncode == 0, done.stderr
    for word in ("packages", "engine", "user", "files", "service", "ports", "address", "packet rules"):
        assert f"\n       {word}" in done.stdout
    assert done.stdout.endswith("nothing was changed\n")
    assert seen(where) == before


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="the package systemd is not here")
def test_the_unit_is_closed(tmp_path: Path) -> None:
    script = f"""
        for part in common engine paths service; do source "{INSTALL}/lib/$part.sh"; done
        engine_group() {{ echo docker; }}
        set_paths ""; write_unit >"$1/godploy.service"; cd "$1"
        systemd-analyze security --offline=true --no-pager "$1/godploy.service" | tail -n 1
    """
    done = subprocess.run(["bash", "-c", script, "bash", str(tmp_path)], capture_output=True, text=True, timeout=60)
    exposure = float(done.stdout.split("godploy.service:")[1].split()[0])
    assert exposure < 4, done.stdout
