"""The runtime in memory, for tests of everything above it: the contract suite holds for it as for the engine."""

from godploy.runtimes.fake.runtime import Fake
from godploy.runtimes.fake.world import ENDINGS, HEALTHY, SILENCES, Addresses, Container, World

__all__ = ["ENDINGS", "HEALTHY", "SILENCES", "Addresses", "Container", "Fake", "World"]
