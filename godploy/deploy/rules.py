"""The packet rules that belong to these settings on this machine."""

from __future__ import annotations

from godploy.core.packets import Ground, endpoint
from godploy.drivers.packets import Engine
from godploy.settings import Settings


def ground(settings: Settings, engine: Engine) -> Ground:
    return Ground(
        instance=settings.instance,
        pool=settings.pool,
        ports=(settings.http_port, settings.https_port),
        bridge=engine.bridge,
        resolvers=engine.resolvers,
        engine=engine.groups,
        engine_reaches=tuple(endpoint(name) for name in settings.engine_reaches),
    )
