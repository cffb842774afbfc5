"""Somebody with nothing but one program called `godploy` and git: from signing in to a page that is live."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from .conftest import CHECKOUT, CLEAN, run


@dataclass(frozen=True)
class Laptop:
    home: Path
    programs: Path  # the folder with `godploy`

    def run(self, *words: object, **more: object) -> str:
        path = f"{self.programs}:/usr/local/bin:/usr/bin:/bin"
        environment = {**CLEAN, "HOME": str(self.home), "PATH": path, "GIT_CONFIG_NOSYSTEM": "1", "NO_COLOR": "1"}
        return run(*words, env=environment, **{"cwd": self.home, **more})

    def godploy(self, *words: object, **more: object) -> str:
        return self.run(self.programs / "godploy", *words, **more)

    def login(self, url: str, token: str, fingerprint: str) -> None:
        flags = ("--token-stdin", "--fingerprint", fingerprint)
        self.godploy("login", url, *flags, input=f"{token}\n")

    def push_demo(self) -> str:
        """A first push of the installer's demo; what was seen of it."""
        demo = self.home / "demo"
        shutil.copytree(CHECKOUT / "install" / "demo", demo)
        self.godploy("validate", cwd=demo)
        self.run("git", "init", "-q", "-b", "main", cwd=demo)
        self.run("git", "config", "user.name", "Ada", cwd=demo)
        self.run("git", "config", "user.email", "ada@example.com", cwd=demo)
        self.run("git", "add", ".", cwd=demo)
        self.run("git", "commit", "-q", "-m", "A page", cwd=demo)
        self.godploy("link", "demo", cwd=demo)
        return self.run("git", "push", "godploy", "main", cwd=demo, merged=True)
