"""A connection that somebody agrees to in a browser: this terminal waits, and confirms what came of it by the code that
the last page shows, so that no other's consent is taken for ours."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import click

from godploy.cli import show
from godploy.cli.client import Client
from godploy.errors import Conflict, GodployError

_PAUSE = 2.0  # seconds between two looks
_PATIENCE = 600.0  # seconds; as long as the server keeps a consent

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be agreed to; `renews` names the connection whose consent is given anew."""

    title: str
    provider: str
    kind: str
    url: str | None = None
    name: str | None = None
    owner: str | None = None
    renews: str | None = None
    organization: str | None = None

    def body(self) -> Json:
        given = {
            "provider": self.provider,
            "kind": self.kind,
            "url": self.url,
            "name": self.name,
            "owner": self.owner,
            "renews": self.renews,
            "organization": self.organization,
        }
        return {key: value for key, value in given.items() if value is not None}


def connect(client: Client, wanted: Wanted) -> Json:
    """The connection, once somebody agreed. What is said on the way goes to standard error, for the eyes only.

    Ended before that (by Ctrl-C, or a failure), the server takes nothing of it any more. Raises GodployError.
    """
    begun = client.post("consents", body=wanted.body())
    try:
        show.note("Open this address in a browser; it is good once:")
        show.note(f"\n  {show.safe(begun['url'])}\n")
        show.note("Waiting up to ten minutes for you to agree there; the last page shows a code, asked for here.")
        account = _answered(client, begun["id"])
        show.note(show.safe(f"{wanted.title} says you are {account}."))
        made = _confirmed(client, begun["id"])
    except BaseException:
        _forget(client, begun["id"])
        raise
    return _installed(client, wanted, made)


def _answered(client: Client, consent: str) -> str:
    """Who agreed."""
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        found = client.get("consents", consent)
        if found["stage"] == "answered":
            return str(found["account"])
        _must_go_on(found)
        time.sleep(_PAUSE)
    raise GodployError("nobody agreed within ten minutes", next_step="begin anew with the same command")


def _must_go_on(consent: Json) -> None:
    if consent["stage"] == "failed":
        raise GodployError(
            str(consent["trouble"] or "the consent failed"), next_step="begin anew with the same command"
        )


def _confirmed(client: Client, consent: str) -> Json:
    """Asks for the code until it is right, or until the server has seen too many wrong ones."""
    while True:
        code = str(click.prompt("Code on the last page", err=True)).strip()
        try:
            return dict(client.post("consents", consent, "confirm", body={"code": code}))
        except GodployError as error:
            if error.code != "wrong_code":
                raise
            _must_go_on(client.get("consents", consent))
            show.note(show.safe(error.message))


def _forget(client: Client, consent: str) -> None:
    """Whatever comes back is not taken any more. The reason for ending is worth telling, this one's failure is not."""
    try:
        client.delete("consents", consent)
    except GodployError:
        show.note("the server could not be told that this ended; it forgets the consent within ten minutes")


def _installed(client: Client, wanted: Wanted, made: Json) -> Json:
    """The connection once the App is installed. It stays as it is where nobody installs it in time."""
    if made["state"] != "uninstalled":
        return made
    show.note("The App is made. Install it for the repositories that you want to deploy:")
    show.note(f"\n  {show.safe(made['install_url'] or made['url'])}\n")
    show.note("Waiting up to ten minutes for that.")
    later = f"once it is installed: godploy connections check {show.safe(made['name'])}"
    end = time.monotonic() + _PATIENCE
    try:
        while time.monotonic() < end:
            found = look(client, made["name"], wanted.organization)
            if found is not None:
                return found
            time.sleep(_PAUSE)
    except KeyboardInterrupt:
        show.note(f"\nthe connection {show.safe(made['name'])} stays; {later}")
        raise
    raise Conflict("the App was not installed within ten minutes", next_step=later)


def look(client: Client, name: str, organization: str | None) -> Json | None:
    """The connection as it is now, None while its App is not installed."""
    try:
        found = client.call("POST", "connections", name, "check", query={"organization": organization})
    except GodployError as error:
        if error.code != "conflict":
            raise
        return None
    return None if found["state"] == "uninstalled" else dict(found)
