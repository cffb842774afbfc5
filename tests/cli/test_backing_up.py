"""Backup and restore as they are typed."""

from __future__ import annotations

from pathlib import Path

from godploy.drivers.keyring import Keyring

from .conftest import Run


def test_a_backup_and_a_restore(run: Run, tmp_path: Path) -> None:
    data, file, again, secret = (tmp_path / name for name in ("data", "a.backup", "again", "passphrase"))
    data.mkdir()
    secret.write_text("correct horse battery\nnot this line\n")
    run("user", "create-owner", "--data", str(data), "--email", "ada@example.com")
    Keyring.open(data / "key")
    short = run("backup", str(file), "--data", str(data), stdin="short\n")
    assert short.code == 1 and "less than 12 characters" in short.err and not file.exists()
    made = run("backup", str(file), "--data", str(data), "--passphrase-file", str(secret))
    assert made.code == 0 and "0 repositories" in made.out and "volumes is not in it" in made.err
    wrong = run("restore", str(file), "--data", str(again), stdin="another passphrase\n")
    assert wrong.code == 1 and "the passphrase is not the one" in wrong.err
    restored = run("restore", str(file), "--data", str(again), stdin="correct horse battery\n")
    assert restored.code == 0 and "volumes was not in it" in restored.err and "godploy serve --data" in restored.err
    assert "has an owner already" in run("user", "create-owner", "--data", str(again), "--email", "b@example.com").err
    assert run("restore", str(file), "--data", str(again), stdin="correct horse battery\n").code == 1
