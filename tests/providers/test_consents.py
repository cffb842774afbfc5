"""Consents, as somebody hostile meets them: states, codes, pages and addresses."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import pytest

from tests.api.conftest import URL, Answer, Site
from tests.providers.fakes.state import Client
from tests.providers.whole import FAKES, Whole, whole

CODE = re.compile(r'id="code">([A-Z-]+)<')


@pytest.fixture(params=sorted(FAKES))
async def it(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Whole]:
    """With an OAuth client."""
    async with whole(tmp_path, request.param) as made:
        await enter(made)
        yield made


async def enter(it: Whole) -> Client:
    client = it.fake.register_client(f"{URL}/oauth/{it.provider}/callback")
    entered = {"provider": it.provider, "url": it.fake.base, "client_id": client.id, "client_secret": client.secret}
    assert (await it.site.ask("PUT", "/api/v1/oauth-clients", entered)).status == 200
    return it.fake.clients[client.id]


async def code_of(it: Whole, begun: Any) -> str:
    """What the last page shows, once the user agreed."""
    page = await it.browse(it.fake.approve(begun["url"], it.ada))
    found = CODE.search(page.raw.decode())
    assert page.status == 200 and found is not None, page.raw
    return found[1]


async def confirm(site: Site, begun: Any, code: str) -> Answer:
    return await site.ask("POST", f"/api/v1/consents/{begun['id']}/confirm", {"code": code})


async def shown(it: Whole, begun: Any) -> Any:
    return (await it.site.get(f"/api/v1/consents/{begun['id']}")).json


async def connected(it: Whole) -> list[str]:
    return [each["name"] for each in (await it.site.get("/api/v1/connections")).json["connections"]]


def state_of(url: str) -> str:
    return parse_qs(urlsplit(url).query)["state"][0]


def changed(url: str, **query: str) -> str:
    parts = urlsplit(url)
    return parts._replace(query=urlencode({**dict(parse_qsl(parts.query)), **query})).geturl()


async def expire(it: Whole) -> None:
    """As ten minutes later."""
    await it.site.services.store.write(lambda conn: conn.execute("UPDATE consent SET expires_at = expires_at - 601"))


async def test_a_state_is_good_once(it: Whole) -> None:
    begun = await it.begin()
    back = it.fake.approve(begun["url"], it.ada)
    assert (await it.browse(back)).status == 200
    again = await it.browse(back)
    assert again.status == 422
    assert b"used already" in again.raw
    other = await it.browse(changed(it.fake.approve(begun["url"], it.fake.add_user("eve")), state=state_of(back)))
    assert other.status == 422
    assert (await shown(it, begun))["account"] == "ada"


@pytest.mark.parametrize("state", ["", "x", "x" * 43, "é"])
async def test_a_state_that_is_nobodys(it: Whole, state: str) -> None:
    begun = await it.begin()
    answer = await it.browse(changed(it.fake.approve(begun["url"], it.ada), state=state))
    assert answer.status == 422
    assert (await shown(it, begun))["stage"] == "waiting"


async def test_a_state_ends_after_ten_minutes(it: Whole) -> None:
    begun = await it.begin()
    await expire(it)
    back = it.fake.approve(begun["url"], it.ada)
    assert (await it.browse(back)).status == 422
    assert not any(each.path.endswith(it.fake.token_path) for each in it.fake.requests)


async def test_a_code_ends_with_its_consent(it: Whole) -> None:
    begun = await it.begin()
    code = await code_of(it, begun)
    await expire(it)
    assert (await confirm(it.site, begun, code)).status == 409
    assert await connected(it) == []


async def test_at_another_providers_address(it: Whole) -> None:
    begun = await it.begin()
    other = next(each for each in FAKES if each != it.provider)
    back = it.fake.approve(begun["url"], it.ada)
    assert (await it.browse(back.replace(f"/oauth/{it.provider}/", f"/oauth/{other}/"))).status == 422
    assert (await it.browse(back)).status == 200  # it was not used up


async def test_somebody_who_does_not_agree(it: Whole) -> None:
    begun = await it.begin()
    page = await it.browse(it.fake.deny(begun["url"]))
    assert page.status == 422
    found = await shown(it, begun)
    assert found["stage"] == "failed"
    assert "denied" in found["trouble"]
    assert (await confirm(it.site, begun, "BBBB-BBBB")).status == 409


async def test_what_comes_with_a_refusal_is_text(it: Whole) -> None:
    begun = await it.begin()
    hostile = changed(it.fake.deny(begun["url"]), error_description="<script>alert(1)</script>")
    page = await it.browse(hostile)
    assert b"<script" not in page.raw
    assert b"&lt;script&gt;" in page.raw
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")


async def test_five_guesses(it: Whole) -> None:
    begun = await it.begin()
    code = await code_of(it, begun)
    for _ in range(5):
        answer = await confirm(it.site, begun, "BBBB-BBBB")
        assert (answer.status, answer.error["code"]) == (422, "wrong_code")
    assert (await confirm(it.site, begun, code)).status == 409
    found = await shown(it, begun)
    assert (found["stage"], found["trouble"]) == ("failed", "the code was wrong too often")
    assert await connected(it) == []


async def test_however_the_code_is_typed_it_is_good_once(it: Whole) -> None:
    begun = await it.begin()
    code = await code_of(it, begun)
    assert (await confirm(it.site, begun, code.lower().replace("-", " "))).status == 201
    assert (await confirm(it.site, begun, code)).status == 409
    assert len(await connected(it)) == 1


async def test_it_belongs_to_the_token_that_began_it(it: Whole) -> None:
    """Another token of the same person, and another owner of the organization, know nothing of it."""
    begun = await it.begin()
    code = await code_of(it, begun)
    more = await it.site.made("/api/v1/tokens", {"name": "other"})
    for other in (it.site.as_(more["token"]), await it.site.member("owner"), await it.site.member(None)):
        assert (await other.get(f"/api/v1/consents/{begun['id']}")).status == 404
        assert (await confirm(other, begun, code)).status == 404
        await other.ask("DELETE", f"/api/v1/consents/{begun['id']}")
    assert (await confirm(it.site, begun, code)).status == 201


async def test_it_ends_with_its_token(it: Whole) -> None:
    made = await it.site.made("/api/v1/tokens", {"name": "terminal"})
    terminal = it.site.as_(made["token"])
    begun = await terminal.made(
        "/api/v1/consents", {"provider": it.provider, "url": it.fake.base, "kind": "oauth", "name": "x"}
    )
    back = it.fake.approve(begun["url"], it.ada)
    assert (await it.site.ask("DELETE", f"/api/v1/tokens/{made['id']}")).status == 204
    assert (await it.browse(back)).status == 422
    assert await connected(it) == []


async def test_a_cancelled_one_takes_no_callback(it: Whole) -> None:
    begun = await it.begin()
    back = it.fake.approve(begun["url"], it.ada)
    assert (await it.site.ask("DELETE", f"/api/v1/consents/{begun['id']}")).status == 204
    assert (await it.browse(back)).status == 422
    assert (await it.site.get(f"/api/v1/consents/{begun['id']}")).status == 404


async def test_what_the_provider_calls_its_account_is_text(it: Whole) -> None:
    eve = it.fake.add_user("<b>eve</b>")
    begun = await it.begin()
    page = await it.browse(it.fake.approve(begun["url"], eve))
    assert b"<b>" not in page.raw
    assert page.status == 200
    assert "<b>eve</b>" in unescape(page.raw.decode())


async def test_no_secret_goes_where_people_read(it: Whole, caplog: pytest.LogCaptureFixture) -> None:
    """Not into logs, nor into the API's answers, nor into the store as it is."""
    caplog.set_level(logging.DEBUG)
    begun = await it.begin(name="mine")
    back = it.fake.approve(begun["url"], it.ada)
    page = await it.browse(back)
    shown_code = CODE.search(page.raw.decode())
    assert shown_code is not None
    answers = [await it.site.get(f"/api/v1/consents/{begun['id']}"), await confirm(it.site, begun, shown_code[1])]
    paths = ("connections", "oauth-clients", "providers", "connections/mine/repositories")
    answers += [await it.site.get(f"/api/v1/{path}") for path in paths]
    client = next(iter(it.fake.clients.values()))
    secrets = {client.secret, *it.fake.tokens, *it.fake.refresh_tokens, state_of(back)}
    secrets |= {parse_qs(urlsplit(back).query)["code"][0], shown_code[1], shown_code[1].replace("-", "")}
    read = "\n".join([*(answer.raw.decode() for answer in answers), *_ours(caplog)])
    assert not [secret for secret in secrets if secret in read]
    assert not any(secret in each.path for secret in secrets for each in it.fake.requests)
    for file in it.site.services.settings.data.glob("godploy.db*"):
        raw = file.read_bytes()
        assert not [secret for secret in secrets if secret.encode() in raw]


def _ours(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the server logged; the provider that is played logs what it is asked, as a web server does."""
    return [each.getMessage() for each in caplog.records if each.name.startswith("godploy")]


async def test_the_callback_is_the_registered_one_whoever_asks(it: Whole) -> None:
    body = {"provider": it.provider, "url": it.fake.base, "kind": "oauth"}
    sent = {"Host": "127.0.0.1", "X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example"}
    answer = await it.site.ask("POST", "/api/v1/consents", body, headers=sent)
    query = parse_qs(urlsplit(answer.json["url"]).query)
    assert query["redirect_uri"] == [f"{URL}/oauth/{it.provider}/callback"]
    assert "evil" not in answer.json["url"]
    it.fake.approve(answer.json["url"], it.ada)  # which compares it to the letter


async def test_the_verifier_stays_here_until_the_code_is_exchanged(it: Whole) -> None:
    begun = await it.begin()
    query = parse_qs(urlsplit(begun["url"]).query)
    assert "code_verifier" not in query
    back = it.fake.approve(begun["url"], it.ada)
    (code,) = it.fake.codes.values()
    if not it.fake.pkce:
        return
    assert query["code_challenge_method"] == ["S256"]
    assert code.challenge == query["code_challenge"][0]
    code.challenge = "x" * 43  # as if somebody else's code came with our state
    assert (await it.browse(back)).status >= 400
    assert (await shown(it, begun))["stage"] == "failed"


async def test_another_account_renews_nothing(it: Whole) -> None:
    made = await it.connect_by_oauth(name="mine")
    begun = await it.begin(renews="mine")
    eve = it.fake.add_user("eve")
    page = await it.browse(it.fake.approve(begun["url"], eve))
    code = CODE.search(page.raw.decode())
    assert code is not None
    answer = await confirm(it.site, begun, code[1])
    assert answer.status == 409
    assert "ada" in answer.error["message"] and "eve" in answer.error["message"]
    (left,) = (await it.site.get("/api/v1/connections")).json["connections"]
    assert (left["id"], left["account"]) == (made["id"], "ada")
    again = await it.begin(renews="mine")
    assert (await confirm(it.site, again, await code_of(it, again))).json["id"] == made["id"]


async def test_names_are_unique_in_an_organization(it: Whole) -> None:
    begun = await it.begin(name="mine")
    await it.connect(name="mine")
    late = await confirm(it.site, begun, await code_of(it, begun))
    # Nobody is sent to a browser in vain.
    again = {"provider": it.provider, "kind": "oauth", "url": it.fake.base, "name": "mine"}
    early = await it.site.ask("POST", "/api/v1/consents", again)
    for answer in (late, early):
        assert (answer.status, answer.error["code"]) == (409, "conflict")
        assert "mine" in answer.error["message"]
    assert await connected(it) == ["mine"]


async def test_a_client_that_is_refused_says_where_it_is_entered(it: Whole) -> None:
    begun = await it.begin()
    wrong = {"provider": it.provider, "url": it.fake.base, "client_id": "wrong", "client_secret": "wrong-too"}
    assert (await it.site.ask("PUT", "/api/v1/oauth-clients", wrong)).status == 200
    page = await it.browse(it.fake.approve(begun["url"], it.ada))
    step = f"godploy oauth add {it.provider} --url {it.fake.base}"
    assert page.status == 502 and step in page.raw.decode()
    assert step in (await shown(it, begun))["trouble"]


async def test_of_others(it: Whole) -> None:
    """Another organization sees nothing of it; who may not write, reads."""
    made = await it.connect_by_oauth(name="mine")
    stranger = await it.site.member(None)
    assert (await stranger.get("/api/v1/connections")).json == {"connections": []}
    one = "/api/v1/connections/mine"
    writes: list[tuple[str, str, Any]] = [
        ("PUT", f"{one}/token", {"token": "x" * 20}),
        ("DELETE", one, None),
        ("POST", "/api/v1/connections", {"provider": it.provider, "url": it.fake.base, "token": "x" * 20}),
        ("POST", "/api/v1/consents", {"provider": it.provider, "url": it.fake.base, "kind": "oauth"}),
    ]
    reads = [("POST", f"{one}/check", None), ("GET", f"{one}/repositories", None)]
    reads += [("GET", f"{one}/branches?repository=ada/shop", None)]
    for method, path, body in [*writes[:2], *reads]:
        assert (await stranger.ask(method, path, body)).status == 404, path
        by_id = path.replace("mine", made["id"])
        assert (await stranger.ask(method, by_id, body)).status == 404, path
    taken = {"provider": it.provider, "url": it.fake.base, "kind": "oauth", "renews": made["id"]}
    assert (await stranger.ask("POST", "/api/v1/consents", taken)).status == 404
    for role in ("viewer", "developer"):
        member = await it.site.member(role)
        for method, path, body in writes:
            assert (await member.ask(method, path, body)).status == 403, (role, path)
    assert await connected(it) == ["mine"]


async def test_only_an_administrator_enters_clients(it: Whole) -> None:
    owner = await it.site.member("owner")
    entered = {"provider": it.provider, "url": it.fake.base, "client_id": "x", "client_secret": "y"}
    assert (await owner.ask("PUT", "/api/v1/oauth-clients", entered)).status == 403
    assert (await owner.get("/api/v1/oauth-clients")).status == 403


async def test_a_repository_that_the_account_does_not_see_is_named(it: Whole) -> None:
    name = (await it.connect())["name"]
    missing = f"{it.shop.full_name}-of-nobody"
    answer = await it.site.get(f"/api/v1/connections/{name}/branches", params={"repository": missing})
    assert answer.status == 502 and f"no repository {missing}" in answer.error["message"]
    assert answer.error["next_step"] == f"see: godploy connections repositories {name}"
