"""An upgrade that is interrupted before any of its effects: what a boot finds then, and what the next run makes of it.

The installer's own functions, with a service that only notes what it would do; the real ones are in `test_upgrade`.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

INSTALL = Path(__file__).parents[2] / "install"
OLD, NEW = "program-old", "program-new"

# What a version does is played by a few lines: the new one migrates as it starts, leaves SQLite's log behind as a
# program that is killed does, and removes the mark once it is ready, if it ever is.
PLAYED = f"""
set -euo pipefail
for part in common engine paths service upgrade; do source "{INSTALL}/lib/$part.sh"; done
stop_service() {{ rm -f "$app/running"; }}
start_service() {{
  in_force >"$app/running"
  [ "$(in_force)" = {NEW} ] || return 0
  "{sys.executable}" -I - "$data/godploy.db" <<'PYTHON' || true
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("PRAGMA journal_mode = WAL")
connection.execute("UPDATE version SET name = '{NEW}'")
connection.commit()
os._exit(9)
PYTHON
}}
becomes_ready() {{
  [ "$(in_force)" = {OLD} ] || [ "$works" = yes ] || return 1
  rm -f "$data/trial"
}}
service_log() {{ :; }}
put_in_force() {{
  echo {NEW} >"$app/settings"
  switch_to "$fresh"
  echo {NEW} >"$app/serve"
}}
prefix=$1
set_paths "$prefix"
works=$2 signal=$3 at=$4 listen=127.0.0.1:1 fresh=$app/{NEW} effects=0
reached() {{
  case ${{1%% *}} in
    rm | cp | mv | ln | install | echo | : | find | chown | in_force) ;;
    '"$1"' | '"$fresh/bin/python"') ;;
    *) return 0 ;;
  esac
  effects=$((effects + 1))
  if [ $effects = "$at" ]; then kill -"$signal" $$; fi
}}
trap leave_upgrade EXIT
set -T
trap 'reached "$BASH_COMMAND"' DEBUG
resume_upgrade
mkdir -p "$fresh/bin"
[ -e "$fresh/bin/python" ] || ln -s "{sys.executable}" "$fresh/bin/python"
start_program
trap - DEBUG
"""


@dataclass(frozen=True)
class Place:
    """An installation whose service is played."""

    prefix: Path

    @property
    def app(self) -> Path:
        return self.prefix / "opt/godploy"

    @property
    def data(self) -> Path:
        return self.prefix / "var/lib/godploy"

    @property
    def in_force(self) -> str:
        return str((self.app / "current").readlink())

    def make(self) -> None:
        shutil.rmtree(self.prefix, ignore_errors=True)
        self.data.mkdir(parents=True)
        (self.app / OLD / "bin").mkdir(parents=True)
        (self.app / OLD / "bin/python").symlink_to(sys.executable)
        for name in ("settings", "serve", "running"):
            (self.app / name).write_text(f"{OLD}\n")
        (self.app / "current").symlink_to(OLD)
        with closing(sqlite3.connect(self.data / "godploy.db")) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("CREATE TABLE version (name TEXT)")
            connection.execute("INSERT INTO version VALUES (?)", (OLD,))
            connection.commit()

    def run(self, works: str, signal: str = "", at: int = 0) -> subprocess.CompletedProcess[str]:
        # Where the tests run in the background of a script, SIGINT would be ignored, and bash could not change that.
        words = ["env", "--default-signal", "bash", "-c", PLAYED, "installer", self.prefix, works, signal, str(at)]
        # The disk keeps what it was given here: nobody pulls the plug.
        path = f"{self.prefix.parent / 'no-sync'}:{os.environ['PATH']}"
        return subprocess.run(words, capture_output=True, text=True, timeout=60, env={**os.environ, "PATH": path})

    def check_boot(self, where: str) -> None:
        """What starts now, if the machine does, can work: the old program never meets the new one's database."""
        with_files = {(self.app / name).read_text().strip() for name in ("settings", "serve")}
        if self.in_force == OLD:
            assert self.database() == OLD, where
        if not (self.data / "trial").exists():
            assert with_files == {self.in_force}, where

    def database(self) -> str:
        """Whose it is; looked at in a copy, since a look leaves its traces."""
        copy = shutil.copytree(self.data, self.prefix / "looked-at")
        with closing(sqlite3.connect(copy / "godploy.db")) as connection:
            found = connection.execute("SELECT name FROM version").fetchone()[0]
        shutil.rmtree(copy)
        return str(found)

    def check(self, program: str, where: str) -> None:
        """That program is in force as a whole, and runs."""
        assert not (self.data / "trial").exists(), where
        assert (self.in_force, self.database()) == (program, program), where
        found = {name: (self.app / name).read_text().strip() for name in ("settings", "serve", "running")}
        assert set(found.values()) == {program}, (where, found)
        assert not list(self.app.glob("*.before")) and not (self.app / "before-upgrade.new").exists(), where


@pytest.fixture
def place(tmp_path: Path) -> Place:
    (tmp_path / "no-sync").mkdir()
    (tmp_path / "no-sync/sync").symlink_to("/bin/true")
    return Place(tmp_path / "here")


@pytest.mark.parametrize(("works", "stride"), [("no", 1), ("yes", 3)])
def test_killed_anywhere_the_next_run_ends_well(works: str, stride: int, place: Place) -> None:
    at, done = 0, None
    while done is None or done.returncode < 0:
        at += stride
        place.make()
        done = place.run(works, "KILL", at)
        where = f"effect {at}: {done.stdout[-200:]}{done.stderr[-200:]}"
        place.check_boot(where)
        again = place.run("yes")
        assert again.returncode == 0, (where, again.stderr)
        place.check(NEW, where)
    assert done.returncode == (0 if works == "yes" else 1), done.stderr
    assert at > 20


@pytest.mark.parametrize("signal", ["INT", "TERM"])
def test_ended_anywhere_it_leaves_one_version_running(signal: str, place: Place) -> None:
    at = 0
    while True:
        at += 3
        place.make()
        done = place.run("no", signal, at)
        where = f"effect {at}: {done.stdout[-300:]}{done.stderr[-300:]}"
        place.check(OLD, where)
        assert not (place.app / NEW).exists() or "going back" not in done.stdout, where
        if "is running again, with its database" in done.stderr:
            break
    assert at > 20
