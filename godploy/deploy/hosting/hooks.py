"""The hook of a repository at its provider: made, proven, mended, given another secret, removed."""

from __future__ import annotations

import asyncio
import secrets as random
from contextlib import suppress

from godploy.core.model import HostedHook, Repository
from godploy.deploy.hosting import asking
from godploy.deploy.job import hook_context
from godploy.deploy.services import Services
from godploy.errors import Conflict
from godploy.providers import HOSTS
from godploy.providers.protocol import HookWish, ProviderError, Trouble
from godploy.providers.protocol import HostedHook as Found
from godploy.settings import Settings
from godploy.store import Connection, events, hosted_hooks, repositories

HEARD_WITHIN = 30.0  # seconds from a hook's making to its first delivery
_LOOK_EVERY = 1.0
OVERLAP = 24 * 3600.0  # seconds that a secret stays valid after there is a newer one


def address(settings: Settings, repository: Repository) -> str:
    """Where its sender posts to."""
    return f"{settings.url}{_path(repository)}"


def _path(repository: Repository) -> str:
    return f"/hooks/{repository.provider}/{repository.hook_id}"


async def ensure(services: Services, repository: Repository) -> HostedHook:
    """Makes the hook, or makes the one that is there what it should be. What the provider refuses is noted on it and
    raised: ProviderError."""
    known = await services.store.read(lambda conn: hosted_hooks.of(conn, repository.id))
    wish = HookWish(address(services.settings, repository), await _secret(services, repository))
    try:
        there = await _there(services, repository)
        if known is not None and known.state == "working" and there is not None and _is_right(there, wish.url):
            return known
        if there is None:
            made = await asking.ask_about(
                services, repository, lambda host, base, place: host.create_hook(base, place, wish)
            )
        else:
            made = await asking.ask_about(
                services, repository, lambda host, base, place: host.update_hook(base, place, there.id, wish)
            )
    except ProviderError as error:
        await _refused(services, repository, error)
        raise
    await services.store.write(lambda conn: hosted_hooks.put(conn, repository.id, made.id, wish.url, made.scheme))
    return await _kept(services, repository)


async def attempt(services: Services, repository: Repository) -> None:
    """The same, where the repository is of use without it, too: what the provider refuses is noted on the hook alone,
    and tried again by `look_after`."""
    with suppress(ProviderError):
        await ensure(services, repository)


async def _there(services: Services, repository: Repository) -> Found | None:
    """Our hook as the provider has it: by its id, or by the end of its address, which is nobody else's."""
    known = await services.store.read(lambda conn: hosted_hooks.of(conn, repository.id))
    found = await asking.ask_about(services, repository, lambda host, base, place: host.hooks(base, place))
    end = _path(repository)
    return next((each for each in found if each.url.endswith(end) or (known and each.id == known.hook)), None)


def _is_right(there: Found, url: str) -> bool:
    return there.active and there.wanted and there.url == url


async def _refused(services: Services, repository: Repository, error: ProviderError) -> None:
    def write(conn: Connection) -> None:
        if hosted_hooks.of(conn, repository.id) is None:
            hosted_hooks.put(conn, repository.id, "", address(services.settings, repository), "")
        hosted_hooks.note_state(conn, repository.id, "refused", error.message)

    await services.store.write(write)


async def _kept(services: Services, repository: Repository) -> HostedHook:
    found = await services.store.read(lambda conn: hosted_hooks.of(conn, repository.id))
    if found is None:
        raise Conflict(f"{repository.name} has no hook at its provider")
    return found


async def prove(services: Services, repository: Repository, within: float = HEARD_WITHIN) -> HostedHook:
    """Asks the provider to send something, and waits for it; "silent" where nothing came. One that has nothing to send,
    never or not yet, leaves it "unproven". Raises ProviderError."""
    with services.changes.subscribe() as hints:
        hook = await _kept(services, repository)
        if hook.heard_at is None and hook.hook:
            branch = repository.default_branch or ""
            sent = await asking.ask_about(
                services, repository, lambda host, base, place: host.test_hook(base, place, hook.hook, branch)
            )
            if not sent and not (branch and HOSTS[repository.provider].tests_hooks):
                return await _note(services, repository, "unproven", nothing_to_send(services, repository))
        loop = asyncio.get_running_loop()
        until = loop.time() + within
        while hook.heard_at is None and hook.state == "unproven" and loop.time() < until:
            await hints.next(_LOOK_EVERY)
            hook = await _kept(services, repository)
    if hook.state == "unproven":
        return await _note(services, repository, "silent", unreachable(services, repository))
    return hook


async def _note(services: Services, repository: Repository, state: str, reason: str) -> HostedHook:
    await services.store.write(lambda conn: hosted_hooks.note_state(conn, repository.id, state, reason))
    return await _kept(services, repository)


def unreachable(services: Services, repository: Repository) -> str:
    """What to say where nothing came from a new hook: a server behind a home router is a normal thing."""
    title = HOSTS[repository.provider].title
    return f"{title} could not reach {services.settings.url}; pushes will be found by polling every {_every(services)}"


def nothing_to_send(services: Services, repository: Repository) -> str:
    """What to say of a provider that sends nothing on request, or has no commit to tell of yet."""
    title, url = HOSTS[repository.provider].title, services.settings.url
    return f"{title} has nothing to send yet: the first push shows whether it reaches {url}; polling finds it, too"


def _every(services: Services) -> str:
    seconds = services.settings.poll_interval
    return f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:.0f} seconds"


async def rotate(services: Services, repository: Repository) -> None:
    """Another secret; the one before stays valid for a day. Where the provider does not take it, the old one alone
    stays; where that is not known, both stay until the next rotation. Raises ProviderError."""
    hook = await _there(services, repository)
    if hook is None:
        await ensure(services, repository)
        return
    secret, sealed = await another_secret(services, repository, OVERLAP)
    wish = HookWish(address(services.settings, repository), secret)
    try:
        made = await asking.ask_about(
            services, repository, lambda host, base, place: host.update_hook(base, place, hook.id, wish)
        )
    except ProviderError as error:
        taken_perhaps = error.trouble is Trouble.DOWN
        await services.store.write(lambda conn: _undo(conn, repository, sealed, taken_perhaps=taken_perhaps))
        raise
    await services.store.write(lambda conn: hosted_hooks.put(conn, repository.id, made.id, wish.url, made.scheme))


def _undo(conn: Connection, repository: Repository, sealed: bytes, *, taken_perhaps: bool) -> None:
    if taken_perhaps:
        repositories.keep_former_hook_secrets(conn, repository.id)
    else:
        repositories.drop_hook_secret(conn, repository.id, sealed)


async def look_after(services: Services, repository: Repository) -> None:
    """Once in a while: a hook that was never made, was removed or switched off at the provider, or leads to a former
    address of this server, is mended, and told. Raises ProviderError."""
    known = await services.store.read(lambda conn: hosted_hooks.of(conn, repository.id))
    there = await _there(services, repository)
    wanted = address(services.settings, repository)
    if known is not None and known.state != "refused" and there is not None and _is_right(there, wanted):
        return
    await ensure(services, repository)
    what = "made anew" if there is None else "led back to this server" if there.url != wanted else "set right"
    text = f"the hook of {repository.name} at {HOSTS[repository.provider].title} was {what}"
    await services.store.write(lambda conn: events.add(conn, "hook", text, project=repository.project))


async def remove(services: Services, repository: Repository) -> None:
    """Fine where there is none. Raises ProviderError."""
    known = await services.store.read(lambda conn: hosted_hooks.of(conn, repository.id))
    if known is not None and known.hook:
        await asking.ask_about(
            services, repository, lambda host, base, place: host.delete_hook(base, place, known.hook)
        )
    await services.store.write(lambda conn: hosted_hooks.remove(conn, repository.id))


async def _secret(services: Services, repository: Repository) -> str:
    """The newest one, made where there is none."""
    sealed = await services.store.read(lambda conn: repositories.hook_secrets(conn, repository.id))
    if sealed:
        return services.keyring.unseal(sealed[-1], hook_context(repository.id))
    return (await another_secret(services, repository, 0.0))[0]


async def another_secret(services: Services, repository: Repository, overlap: float) -> tuple[str, bytes]:
    """(a new secret of its hook, the same sealed); those before it stay valid for `overlap` seconds."""
    secret = random.token_hex(32)
    sealed = services.keyring.seal(secret, hook_context(repository.id))
    await services.store.write(lambda conn: repositories.add_hook_secret(conn, repository.id, sealed, overlap))
    return secret, sealed
