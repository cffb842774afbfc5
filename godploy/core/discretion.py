"""What the problems of a plan may say to whoever opened a pull request: nothing of what others keep on this server."""

from __future__ import annotations

from dataclasses import replace

from godploy.core import hosts
from godploy.core.facts import Facts, HostFact

_OTHER = "another source"


def discreet(facts: Facts) -> Facts:
    """The same facts, as far as they decide: without the names of other repositories, whose a host is instead, and
    which hosts and registries the server's policy lists."""
    return replace(
        facts,
        neighbours={name: replace(found, source=_OTHER) for name, found in facts.neighbours.items()},
        users_of={name: (_OTHER,) for name, users in facts.users_of.items() if users},
        hosts={host: _untold(host, fact, facts) for host, fact in facts.hosts.items()},
        policy_told=False,
    )


def _untold(host: str, fact: HostFact, facts: Facts) -> HostFact:
    elsewhere = fact.environment is not None and fact.environment != facts.environment
    allowed = facts.policy.hosts
    forbidden = allowed is not None and not any(hosts.matches(host, pattern) for pattern in allowed)
    return HostFact("refused") if elsewhere or forbidden or fact.owner in ("reserved", "other") else fact
