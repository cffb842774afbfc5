"""Every pair of states, against the arrows of the design written down a second time."""

from __future__ import annotations

from itertools import product

import pytest

from godploy.core.lifecycle import may_become
from godploy.core.model import State

ARROWS = """
queued → running
queued → superseded
queued → cancelled
running → succeeded
running → failed
running → cancelled
running → superseded
running → queued
"""


@pytest.mark.parametrize(("old", "new"), list(product(State, State)))
def test_every_pair(old: State, new: State) -> None:
    assert may_become(old, new) == (f"{old} → {new}" in ARROWS.splitlines())


@pytest.mark.parametrize("state", [state for state in State if state.final])
def test_nothing_leaves_a_final_state(state: State) -> None:
    assert not any(may_become(state, new) for new in State)
