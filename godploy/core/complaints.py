"""What is wrong with a plan, collected so that all of it is said at once, each with its place in the manifest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from godploy.core.failures import FAILURES, failure
from godploy.core.problems import Path
from godploy.errors import Invalid

Place = Callable[[Path], str]
_CORRECT = FAILURES["invalid_manifest"].next_step


@dataclass(slots=True)
class Complaints:
    """`code` of each is a key of the failures' table: where all share one, it is the code of the error."""

    place: Place
    _found: dict[str, tuple[str, str]] = field(default_factory=dict)  # sentence with its place → code, next step

    def add(self, path: Path, message: str) -> None:
        self._found.setdefault(f"{self.place(path)}: {message}", ("invalid_manifest", _CORRECT))

    def fail(self, path: Path, code: str, /, **facts: Any) -> None:
        """A failure that the table knows, with the facts of its sentence; what to do next is said with it."""
        known = failure(code, **facts)
        self._found.setdefault(f"{self.place(path)}: {known.message}", (code, known.next_step))

    def raise_any(self) -> None:
        """Raises Invalid with every complaint so far, if there is one. Its field `sentence` is the first of them alone,
        with the number of the others."""
        if not self._found:
            return
        codes = {code for code, _ in self._found.values()}
        steps = dict.fromkeys(step for _, step in self._found.values())
        count = "one problem" if len(self._found) == 1 else f"{len(self._found)} problems"
        others = f" (and {len(self._found) - 1} more)" if len(self._found) > 1 else ""
        raise Invalid(
            f"the plan cannot be carried out: {count}",
            [told if step == _CORRECT else f"{told}; {step}" for told, (_, step) in self._found.items()],
            fields={"sentence": f"{next(iter(self._found))}{others}"},
            code=codes.pop() if len(codes) == 1 else "invalid_manifest",
            next_step="; ".join(steps),
        )
