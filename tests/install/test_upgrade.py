"""Upgrades to versions that are not well: the one before goes on as if nothing had been, and nothing is lost."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import docker
import pytest

from godploy.core import signing
from tests.e2e.elsewhere import Elsewhere
from tests.e2e.installation import free_ports, until
from tests.e2e.load import KEEP_ALIVE, Load
from tests.install.beside import CHECKOUT, Beside, ended, version
from tests.install.fresh import MACHINE, fresh_machine, run

MANIFEST = (
    "version: 1\nservices:\n  job:\n    image: busybox:stable\n    command: [sleep, '{}']\n    deploy: {{settle: 0s}}\n"
)
REWRITTEN = "ALTER TABLE project RENAME TO venture;\nDROP TABLE outbox;\n"


@pytest.fixture
def impatient(tmp_path: Path) -> Path:
    """The installer, which waits a shorter time for what never comes."""
    copy = shutil.copytree(CHECKOUT / "install", tmp_path / "installer")
    upgrade = copy / "lib/upgrade.sh"
    text = upgrade.read_text()
    assert "\npatience=60 " in text
    upgrade.write_text(text.replace("\npatience=60 ", "\npatience=20 "))
    return copy


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Elsewhere]:
    (tmp_path / "elsewhere").mkdir()
    server = Elsewhere(tmp_path / "elsewhere", free_ports(1)[0])
    server.start()
    yield server
    server.stop()


@pytest.fixture
def beside(engine: docker.DockerClient, instance: str, tmp_path: Path) -> Iterator[Beside]:
    made = Beside(tmp_path / "here", instance, "10.232.0.0/16")
    yield made
    made.uninstall("--purge=localhost")


def committed(repository: Path, seconds: int) -> str:
    """A commit on the branch of somebody else's bare repository: its manifest lets a job sleep so long."""
    with_tree = subprocess.run(
        ["git", "-C", repository, "hash-object", "-w", "--stdin"],
        input=MANIFEST.format(seconds),
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    tree = subprocess.run(
        ["git", "-C", repository, "mktree"],
        input=f"100644 blob {with_tree}\tgodploy.yaml\n",
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    name = ("-c", "user.name=Bo", "-c", "user.email=bo@example.com")
    made = subprocess.run(
        ["git", "-C", repository, *name, "commit-tree", tree, "-m", str(seconds)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    subprocess.run(["git", "-C", repository, "update-ref", "refs/heads/main", made], check=True)
    return made


def call_hook(beside: Beside, made: Any, commit: str) -> int:
    body = json.dumps({"event": "push", "ref": "refs/heads/main", "commit": commit}).encode()
    now = int(time.time())
    headers = {
        "Content-Type": "application/json",
        signing.DELIVERY: commit,
        signing.TIMESTAMP: str(now),
        signing.SIGNATURE: signing.sign(made["hook_secret"], now, body),
    }
    path = "/hooks/" + made["hook_url"].partition("/hooks/")[2]
    return beside.ask("POST", path, body, **headers)[0]


def deployed(beside: Beside, commit: str) -> bool:
    found = beside.ask("GET", "/api/v1/projects/demo/deployments")[1]["deployments"]
    return any(each["commit"] == commit and each["state"] == "succeeded" for each in found)


def schema(beside: Beside) -> int:
    with closing(sqlite3.connect(beside.data / "godploy.db")) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


def check_taken_back(beside: Beside, before: tuple[str, int], code: int, said: str) -> None:
    assert code == 1, said
    assert "the new version does not become ready; the one before is running again, with its database" in said
    assert (beside.in_force, schema(beside)) == before
    assert not (beside.data / "trial").exists()
    assert [path.name for path in beside.app.glob("program-*")] == [before[0]]
    assert beside.ask("GET", "/readyz") == (200, {"status": "ready"})


@pytest.mark.engine
def test_a_version_that_is_not_well_is_taken_back_and_nothing_is_lost(
    beside: Beside, impatient: Path, elsewhere: Elsewhere, tmp_path: Path
) -> None:
    beside.install("--demo")
    assert beside.push("version one\n")[0] == 0
    with (beside.app / "settings").open("a") as settings:
        settings.write(f"GODPLOY_PRIVATE_BASES={elsewhere.base}\n")
    before = (beside.in_force, schema(beside))
    beside.installer = impatient
    number = before[1] + 1
    migration = "godploy/store/migrations/{:04}.sql"
    with Load(beside.http, "web-demo.localhost", rate=20, mix=(KEEP_ALIVE,)) as load:
        half = {migration.format(number): REWRITTEN, migration.format(number + 1): "DROP TABLE nothing_like_it;\n"}
        broken = version(beside.wheel, tmp_path / "half", {}, half)
        code, said = beside.run("--wheel", broken)
        check_taken_back(beside, before, code, said)
        assert "no such table: nothing_like_it" in said, "the end of its log is shown"

        repository = elsewhere.repository("job")
        first = committed(repository, 1000)
        made = beside.ask(
            "POST", "/api/v1/projects/demo/repositories", {"name": "job", "url": f"{elsewhere.base}/job.git"}
        )
        assert made[0] == 201, made
        assert call_hook(beside, made[1], first) == 202
        until(lambda: deployed(beside, first))

        never = version(
            beside.wheel,
            tmp_path / "never",
            {
                "godploy/deploy/recovery.py": lambda text: text.replace(
                    "await recover(services)", "await services.stopping.wait()"
                )
            },
            {migration.format(number): REWRITTEN},
        )
        upgrading = beside.begin("--wheel", never)
        until(beside.on_trial, 60)
        assert schema(beside) == number
        second = committed(repository, 2000)
        assert call_hook(beside, made[1], second) == 503
        assert beside.ask("POST", "/api/v1/projects", {"name": "another"})[0] == 503
        code, said = beside.push("version two\n")
        assert code != 0 and "a new version of Godploy is being tried" in said, said
        code, said = ended(upgrading)
        check_taken_back(beside, before, code, said)

        until(lambda: deployed(beside, second))
        code, said = beside.person("git", "push", "godploy", "main")
        assert code == 0, said
    assert load.tally.sent.total() > 200 and load.tally.failures == []
    kept = beside.app / "before-upgrade"
    assert kept.stat().st_mode & 0o777 == 0o700 and (kept / "godploy.db").stat().st_mode & 0o777 == 0o600


UNDER_SYSTEMD = """
set -euo pipefail
cd /root/godploy
state() { readlink /opt/godploy/current; cat /etc/systemd/system/godploy.service /opt/godploy/settings; }
well() {
  systemctl is-active --quiet godploy
  curl -fsS http://127.0.0.1:8400/readyz >/dev/null
  [ ! -e /var/lib/godploy/trial ]
  ! find /var/lib/godploy ! -user godploy | grep .
}
install/install.sh
state >/tmp/before
echo == taken back
cp -a /root/godploy /root/another
cd /root/another
sed -i '/^def serve(/a\\    raise SystemExit("this version cannot start")' godploy/bootstrap.py
sed -i 's/^Description=Godploy, a/Description=Another, a/' install/lib/service.sh
cd /root/godploy
/root/another/install/install.sh --listen 127.0.0.1:8401 && exit 1
state | diff /tmp/before -
well
echo == killed
setsid /root/another/install/install.sh >/tmp/killed 2>&1 &
until grep -q "Description=Another" /etc/systemd/system/godploy.service; do sleep 0.1; done
kill -KILL $!
[ -e /var/lib/godploy/trial ]
install/install.sh
well
state | grep -c "Description=Godploy"
echo == the end
"""


@pytest.mark.long
def test_under_systemd_the_unit_comes_back_too() -> None:
    with fresh_machine(make="make-bootable") as machine:
        (machine / "root/root/story").write_text(UNDER_SYSTEMD)
        done = run([MACHINE, "boot", machine, "bash", "/root/story"])
    assert "== the end" in done.stdout, done.stdout
    _, taken_back, killed = done.stdout.split("\n== ")[:3]
    assert "this version cannot start" in taken_back
    assert "the one before is running again, with its database" in taken_back
    assert "an upgrade was interrupted while its version was on trial" in killed
    assert "going back to the version before" in killed
