"""A fresh server and a domain: from the first line of the installer to an app's address that opens on somebody else's
machine, which has git and the command line and no Docker, with certificates that are verified all the way."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.certificates.pebble import Pebble
from tests.e2e.installation import GODPLOY, clean_environment, until
from tests.e2e.namespace import Namespace
from tests.install.fresh import CHECKOUT, MACHINE, fresh_machine

OWN, APP = "deploy.example.com", "web-shop.apps.example.com"
# The installer and the doctor look any name up to see whether there is a wildcard, which a hosts file cannot have.
NAMES = f"{OWN} {APP} x.apps.example.com godploy-doctor.apps.example.com"
MANIFEST = {"version": 1, "services": {"web": {"build": ".", "port": 8080, "health": {"path": "/"}}}}

STORY = """
set -e
hostname -I
until [ -e /root/begin ]; do sleep 0.1; done
cd /root/godploy
bash install/install.sh $(cat /root/begin)
echo == installed
source install/lib/common.sh
source install/lib/images.sh
ensure_images busybox:stable
echo == images
until [ -e /root/live ]; do sleep 0.1; done
godploy doctor --data /var/lib/godploy || echo something is bad
echo == examined
until [ -e /root/end ]; do sleep 0.1; done
"""


@dataclass(slots=True)
class Machine:
    """A fresh one, whose story goes on while we look."""

    directory: Path
    process: subprocess.Popen[str]
    address: str

    @property
    def root(self) -> Path:
        return self.directory / "root"

    def told(self) -> str:
        return (self.directory / "story").read_text()

    def has_told(self, mark: str) -> bool:
        assert self.process.poll() is None, self.told()
        return f"== {mark}\n" in self.told()


@pytest.fixture
def machine() -> Iterator[Machine]:
    with fresh_machine() as directory, (directory / "story").open("w") as story:
        words = [MACHINE, "run", directory, "bash", "-c", STORY]
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=story, stderr=story, text=True)
        try:
            address = until(lambda: re.findall(r"^10\.222\.\S+", (directory / "story").read_text(), re.MULTILINE), 60)[
                0
            ]
            yield Machine(directory, process, address)
        finally:
            (directory / "root/root/end").touch()
            process.wait(120)


@pytest.fixture
def away() -> Iterator[Namespace]:
    namespace = Namespace(f"godploy-{uuid.uuid4().hex[:6]}")
    namespace.make()
    subprocess.run([*namespace.inside, "ip", "route", "add", "default", "via", namespace.server], check=True)
    yield namespace
    namespace.remove()


@pytest.fixture
def authority(away: Namespace, machine: Machine, tmp_path: Path) -> Iterator[Pebble]:
    """It stands where the person is: elsewhere."""
    shown = subprocess.run(
        [*away.inside, "ip", "-4", "-o", "address"], capture_output=True, text=True, check=True
    ).stdout
    own = re.findall(r"inet (198\.18\.\S+)/30", shown)[0]
    pebble = Pebble(tmp_path / "pebble", 80, 443, own=own, names=machine.address, inside=away.inside)
    pebble.folder.mkdir()
    try:
        pebble.start()
        yield pebble
    finally:
        pebble.stop()


class Laptop:
    """Somebody's: it knows the names by DNS (here a hosts file), trusts the authority, and has no Docker."""

    def __init__(self, home: Path, away: Namespace, address: str, root: str) -> None:
        self.home = home
        home.mkdir()
        (home / "root.pem").write_text(root)
        (home / "hosts").write_text(f"127.0.0.1 localhost\n{address} {NAMES}\n")
        hide = 'mount --bind "$0" /etc/hosts && mount --bind /dev/null /run/docker.sock && exec "$@"'
        self.inside = [*away.inside, "unshare", "--mount", "sh", "-c", hide, home / "hosts"]
        trusted = str(home / "root.pem")
        self.environment = clean_environment(
            home, SSL_CERT_FILE=trusted, GIT_SSL_CAINFO=trusted, CURL_CA_BUNDLE=trusted
        )

    def tries(self, *words: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
        folder = self.home / "shop" if (self.home / "shop").is_dir() else self.home
        return subprocess.run(
            [*self.inside, *words],
            cwd=folder,
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def does(self, *words: str | Path, stdin: str = "") -> str:
        done = self.tries(*words, stdin=stdin)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def page(self, url: str) -> str:
        """What a browser shows, or nothing where the certificate is not good."""
        return self.tries("curl", "-fsSL", "--noproxy", "*", "--max-time", "10", url).stdout


@pytest.mark.long
def test_a_fresh_server_and_a_domain(machine: Machine, away: Namespace, authority: Pebble, tmp_path: Path) -> None:
    shutil.copy(authority.authority, machine.root / "root/authority.pem")
    with (machine.root / "etc/hosts").open("a") as hosts:
        hosts.write(f"{machine.address} {NAMES}\n")
    flags = (
        f"--domain {OWN} --email ada@example.com --apps-domain apps.example.com"
        f" --acme-url {authority.url} --acme-ca /root/authority.pem"
    )
    begun, times = time.monotonic(), {}

    def passed(what: str) -> None:
        times[what] = time.monotonic() - begun

    (machine.root / "root/begin").write_text(flags)
    until(lambda: machine.has_told("installed"), 600, every=0.2)
    passed("installed")
    until(lambda: machine.has_told("images"), 600, every=0.2)
    passed("base images made")
    told = machine.told()
    assert f"godploy login https://{OWN}" in told, told
    token = re.findall(r"token: +(\S{20,})", told)[0]

    laptop = Laptop(tmp_path / "ada", away, machine.address, authority.root())
    assert laptop.tries("docker", "version").returncode != 0
    until(lambda: laptop.tries("curl", "-fsS", "--noproxy", "*", f"https://{OWN}/healthz").returncode == 0, 60)
    passed("certificate of the server")
    laptop.does(GODPLOY, "login", f"https://{OWN}", "--token-stdin", stdin=token)
    shutil.copytree(CHECKOUT / "install/demo", laptop.home / "shop")
    (laptop.home / "shop/godploy.yaml").write_text(yaml.safe_dump(MANIFEST))
    for name, value in (("user.name", "Ada"), ("user.email", "ada@example.com"), ("init.defaultBranch", "main")):
        laptop.does("git", "config", "--global", name, value)
    laptop.does("git", "init", "-q")
    laptop.does("git", "add", ".")
    laptop.does("git", "commit", "-qm", "A page")
    laptop.does(GODPLOY, "link")
    seen = laptop.does("git", "push", "godploy", "main")
    assert f"remote: http://{APP}/" in seen, seen
    assert "It is live" in laptop.page(f"http://{APP}/")
    passed("live")
    until(lambda: "It is live" in laptop.page(f"https://{APP}/"), 60)
    passed("live on https")
    (machine.root / "root/live").touch()
    until(lambda: machine.has_told("examined"), 60)
    examined = machine.told().partition("== images\n")[2]
    assert "something is bad" not in examined, examined
    for line in (
        f"ok   DNS: {OWN} leads to {machine.address}",
        "ok   clock: agrees with that of the certificate authority",
        f"ok   certificate of {OWN}: valid until ",
        f"ok   certificate of {APP}: valid until ",
    ):
        assert line in examined, examined
    assert re.search(rf"^url +https://{OWN} +/opt/godploy/settings$", examined, re.MULTILINE), examined
    print(*(f"{at:6.1f} s  {what}" for what, at in times.items()), sep="\n")
    assert times["live on https"] < 300
