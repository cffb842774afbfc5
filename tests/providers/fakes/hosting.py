"""The repositories of a provider that is played: what happens in them moves real refs, and is told to their hooks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from tests.providers.fakes import bare
from tests.providers.fakes.state import Hook, Moved, Pull, Repository, Sent, User


class Hosting:
    """A subclass says in `push_events`, `pull_events` and `delivery_headers` what is told to hooks."""

    pull_ref = "refs/pull/{}/head"  # "": none is kept

    folder: Path
    users: dict[str, User]
    _session: aiohttp.ClientSession

    def __init__(self) -> None:
        self.repositories: dict[int, Repository] = {}
        self.old_names: dict[str, Repository] = {}
        self.deliveries: list[Sent] = []
        self.deliver_to = ""
        self._last_id = 1000

    def new_id(self) -> int:
        self._last_id += 1
        return self._last_id

    def add_user(self, name: str) -> User:
        self.users[name] = User(self.new_id(), name)
        return self.users[name]

    async def push_events(self, repository: Repository, moved: Moved) -> list[tuple[str, Any]]:
        """(event as a hook subscribes to it, body) for a ref that moved."""
        raise NotImplementedError

    async def pull_events(
        self, repository: Repository, pull: Pull, action: str, before: str | None = None
    ) -> list[tuple[str, Any]]:
        """`action` "opened", "pushed" (`before` is the head until then), "retargeted" (`before` is the base until
        then), "closed" or "merged"."""
        raise NotImplementedError

    def subscribed(self, hook: Hook, event: str) -> bool:
        return event in hook.events

    def delivery_headers(self, repository: Repository, hook: Hook, event: str, body: bytes) -> dict[str, str]:
        """Event, delivery id and signature, as the provider sends them."""
        raise NotImplementedError

    # Repositories

    def add_repository(
        self, user: User, full_name: str, private: bool = True, object_format: str = "sha1"
    ) -> Repository:
        """An empty one. Its owner administers it."""
        id = self.new_id()
        made = Repository(id, full_name, user, private, self.folder / f"{id}.git")
        bare.make(made.directory, made.default_branch, object_format)
        self.repositories[id] = made
        return made

    def rename(self, repository: Repository, full_name: str) -> None:
        self.old_names[repository.full_name] = repository
        repository.full_name = full_name

    def named(self, full_name: str) -> Repository | None:
        return next((each for each in self.repositories.values() if each.full_name == full_name), None)

    def hooks(self, repository: Repository) -> list[Hook]:
        return repository.hooks

    def statuses(self, repository: Repository, sha: str) -> list[dict[str, Any]]:
        return repository.statuses.get(sha, [])

    def add_status(
        self, repository: Repository, sha: str, state: str, context: str, description: str, url: str
    ) -> None:
        told = {"state": state, "context": context, "description": description, "url": url}
        repository.statuses.setdefault(sha, []).append(told)

    async def commit(
        self,
        repository: Repository,
        files: Mapping[str, str | None],
        message: str = "A commit",
        branch: str = "main",
        *,
        parent: str | None = None,
        deliver: bool = True,
    ) -> str:
        """On top of the branch, or of `parent` (a forced push); a new branch begins at the default one. None: the file
        is removed."""
        directory, ref = repository.directory, f"refs/heads/{branch}"
        onto = parent or await bare.resolve(directory, ref)
        onto = onto or await bare.resolve(directory, f"refs/heads/{repository.default_branch}")
        moved = await bare.commit(directory, ref, files, message, onto)
        await self._moved(repository, moved, deliver)
        return moved.after or ""

    async def delete_branch(self, repository: Repository, branch: str, *, deliver: bool = True) -> None:
        await self._delete(repository, f"refs/heads/{branch}", deliver)

    async def tag(
        self, repository: Repository, name: str, sha: str, *, annotated: bool = False, deliver: bool = True
    ) -> str:
        """The object that the tag names: the commit, or the tag object of an annotated one."""
        more = ("-a", "-m", f"Tag {name}") if annotated else ()
        await bare.git(repository.directory, "tag", *more, name, sha)
        ref = f"refs/tags/{name}"
        made = await bare.resolve(repository.directory, ref) or ""
        await self._moved(repository, Moved(ref, None, made), deliver)
        return made

    async def delete_tag(self, repository: Repository, name: str, *, deliver: bool = True) -> None:
        await self._delete(repository, f"refs/tags/{name}", deliver)

    async def _delete(self, repository: Repository, ref: str, deliver: bool) -> None:
        before = await bare.resolve(repository.directory, ref)
        await bare.git(repository.directory, "update-ref", "-d", ref)
        await self._moved(repository, Moved(ref, before, None), deliver)

    async def _moved(self, repository: Repository, moved: Moved, deliver: bool) -> None:
        if deliver:
            await self.tell(repository, await self.push_events(repository, moved))

    # Pull requests

    async def open_pull(
        self,
        repository: Repository,
        branch: str,
        files: Mapping[str, str | None],
        title: str = "A pull request",
        base: str = "main",
        fork: bool = False,
    ) -> int:
        """Its number. The head begins at `base`; `fork`: it is in a copy that belongs to a stranger."""
        source = await self._fork(repository) if fork else repository
        onto = await bare.resolve(repository.directory, f"refs/heads/{base}")
        moved = await bare.commit(source.directory, f"refs/heads/{branch}", files, title, onto)
        number = len(repository.pulls) + 1
        pull = Pull(number, title, source.owner, source, branch, base, moved.after or "")
        repository.pulls[number] = pull
        await self._push_to_pull(repository, pull, moved)
        await self.tell(repository, await self.pull_events(repository, pull, "opened"))
        return number

    async def push_pull(self, repository: Repository, number: int, files: Mapping[str, str | None]) -> str:
        """A new commit at its head, which is given back."""
        pull = repository.pulls[number]
        before = pull.head
        moved = await bare.commit(pull.source.directory, f"refs/heads/{pull.branch}", files, "More", before)
        pull.head = moved.after or ""
        await self._push_to_pull(repository, pull, moved)
        await self.tell(repository, await self.pull_events(repository, pull, "pushed", before))
        return pull.head

    async def retarget_pull(self, repository: Repository, number: int, base: str) -> None:
        pull = repository.pulls[number]
        before, pull.base = pull.base, base
        await self.tell(repository, await self.pull_events(repository, pull, "retargeted", before))

    async def close_pull(self, repository: Repository, number: int, merged: bool = False) -> None:
        pull = repository.pulls[number]
        pull.open, pull.merged = False, merged
        if merged:
            moved = await bare.merge(repository.directory, pull.base, pull.head, f"Merge #{number}")
            pull.merge_commit = moved.after
            await self._moved(repository, moved, True)
        await self.tell(repository, await self.pull_events(repository, pull, "merged" if merged else "closed"))

    async def _push_to_pull(self, repository: Repository, pull: Pull, moved: Moved) -> None:
        if self.pull_ref:
            refspec = f"+refs/heads/{pull.branch}:{self.pull_ref.format(pull.number)}"
            await bare.git(repository.directory, "fetch", "-q", str(pull.source.directory), refspec)
        await self._moved(pull.source, moved, True)

    async def _fork(self, repository: Repository) -> Repository:
        stranger = self.users.get("stranger") or self.add_user("stranger")
        made = self.add_repository(stranger, f"{stranger.name}/{repository.name}", repository.private)
        made.fork_of = repository
        await bare.git(made.directory, "fetch", "-q", str(repository.directory), "+refs/heads/*:refs/heads/*")
        return made

    # Deliveries

    async def tell(self, repository: Repository, events: list[tuple[str, Any]]) -> None:
        for event, tree in events:
            for hook in list(repository.hooks):
                if hook.active and self.subscribed(hook, event):
                    await self.send(repository, hook, event, tree)

    def encoded(self, tree: Any) -> bytes:
        return json.dumps(tree, separators=(",", ":"), ensure_ascii=False).encode()

    async def send(self, repository: Repository, hook: Hook, event: str, tree: Any) -> Sent:
        body = self.encoded(tree)
        headers = {"Content-Type": "application/json", **self.delivery_headers(repository, hook, event, body)}
        return await self._post(Sent(repository, hook, event, headers, body))

    async def redeliver(self, sent: Sent) -> Sent:
        """The same again, as the provider's button does it."""
        return await self._post(Sent(sent.repository, sent.hook, sent.event, dict(sent.headers), sent.body))

    async def _post(self, sent: Sent) -> Sent:
        parts = urlsplit(sent.hook.url)
        target, headers = sent.hook.url, dict(sent.headers)
        if self.deliver_to:
            target = self.deliver_to + parts.path + (f"?{parts.query}" if parts.query else "")
            headers["Host"] = parts.netloc
        self.deliveries.append(sent)
        try:
            url = URL(target, encoded=True)
            async with self._session.post(url, data=sent.body, headers=headers, allow_redirects=False) as answer:
                sent.answer = await answer.read()
                sent.status = answer.status
        except (aiohttp.ClientError, TimeoutError) as error:
            sent.answer = str(error).encode()
        return sent
