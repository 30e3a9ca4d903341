"""Products of matrices with sparse inverses and sparse ones, on the pattern alone.

With A and B given as in :mod:`lipcert.conic.completion` and N on the pattern, eliminating a group j
turns ``A N B`` into the same product on the groups behind it: with

    A = [[I, U], [0, I]] diag(V, A') [[I, 0], [Uᴴ, I]],   B alike with T, W and B',
    A N B = [[I, U], [0, I]] diag(V, A') Ñ diag(W, B') [[I, 0], [Tᴴ, I]],
    Ñ = [[I, 0], [Uᴴ, I]] N [[I, T], [0, I]],

U and T act on the groups b alone, so Ñ has the pattern of N.  The blocks of the product on the
pattern take one pass forward, which reduces N, and one back: their cost is linear in the number of
groups.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lipcert.conic.blockwise import Blocks, times
from lipcert.conic.completion import SparseInverse, square

Groups = tuple[int, ...]


def mirrored(lower: Blocks) -> Blocks:
    """Both halves of a Hermitian matrix."""
    return lower | {(j, i): part.mH for (i, j), part in lower.items() if i != j}


def hermitian(both: Blocks) -> Blocks:
    """The Hermitian part of a matrix, its lower half."""
    return {
        (i, j): part.real.clone() if part.dim() == 2 else (part + both[j, i].mH).mul_(0.5)
        for (i, j), part in both.items()
        if i >= j
    }


def swapped(both: Blocks) -> Blocks:
    """The conjugate transpose."""
    return {(j, i): _adjoint(part) for (i, j), part in both.items()}


def _adjoint(part: Tensor) -> Tensor:
    return part.conj() if part.dim() == 2 else part.mH


def _gathered(both: Blocks, rows: Groups, columns: Groups) -> Tensor:
    parts = [
        both[i, columns[0]]
        if len(columns) == 1
        else torch.cat([both[i, k] for k in columns], dim=2)
        for i in rows
    ]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def _scatter(both: Blocks, part: Tensor, rows: Groups, columns: Groups, sizes: Groups) -> None:
    """Put a matrix on some groups into its blocks, or add it to what is there."""
    top = 0
    for i in rows:
        left = 0
        for k in columns:
            piece = part[:, top : top + sizes[i], left : left + sizes[k]]
            both[i, k] = both[i, k] + piece if (i, k) in both else piece
            left += sizes[k]
        top += sizes[i]


@dataclass(frozen=True, eq=False)
class Reduced:
    """Ñ at every group: its own block, its row on b and its column, of no width without b."""

    own: list[Tensor]
    row: list[Tensor]
    column: list[Tensor]

    @property
    def swapped(self) -> Reduced:
        """That of the same Hermitian N between the two in the other order."""
        return Reduced(
            [_adjoint(part) for part in self.own],
            [part.mH for part in self.column],
            [part.mH for part in self.row],
        )


def reduced(
    A: SparseInverse,
    N: Blocks,
    B: SparseInverse,
    passed: Callable[[int], Tensor] | None = None,
) -> Reduced:
    """The pass forward.

    Parameters
    ----------
    N : both halves, given on the whole pattern.
    passed : for each group, what its elimination adds to N on b.
    """
    work, found = dict(N), Reduced([], [], [])
    for j, b in enumerate(A.below):
        own = work[j, j]
        found.own.append(own)
        if not b:
            found.row.append(own.new_empty(*own.shape[:2], 0))
            found.column.append(own.new_empty(len(own), 0, own.shape[1]))
            continue
        U, T = A.across[j], B.across[j]
        plain = _gathered(work, b, (j,))
        row = _gathered(work, (j,), b) + times(own, T)
        found.row.append(row)
        found.column.append(plain + times(U.mH, own))
        left = U.mH @ row + plain @ T
        _scatter(work, left if passed is None else left + passed(j), b, b, A.sizes)
    return found


def product(A: SparseInverse, N: Reduced, B: SparseInverse) -> Blocks:
    """``A N B`` on the pattern, both halves: the pass back."""
    found = Blocks()
    for j in reversed(range(len(A.sizes))):
        b = A.below[j]
        own = times(times(A.own[j], N.own[j]), B.own[j])
        if not b:
            found[j, j] = own
            continue
        row = times(A.own[j], N.row[j] @ square(B.blocks, b))
        column = times(square(A.blocks, b) @ N.column[j], B.own[j])
        _wrap(found, j, A, B, own, row, column)
    return found


def _wrap(
    found: Blocks,
    j: int,
    A: SparseInverse,
    B: SparseInverse,
    own: Tensor,
    row: Tensor,
    column: Tensor,
) -> None:
    """``[[I, U], [0, I]] · [[I, 0], [Tᴴ, I]]`` around what is known behind j."""
    b, U, T = A.below[j], A.across[j], B.across[j]
    inner = _gathered(found, b, b)
    row = row + U @ inner
    found[j, j] = own + _onto(own, U, column) + _onto(own, row, T.mH)
    _scatter(found, row, (j,), b, A.sizes)
    _scatter(found, column + inner @ T.mH, b, (j,), A.sizes)


def _onto(own: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """A product as far as it is asked for: like ``own``, a matrix or a diagonal."""
    return (left * right.mT).sum(-1) if own.dim() == 2 else left @ right


def triple(
    A: SparseInverse,
    N: Reduced,
    B: SparseInverse,
    M: Reduced,
    C: SparseInverse,
    left: Blocks,
    right: Blocks,
) -> Blocks:
    """``A N B M C`` on the pattern, both halves.

    Eliminating a group of B adds ``ñ W m̃`` between A' and C', which is then reduced like N.

    Parameters
    ----------
    N, M : reduced between A and B, and between B and C.
    left, right : ``A N B`` and ``B M C`` on the pattern.
    """
    zero = {place: torch.zeros_like(part) for place, part in left.items()}
    sums = reduced(A, zero, C, lambda j: N.column[j] @ times(B.own[j], M.row[j]))
    found = Blocks()
    for j in reversed(range(len(A.sizes))):
        b, V, W = A.below[j], A.own[j], C.own[j]
        NB = times(N.own[j], B.own[j])
        own = times(NB, M.own[j]) + sums.own[j]
        if not b:
            found[j, j] = times(times(V, own), W)
            continue
        own = own + _onto(own, N.row[j] @ square(B.blocks, b), M.column[j])
        row = (times(NB, M.row[j]) + sums.row[j]) @ square(C.blocks, b)
        row = row + N.row[j] @ _gathered(right, b, b)
        column = times(N.column[j], times(B.own[j], M.own[j])) + sums.column[j]
        column = square(A.blocks, b) @ column + _gathered(left, b, b) @ M.column[j]
        _wrap(found, j, A, C, times(times(V, own), W), times(V, row), times(column, W))
    return found
