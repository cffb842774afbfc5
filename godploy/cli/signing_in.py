"""Commands for one's own access: logging in to a server, what git is told then, and one's tokens."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from pathlib import Path

import click

from godploy import resources
from godploy.cli import accounts, checkout, show
from godploy.cli.accounts import Account, Accounts
from godploy.cli.client import Client, UnknownCertificateError, fingerprint, normal, shown_certificate
from godploy.cli.target import Listing, at_server, json_option
from godploy.core.units import seconds
from godploy.errors import GodployError, Invalid

_FINGERPRINT = re.compile(r"[0-9A-F]{64}")


@click.command()
@click.argument("url")
@click.option(
    "--fingerprint", "expected", metavar="SHA256", help="Of the certificate to expect, as the installer prints it."
)
@click.option("--token-stdin", is_flag=True, help="Read the token from standard input.")
@json_option
def login(url: str, expected: str | None, token_stdin: bool, as_json: bool) -> None:
    """Log in to a server, for this program and for git.

    Asks for an API token. A certificate that no authority signed is shown first, and remembered if you agree; from
    then on no other is accepted.

    Example: godploy login https://deploy.example.com
    """
    url = normal(url)
    known = Accounts.load()
    certificate = _certificate(url, known.find(url), expected)
    token = (sys.stdin.readline() if token_stdin else _ask_for_token()).strip()
    if not token or not token.isascii() or not token.isprintable():
        raise Invalid(
            "that is no API token", next_step="on the server: godploy user token --data DIR --email EMAIL --name NAME"
        )
    me = Client(url, token, certificate).get("me")
    known.remember(Account(url, token, certificate))
    git_ready = _tell_git(url, known.certificate_file(url) if certificate else None)
    if as_json:
        show.as_json({"server": url, "user": me["user"], "git": git_ready})
        return
    show.line(f"logged in to {url} as {me['user']['email']}")
    show.note("in a checkout of your app: godploy link")


@click.command()
@click.argument("url", required=False)
@json_option
def logout(url: str | None, as_json: bool) -> None:
    """Forget a server and its token, here and in git's configuration.

    The token itself stays valid; `godploy tokens revoke` ends it.

    Example: godploy logout https://deploy.example.com
    """
    known = Accounts.load()
    chosen = normal(url) if url else known.default
    if chosen is None or known.find(chosen) is None:
        raise Invalid(
            f"you are not logged in to {chosen or 'a server'}",
            next_step=f"known are: {', '.join(known.urls) or 'none'}",
        )
    known.forget(chosen)
    if shutil.which("git"):
        checkout.forget_credentials(chosen)
    if as_json:
        show.as_json({"server": chosen})
    else:
        show.line(f"forgot {chosen}")


@click.command("git-credential", hidden=True)
@click.argument("operation", type=click.Choice(["get", "store", "erase"]))
def git_credential(operation: str) -> None:
    """Tell git the token for a server: https://git-scm.com/docs/git-credential#IOFMT"""
    asked = dict(line.rstrip("\n").partition("=")[::2] for line in sys.stdin if "=" in line)
    try:
        url = normal(f"{asked.get('protocol', '')}://{asked.get('host', '')}")
    except Invalid:
        return  # of another kind of server: git goes on to ask elsewhere
    if operation == "erase":
        show.note(f"{url} did not accept your token; log in again with: godploy login {url}")
    if operation != "get":
        return
    given = accounts.from_environment()
    account = given if given is not None and given.url == url else Accounts.load().find(url)
    if account is not None:
        click.echo(f"username=godploy\npassword={account.token}")


@click.group(cls=Listing)
def tokens() -> None:
    """Your API tokens.

    Example: godploy tokens create ci --expires 90d
    """


@tokens.command("list")
@at_server
@json_option
def list_tokens(client: Client, as_json: bool) -> None:
    """List your tokens, without their values.

    Example: godploy tokens
    """
    answer = client.get("tokens")
    if as_json:
        show.as_json(answer)
        return
    rows = [
        (
            found["id"],
            found["name"] + (" (this one)" if found["current"] else ""),
            show.moment(found["created_at"]),
            show.moment(found["expires_at"]) or "never",
            show.ago(found["last_used_at"]) or "never",
        )
        for found in answer["tokens"]
    ]
    show.table(("ID", "NAME", "CREATED", "EXPIRES", "USED"), rows, empty="no tokens")


@tokens.command()
@click.argument("name")
@click.option("--expires", metavar="TIME", help="After how long it ends, such as 90d; without it, never.")
@at_server
@json_option
def create(client: Client, name: str, expires: str | None, as_json: bool) -> None:
    """Make a token, and print it this once.

    Example: godploy tokens create ci --expires 90d
    """
    try:
        lasting = {} if expires is None else {"expires_in": int(seconds(expires))}
    except ValueError as error:
        raise click.UsageError(f"--expires: {error}") from error
    answer = client.post("tokens", body={"name": name, **lasting})
    if as_json:
        show.as_json(answer)
    else:
        show.line(answer["token"])
        show.note("it is shown this once")


@tokens.command()
@click.argument("token_id", metavar="ID")
@at_server
@json_option
def revoke(client: Client, token_id: str, as_json: bool) -> None:
    """End a token; `godploy tokens` shows the ids.

    Example: godploy tokens revoke k3v9xq2
    """
    client.delete("tokens", token_id)
    if as_json:
        show.as_json({"id": token_id})
    else:
        show.line(f"token {token_id} works no more")


def _certificate(url: str, known: Account | None, expected: str | None) -> str | None:
    """The certificate to pin; None where this machine's authorities vouch for it. Raises where nobody agrees."""
    if url.startswith("http://"):
        return None
    try:
        Client(url).reach()
        trusted = True
    except UnknownCertificateError:
        trusted = False
    if trusted and expected is None:
        return None
    shown = shown_certificate(url)
    found = fingerprint(shown)
    if expected is not None:
        wanted = expected.upper().removeprefix("SHA256:").replace(":", "").replace(" ", "")
        if not _FINGERPRINT.fullmatch(wanted):
            raise click.UsageError("--fingerprint takes the 64 hexadecimal digits of a SHA-256, with or without colons")
        if wanted != found.replace(":", ""):
            raise GodployError(
                f"{url} shows another certificate than you expect: its SHA-256 is {found}. Nothing was sent.",
                next_step="check the fingerprint on the server; if it is right, somebody stands between you and it",
                code="certificate_changed",
            )
    elif known is None or known.certificate is None or fingerprint(known.certificate) != found:
        _agree(url, found, changed=known is not None and known.certificate is not None)
    if trusted:
        return None
    Client(url, certificate=shown).reach()  # git would refuse a certificate that does not name the host, pinned or not
    return shown


def _agree(url: str, found: str, *, changed: bool) -> None:
    if changed:
        show.note(click.style(f"WARNING: this is not the certificate that you pinned for {url}.", fg="red", bold=True))
        show.note("Either the server was set up anew, or somebody stands between you and it.")
    show.note(f"No authority vouches for the certificate of {url}. Its SHA-256 is\n  {found}")
    if not _somebody_is_there():
        raise GodployError(
            "nobody is there to compare it",
            next_step=f"compare it with what the server's installer printed: godploy login {url} --fingerprint SHA256",
            code="certificate_unknown",
        )
    if not click.confirm("Does the server's installer print the same?", err=True):
        raise GodployError("not logged in: the certificate is not the server's", code="certificate_unknown")


def _somebody_is_there() -> bool:
    return sys.stdin.isatty()


def _ask_for_token() -> str:
    return str(click.prompt("API token", hide_input=True, err=True))


def _tell_git(url: str, certificate: Path | None) -> bool:
    """Whether git now knows where the token comes from."""
    try:
        checkout.install_credentials(url, _helper(), certificate)
    except checkout.GitMissingError:
        show.note("git is not installed here; log in again once it is, so that it can push")
        return False
    if certificate is not None and os.environ.get("GIT_SSL_CAINFO"):
        show.note("GIT_SSL_CAINFO is set, and overrides the certificate that git was told to accept: unset it to push")
    return True


def _helper() -> str:
    """The helper as git wants it: `!` and a line for a shell, hence quoted. That is git's own interface."""
    program = Path(sys.argv[0])
    if resources.is_single_file():
        words = [sys.executable]
    elif program.name == "godploy" and program.is_file() and os.access(program, os.X_OK):
        words = [str(program.absolute())]
    else:
        words = [sys.executable, "-m", "godploy.cli.main"]
    return f"!{shlex.join([*words, 'git-credential'])}"
