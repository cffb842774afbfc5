"""GitHub Apps by consent: made by a form, installed at GitHub, and believed only where GitHub itself says so."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.providers.fakes.github import GitHubFake
from tests.providers.whole import Whole, manifest, whole

CODE = re.compile(r'id="code">([A-Z-]+)<')
FORM = re.compile(r'<form method="post" action="([^"]+)">\s*<input type="hidden" name="manifest" value="([^"]+)">')


@pytest.fixture
async def it(tmp_path: Path) -> AsyncIterator[Whole]:
    async with whole(tmp_path, "github") as made:
        yield made


def played(it: Whole) -> GitHubFake:
    assert isinstance(it.fake, GitHubFake)
    return it.fake


async def made_by_form(it: Whole, **more: Any) -> tuple[Any, str]:
    """(the consent, where GitHub sends the browser back to)."""
    begun = await it.begin(kind="app", **more)
    page = await it.browse(begun["url"])
    found = FORM.search(page.raw.decode())
    assert page.status == 200 and found is not None, page.raw
    policy = page.headers["Content-Security-Policy"]
    assert policy == f"default-src 'none'; frame-ancestors 'none'; form-action {it.fake.base}"
    return begun, played(it).create_app(unescape(found[1]), unescape(found[2]), it.ada)


async def connected(it: Whole, begun: Any, back: str) -> Any:
    page = await it.browse(back)
    code = CODE.search(page.raw.decode())
    assert page.status == 200 and code is not None, page.raw
    return await it.site.made(f"/api/v1/consents/{begun['id']}/confirm", {"code": code[1]})


async def test_made_installed_and_used(it: Whole) -> None:
    first = await it.fake.commit(it.shop, manifest(1))
    made = await connected(it, *await made_by_form(it, name="mine"))
    assert (made["kind"], made["state"]) == ("app", "uninstalled")
    assert made["install_url"].startswith(f"{it.fake.base}/")
    too_early = await it.site.ask("POST", "/api/v1/connections/mine/check")
    assert too_early.status == 409
    assert "not installed yet" in too_early.error["message"]
    (slug,) = played(it).apps
    back = played(it).install_app(slug, it.ada, [it.shop])
    assert (await it.browse(back)).status == 200
    checked = (await it.site.ask("POST", "/api/v1/connections/mine/check")).json
    assert (checked["state"], checked["install_url"]) == ("usable", None)
    await it.attach("mine")
    await it.status(first, "success")


async def test_what_a_browser_says_of_an_installation_is_not_believed(it: Whole) -> None:
    """Somebody else's installation of somebody else's App, and its number in the address."""
    await connected(it, *await made_by_form(it, name="mine"))
    (slug,) = played(it).apps
    setup = played(it).apps[slug].manifest["setup_url"]
    assert (await it.browse(f"{setup}?installation_id=4711&setup_action=install")).status == 200
    assert (await it.site.ask("POST", "/api/v1/connections/mine/check")).status == 409
    (left,) = (await it.site.get("/api/v1/connections")).json["connections"]
    assert left["state"] == "uninstalled"


async def test_the_form_and_its_way_back_are_good_once(it: Whole) -> None:
    begun, back = await made_by_form(it)
    await connected(it, begun, back)
    assert (await it.browse(back)).status == 422
    assert (await it.browse(begun["url"])).status == 422
    (app,) = played(it).apps.values()
    assert app.manifest["redirect_url"] == "https://deploy.example.com/oauth/github/callback"
    assert app.manifest["public"] is False


async def test_an_owner_stays_one_part_of_the_address(it: Whole) -> None:
    body = {"provider": "github", "url": it.fake.base, "kind": "app"}
    for owner in ("../../evil", "a/b", "a?b", 'a"><script>', "a b"):
        answer = await it.site.ask("POST", "/api/v1/consents", {**body, "owner": owner})
        assert answer.status == 422, owner


async def test_the_key_of_an_app_stays_here(it: Whole) -> None:
    begun, back = await made_by_form(it, name="mine")
    made = await connected(it, begun, back)
    answers = [await it.site.get("/api/v1/connections"), await it.site.get(f"/api/v1/consents/{begun['id']}")]
    read = json.dumps(made) + "".join(each.raw.decode() for each in answers)
    assert "PRIVATE KEY" not in read
    assert parse_qs(urlsplit(back).query)["code"][0] not in read
    for file in it.site.services.settings.data.glob("godploy.db*"):
        assert b"PRIVATE KEY" not in file.read_bytes()


async def test_an_app_that_was_uninstalled(it: Whole) -> None:
    await it.fake.commit(it.shop, manifest(1))
    await connected(it, *await made_by_form(it, name="mine"))
    (slug,) = played(it).apps
    played(it).install_app(slug, it.ada, [it.shop])
    assert (await it.site.ask("POST", "/api/v1/connections/mine/check")).json["state"] == "usable"
    assert (await it.site.get("/api/v1/connections/mine/repositories")).status == 200
    played(it).uninstall_app(slug)
    answer = await it.site.get("/api/v1/connections/mine/repositories")
    assert answer.status >= 400
    assert answer.error["next_step"]
