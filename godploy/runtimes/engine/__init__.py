"""One machine: containers of a Docker engine, on one bridge network for each environment.

Each container has its address from our table and keeps it until it is removed: after a reboot a route must never lead
to an address that Docker has meanwhile given to another app [a container without a fixed address takes that of a
stopped one]. A service's name is a network alias that only promoted workloads have, so that nobody inside is sent to
a container that is not ready.
"""

from godploy.runtimes.engine.runtime import Engine

__all__ = ["Engine"]
