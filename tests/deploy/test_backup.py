"""What a backup brings back, and what is refused as one."""

from __future__ import annotations

import asyncio
import io
import json
import os
import shutil
import stat
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from godploy.core.model import State
from godploy.deploy import backup
from godploy.drivers import archive, keyring
from godploy.drivers.archive import Contents
from godploy.drivers.lock import Lock
from godploy.errors import Conflict, Invalid, NotFound
from godploy.runtimes.fake.world import World
from godploy.store import Store
from godploy.store.database import SchemaTooNewError
from tests.deploy import shop
from tests.deploy.harness import Godploy, git, godploy
from tests.deploy.shop import NOW, built, web

PASSPHRASE = "correct horse battery"
API = {"build": {"context": "."}, "port": 8000, "deploy": NOW}

Members = list[tuple[tarfile.TarInfo, bytes]]


@pytest.fixture
async def saved(tmp_path: Path) -> Path:
    """A backup of a directory with a database, a key, a certificate and settings."""
    data = tmp_path / "small"
    (data / "tls").mkdir(parents=True)
    (data / "tls" / "key.pem").write_text("a key")
    (data / "config.yaml").write_text("instance: small\n")
    await (await Store.open(data / "godploy.db")).close()
    await asyncio.to_thread(keyring.put, data / "key", bytes(32))
    await backup.make(data, tmp_path / "small.backup", PASSPHRASE)
    return tmp_path / "small.backup"


def changed(source: Path, change: Callable[[Members], Members]) -> Path:
    """The backup again, with its members changed."""
    with tarfile.open(source) as tar:
        members: Members = [(m, tar.extractfile(m).read()) for m in tar]  # type: ignore[union-attr]
    target = source.with_name("changed.backup")
    with tarfile.open(target, "w") as tar:
        for member, content in change(members):
            member.size = len(content) if member.isreg() else 0
            tar.addfile(member, io.BytesIO(content) if member.isreg() else None)
    return target


async def test_after_a_restore_elsewhere_a_push_deploys_and_secrets_open(
    it: Godploy, world: World, tmp_path: Path
) -> None:
    await shop.secret(it, deploy=False, KEY="first-value")
    await shop.deploy(it, built("one", web=web(secrets=["KEY"]), api=API, db=web("db:1")))
    repository = await shop.repository(it)
    head = git(it.services.git.directory(repository.id), "rev-parse", "main")
    await it.project("empty")
    await it.repository(await it.project("empty"), "empty")
    made = await backup.make(tmp_path, tmp_path / "it.backup", PASSPHRASE)
    assert (made.repositories, made.settings) == (2, False)
    assert stat.S_IMODE((tmp_path / "it.backup").stat().st_mode) == 0o600
    assert b"first-value" not in (tmp_path / "it.backup").read_bytes()
    clean, elsewhere = tmp_path / "clean", World()
    for image in ("app:1", "app:2", "db:1"):
        elsewhere.add_image(image)
    assert await backup.restore(tmp_path / "it.backup", clean, PASSPHRASE) == made
    assert git(clean / "repositories" / f"{repository.id}.git", "rev-parse", "HEAD") == head
    async with godploy(clean, elsewhere) as again:
        done = await shop.deploy(again, built("two", web=web("app:2", secrets=["KEY"]), api=API, db=web("db:1")))
        assert done.state is State.SUCCEEDED
        await again.settled()
        workload = await shop.running(again, "web", await again.stack(await shop.repository(again)))
        assert elsewhere.of(workload.id)[0].env["KEY"] == "first-value"


async def test_all_files_come_back_private(saved: Path, tmp_path: Path) -> None:
    await backup.restore(saved, tmp_path / "again", PASSPHRASE)
    found = {str(p.relative_to(tmp_path / "again")): p for p in (tmp_path / "again").rglob("*") if p.is_file()}
    assert set(found) == {"godploy.db", "key", "config.yaml", "tls/key.pem", "lock"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in found.values()} == {0o600}
    assert found["key"].read_bytes() == (tmp_path / "small" / "key").read_bytes()


async def test_a_used_directory_and_an_existing_file_are_left_alone(saved: Path, tmp_path: Path) -> None:
    before = saved.read_bytes()
    with pytest.raises(Conflict, match="is not empty"):
        await backup.restore(saved, tmp_path / "small", PASSPHRASE)
    with pytest.raises(Conflict, match="exists already"):
        await backup.make(tmp_path / "small", saved, PASSPHRASE)
    with pytest.raises(NotFound, match="no database"):
        await backup.make(tmp_path, tmp_path / "other.backup", PASSPHRASE)
    assert saved.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["small", "small.backup"]


async def test_a_directory_that_a_server_begins_with_is_left_to_it(saved: Path, tmp_path: Path) -> None:
    """A server's first deed is the lock: until then the directory is as clean as a new one."""
    (tmp_path / "taken").mkdir()
    server = await asyncio.to_thread(Lock, tmp_path / "taken")
    with pytest.raises(Conflict, match="another Godploy works with"):
        await backup.restore(saved, tmp_path / "taken", PASSPHRASE)
    assert [path.name for path in (tmp_path / "taken").iterdir()] == ["lock"]
    server.close()
    await backup.restore(saved, tmp_path / "taken", PASSPHRASE)


async def test_what_root_restores_belongs_to_the_owner_of_the_directory(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    await asyncio.to_thread(os.chown, tmp_path / "theirs", 4242, 4243)
    await backup.restore(saved, tmp_path / "theirs", PASSPHRASE)
    owners = {(found.stat().st_uid, found.stat().st_gid) for found in (tmp_path / "theirs").rglob("*")}
    assert owners == {(4242, 4243)}


def other_format(members: Members) -> Members:
    index = json.loads(members[0][1])
    return [(members[0][0], json.dumps({**index, "format": 2}).encode()), *members[1:]]


def other_database(members: Members) -> Members:
    return [(m, bytes(len(content)) if m.name == "godploy.db" else content) for m, content in members]


def other_name(members: Members) -> Members:
    members[2][0].name = "../../config.yaml"
    return members


def a_link(members: Members) -> Members:
    members[2][0].type, members[2][0].linkname = tarfile.SYMTYPE, "/etc/passwd"
    return members


def other_index(members: Members) -> Members:
    return [(members[0][0], members[0][1].replace(b"godploy.db", b"../../x.db")), *members[1:]]


def one_more(members: Members) -> Members:
    return [*members, (tarfile.TarInfo("../more"), b"more")]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (other_format, "format 2, this Godploy reads format 1"),
        (other_database, "godploy.db has changed"),
        (other_name, "config.yaml was expected"),
        (a_link, "config.yaml was expected"),
        (other_index, "or the backup was changed"),
        (one_more, "more than its index names"),
        (lambda members: members[:3], "ends before"),
        (lambda members: members[1:], "godploy-backup.json was expected"),
    ],
)
async def test_a_changed_backup_is_refused_and_leaves_nothing(
    saved: Path, tmp_path: Path, change: Callable[[Members], Members], says: str
) -> None:
    with pytest.raises(Invalid, match=says):
        await backup.restore(changed(saved, change), tmp_path / "again", PASSPHRASE)
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize("length", [0, 100, 600, 5000, 30_000])
async def test_a_backup_that_was_cut_off_is_refused(saved: Path, tmp_path: Path, length: int) -> None:
    (tmp_path / "cut").write_bytes(saved.read_bytes()[:length])
    with pytest.raises(Invalid, match="no whole backup"):
        await backup.restore(tmp_path / "cut", tmp_path / "again", PASSPHRASE)


async def test_a_wrong_passphrase_and_a_newer_database_are_told(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="the passphrase is not the one"):
        await backup.restore(saved, tmp_path / "again", "another passphrase")
    newer = tmp_path / "newer"
    shutil.copytree(tmp_path / "small", newer)
    store = await Store.open(newer / "godploy.db")
    await store.close()
    with (newer / "godploy.db").open("r+b") as file:  # https://www.sqlite.org/fileformat.html: the user version
        file.seek(60)
        file.write((9999).to_bytes(4, "big"))
    await backup.make(newer, tmp_path / "newer.backup", PASSPHRASE)
    with pytest.raises(SchemaTooNewError, match="at schema 9999"):
        await backup.restore(tmp_path / "newer.backup", tmp_path / "again", PASSPHRASE)
    assert [path.name for path in (tmp_path / "again").iterdir()] == ["lock"]


@pytest.mark.parametrize(
    "name", ["key", "godploy.db\n", "tls/../key", "tls/.x", "/etc/passwd", "repositories/a/b.bundle"]
)
def test_names_that_no_backup_holds(name: str) -> None:
    assert not archive.holds(name)


@pytest.mark.parametrize(
    "heads", [{"../../elsewhere": "refs/heads/main"}, {"abc": "--upload-pack=x"}, {"abc": "refs/heads/../../config"}]
)
async def test_a_repository_that_no_godploy_has_is_refused(
    saved: Path, tmp_path: Path, heads: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever knows the passphrase may write anything into the facts, and a restore is root's."""
    read = archive.read

    def changed_facts(*given: Any) -> Contents:
        found = read(*given)
        return replace(found, facts={**found.facts, "heads": heads})

    monkeypatch.setattr(archive, "read", changed_facts)
    with pytest.raises(Invalid, match="a repository that no Godploy has"):
        await backup.restore(saved, tmp_path / "again", PASSPHRASE)
    assert not (tmp_path / "elsewhere.git").exists() and not (tmp_path / "again" / "godploy.db").exists()


@pytest.mark.parametrize("make", [lambda at, to: at.symlink_to(to), lambda at, to: os.mkfifo(at)], ids=["link", "fifo"])
async def test_the_lock_is_never_taken_through_a_link(
    saved: Path, tmp_path: Path, make: Callable[[Path, Path], None]
) -> None:
    """Root gives the lock to the directory's owner, who might have made the link."""
    data, other = tmp_path / "again", tmp_path / "somebody-elses"
    data.mkdir()
    other.write_text("theirs")
    make(data / "lock", other)
    with pytest.raises(Conflict, match="no file of Godploy's"):
        await backup.restore(saved, data, PASSPHRASE)
    assert other.read_text() == "theirs"
