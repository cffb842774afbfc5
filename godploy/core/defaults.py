"""What a manifest leaves unsaid, in one place; applied when a definition is resolved and at no other time.

A running service keeps the values it was resolved with, so changing a number here restarts nothing.
"""

from __future__ import annotations

from godploy.core.specification import Health

REPLICAS = 1
CPUS = 1.0  # cores
MEMORY = 512 * 1024 * 1024  # bytes
PIDS = 512
HEALTH = Health(
    path=None,
    status_from=200,
    status_to=399,
    start_timeout=60.0,
    successes=2,
    interval=10.0,
    timeout=2.0,
    failures=3,
)
STOP_GRACE = 30.0  # seconds, like all below
DRAIN = 10.0
SETTLE = 5.0
TIMEOUT = 600.0

CONTEXT = "."
DOCKERFILE = "Dockerfile"
