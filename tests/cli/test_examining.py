"""The doctor where no engine is needed to see what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from godploy.drivers import docker

from .conftest import Run


def test_an_engine_that_is_down(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o755)
    (data / "config.yaml").write_text("builds: 2\n")
    monkeypatch.setenv("GODPLOY_INSTANCE", "elsewhere")
    monkeypatch.setattr(docker.Docker.__init__, "__defaults__", (f"unix://{tmp_path}/none.sock",))
    run("user", "create-owner", "--data", str(data), "--email", "ada@example.com")
    done = run("doctor", "--data", str(data), "--json")
    assert done.code == 1
    lines: dict[str, Any] = {line["subject"] + " " + line["level"]: line for line in done.json["lines"]}
    assert "systemctl start docker" in lines["engine bad"]["advice"]
    assert "chmod 700" in lines["permissions warn"]["advice"]
    assert "the newest" in lines["database ok"]["text"]
    told = done.json["settings"]
    assert told["builds"] == {"value": "2", "origin": "config.yaml"}
    assert told["instance"] == {"value": "elsewhere", "origin": "GODPLOY_INSTANCE"}
    assert told["pool"]["origin"] == "default"
    assert "→ systemctl start docker" in run("doctor", "--data", str(data)).out
    assert run("doctor", "--data", str(tmp_path / "none")).code == 1
