"""Positive definite matrices with sparse inverses, by blocks, without forming them.

Where the inverse has a chordal pattern, a matrix A is known from its blocks on that pattern.  Take
the groups in the order of elimination; b are the groups behind j that j meets in the pattern.  Then
there are U_j and V_j with

    A_jl = U_j A_bl  for every group l behind j,   A_jj = V_j + U_j A_bb U_jᴴ.

Two matrices of a primal-dual iteration are of this kind: ``S⁻¹`` (Takahashi, Fagan & Chin 1973),
and the completion with the largest determinant of a primal matrix of which only the blocks on the
pattern count (Grone, Johnson, Sá & Wolkowicz 1984; Fukuda, Kojima, Murota & Nakata 2001).

Where the inverse is diagonal on group 0, each of its coordinates is a group of its own: of that
block of A, and of V_0, there is the diagonal alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lipcert.conic.blockwise import BlockFactor, Blocks, times, total

Below = tuple[tuple[int, ...], ...]
"""For each group, those behind it that it meets in a chordal pattern."""


def below_of(pattern: set[tuple[int, int]], groups: int) -> Below:
    """The groups behind each one, with what elimination fills in."""
    found: list[tuple[int, ...]] = []
    known = set(pattern)
    for j in range(groups):
        below = tuple(i for i in range(j + 1, groups) if (i, j) in known)
        known |= {(i, k) for i in below for k in below if i > k}
        found.append(below)
    return tuple(found)


def square(blocks: Blocks, groups: tuple[int, ...]) -> Tensor:
    """A Hermitian matrix on some groups, from its lower half."""
    if len(groups) == 1:
        return blocks[groups[0], groups[0]]
    rows = [
        torch.cat([blocks[i, k] if i >= k else blocks[k, i].mH for k in groups], dim=2)
        for i in groups
    ]
    return torch.cat(rows, dim=1)


def column(blocks: Blocks, groups: tuple[int, ...], j: int) -> Tensor:
    """The blocks of column j on the groups behind it."""
    parts = [blocks[i, j] for i in groups]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


@dataclass(frozen=True, eq=False)
class SparseInverse:
    """A batch of such matrices.

    Parameters
    ----------
    sizes, below : of the groups, and their pattern.
    across, own : U_j ``(B, n_j, n_b)`` and V_j.
    blocks : the matrix on the pattern, the lower half.
    """

    sizes: tuple[int, ...]
    below: Below
    across: list[Tensor]
    own: list[Tensor]
    blocks: Blocks

    def select(self, chosen: slice) -> SparseInverse:
        """Some of the batch."""
        return replace(
            self,
            across=[U[chosen] for U in self.across],
            own=[V[chosen] for V in self.own],
            blocks={place: part[chosen] for place, part in self.blocks.items()},
        )

    def full(self, first: int, out: Tensor) -> Tensor:
        """The whole matrices on the groups from the first one on, ``(B, D, D)``, in place."""
        lanes, end = dict[int, slice](), 0
        for g in range(first, len(self.sizes)):
            lanes[g] = slice(end, end + self.sizes[g])
            end += self.sizes[g]
        for j in reversed(lanes):
            own, later = lanes[j], slice(lanes[j].stop, end)
            out[:, own, own] = self.blocks[j, j]
            if not self.below[j]:
                out[:, own, later] = 0.0
            else:
                parts = torch.split(self.across[j], [self.sizes[i] for i in self.below[j]], dim=2)
                pairs = zip(parts, self.below[j], strict=True)
                out[:, own, later] = total(U @ out[:, lanes[i], later] for U, i in pairs)
            out[:, later, own] = out[:, own, later].mH
        return out


def inverse_of(factor: BlockFactor, below: Below) -> SparseInverse:
    """``(L Lᴴ)⁻¹`` from a Cholesky factor L."""
    sizes, blocks = factor.sizes, Blocks()
    own = [
        inverse.square() if inverse.dim() == 2 else inverse.mH @ inverse
        for inverse in factor.inverse
    ]
    across = [V.new_empty(*V.shape[:2], 0) for V in own]
    for j in reversed(range(len(sizes))):
        b = below[j]
        if not b:
            blocks[j, j] = own[j]
            continue
        across[j] = U = -times(column(factor.lower, b, j), factor.inverse[j]).mH
        A = U @ square(blocks, b)
        _put(blocks, j, b, sizes, A)
        if own[j].dim() == 2:
            blocks[j, j] = own[j] + (A * U.conj()).real.sum(-1)
            continue
        around = A @ U.mH
        blocks[j, j] = own[j] + (around + around.mH).mul_(0.5)
    return SparseInverse(sizes, below, across, own, blocks)


def _put(blocks: Blocks, j: int, b: tuple[int, ...], sizes: tuple[int, ...], row: Tensor) -> None:
    first = 0
    for i in b:
        blocks[i, j] = row[:, :, first : first + sizes[i]].mH
        first += sizes[i]


@dataclass(frozen=True, eq=False)
class Cliques:
    """Groups of equal cliques, stacked: j and those behind it.

    Parameters
    ----------
    members : which j.
    lower : Cholesky factors ``(J, B, m, m)`` of the matrices on (b, j).
    """

    members: tuple[int, ...]
    lower: Tensor


def stacked(blocks: Blocks, below: Below, members: tuple[int, ...]) -> Tensor:
    """Hermitian matrices on the cliques ``(b, j)`` of some groups: ``(J, B, m, m)``."""
    return torch.stack([square(blocks, (*below[j], j)) for j in members])


def _equal_cliques(blocks: Blocks, sizes: tuple[int, ...], below: Below) -> list[tuple[int, ...]]:
    """Groups whose cliques have the same size and shape; not a diagonal one."""
    found: dict[tuple[int, int], list[int]] = {}
    for j, b in enumerate(below):
        if blocks[j, j].dim() == 2:
            continue
        found.setdefault((sum(sizes[i] for i in b), sizes[j]), []).append(j)
    return [tuple(members) for members in found.values()]


def completed(
    blocks: Blocks, sizes: tuple[int, ...], below: Below
) -> tuple[SparseInverse, list[Cliques]] | None:
    """The completion of largest determinant; None where none is positive definite.

    There is one exactly where all matrices on cliques are positive definite.
    """
    across, own, cliques = dict[int, Tensor](), dict[int, Tensor](), []
    if blocks[0, 0].dim() == 2:
        entry = _entry(blocks, below[0])
        if entry is None or not bool((entry.remainder > 0.0).all()):
            return None
        across[0] = torch.linalg.solve_triangular(entry.lower.mH, entry.half, upper=True).mH
        own[0] = entry.remainder
    for members in _equal_cliques(blocks, sizes, below):
        lower, info = torch.linalg.cholesky_ex(stacked(blocks, below, members))
        if bool((info != 0).any()):
            return None
        n = sum(sizes[i] for i in below[members[0]])
        cliques.append(Cliques(members, lower))
        corner = lower[..., n:, n:]
        V = corner @ corner.mH
        U = torch.linalg.solve_triangular(
            lower[..., :n, :n], lower[..., n:, :n], upper=False, left=False
        )
        across.update(zip(members, U, strict=True))
        own.update(zip(members, V, strict=True))
    order = range(len(sizes))
    found = SparseInverse(sizes, below, [across[j] for j in order], [own[j] for j in order], blocks)
    return found, cliques


@dataclass(frozen=True, eq=False)
class _Entry:
    """A Cholesky factor L of A_bb, ``L⁻¹ A_b0`` and V_0."""

    lower: Tensor
    half: Tensor
    remainder: Tensor


def _entry(blocks: Blocks, b: tuple[int, ...]) -> _Entry | None:
    lower, info = torch.linalg.cholesky_ex(square(blocks, b))
    if bool((info != 0).any()):
        return None
    half = torch.linalg.solve_triangular(lower, column(blocks, b, 0), upper=False)
    size = half.real.square() + half.imag.square() if half.is_complex() else half.square()
    return _Entry(lower, half, blocks[0, 0] - size.sum(1))


def remainder_of_entry(blocks: Blocks, below: Below) -> Tensor | None:
    """V_0 of a diagonal entry; None where A is not positive definite behind it."""
    entry = _entry(blocks, below[0])
    return None if entry is None else entry.remainder
