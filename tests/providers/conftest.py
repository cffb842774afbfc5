"""A real Gitea for the tests that ask for one: `--gitea ADDRESS --gitea-login FILE`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.providers.gitea_server import GiteaServer, Person


@pytest.fixture
async def gitea(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[GiteaServer]:
    name, password = Path(request.config.getoption("--gitea-login")).read_text().split()
    async with aiohttp.ClientSession() as session:
        base = request.config.getoption("--gitea").rstrip("/")
        yield GiteaServer(base, Person(name, password), tmp_path, session)
