"""Looks at the files of a repository and drafts a manifest for it, so that nobody begins with an empty page.

Only what acts is written; what was found and could not be carried over is told in notes, each with its reason.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass

from godploy.core import compose, databases, dockerfile, dotenv, words
from godploy.core.draft import Draft, leave_out_invalid, render

Files = Mapping[str, str | None]

PLACEHOLDER_SERVER = "https://deploy.example.com"
FALLBACK_PORT = 8000

_COMPOSE = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")
_ENV_EXAMPLES = (".env.example", ".env.sample", ".env.template", ".env.dist", "env.example")
_FOLDERS_OF_BUILDS = ("docker", ".docker", "build", "deploy", "ops", "container", "containers", "infra")
_LANGUAGES = {
    "package.json": "a Node.js app",
    "requirements.txt": "a Python app",
    "pyproject.toml": "a Python app",
    "Pipfile": "a Python app",
    "go.mod": "a Go app",
    "Cargo.toml": "a Rust app",
    "Gemfile": "a Ruby app",
    "composer.json": "a PHP app",
    "pom.xml": "a Java app",
    "build.gradle": "a Java app",
    "mix.exs": "an Elixir app",
    "index.html": "a static site",
}


@dataclass(frozen=True, slots=True)
class Detected:
    """A manifest that is valid as it stands, and sentences on what was left out and what is left to do."""

    manifest_text: str
    notes: tuple[str, ...]


def detect(files: Files, *, server: str = PLACEHOLDER_SERVER) -> Detected:
    """`files` maps the paths of a repository to their texts, or to None where the name is enough (whatever is read has
    its text: Dockerfiles, compose files, Procfile, examples of .env). `server` is where editors find the schema."""
    draft = Draft()
    found = next((name for name in _COMPOSE if files.get(name)), None)
    if found is not None:
        compose.carry_over(files[found] or "", found, files, draft)
        leave_out_invalid(draft, found)
    if not draft.services:
        _from_dockerfiles(files, draft)
        _procfile(files.get("Procfile") or "", draft)
        _env_example(files, draft)
    if server == PLACEHOLDER_SERVER:
        draft.note("In the first line, put the address of your server, so that your editor knows the keys.")
    return Detected(render(draft, server), tuple(draft.notes))


def implied(files: Files) -> str:
    """The manifest of a repository that has none: one service, `web`, built from the Dockerfile."""
    port = (dockerfile.exposed(files.get("Dockerfile") or "") or (FALLBACK_PORT,))[0]
    draft = Draft({"web": {"build": ".", "port": port}})
    return render(draft, PLACEHOLDER_SERVER)


def _from_dockerfiles(files: Files, draft: Draft) -> None:
    paths = sorted(path for path in files if posixpath.basename(path) == "Dockerfile" and path.count("/") <= 2)
    inner = [path for path in paths if path != "Dockerfile"]
    if "Dockerfile" in files:
        _web(files.get("Dockerfile"), {"build": "."}, draft)
        for path in inner:
            draft.note(f"{path} is not used; add a service with build: {posixpath.dirname(path)} if it is one.")
        return
    shared = [path for path in inner if posixpath.basename(posixpath.dirname(path)) in _FOLDERS_OF_BUILDS]
    if shared:
        _web(files[shared[0]], {"build": {"dockerfile": shared[0]}}, draft)
        return
    for path in inner:
        _folder_service(path, files[path], draft)
    if not inner:
        _without_dockerfile(files, draft)
    elif "web" not in draft.services:
        draft.note("No service is called web, so none has an address yet; give one of them routes: [auto].")


def _web(text: str | None, service: dict[str, object], draft: Draft) -> None:
    ports = dockerfile.exposed(text or "")
    draft.services["web"] = {**service, "port": ports[0] if ports else FALLBACK_PORT}
    if not ports:
        draft.comments["web"] = [
            f"The Dockerfile has no EXPOSE: listen on 0.0.0.0 at $PORT, which is {FALLBACK_PORT}, or change port."
        ]
    elif len(ports) > 1:
        draft.note(f"The Dockerfile exposes {', '.join(map(str, ports))}; port is the first of them.")


def _folder_service(path: str, text: str | None, draft: Draft) -> None:
    folder = posixpath.dirname(path)
    name = compose.service_name(posixpath.basename(folder), draft.services)
    if name is None:
        draft.note(f"{path} is not used: its folder's name cannot become the name of a service.")
        return
    ports = dockerfile.exposed(text or "")
    draft.services[name] = {"build": folder, **({"port": ports[0]} if ports else {})}
    if not ports:
        draft.note(f"{path} has no EXPOSE, so {name} has no port and gets no traffic; add one if it listens.")


def _without_dockerfile(files: Files, draft: Draft) -> None:
    kinds = dict.fromkeys(what for name, what in _LANGUAGES.items() if name in files)
    what = f"This looks like {next(iter(kinds))}, but there" if kinds else "There"
    draft.services["web"] = {"build": ".", "port": FALLBACK_PORT}
    draft.comments["web"] = ["A Dockerfile is needed beside this file; for now, Godploy builds from nothing else."]
    draft.note(
        f"{what} is no Dockerfile, and for now Godploy builds from nothing else: add one whose program listens on "
        f"0.0.0.0 at $PORT ({FALLBACK_PORT})."
    )


def _procfile(text: str, draft: Draft) -> None:
    web = draft.services.get("web")
    if web is None:
        if text:
            draft.note("The Procfile is not used: it is not clear which of the images its commands belong to.")
        return
    for line in text.splitlines():
        match = re.fullmatch(r"\s*([A-Za-z0-9_-]+)\s*:\s*(\S.*?)\s*", line)
        if match is None:
            continue
        kind, command = match[1], _command(match[2])
        if kind in ("web", "release"):
            web["command" if kind == "web" else "release_command"] = command
            continue
        name = compose.service_name(kind, draft.services)
        if name is None:
            draft.note(f"{kind} of the Procfile is left out: that cannot be the name of a service.")
            continue
        draft.services[name] = {"image_from": "web", "command": command}


def _command(line: str) -> str | list[str]:
    """A line for a shell stays one where it needs one; else it is a list of words."""
    try:
        if "${" not in line:  # only a shell puts the value of a variable in
            return [word.replace("${", "$${") for word in words.split(line)]
    except ValueError:
        pass
    escaped = line.replace("${", "$${")
    return ["sh", "-c", escaped if re.search(r"[;&|]", line) else f"exec {escaped}"]


def _env_example(files: Files, draft: Draft) -> None:
    found = next((name for name in _ENV_EXAMPLES if files.get(name)), None)
    if found is None:
        return
    env: dict[str, str] = {}
    secrets: list[str] = []
    needed: list[str] = []
    for name, value in dotenv.read(files[found] or "").items():
        wanted = databases.by_address(value)
        if name == "PORT":
            continue
        if wanted is not None:
            database = databases.SERVICES[wanted]
            env[name] = f"${{services.{database}.url}}"
            needed += [database] if database not in needed else []
            draft.services.setdefault(database, {"template": wanted})
            draft.note(f"{name} in {found} is the address of a database, so {database} was added and is referred to.")
        elif dotenv.is_secret(name, value):
            secrets.append(name)
        else:
            env[name] = value.replace("${", "$${")
    # One file of examples serves every process of the app, and nothing says which of them needs what.
    for service in draft.services.values():
        if "template" not in service:
            service |= {key: said for key, said in (("env", env), ("secrets", secrets), ("depends_on", needed)) if said}
    if secrets:
        draft.note(
            f"These became secrets: {', '.join(secrets)}. Set their values with godploy secrets set, "
            "or all at once with godploy secrets import .env."
        )
