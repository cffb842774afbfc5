"""What comes to a hook and must not count, at every provider: refused alike, or taken without doing anything."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

from godploy.api import hooks as receiving
from tests.api.conftest import Answer
from tests.providers.fakes.state import Hook, Sent
from tests.providers.whole import FAKES, WORDS, Whole, manifest, whole

SIGNED = {  # the header that vouches for the body
    "github": "X-Hub-Signature-256",
    "gitlab": "webhook-signature",
    "bitbucket": "X-Hub-Signature",
    "gitea": "X-Gitea-Signature",
}
DELIVERY = {  # those that name the delivery
    "github": ("X-GitHub-Delivery",),
    "gitlab": ("Idempotency-Key", "webhook-id"),
    "bitbucket": ("X-Request-UUID",),
    "gitea": ("X-Gitea-Delivery",),
}
PUSH = {"github": "push", "gitlab": "push_events", "bitbucket": "repo:push", "gitea": "push"}
OTHER_SECRET = "ab" * 32


@pytest.fixture(params=sorted(FAKES))
async def it(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Whole]:
    """The first commit is live."""
    async with whole(tmp_path, request.param) as made:
        first = await made.fake.commit(made.shop, manifest(1))
        await made.attach((await made.connect())["name"])
        await made.status(first, WORDS[made.provider][1])
        yield made


async def pushed(it: Whole) -> Sent:
    """A push as it was sent; it is live."""
    second = await it.fake.commit(it.shop, manifest(2))
    await it.deployed(second)
    return it.fake.deliveries[-1]


async def post(it: Whole, headers: Mapping[str, str], body: bytes, path: str | None = None) -> Answer:
    (hook,) = it.fake.hooks(it.shop)
    there = path or urlsplit(hook.url).path
    return await it.site.as_(None).ask("POST", there, headers=dict(headers), data=body)


def signed(it: Whole, body: bytes, event: str | None = None, **changed: Any) -> dict[str, str]:
    """The headers of a delivery with this body, whatever it is; `changed` is of the hook."""
    (hook,) = it.fake.hooks(it.shop)
    hook = replace(hook, **changed)
    event = event or PUSH[it.provider]
    if it.provider != "gitlab":
        return it.fake.delivery_headers(it.shop, hook, event, body)
    return {**it.fake.delivery_headers(it.shop, hook, event, b"{}"), **by_token(hook, f"id-{uuid.uuid4()}", body)}


def by_token(hook: Hook, key: str, body: bytes, digest: str = "sha256") -> dict[str, str]:
    """https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md of any bytes"""
    stamp, secret = str(int(time.time())), base64.b64decode(hook.signing_token.removeprefix("whsec_"))
    proof = base64.b64encode(hmac.new(secret, f"{key}.{stamp}.".encode() + body, digest).digest()).decode()
    return {"webhook-id": key, "webhook-timestamp": stamp, "webhook-signature": f"v1,{proof}"}


def only_sha1(it: Whole, body: bytes) -> str:
    (hook,) = it.fake.hooks(it.shop)
    if it.provider == "gitlab":
        return by_token(hook, "id-1", body, "sha1")["webhook-signature"]
    told = hmac.new(hook.secret.encode(), body, hashlib.sha1).hexdigest()
    return told if it.provider == "gitea" else f"sha1={told}"


def wrong_hook() -> dict[str, str]:
    return {
        "secret": OTHER_SECRET,
        "signing_token": "whsec_" + base64.b64encode(bytes.fromhex(OTHER_SECRET)).decode(),
    }


async def test_refusals_are_all_alike(it: Whole) -> None:
    body, name = (await pushed(it)).body, SIGNED[it.provider]
    good = signed(it, body)
    unsigned = {key: value for key, value in good.items() if key != name}
    path = urlsplit(it.fake.hooks(it.shop)[0].url).path
    other = next(each for each in FAKES if each != it.provider)
    before = await it.deliveries()
    refused = {
        "a wrong secret": await post(it, signed(it, body, **wrong_hook()), body),
        "no signature": await post(it, unsigned, body),
        "an empty one": await post(it, {**good, name: ""}, body),
        "one that is not ASCII": await post(it, {**good, name: "sha256=é"}, body),
        "SHA-1 alone": await post(it, {**unsigned, name: only_sha1(it, body)}, body),
        "letters of the other case": await post(it, {**good, name: good[name].upper()}, body),
        "a blank more": await post(it, good, body + b" "),
        "an unknown hook": await post(it, good, body, path + "x"),
        "at another provider": await post(it, good, body, path.replace(it.provider, other)),
        "as a generic one": await post(it, good, body, path.replace(it.provider, "generic")),
    }
    assert {what: answer.status for what, answer in refused.items()} == dict.fromkeys(refused, 401)
    assert len({answer.raw for answer in refused.values()}) == 1
    if it.provider == "github":  # the forerunner beside nothing
        old = {**unsigned, "X-Hub-Signature": only_sha1(it, body)}
        assert (await post(it, old, body)).status == 401
    assert await it.deliveries() == before
    assert (await post(it, good, body)).status in (200, 202)  # so it was none of the rest


async def test_refusals_are_equal_work(it: Whole, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many bytes are hashed for a hook that there is not as for a wrong signature."""
    done: list[int] = []

    class Counting(hmac.HMAC):
        def update(self, msg: Any) -> None:
            done.append(len(msg))
            super().update(msg)

    def new(key: Any, msg: Any = None, digestmod: Any = "") -> hmac.HMAC:
        made = Counting(key, digestmod=digestmod)
        made.update(b"" if msg is None else msg)
        return made

    body = b'{"padding": "' + b"x" * 20_000 + b'"}'
    good, name = signed(it, body), SIGNED[it.provider]
    wrong = signed(it, body, **wrong_hook())
    path = urlsplit(it.fake.hooks(it.shop)[0].url).path
    other = next(each for each in FAKES if each != it.provider)
    await it.deliveries()
    monkeypatch.setattr(hmac, "new", new)
    for headers, where in (
        (wrong, path),
        (wrong, path + "x"),
        (wrong, path.replace(it.provider, other)),
        ({key: value for key, value in good.items() if key != name}, path),
    ):
        done.clear()
        assert (await post(it, headers, body, where)).status == 401
        assert len(body) <= sum(done) <= len(body) + 200, (headers, where)


async def test_bodies_that_are_authentic_and_wrong(it: Whole) -> None:
    body = (await pushed(it)).body
    before = await it.deliveries()
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    wrong = {
        "not UTF-8": await post(it, signed(it, b'{"ref": "\xff\xfe"}'), b'{"ref": "\xff\xfe"}'),
        "nothing": await post(it, signed(it, b""), b""),
        "a list": await post(it, signed(it, b"[]"), b"[]"),
        "not JSON": await post(it, signed(it, b"{"), b"{"),
        "deep": await post(it, signed(it, b"[" * 100_000), b"[" * 100_000),
    }
    encoded = urlencode({"payload": body.decode()}).encode()
    wrong["a form"] = await post(it, {**signed(it, encoded), **form}, encoded)
    assert {what: answer.status for what, answer in wrong.items()} == dict.fromkeys(wrong, 422)
    assert all(answer.error["message"] for answer in wrong.values())
    assert await it.deliveries() == before


async def test_a_body_that_is_too_large(it: Whole, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiving, "BODY_LIMIT", 1 << 20)
    before = await it.deliveries()
    body = b'{"padding": "' + b"x" * (1 << 20) + b'"}'
    assert (await post(it, signed(it, body), body)).status == 413
    assert (await post(it, {}, body, "/hooks/github/nobody")).status == 413
    assert await it.deliveries() == before


async def test_the_same_delivery_comes_once(it: Whole) -> None:
    body, third = (await pushed(it)).body, manifest(3)
    headers = signed(it, body)
    first = await post(it, headers, body)
    again = await post(it, headers, body)
    assert (first.status, again.status) == (202, 200)
    assert again.json["delivery"] == first.json["delivery"]
    await it.deployed(await it.fake.commit(it.shop, third))
    count = len(await it.deployments())

    # the same under another name is another delivery, which finds nothing to do
    renamed = {**headers, **dict.fromkeys(DELIVERY[it.provider], "another-1")}
    if it.provider == "gitlab":
        renamed |= by_token(it.fake.hooks(it.shop)[0], "another-1", body)
    other = await post(it, renamed, body)
    assert other.status == 202
    assert other.json["delivery"] != first.json["delivery"]
    newest, *_ = await it.deliveries()
    assert newest["verdict"].endswith("was considered before: nothing new")
    assert len(await it.deployments()) == count


UNINTERESTING = {  # an event that providers also send, and a body of it
    "github": ("issues", b'{"action": "opened"}'),
    "gitlab": ("note_events", b'{"object_kind": "note"}'),
    "bitbucket": ("repo:fork", b"{}"),
    "gitea": ("issues", b'{"action": "opened"}'),
}


async def test_what_is_authentic_and_of_no_interest(it: Whole) -> None:
    """Taken, so that no provider switches the hook off, and the log says why nothing came of it."""
    count, (event, body) = len(await it.deployments()), UNINTERESTING[it.provider]
    headers = signed(it, body)
    for name in ("X-GitHub-Event", "X-Gitea-Event", "X-Event-Key"):
        if name in headers:
            headers[name] = event
    if it.provider == "gitlab":
        headers["X-Gitlab-Event"] = "Note Hook"
    assert (await post(it, headers, body)).status == 202
    newest, *_ = await it.deliveries()
    assert newest["event"] == "other"
    assert newest["verdict"].startswith("nothing to do: ")
    assert len(newest["verdict"]) > len("nothing to do: ")
    assert len(await it.deployments()) == count


async def test_a_push_of_something_that_is_no_branch(it: Whole) -> None:
    """A ref or a name that cannot be used is told, and given to no program."""
    count = len(await it.deployments())
    zeros, ones = "0" * 40, "1" * 40
    for ref in ("refs/notes/x", "refs/heads/--upload-pack=x", "refs/heads/a b", "refs/heads/../../x", "refs/heads/"):
        name = ref.removeprefix("refs/heads/")
        tree: dict[str, Any] = {"ref": ref, "before": zeros, "after": ones, "checkout_sha": ones, "commits": []}
        if it.provider == "bitbucket":
            new = {"type": "branch", "name": name, "target": {"hash": ones}}
            tree = {"push": {"changes": [{"old": None, "new": new}]}}
        body = it.fake.encoded(tree)
        assert (await post(it, signed(it, body), body)).status == 202, ref
        newest, *_ = await it.deliveries()
        assert "nothing to d" in newest["verdict"], ref
    assert len(await it.deployments()) == count
