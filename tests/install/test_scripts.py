"""The installer's parts that need no machine to install on: options, settings, the record of what was made."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest

from godploy.core.manifest import parse

INSTALL = Path(__file__).parents[2] / "install"


def bash(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Runs a script with the installer's parts at hand."""
    sourced = "".join(f'source "{INSTALL}/lib/{part}.sh"\n' for part in ("common", "engine", "paths", "service"))
    return subprocess.run(
        ["bash", "-c", f"set -euo pipefail\n{sourced}{script}", "test", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=30,
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--demos"], "unknown option --demos"),
        (["--port"], "--port needs a value"),
        (["--port", "http"], '"http" is not a port'),
        (["--https-port", "443000"], '"443000" is not a port'),
        (["--port", "99999"], '"99999" is not a port (1 to 65535)'),
        (["--port", "0"], '"0" is not a port'),
        (["--listen", "127.0.0.1"], '"127.0.0.1" is not a port'),
        (["--listen", "8400"], '"8400" is not a loopback HOST:PORT'),
        (["--listen", "0.0.0.0:8400"], "is not a loopback HOST:PORT"),
        (["--pool", "1.2.3.4"], '"1.2.3.4" is not a private network'),
        (["--pool", "10.1.2.0/25"], "is not a private network of at least a /24"),
        (["--instance", "My Godploy"], "--instance takes up to 20"),
        (["--port", "443"], "two of the ports are the same: 443, 443"),
        (["--email", "nobody"], '"nobody" is not an address'),
        (["--domain", "localhost"], '"localhost" is not a host such as'),
        (["--domain", "deploy.example.com"], "--domain needs --email"),
        (["--domain", "https://a.example.com", "--email", "a@example.com"], "is not a host such as"),
        (["--apps-domain", "*.example.com"], '"*.example.com" is not a domain such as'),
        (["--acme-url", "http://ca.example.com"], "does not begin with https://"),
        (["--acme-ca", "/dev/null"], "there is no certificate in /dev/null"),
        (["--wheel", "/nowhere.whl"], "there is no wheel /nowhere.whl"),
        (["--prefix", "relative"], "--prefix must begin with /"),
        (["--prefix", "/a b"], "--prefix may hold letters"),
    ],
)
def test_a_wrong_option_is_refused_before_anything_changes(arguments: list[str], message: str, tmp_path: Path) -> None:
    prefix = [] if "--prefix" in arguments else ["--prefix", str(tmp_path / "here")]
    done = subprocess.run(
        [INSTALL / "install.sh", *prefix, *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 1
    assert message in done.stderr
    assert not list(tmp_path.iterdir())


def test_uninstalling_what_is_not_there_says_so(tmp_path: Path) -> None:
    done = subprocess.run(
        [INSTALL / "uninstall.sh", "--yes", "--prefix", tmp_path], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 1
    assert f"there is no installation in {tmp_path}/opt/godploy" in done.stderr


@pytest.mark.parametrize("script", ["install.sh", "uninstall.sh"])
def test_help_prints_the_whole_opening_comment(script: str) -> None:
    shown = subprocess.run([INSTALL / script, "--help"], capture_output=True, text=True, timeout=30).stdout
    assert "--prefix DIR" in shown
    assert "shellcheck" not in shown
    assert "set -euo" not in shown


def test_settings_keep_what_was_added_by_hand(tmp_path: Path) -> None:
    done = bash(
        """
        set_paths "$1"; mkdir -p "$app"
        write_settings GODPLOY_HTTP_PORT=80 GODPLOY_URL=https://localhost
        echo GODPLOY_APPS_DOMAIN=apps.example.com >>"$app/settings"
        write_settings GODPLOY_HTTP_PORT=8080 GODPLOY_URL=https://localhost
        setting GODPLOY_HTTP_PORT 80; setting GODPLOY_APPS_DOMAIN localhost; setting GODPLOY_POOL none
        stat -c %a:%U:%G "$app/settings"; wc -l <"$app/settings"
        """,
        tmp_path,
    )
    assert done.stdout.split() == ["8080", "apps.example.com", "none", "640:root:root", "3"], done.stderr


def test_the_record_remembers_each_thing_once(tmp_path: Path) -> None:
    done = bash(
        """
        set_paths "$1"; mkdir -p "$app"
        record package git; record package git; record demo "/home/a b"; record package curl
        recorded package; recorded demo; recorded nothing
        """,
        tmp_path,
    )
    assert done.stdout.splitlines() == ["git", "curl", "/home/a b"], done.stderr


def test_a_pid_file_of_another_program_is_not_taken_for_ours(tmp_path: Path) -> None:
    script = """
        echo $$ >"$1"
        runs_as "$1" bash && echo "bash in its own file"
        runs_as "$1" dockerd || echo "not dockerd"
        runs_as "$1-missing" bash || echo "no file"
        """
    done = bash(script, tmp_path / "pid")
    assert done.stdout.splitlines() == ["bash in its own file", "not dockerd", "no file"]


def test_the_demo_is_a_valid_manifest() -> None:
    parse((INSTALL / "demo" / "godploy.yaml").read_bytes(), templates={})


def test_no_engine_is_started_beside_one_that_is_too_busy_to_answer(tmp_path: Path) -> None:
    script = """
        engine_socket=$1; engine_patience=1; engine_wait() { echo "waits $1 s"; [ "$1" = 120 ]; }
        engine_found && echo found
        """
    with socket.socket(socket.AF_UNIX) as busy:
        busy.bind(str(tmp_path / "socket"))
        busy.listen()
        done = bash(script, tmp_path / "socket")
    assert done.stdout.splitlines() == ["waits 3 s", "waits 120 s", "found"], done.stderr


def test_the_socket_of_a_killed_engine_is_nobodys(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(tmp_path / "socket"))
    script = "engine_socket=$1; engine_wait() { false; }; engine_found || echo nobody"
    assert bash(script, tmp_path / "socket").stdout.splitlines() == ["nobody"]


def test_a_process_that_nobody_reaps_has_ended() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        done = bash('end_process "$1" "its log"', child.pid)  # nobody waits for the child meanwhile
        assert done.returncode == 0, done.stderr


def test_a_second_installer_leaves_the_first_alone(tmp_path: Path) -> None:
    app = tmp_path / "opt/godploy"
    app.mkdir(parents=True)
    first = subprocess.Popen(["bash", "-c", "read -r", "install.sh"], stdin=subprocess.PIPE)
    try:
        (app / "installing").write_text(f"{first.pid}\n")
        done = subprocess.run(
            [INSTALL / "install.sh", "--prefix", tmp_path],
            capture_output=True,
            text=True,
            timeout=30,
            stdin=subprocess.DEVNULL,
        )
    finally:
        first.communicate()
    assert done.returncode == 1
    assert f"the installer is at work already (process {first.pid})" in done.stderr
    assert [path.name for path in app.iterdir()] == ["installing"]
    told = bash('app=$1; source "$2/lib/upgrade.sh"; only_installer && echo alone', app, INSTALL)
    assert told.stdout == "alone\n", "a run that was killed is in nobody's way"
