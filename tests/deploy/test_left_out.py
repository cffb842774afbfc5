"""A deployment's log says what its commit names and no fetch brings."""

from __future__ import annotations

from godploy.core.model import State
from tests.deploy import shop
from tests.deploy.harness import Godploy
from tests.deploy.shop import manifest, web

_POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "a" * 64 + "\nsize 12345\n"


async def test_files_in_lfs_are_told(it: Godploy) -> None:
    attributes = {".gitattributes": "*.psd filter=lfs diff=lfs merge=lfs -text\n", "logo.psd": _POINTER}
    done = await shop.deploy(it, {**manifest(web=web()), **attributes})
    assert done.state is State.SUCCEEDED
    assert "1 file is kept in Git LFS and is not fetched: logo.psd" in await it.log(done)


async def test_nothing_is_told_where_nothing_is_left_out(it: Godploy) -> None:
    done = await shop.deploy(it, {**manifest(web=web()), "logo.psd": _POINTER})
    assert done.state is State.SUCCEEDED
    assert "not fetched" not in await it.log(done)
