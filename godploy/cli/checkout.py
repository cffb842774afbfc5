"""The git checkout around the current directory: its files, its link to a server, and what git is told about one."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from godploy.cli.client import normal
from godploy.errors import GodployError, Invalid

REMOTE = "godploy"
_NAME_LIMIT = 40
_TIMEOUT = 30.0
_MOST_FILES = 20_000
_NEVER_LISTED = frozenset({".git", "node_modules", ".venv", "venv", "__pycache__"})
_REMOTE_PATH = re.compile(r"/git/([^/]+)/([^/]+)/([^/]+)\.git")


@dataclass(frozen=True, slots=True)
class Link:
    """What a checkout's remote `godploy` says: the server and the names there."""

    server: str
    organization: str
    project: str
    repository: str


class GitMissingError(GodployError):
    code = "git_missing"


def git(*arguments: str, stdin: bytes | None = None) -> tuple[int, str]:
    """(exit code, output) of git here, with the configuration of the user. Raises GitMissingError."""
    from godploy.core.command import Command
    from godploy.drivers import process  # brings asyncio's subprocesses, which most commands never need

    command = Command(("git", *arguments), env=dict(os.environ), stdin=stdin)
    try:
        result = asyncio.run(process.run(command, timeout=_TIMEOUT))
    except process.Missing as error:
        raise GitMissingError("git is not installed", next_step="install git, then run this again") from error
    except TimeoutError as error:
        raise GodployError(f"git {arguments[0]} did not end within {_TIMEOUT:.0f} s") from error
    return result.code, result.stdout.decode(errors="replace")


def root() -> Path | None:
    """The top of the checkout that the current directory lies in; None outside of any."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / ".git").exists():
            return folder
    return None


def default_name() -> str:
    """A name for a project or repository, made from the folder's."""
    return valid_name((root() or Path.cwd()).name)


def valid_name(text: str) -> str:
    """A name for a project or repository, made from another's: `My Shop_2` → `my-shop-2`."""
    name = re.sub(r"[^a-z0-9]+", "-", text.lower()).lstrip("-0123456789")[:_NAME_LIMIT].rstrip("-")
    return name or "app"


def branch() -> str:
    """The branch that is checked out, `main` where there is none."""
    code, output = git("symbolic-ref", "--short", "--quiet", "HEAD")
    return output.strip() if code == 0 else "main"


def linked() -> Link | None:
    """The link of the current checkout; None without one, or where the remote leads to something else."""
    if root() is None:
        return None
    code, output = git("config", "--get", f"remote.{REMOTE}.url")
    return parse(output.strip()) if code == 0 else None


def parse(url: str) -> Link | None:
    parts = urlsplit(url)
    path = _REMOTE_PATH.fullmatch(parts.path)
    if path is None:
        return None
    try:
        server = normal(f"{parts.scheme}://{parts.netloc}")
    except Invalid:
        return None
    organization, project, repository = map(unquote, path.groups())
    return Link(server, organization, project, repository)


def link(server: str, git_url: str) -> str:
    """Makes or corrects the remote; its address must be the server's own and holds no token. Returns that address.

    Raises Invalid outside of a checkout.
    """
    if root() is None:
        raise Invalid("this folder is not a git checkout", next_step="git init, commit your files, then run this again")
    # The server knows its public address; this machine may reach it by another, such as a tunnel's.
    address = server + quote(urlsplit(git_url).path, safe="/%")
    code, present = git("config", "--get", f"remote.{REMOTE}.url")
    if code == 0 and present.strip() == address:
        return address
    verb = ("remote", "set-url", REMOTE) if code == 0 else ("remote", "add", REMOTE)
    code, _ = git(*verb, address)
    if code != 0:
        raise GodployError(f"git could not set the remote {REMOTE}", next_step=f"git remote add {REMOTE} {address}")
    return address


def install_credentials(server: str, helper: str, certificate: Path | None) -> None:
    """Tells git where the token for a server comes from, and which certificate is its own. Raises GitMissingError.

    The empty helper first is git's way to drop helpers of wider scope, which would store the token elsewhere, too:
    https://git-scm.com/docs/gitcredentials
    """
    forget_credentials(server)
    for value in ("", helper):
        code, _ = git("config", "--global", "--add", f"credential.{server}.helper", value)
        if code != 0:
            raise GodployError("git's global configuration cannot be written", next_step="check ~/.gitconfig")
    if certificate is not None:
        git("config", "--global", f"http.{server}.sslCAInfo", str(certificate))


def forget_credentials(server: str) -> None:
    for key in (f"credential.{server}.helper", f"http.{server}.sslCAInfo"):
        git("config", "--global", "--unset-all", key)


def files(top: Path) -> list[str]:
    """The paths below `top` that git would commit; outside of a checkout, all that are not plainly foreign."""
    if root() == top:
        code, output = git("-C", str(top), "ls-files", "-z", "--cached", "--others", "--exclude-standard")
        if code == 0:
            return [name for name in output.split("\0") if name][:_MOST_FILES]
    return [name for name, _ in zip(_walk(top), range(_MOST_FILES), strict=False)]


def _walk(top: Path) -> Iterator[str]:
    for folder, below, names in os.walk(top):
        below[:] = sorted(set(below) - _NEVER_LISTED)
        for name in sorted(names):
            yield Path(folder, name).relative_to(top).as_posix()
