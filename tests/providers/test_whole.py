"""The same story at every provider: connected, chosen, pushed, live, told on the commit; and what goes wrong then."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from godploy.deploy import considering, poller
from godploy.deploy.hosting import hooks
from godploy.providers import HOSTS
from tests.providers.whole import FAKES, WORDS, Whole, manifest, whole


@pytest.fixture(params=sorted(FAKES))
async def it(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Whole]:
    async with whole(tmp_path, request.param) as made:
        yield made


async def test_from_a_token_to_a_live_commit(it: Whole) -> None:
    pending, good, bad, _ = WORDS[it.provider]
    first = await it.fake.commit(it.shop, manifest(1))
    connection = await it.connect()
    assert (connection["account"], connection["state"]) == ("ada", "usable")
    listed = await it.site.get(f"/api/v1/connections/{connection['name']}/repositories?search=sho")
    assert [each["full_name"] for each in listed.json["repositories"]] == ["ada/shop"]
    assert listed.json["complete"]
    branches = await it.site.get(f"/api/v1/connections/{connection['name']}/branches?repository=ada/shop")
    assert branches.json == {"branches": ["main"]}
    made = await it.attach(connection["name"])
    assert made["hook_secret"] is None
    (hook,) = it.fake.hooks(it.shop)
    assert hook.url == made["hook_url"]

    # the head is deployed without a push
    assert (await it.deployed(first))["kind"] in ("poll", "push")
    told = await it.status(first, good)
    assert told["description"].startswith("live in ")
    assert told["url"].startswith("https://deploy.example.com/deployments/")
    assert (await it.browse(told["url"])).status == 200

    # a push is a delivery, a deployment, and statuses in order
    second = await it.fake.commit(it.shop, manifest(2))
    assert (await it.deployed(second))["kind"] == "push"
    await it.status(second, good)
    states = [each["state"] for each in it.fake.statuses(it.shop, second)]
    under_way = {pending, "running"}  # GitLab's word for what others call pending
    assert states[-1] == good and len(states) > 1 and set(states[:-1]) <= under_way
    newest = next(each for each in await it.deliveries() if each["commit"] == second)
    assert newest["verdict"] == f"{second[:7]} on main, 1 file changed since {first[:7]}: deploys to production"
    details = (await it.site.get(f"/api/v1/projects/shop/deliveries/{newest['id']}")).json
    assert details["deployments"][0]["commit"] == second
    assert details["headers"]
    assert not any("signature" in name.lower() or "token" in name.lower() for name in details["headers"])

    # what cannot be deployed says why, with its line
    broken = await it.fake.commit(
        it.shop, {"godploy.yaml": "version: 1\nservices:\n  web: {image: 'web:1', prot: 1}\n"}
    )
    told = await it.status(broken, bad)
    assert "godploy.yaml:3" in told["description"]


async def test_from_a_consent_to_a_live_commit(it: Whole) -> None:
    head = await it.fake.commit(it.shop, manifest(1))
    connection = await it.connect_by_oauth(name="mine")
    assert (connection["name"], connection["kind"], connection["account"]) == ("mine", "oauth", "ada")
    await it.attach("mine")
    await it.status(head, WORDS[it.provider][1])


async def test_a_hook_that_works_is_known_to(it: Whole) -> None:
    await it.fake.commit(it.shop, manifest(1))
    await it.attach((await it.connect())["name"])
    if it.provider == "bitbucket":  # it has nothing to send on request: the first push tells
        await it.fake.commit(it.shop, manifest(2))
        await it.deliveries()
    answer = await it.site.ask("POST", "/api/v1/projects/shop/repositories/shop/hook")
    assert answer.status == 200, answer.raw
    assert answer.json["hook"]["state"] == "working"


async def test_a_pull_request_gets_its_plan(it: Whole) -> None:
    _, good, bad, _ = WORDS[it.provider]
    first = await it.fake.commit(it.shop, manifest(1))
    await it.attach((await it.connect())["name"])
    await it.status(first, good)
    number = await it.fake.open_pull(it.shop, "feature/x", manifest(2), title="Newer")
    head = it.shop.pulls[number].head
    told = await it.status(head, good, "godploy/plan")
    assert "web" in told["description"]
    assert (await it.browse(told["url"])).status == 200
    await it.fake.push_pull(it.shop, number, {"godploy.yaml": "version: 1\nservices: {web: {}}\n"})
    told = await it.status(it.shop.pulls[number].head, bad, "godploy/plan")
    assert told["description"].startswith("godploy.yaml:2")
    await it.fake.close_pull(it.shop, number)
    assert [each["commit"] for each in await it.deployments()] == [first]
    assert any("was closed" in each["verdict"] for each in await it.deliveries())


async def test_a_pull_request_that_no_hook_told_of_is_found(it: Whole) -> None:
    good = WORDS[it.provider][1]
    first = await it.fake.commit(it.shop, manifest(1))
    await it.attach((await it.connect())["name"])
    await it.status(first, good)
    it.shop.hooks.clear()
    number = await it.fake.open_pull(it.shop, "feature/x", manifest(2), title="Newer")
    row = await it.row()
    await poller.catch_up_pulls(it.site.services, row)
    await it.status(it.shop.pulls[number].head, good, "godploy/plan")
    kept = len(await it.deliveries())
    await poller.catch_up_pulls(it.site.services, row)
    assert len(await it.deliveries()) == kept  # nothing new, so nothing more to decide


async def test_rotation_leaves_no_moment_without_a_valid_secret(it: Whole) -> None:
    await it.fake.commit(it.shop, manifest(1))
    await it.attach((await it.connect())["name"])
    second = await it.fake.commit(it.shop, manifest(2))
    await it.deployed(second)
    before = it.fake.deliveries[-1]
    answer = await it.site.ask("POST", "/api/v1/projects/shop/repositories/shop/hook-secret")
    assert answer.status == 201, answer.raw
    assert answer.json["hook_secret"] is None
    third = await it.fake.commit(it.shop, manifest(3))
    await it.deployed(third)
    assert it.fake.deliveries[-1].status in (200, 202)
    # what was signed with the secret before is a repeat, and authentic still
    assert (await it.fake.redeliver(before)).status in (200, 202)
    assert (await it.deployments())[0]["commit"] == third


async def test_a_renamed_repository_goes_on(it: Whole) -> None:
    good = WORDS[it.provider][1]
    await it.fake.commit(it.shop, manifest(1))
    await it.attach((await it.connect())["name"])
    it.fake.rename(it.shop, "ada/store")
    second = await it.fake.commit(it.shop, manifest(2))
    await it.deployed(second)
    await it.status(second, good)
    assert (await it.repository())["full_name"] == "ada/store"


async def test_a_revoked_token_is_told_and_renewed(it: Whole, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(considering, "_UNREACHABLE_TRIES", 1)
    good = WORDS[it.provider][1]
    await it.fake.commit(it.shop, manifest(1))
    connection = await it.connect()
    await it.attach(connection["name"])
    for token in list(it.fake.tokens):
        it.fake.revoke(token)
    second = await it.fake.commit(it.shop, manifest(2))
    failed = await it.deployed(second, "failed")
    renew = f"renew it: godploy connections renew {connection['name']}"
    assert failed["error"]["next_step"] == f"{renew}; then: godploy deploy", failed["error"]
    checked = (await it.site.ask("POST", f"/api/v1/connections/{connection['name']}/check")).json
    assert checked["state"] == "refused"
    assert "godploy connections renew" in checked["next_step"]
    body = {"token": it.fake.make_token(it.ada)}
    if it.provider == "bitbucket":
        body["username"] = it.ada.mail
    renewed = await it.site.ask("PUT", f"/api/v1/connections/{connection['name']}/token", body)
    assert renewed.json["state"] == "usable", renewed.raw
    third = await it.fake.commit(it.shop, manifest(3))
    await it.deployed(third)
    await it.status(third, good)


async def test_a_hook_that_was_removed_is_made_anew(it: Whole) -> None:
    first = await it.fake.commit(it.shop, manifest(1))
    await it.attach((await it.connect())["name"])
    await it.deployed(first)
    it.shop.hooks.clear()
    await hooks.look_after(it.site.services, await it.row())
    assert len(it.fake.hooks(it.shop)) == 1
    assert await it.events("hook") == [f"the hook of shop at {HOSTS[it.provider].title} was made anew"]
    second = await it.fake.commit(it.shop, manifest(2))
    assert (await it.deployed(second))["kind"] == "push"


async def test_a_hook_that_leads_to_a_former_address_is_led_back(it: Whole) -> None:
    first = await it.fake.commit(it.shop, manifest(1))
    await it.attach((await it.connect())["name"])
    await it.deployed(first)
    (hook,) = it.fake.hooks(it.shop)
    wanted = hook.url
    hook.url = wanted.replace("deploy.example.com", "former.example.com")
    await hooks.look_after(it.site.services, await it.row())
    assert [each.url for each in it.fake.hooks(it.shop)] == [wanted]
    await hooks.look_after(it.site.services, await it.row())
    assert len(await it.events("hook")) == 1  # the second look found nothing to mend


async def test_a_connection_goes_with_its_hooks(it: Whole) -> None:
    first = await it.fake.commit(it.shop, manifest(1))
    connection = (await it.connect())["name"]
    await it.attach(connection)
    await it.deployed(first)
    answer = await it.site.ask("DELETE", f"/api/v1/connections/{connection}")
    assert (answer.status, answer.json) == (200, {"left": []})
    assert it.fake.hooks(it.shop) == []
    left = await it.repository()
    assert (left["connection"], left["hook"], left["full_name"]) == (None, None, "ada/shop")
