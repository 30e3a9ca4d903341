"""What an iteration over a family of blocks costs, from its sizes alone.

Counted are the products of matrices in :mod:`lipcert.conic.batched`, as multiplications with an
addition, and what they are outdone by where matrices are small.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lipcert.conic.completion import below_of

BEHIND = 45.0
"""Products ``(n_j, n_b, n_b)`` of an iteration for each group."""
WITHIN = 30.0
"""Products ``(n_j, n_j, n_b)``; half as many ``(n_j, n_j, n_j)``.  None of a diagonal entry."""
OF_A_SQUARE = 8.0
"""What an element of ``F Y Fᴴ`` costs that is multiplied and added, not formed by a product."""
OF_A_CHECK = 6.0
"""Products ``(n_j, n_b, n_b)`` of a look at a block that has no primal matrix."""
OF_A_CALL = 1.5e6
"""What the calls for each group of an iteration cost, whatever their size."""


@dataclass(frozen=True)
class RowSize:
    """Of the rows of one stage: how many, the group that is theirs, and those that they read."""

    count: int
    group: int | None
    reads: tuple[int, ...]


@dataclass(frozen=True)
class FamilySize:
    """What the cost of a family depends on.

    Parameters
    ----------
    sizes : of the groups.
    rows : of the stages, and of an exit.
    output : groups that the output reads.
    entry_is_diagonal, is_complex : of every block.
    frequencies : how many blocks there are; ``taking_part`` of them have a primal matrix.
    """

    sizes: tuple[int, ...]
    rows: Sequence[RowSize]
    output: tuple[int, ...]
    entry_is_diagonal: bool
    is_complex: bool
    frequencies: int
    taking_part: int

    @property
    def work(self) -> float:
        """Floating-point operations of one iteration."""
        each = 8.0 if self.is_complex else 2.0
        products = self._within_pattern() + self._whole()
        checks = OF_A_CHECK * self._eliminations() * self.frequencies
        calls = OF_A_CALL * len(self.sizes)
        return each * (products * self.taking_part + checks + calls)

    def _below(self) -> list[int]:
        """How many coordinates each group meets behind it."""
        pattern = {(i, j) for row in self.rows for i in row.reads for j in row.reads if i > j}
        pattern |= {(row.group, g) for row in self.rows if row.group is not None for g in row.reads}
        pattern |= {(i, j) for i in self.output for j in self.output if i > j}
        below = below_of(pattern, len(self.sizes))
        return [sum(self.sizes[i] for i in own) for own in below]

    def _eliminations(self) -> float:
        total = 0.0
        for g, (n, b) in enumerate(zip(self.sizes, self._below(), strict=True)):
            total += float(n) * b * b
            if g or not self.entry_is_diagonal:
                total += float(n) * n * (b + n)
        return total

    def _within_pattern(self) -> float:
        total = 0.0
        for g, (n, b) in enumerate(zip(self.sizes, self._below(), strict=True)):
            total += BEHIND * n * b * b
            if g or not self.entry_is_diagonal:
                total += WITHIN * n * n * (b + 0.5 * n)
        return total

    def _whole(self) -> float:
        """Of the Schur complement, for both matrices."""
        below = self._below()
        skipped = self.sizes[0] if self.entry_is_diagonal else 0
        side = sum(self.sizes) - skipped
        rows = sum(row.count * (1 if row.group is None else 2) for row in self.rows)
        rows += self.sizes[0] - skipped
        total = sum(float(n) * b for n, b in zip(self.sizes, below, strict=True)) * side
        for row in self.rows:
            width = sum(self.sizes[g] for g in row.reads if g or not skipped)
            width += below[0] if skipped and 0 in row.reads else 0
            total += 2.0 * row.count * width * (side + rows / 2.0)
        if skipped:
            total += 2.0 * skipped * below[0] * rows
        return total + OF_A_SQUARE * rows * rows / 2.0
