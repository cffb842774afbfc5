"""The benches of other tests, where hostile things are tried on them."""

from __future__ import annotations

from tests.api.conftest import checkout, site, whole
from tests.deploy.conftest import it, world

__all__ = ["checkout", "it", "site", "whole", "world"]
