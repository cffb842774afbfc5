"""Somebody who deploys: their own home, the command line, and checkouts of their apps."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.e2e.installation import GODPLOY, Answer, Installation, clean_environment

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Done:
    code: int
    out: str
    err: str


@dataclass(slots=True)
class Person:
    """Logged in by the real command line; `inside` is what each command begins with, such as `ip netns exec NAME`."""

    home: Path
    server: Installation
    inside: Sequence[str] = ()

    def run(self, *words: str | Path, cwd: Path | None = None, stdin: str = "", code: int | None = 0) -> Done:
        """A program, to its end; with another exit code than `code` the test fails."""
        done = subprocess.run(
            [*self.inside, *words],
            cwd=cwd or self.home,
            env=clean_environment(self.home),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=180,
        )
        shown = f"{' '.join(map(str, words))}\n{done.stdout}\n{done.stderr}"
        assert code is None or done.returncode == code, f"exit code {done.returncode}: {shown}"
        return Done(done.returncode, done.stdout, done.stderr)

    def login(self, url: str | None = None) -> None:
        self.run("git", "config", "--global", "user.name", "Ada")
        self.run("git", "config", "--global", "user.email", "ada@example.com")
        self.run("git", "config", "--global", "init.defaultBranch", "main")
        flags = ("--token-stdin", "--fingerprint", self.server.fingerprint())
        self.run(GODPLOY, "login", url or self.server.url, *flags, stdin=self.server.token)

    def app(self, project: str, manifest: Mapping[str, Any], *, files: str | None = "app", link: bool = True) -> App:
        """A checkout of an app (the sample app, or an empty folder) with a first commit, linked to a project."""
        app = App(self, self.home / project, project)
        app.folder.mkdir()
        for path in (HERE / files).iterdir() if files else ():
            shutil.copy(path, app.folder)
        app.write("behaviour.json", "{}")
        app.manifest = json.loads(json.dumps(manifest))
        app.git("init", "-q")
        app.commit()
        if link:
            self.run(GODPLOY, "link", cwd=app.folder)
        return app


@dataclass(slots=True)
class App:
    """A checkout. `manifest` is written with each commit; `version` counts them, and is what the app answers."""

    person: Person
    folder: Path
    project: str
    manifest: dict[str, Any] = field(default_factory=dict)
    version: int = 0

    @property
    def host(self) -> str:
        return f"web-{self.project}.localhost"

    @property
    def server(self) -> Installation:
        return self.person.server

    def write(self, path: str, text: str) -> None:
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_text(text)

    def behave(self, **behaviour: Any) -> None:
        self.write("behaviour.json", json.dumps(behaviour))

    def git(self, *words: str, code: int | None = 0, stdin: str = "") -> str:
        done = self.person.run("git", *words, cwd=self.folder, code=code, stdin=stdin)
        return (done.out + done.err).strip()

    def commit(self, *, amend: bool = False) -> str:
        """The next version of everything that is in the folder; its hash."""
        self.version += 1
        self.write("version", f"{self.version}\n")
        return self.commit_manifest(amend=amend)

    def commit_manifest(self, *, amend: bool = False) -> str:
        """What is in the folder, with the version that it has; its hash."""
        if self.manifest:
            self.write("godploy.yaml", yaml.safe_dump(self.manifest, sort_keys=False))
        self.git("add", "--all")
        self.git("commit", "-q", "-m", f"Version {self.version}", *(["--amend"] if amend else []))
        return self.git("rev-parse", "HEAD")

    def push(self, *words: str) -> str:
        """What the pusher sees, up to the end of the deployment."""
        return self.git("push", *(words or ("godploy", "main")))

    def deploy(self, *words: str) -> str:
        """A commit with what is in the folder, pushed and live; what the pusher sees."""
        self.commit()
        return self.live(self.push(*words))

    def live(self, seen: str) -> str:
        """That the newest deployment succeeded; what was seen of it."""
        assert self.last()["state"] == "succeeded", seen
        return seen

    def godploy(self, *words: str, stdin: str = "", code: int | None = 0) -> Done:
        return self.person.run(GODPLOY, *words, cwd=self.folder, stdin=stdin, code=code)

    def ask(self, path: str = "/") -> Answer:
        return self.server.ask(self.host, path)

    def running(self) -> dict[str, str]:
        """Service → its first container, of what is live; what still drains does not count."""
        query = """SELECT s.service, s.workload FROM release_service s
            JOIN stack k ON k.current_release = s.release JOIN environment e ON e.id = k.environment
            JOIN project p ON p.id = e.project WHERE p.name = ?"""
        workloads = {row["workload"]: row["service"] for row in self.server.rows(query, self.project)}
        listed = self.server.engine.containers.list(filters=self.server.label, ignore_removed=True)
        listed = sorted(listed, key=lambda each: str(each.name), reverse=True)  # the first replica is written last
        labels = {each.labels.get("godploy.workload", ""): str(each.id) for each in listed}
        return {service: labels[workload] for workload, service in workloads.items() if workload in labels}

    def last(self) -> dict[str, Any]:
        """The newest deployment."""
        found: dict[str, Any] = self.server.api("GET", f"projects/{self.project}/deployments?limit=1")["deployments"][0]
        return found

    def restore(self, commit: str) -> None:
        """The folder as it was at a commit, and the branch there, too."""
        self.git("reset", "-q", "--hard", commit)
        self.git("clean", "-qfdx")
        self.manifest = yaml.safe_load((self.folder / "godploy.yaml").read_text())
