"""Where the search for leading eigenvectors begins: at those of the last, similar matrices."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor


@dataclass
class Starts:
    """Leading eigenvectors of one run in the order they were asked for, by size.

    Estimates begin there in the next run, where the same is asked for in the same order.  Proofs
    know nothing of them: a start that does not fit costs time only.
    """

    _before: dict[tuple[int, int], Tensor] = field(default_factory=dict)
    _now: dict[tuple[int, int], Tensor] = field(default_factory=dict)
    _asked: dict[int, int] = field(default_factory=dict)

    def next_run(self) -> None:
        """What was found last is what the next run begins with."""
        self._before, self._now, self._asked = self._now, {}, {}

    def next(self, size: int) -> tuple[tuple[int, int], Tensor | None]:
        """The place of a new question, and the vector ``(size,)`` that answered it before."""
        place = (size, self._asked.get(size, 0))
        self._asked[size] = place[1] + 1
        return place, self._before.get(place)

    def keep(self, place: tuple[int, int], vector: Tensor) -> None:
        """Enter an answer."""
        self._now[place] = vector
