"""An installation below a prefix, beside whatever else runs on the machine, and versions of Godploy that are unwell."""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import zipfile
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.e2e.installation import free_ports

CHECKOUT = Path(__file__).parents[2]


@dataclass
class Beside:
    """One installation, and its demo's checkout; ports are found free when it is made."""

    prefix: Path
    instance: str
    pool: str
    installer: Path = CHECKOUT / "install"
    token: str = ""
    ports: list[int] = field(default_factory=lambda: free_ports(4))

    @property
    def app(self) -> Path:
        return self.prefix / "opt/godploy"

    @property
    def data(self) -> Path:
        return self.prefix / "var/lib/godploy"

    @property
    def demo(self) -> Path:
        return self.prefix / "home/godploy-demo"

    @property
    def http(self) -> int:
        return self.ports[0]

    @property
    def listen(self) -> int:
        return self.ports[3]

    @property
    def in_force(self) -> str:
        return str((self.app / "current").readlink())

    @property
    def wheel(self) -> Path:
        """The one that the program in force was installed from."""
        return next((self.app / "current").glob("godploy-*.whl"))

    def begin(self, *flags: str | Path) -> subprocess.Popen[str]:
        """The installer, under way."""
        words = [self.installer / "install.sh", "--prefix", self.prefix, *flags]
        piped = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        return subprocess.Popen(words, text=True, **piped)  # type: ignore[call-overload, no-any-return]

    def run(self, *flags: str | Path) -> tuple[int, str]:
        """(exit code, all that the installer said)."""
        return ended(self.begin(*flags))

    def install(self, *flags: str) -> None:
        """For the first time."""
        where = [f"127.0.0.1:{self.listen}" if name == "--listen" else str(port) for name, port in self._named_ports()]
        words = [word for (name, _), value in zip(self._named_ports(), where, strict=True) for word in (name, value)]
        code, said = self.run("--instance", self.instance, "--pool", self.pool, *words, *flags)
        assert code == 0, said
        found = re.search(r"Your API token: +(\S+)", said)
        assert found, said
        self.token = found[1]

    def _named_ports(self) -> list[tuple[str, int]]:
        return list(zip(("--port", "--https-port", "--traefik-api-port", "--listen"), self.ports, strict=True))

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """(status, JSON) of Godploy itself; (0, None) while nothing listens. Without headers the owner asks."""
        raw = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        given = headers or {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        with closing(http.client.HTTPConnection("127.0.0.1", self.listen, timeout=20)) as connection:
            try:
                connection.request(method, path, raw, given)
                answer = connection.getresponse()
                return answer.status, json.loads(answer.read() or b"null")
            except (OSError, http.client.HTTPException):
                return 0, None

    def on_trial(self) -> bool:
        status, told = self.ask("GET", "/readyz")
        return status == 503 and told.get("trial") is True

    def person(self, *words: str | Path) -> tuple[int, str]:
        """(exit code, all that was said) of a command of the one who installed it, in the demo's checkout."""
        unset = ("GIT_SSL_CAINFO", "GIT_SSL_CAPATH", "XDG_CONFIG_HOME")
        environment = {name: value for name, value in os.environ.items() if name not in unset}
        environment |= {"HOME": str(self.prefix / "home"), "GIT_TERMINAL_PROMPT": "0"}
        environment["PATH"] = f"{self.prefix / 'usr/local/bin'}:{environment['PATH']}"
        done = subprocess.run(words, cwd=self.demo, env=environment, capture_output=True, text=True, timeout=120)
        return done.returncode, done.stdout + done.stderr

    def push(self, page: str) -> tuple[int, str]:
        """Pushes the demo with another page."""
        (self.demo / "www/index.html").write_text(page)
        assert self.person("git", "commit", "-qam", "Another page")[0] == 0
        return self.person("git", "push", "godploy", "main")

    def uninstall(self, *flags: str) -> None:
        words = [CHECKOUT / "install/uninstall.sh", "--prefix", self.prefix, *flags]
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr


def ended(installer: subprocess.Popen[str]) -> tuple[int, str]:
    said, _ = installer.communicate(timeout=300)
    return installer.returncode, said


def version(
    wheel: Path, folder: Path, changed: Mapping[str, Callable[[str], str]], added: Mapping[str, str] | None = None
) -> Path:
    """A wheel like another one, with some of its modules changed, and files added."""
    folder.mkdir()
    made = folder / wheel.name
    with zipfile.ZipFile(wheel) as source, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as target:
        assert changed.keys() <= set(source.namelist())
        for entry in source.infolist():
            content = source.read(entry)
            if entry.filename in changed:
                text = changed[entry.filename](content.decode())
                assert text != content.decode(), entry.filename
                content = text.encode()
            target.writestr(entry, content)
        for name, text in (added or {}).items():
            target.writestr(name, text)
    return made
