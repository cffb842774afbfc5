"""A person agrees at the provider, in a browser that may be another machine's.

The state that goes out is good once and for ten minutes. What comes back shows a code on its last page, and only the
terminal that began, with the same token, makes a connection of it by that code: an address that is sent to somebody
else gives nobody their account.
"""

from __future__ import annotations

import json
import secrets as random
import time
from contextlib import nullcontext
from dataclasses import dataclass, fields
from typing import Any

from godploy.core.model import Consent, ProviderConnection
from godploy.core.naming import new_id
from godploy.deploy.hosting import connecting, credentials
from godploy.deploy.hosting.conversation import converse
from godploy.deploy.hosting.credentials import Kept
from godploy.deploy.services import Services
from godploy.errors import Conflict, GodployError, Invalid
from godploy.providers import HOSTS, github_app, oauth
from godploy.providers.protocol import Account, Credential, ProviderError, Trouble
from godploy.store import Connection, connections, consents
from godploy.store.consents import LIFETIME

_CODE_LETTERS = "BCDFGHJKLMNPQRSTVWXZ"  # no vowels, so no words; RFC 8628 section 6.1


@dataclass(frozen=True, slots=True)
class Answered:
    """What the last page shows. `install_url`: where the GitHub App that was just made is still to be installed."""

    title: str
    account: str
    code: str
    install_url: str | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """A consent to be, for the token of the terminal that asks. `renews`: the id of a connection."""

    organization: str
    token: str
    provider: str
    base: str
    kind: str
    name: str | None = None
    renews: str | None = None
    owner: str | None = None


async def begin(services: Services, wanted: Wanted) -> tuple[Consent, str]:
    """(the consent, the address to open). Raises Conflict where no OAuth client was entered, and for a name
    that is taken."""
    host, base = HOSTS[wanted.provider], wanted.base
    state, verifier, now = random.token_urlsafe(32), oauth.new_verifier(), time.time()
    begun = Consent(
        id=new_id(),
        **{field.name: getattr(wanted, field.name) for field in fields(wanted)},
        stage="waiting",
        account_id=None,
        account_name=None,
        trouble=None,
        created_at=now,
        expires_at=now + LIFETIME,
    )
    if wanted.kind == "app":
        url = f"{services.settings.url}/oauth/github/app?state={state}"
    else:
        client = await credentials.oauth_client(services, wanted.provider, base)
        if client is None:
            raise Conflict(
                f"no OAuth client of {base} is known here",
                next_step="a server administrator registers one (godploy oauth add), or give an access token: --token",
                code="no_oauth_client",
            )
        challenge = oauth.challenge(verifier) if host.pkce else ""
        callback = credentials.callback(services, wanted.provider)
        url = host.authorize_url(base, client, callback, state, challenge)
    sealed = services.keyring.seal(verifier, _context(begun.id))

    def write(conn: Connection) -> None:
        if wanted.name is not None and wanted.renews is None:
            connections.must_be_free(conn, wanted.organization, wanted.name)
        consents.begin(conn, begun, state, sealed)

    await services.store.write(write)
    return begun, url


async def app_form(services: Services, state: str) -> tuple[str, str] | None:
    """(where the form goes, the manifest that it carries) for a consent to a GitHub App that waits."""
    found = await services.store.read(lambda conn: consents.waiting(conn, "github", state))
    if found is None or found.kind != "app":
        return None
    settings = services.settings
    name = f"Godploy {settings.host}"[:34]  # GitHub takes so many characters
    callback = credentials.callback(services, "github")
    manifest: dict[str, Any] = github_app.manifest(
        settings.url, name, callback, f"{settings.url}/oauth/github/installed"
    )
    return github_app.creation_url(found.base, found.owner, state), json.dumps(manifest)


async def answer(services: Services, provider: str, state: str, code: str, error: str) -> Answered:
    """What came back to the callback. Raises Invalid, ProviderError."""
    taken = await services.store.write(lambda conn: consents.take(conn, provider, state))
    if taken is None:
        raise Invalid("this address was used already, or is too old", next_step="begin anew in the terminal")
    consent, sealed = taken
    try:
        if error or not code:
            raise Invalid(f"{HOSTS[provider].title} says: {error or 'no code came back'}")
        return await _answered(services, consent, code, services.keyring.unseal(sealed, _context(consent.id)))
    except GodployError as trouble:
        reason = "; ".join(part for part in (trouble.message, trouble.next_step) if part)
        await services.store.write(lambda conn: consents.fail(conn, consent.id, reason))
        raise


async def _answered(services: Services, consent: Consent, code: str, verifier: str) -> Answered:
    host, base = HOSTS[consent.provider], consent.base
    install_url = None
    if consent.kind == "app":
        app, account = await converse(services, host, base, github_app.convert(base, code))
        kept = Kept(app=app)
        install_url = github_app.installation_url(base, app, "")
    else:
        kept, account = await _granted(services, consent, code, verifier if host.pkce else "")
    shown = _new_code()
    sealed = services.keyring.seal(kept.text(), _context(consent.id))
    await services.store.write(
        lambda conn: consents.answer(conn, consent.id, account.id, account.name, sealed, _plain(shown))
    )
    return Answered(host.title, account.name, shown, install_url)


async def _granted(services: Services, consent: Consent, code: str, verifier: str) -> tuple[Kept, Account]:
    host, base = HOSTS[consent.provider], consent.base
    client = await credentials.oauth_client(services, consent.provider, base)
    if client is None:
        raise Conflict(f"the OAuth client of {base} was removed meanwhile")
    callback = credentials.callback(services, consent.provider)
    try:
        grant = await converse(services, host, base, host.exchange(base, client, callback, code, verifier))
    except ProviderError as error:
        if error.trouble in (Trouble.CREDENTIAL, Trouble.INVALID):
            error.next_step = (
                "if its client id or secret is wrong, a server administrator enters them again:"
                f" godploy oauth add {consent.provider} --url {base}"
            )
        raise
    account = await converse(services, host, base, host.account(base), Credential("oauth", grant.token))
    return credentials.of_grant(grant), account


async def confirm(services: Services, consent_id: str, token: str, code: str, actor: str) -> ProviderConnection:
    """The connection, new or renewed, for the code that the last page showed. Raises Invalid for a wrong one, NotFound,
    Conflict."""
    made = new_id()

    def write(conn: Connection) -> ProviderConnection | None:
        confirmed = consents.confirm(conn, consent_id, token, _plain(code))
        if confirmed is None:
            return None
        consent, sealed = confirmed
        text = services.keyring.unseal(sealed, _context(consent.id))
        if consent.renews is not None:
            found = connections.get(conn, consent.renews)
            connecting.must_be_the_same(found, Account(consent.account_id or "", consent.account_name or ""))
            resealed = services.keyring.seal(text, credentials.context(found.id))
            connecting.put_kept(conn, found.id, resealed, None)
            if consent.kind == "app":  # another App, which is installed by itself
                connections.note_state(conn, found.id, "uninstalled")
            return connections.get(conn, found.id)
        wanted = connections.Wanted(
            consent.organization,
            consent.provider,
            consent.base,
            consent.kind,
            consent.account_id or "",
            consent.account_name or "",
            actor,
            consent.name,
            state="uninstalled" if consent.kind == "app" else "usable",
        )
        return connections.create(conn, made, wanted, services.keyring.seal(text, credentials.context(made)))

    begun = await services.store.read(lambda conn: consents.get(conn, consent_id, token))
    # A renewal of the old one that is on its way is not to be stored over it.
    async with services.hosting.lock(begun.renews) if begun.renews else nullcontext():
        connection = await services.store.write(write)
        if connection is not None:
            services.hosting.forget(connection.id)
    if connection is None:
        raise Invalid(
            "this is not the code that the page shows", next_step="look at the page once more", code="wrong_code"
        )
    services.changes.ring("outbox")
    services.changes.ring("poller")
    return connection


def _new_code() -> str:
    letters = "".join(random.choice(_CODE_LETTERS) for _ in range(8))
    return f"{letters[:4]}-{letters[4:]}"


def _plain(code: str) -> str:
    """As it is compared: however it was typed."""
    return "".join(letter for letter in code.upper() if letter in _CODE_LETTERS)


def _context(consent: str) -> str:
    return f"consent:{consent}"
