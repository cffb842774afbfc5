"""A GitHub App, made by the manifest flow: https://docs.github.com/en/apps/sharing-github-apps"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class App:
    """What GitHub gives for one."""

    id: str
    slug: str
    client_id: str
    client_secret: str = field(repr=False)
    pem: str = field(repr=False)
