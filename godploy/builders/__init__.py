"""How sources become images: decided here as commands, run elsewhere. One module a builder, the same names in each."""

from __future__ import annotations

from godploy.builders import dockerfile

BUILDERS = {"dockerfile": dockerfile}
"""Builder by name; adding one is a module and a line here."""
