"""Looks at names, clock and certificates for `godploy doctor`: changes nothing and needs no server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from email.utils import parsedate_to_datetime
from functools import partial
from urllib.parse import urlsplit

from godploy.core.certificates import Standing, is_public
from godploy.core.doctor_hosts import Named, Outside
from godploy.deploy import certificates
from godploy.deploy.ledger import Ledger
from godploy.drivers import acme, probe
from godploy.drivers.acme import Folder
from godploy.errors import GodployError
from godploy.settings import Settings
from godploy.store import Store

_PATIENCE = 10.0  # seconds for the certificate authority to answer
_ANY = "godploy-doctor"  # the word in front of the apps' domain that is looked up


async def look(settings: Settings) -> Outside:
    """What there is to see of what the rest of the world sees."""
    asks = bool(settings.acme_email)
    names, (clock, why), server, standings = await asyncio.gather(
        _names(settings), _clock(settings), acme.own_addresses(), _standings(settings)
    )
    return Outside(names, server, clock, why, asks, is_public(settings.host), standings)


async def _names(settings: Settings) -> Sequence[Named]:
    """Of those that DNS should know."""
    asked = {settings.host: settings.host, f"*.{settings.apps_domain}": f"{_ANY}.{settings.apps_domain}"}
    public = {name: host for name, host in asked.items() if is_public(host)}
    leads_to = await asyncio.gather(*(acme.addresses(host) for host in public.values()))
    return [Named(name, found) for name, found in zip(public, leads_to, strict=True)]


async def _clock(settings: Settings) -> tuple[float | None, str]:
    """How far ahead of the authority's our clock is, else why nobody knows. Its certificate is not verified, since that
    is just what fails where the clock is wrong."""
    if not settings.acme_email:
        return None, "no certificate authority is set to compare it with"
    parts = urlsplit(settings.acme_url)
    host, port = parts.hostname or "", parts.port or 443
    begun = time.time()
    answer = await probe.http(host, port, parts.path or "/", parts.netloc, _PATIENCE, encrypted=True)
    now = (begun + time.time()) / 2
    try:
        return now - parsedate_to_datetime(answer.headers.get("date", "")).timestamp(), ""
    except ValueError:
        return None, f"{parts.netloc}, the certificate authority, does not answer ({answer.miss or 'with no date'})"


async def _standings(settings: Settings) -> Sequence[Standing] | None:
    """Of every host that is to have a certificate, Godploy's own first."""
    ledger, path = Ledger(bool(settings.acme_email)), settings.data / "godploy.db"
    await asyncio.to_thread(certificates.load, ledger, Folder(settings.data / "acme"))
    own = [settings.host] if ledger.wants(settings.host) else []
    if not await asyncio.to_thread(path.is_file):
        return None
    store = Store(path)  # not opened: that would migrate it
    try:
        hosts = await store.read(partial(certificates.wanted, ledger))
    except GodployError:
        return None
    finally:
        await store.close()
    return [ledger.standing(host) for host in dict.fromkeys([*own, *sorted(hosts)])]
