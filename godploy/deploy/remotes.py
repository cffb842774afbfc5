"""How a repository is reached: the credential that belongs to it, found where it is kept."""

from __future__ import annotations

from godploy.core.access import Access
from godploy.core.model import Repository
from godploy.deploy.services import Services


async def access(services: Services, repository: Repository) -> Access | None:
    """None for our own remote."""
    return Access(repository.url) if repository.url else None
