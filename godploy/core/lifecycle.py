"""The arrows between the states of a deployment: the one table that the store's compare-and-set asks."""

from __future__ import annotations

from godploy.core.model import State

_ARROWS: dict[State, frozenset[State]] = {
    State.QUEUED: frozenset({State.RUNNING, State.SUPERSEDED, State.CANCELLED}),
    # Back to the queue is recovery's alone: the process died while the deployment ran.
    State.RUNNING: frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED, State.SUPERSEDED, State.QUEUED}),
}


def may_become(old: State, new: State) -> bool:
    """Whether a deployment in `old` may go to `new`. Nothing leaves a final state, and no state becomes itself."""
    return new in _ARROWS.get(old, frozenset())
