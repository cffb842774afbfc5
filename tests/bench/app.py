"""The small Python app that is deployed over and over: that of the end-to-end tests, with nothing wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

_FILES = Path(__file__).parents[1] / "e2e" / "app"

PORT = 8000
HEALTH = "/healthz"


def files(host: str) -> Mapping[str, str]:
    """A repository with it; `version` is the one file that changes from commit to commit."""
    manifest = f"""\
version: 1
services:
  web:
    build: {{builder: dockerfile}}
    port: {PORT}
    routes: [{host}]
    health: {{path: {HEALTH}}}
    deploy: {{drain: 1s}}
    stop_grace_period: 1s
"""
    copied = {name: (_FILES / name).read_text() for name in ("Dockerfile", "app.py")}
    return {**copied, "godploy.yaml": manifest, "behaviour.json": "{}\n", "version": "none\n"}


def greeting(version: str) -> str:
    """What its first page says."""
    return f"version {version}\n"
