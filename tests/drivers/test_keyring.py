from __future__ import annotations

import os
from pathlib import Path

import pytest

from godploy.drivers.keyring import Keyring, KeyUnusable


def test_what_is_sealed_opens_again_also_later(tmp_path: Path) -> None:
    path = tmp_path / "key"
    sealed = Keyring.open(path).seal("pa$$wörd\n", "secret/e1/TOKEN")
    assert b"pa$$" not in sealed
    assert Keyring.open(path).unseal(sealed, "secret/e1/TOKEN") == "pa$$wörd\n"
    assert Keyring.open(path).unseal(Keyring.open(path).seal("", "x"), "x") == ""


def test_the_same_value_is_never_sealed_the_same(tmp_path: Path) -> None:
    keyring = Keyring.open(tmp_path / "key")
    assert keyring.seal("x", "c") != keyring.seal("x", "c")


def test_the_key_is_private_and_never_shown(tmp_path: Path) -> None:
    keyring = Keyring.open(tmp_path / "key")
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "key").read_text().strip() not in repr(vars(keyring))
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_moved_to_another_place_it_stays_closed(tmp_path: Path) -> None:
    keyring = Keyring.open(tmp_path / "key")
    sealed = keyring.seal("x", "secret/e1/TOKEN")
    with pytest.raises(KeyUnusable, match="secret/e2/TOKEN"):
        keyring.unseal(sealed, "secret/e2/TOKEN")


@pytest.mark.parametrize("spoil", [lambda s: s[:-1], lambda s: b"\x02" + s[1:], lambda s: b"", lambda s: s[:5]])
def test_what_was_changed_stays_closed(tmp_path: Path, spoil: object) -> None:
    keyring = Keyring.open(tmp_path / "key")
    with pytest.raises(KeyUnusable):
        keyring.unseal(spoil(keyring.seal("x", "c")), "c")  # type: ignore[operator]


def test_another_key_is_told_in_words(tmp_path: Path) -> None:
    sealed = Keyring.open(tmp_path / "one").seal("x", "c")
    with pytest.raises(KeyUnusable) as failed:
        Keyring.open(tmp_path / "two").unseal(sealed, "c")
    assert str(tmp_path / "two") in failed.value.message
    assert "key file" in failed.value.next_step


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_key_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key"
    Keyring.open(path)
    path.chmod(mode)
    with pytest.raises(KeyUnusable, match="read by others") as failed:
        Keyring.open(path)
    assert failed.value.next_step == f"chmod 600 {path}"


@pytest.mark.parametrize("content", [b"", b"short", b"!" * 44, b"QUFB"])
def test_what_is_no_key_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(KeyUnusable, match="holds no key"):
        Keyring.open(path)
    assert path.read_bytes() == content


def test_no_link_is_followed(tmp_path: Path) -> None:
    Keyring.open(tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for name in ("link", "dangling"):
        with pytest.raises(KeyUnusable, match="cannot be opened"):
            Keyring.open(tmp_path / name)
    assert not (tmp_path / "nowhere").exists()


def test_a_draft_of_a_crash_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / f"key.{os.getpid()}.tmp").write_text("half")
    Keyring.open(tmp_path / "key")
    assert [path.name for path in tmp_path.iterdir()] == ["key"]
