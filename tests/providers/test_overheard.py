"""A hook whose token can be overheard says so: an older GitLab, told of a plain address."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.api.conftest import URL
from tests.providers.fakes.gitlab import GitLabFake
from tests.providers.whole import manifest, whole


@pytest.mark.parametrize(
    ("signs", "url", "warned"), [(False, "http", True), (False, "https", False), (True, "http", False)]
)
async def test_a_token_on_plain_http_is_warned_of(tmp_path: Path, signs: bool, url: str, warned: bool) -> None:
    address = "http://localhost" if url == "http" else URL
    async with whole(tmp_path, "gitlab", url=address) as it:
        assert isinstance(it.fake, GitLabFake)
        it.fake.signs = signs
        await it.fake.commit(it.shop, manifest(1))
        made = await it.attach((await it.connect())["name"])
        assert ("plain http" in (made["hook"]["warning"] or "")) is warned
