"""Pull requests by the API, for members, and the page that everybody with its address sees."""

from __future__ import annotations

from typing import Any

import pytest

from godploy.core.model import PullRequest
from godploy.store import pull_requests
from godploy.store.pull_requests import Told
from tests.api.conftest import URL, Site

COMMIT = "3f2a91c0d5a6f0b8c7e1d2a3b4c5d6e7f8091a2b"
PULLS = "/api/v1/projects/shop/pulls"
OUTCOME = {
    "state": "failure",
    "description": 'godploy.yaml:9:5: services.<script>alert("1")</script>: unknown key',
    "base": "main",
    "environments": [{"name": "production", "lines": ["~ web: build"], "destructive": []}],
    "problems": ["a problem of the project's own"],
}


@pytest.fixture
async def repositories(site: Site) -> dict[str, str]:
    """name → id of two repositories."""
    await site.made("/api/v1/projects", {"name": "shop"})
    return {name: (await site.made("/api/v1/projects/shop/repositories", {"name": name}))["id"] for name in "ab"}


async def put(site: Site, repository: str, number: int, state: str = "open", plan: Any = None) -> PullRequest:
    told = Told(number, "A <b>page</b>", "page", "main", "https://git.example.com/pulls/7", "eve", True, "")

    def write(conn: Any) -> PullRequest:
        made = pull_requests.put(conn, repository, told, state)
        if plan is not None:
            pull_requests.note_plan(conn, made.id, COMMIT, plan)
        return made

    return await site.services.store.write(write)


async def test_a_list_by_state(site: Site, repositories: dict[str, str]) -> None:
    await put(site, repositories["a"], 7, plan=OUTCOME)
    await put(site, repositories["b"], 8, "closed")
    found = (await site.get(PULLS)).json["pulls"]
    assert [(each["repository"], each["number"], each["state"]) for each in found] == [
        ("b", 8, "closed"),
        ("a", 7, "open"),
    ]
    assert found[0]["plan"] is None
    assert found[1]["plan"] == {"state": "failure", "description": OUTCOME["description"]}
    assert "problems" not in found[1]
    (open_one,) = (await site.get(PULLS, params={"state": "open"})).json["pulls"]
    assert open_one["number"] == 7
    assert len((await site.get(PULLS, params={"limit": "1"})).json["pulls"]) == 1
    assert (await site.get(PULLS, params={"state": "merged"})).status == 422


async def test_one_by_its_number(site: Site, repositories: dict[str, str]) -> None:
    made = await put(site, repositories["a"], 7, plan=OUTCOME)
    await put(site, repositories["b"], 8)
    shown = (await site.get(f"{PULLS}/7")).json
    assert shown["url"] == f"{URL}/pulls/{made.id}"
    assert (shown["commit"], shown["environments"]) == (COMMIT, OUTCOME["environments"])
    assert shown["problems"] == OUTCOME["problems"]
    assert (await site.get(f"{PULLS}/8")).json["problems"] == []
    assert (await site.get(f"{PULLS}/9")).status == 404
    assert (await site.get(f"{PULLS}/7", params={"repository": "b"})).status == 404
    await put(site, repositories["b"], 7)
    refused = await site.get(f"{PULLS}/7")
    assert refused.status == 409 and "several repositories have a pull request 7: a, b" in refused.error["message"]
    assert (await site.get(f"{PULLS}/7", params={"repository": "b"})).json["plan"] is None


async def test_those_of_others_are_not_found(site: Site, repositories: dict[str, str]) -> None:
    await put(site, repositories["a"], 7, plan=OUTCOME)
    await site.made("/api/v1/projects", {"name": "other"})
    assert (await site.get("/api/v1/projects/other/pulls")).json["pulls"] == []
    assert (await site.get("/api/v1/projects/other/pulls/7")).status == 404
    stranger = await site.member(None)
    assert (await stranger.get(PULLS)).status == 404
    assert (await stranger.get(f"{PULLS}/7")).status == 404
    assert (await (await site.member("viewer")).get(f"{PULLS}/7")).status == 200


async def test_the_page_shows_what_stands_on_the_commit_and_no_more(site: Site, repositories: dict[str, str]) -> None:
    made = await put(site, repositories["a"], 7, plan=OUTCOME)
    page = await site.as_(None).get(f"/pulls/{made.id}")
    assert page.status == 200 and page.headers["Content-Type"].startswith("text/html")
    assert page.headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'; form-action 'none'"
    text = page.raw.decode()
    assert '<meta name="viewport" content="width=device-width">' in text  # else a phone shows it too small to read
    assert "services.&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;: unknown key" in text
    assert f"godploy login {URL}\ngodploy pulls show 7" in text
    told = ("<script", "page</b>", "eve", "git.example.com", "~ web", "problem", "shop")
    assert not [word for word in told if word in text]


async def test_a_page_of_nothing(site: Site, repositories: dict[str, str]) -> None:
    unplanned = await put(site, repositories["a"], 7)
    for id in (unplanned.id, "nothing", "%27%20OR%201=1--"):
        assert (await site.as_(None).get(f"/pulls/{id}")).status == 404
