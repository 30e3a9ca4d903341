"""Batches of Hermitian matrices that are sparse by blocks: factors, inverses, proofs.

A matrix is a dictionary ``{(i, j): (B, n_i, n_j)}`` of its blocks with ``i ≥ j``; what is missing
is zero.  Elimination goes in the order of the groups, so a chain (block tridiagonal) has no fill.
The block of group 0, the entry of a chain, is diagonal as a rule and then given by its diagonal,
``(B, n_0)``: nothing that is done to an entry of thousands of coordinates is cubic in their number.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from lipcert.rounding import UNIT_ROUNDOFF
from lipcert.spectral.tensors import STEP_UP, frobenius_up, gamma_of_product

Blocks = dict[tuple[int, int], Tensor]


def times(left: Tensor, right: Tensor) -> Tensor:
    """A product of matrices, each of which may be given by its diagonal."""
    if left.dim() == 2 and right.dim() == 2:
        return left * right
    if left.dim() == 2:
        return left[:, :, None] * right
    if right.dim() == 2:
        return left * right[:, None, :]
    return left @ right


def total(parts: Iterable[Tensor]) -> Tensor:
    """The sum of at least one tensor."""
    first, *others = parts
    for part in others:
        first = first + part
    return first


def diagonal_of(block: Tensor) -> Tensor:
    """The diagonal of a batch of Hermitian matrices, ``(B, n)``."""
    return block.real if block.dim() == 2 else block.diagonal(dim1=-2, dim2=-1).real


@dataclass(frozen=True, eq=False)
class BlockFactor:
    """Cholesky factors ``L`` of a batch, with the inverses of their diagonal blocks.

    Parameters
    ----------
    lower : blocks of L.
    inverse : ``L_jj⁻¹`` of every group.
    sizes : of the groups.
    good : ``(B,)``, whether each matrix was positive definite.
    """

    lower: Blocks
    inverse: list[Tensor]
    sizes: tuple[int, ...]
    good: Tensor

    def forward(self, right: Tensor) -> Tensor:
        """``L⁻¹ right`` for ``(B, D, n)``."""
        parts = list(torch.split(right, list(self.sizes), dim=1))
        for i in range(len(parts)):
            for j in range(i):
                if (i, j) in self.lower:
                    parts[i] = parts[i] - self.lower[i, j] @ parts[j]
            parts[i] = times(self.inverse[i], parts[i])
        return torch.cat(parts, dim=1)

    def backward(self, right: Tensor) -> Tensor:
        """``L⁻ᴴ right`` for ``(B, D, n)``."""
        parts = list(torch.split(right, list(self.sizes), dim=1))
        for i in reversed(range(len(parts))):
            for k in range(i + 1, len(parts)):
                if (k, i) in self.lower:
                    parts[i] = parts[i] - self.lower[k, i].mH @ parts[k]
            inverse = self.inverse[i]
            parts[i] = times(inverse if inverse.dim() == 2 else inverse.mH, parts[i])
        return torch.cat(parts, dim=1)


def _factored(block: Tensor) -> tuple[Tensor, Tensor]:
    """The Cholesky factors of a batch, and which of them were positive definite: ``(B,)``."""
    if block.dim() == 2:
        good = ((block.real > 0.0) & torch.isfinite(block.real)).all(-1)
        return torch.where(good[:, None], block, 1.0).sqrt(), good
    factor, info = torch.linalg.cholesky_ex(block)
    good = (info == 0) & torch.isfinite(factor.diagonal(dim1=-2, dim2=-1).real).all(-1)
    if not bool(good.all()):
        unit = torch.eye(block.shape[-1], dtype=factor.dtype, device=factor.device)
        factor = torch.where(good[:, None, None], factor, unit)
    return factor, good


def cholesky(matrix: Mapping[tuple[int, int], Tensor], sizes: tuple[int, ...]) -> BlockFactor:
    """Factors of a batch; ``good`` alone means something where one is not definite."""
    groups = len(sizes)
    work: Blocks = dict(matrix)
    good = torch.ones(work[0, 0].shape[0], dtype=torch.bool, device=work[0, 0].device)
    lower: Blocks = {}
    inverse: list[Tensor] = []
    for j in range(groups):
        factor, fine = _factored(work[j, j])
        good &= fine
        lower[j, j] = factor
        if factor.dim() == 2:
            inverse.append(1.0 / factor)
        else:
            unit = torch.eye(sizes[j], dtype=factor.dtype, device=factor.device)
            unit = unit.expand_as(factor)
            inverse.append(torch.linalg.solve_triangular(factor, unit, upper=False))
        below = [i for i in range(j + 1, groups) if (i, j) in work]
        for i in below:
            back = inverse[j] if factor.dim() == 2 else inverse[j].mH
            lower[i, j] = times(work[i, j], back)
        _eliminate(work, {i: lower[i, j].mH for i in below})
    return BlockFactor(lower, inverse, sizes, good)


def are_definite(matrix: Mapping[tuple[int, int], Tensor], sizes: tuple[int, ...]) -> Tensor:
    """Which matrices of a batch are positive definite, up to rounding: ``(B,)``."""
    work: Blocks = dict(matrix)
    good = torch.ones(work[0, 0].shape[0], dtype=torch.bool, device=work[0, 0].device)
    for j in range(len(sizes)):
        good &= eliminate(work, j)
    return good


def eliminate(work: Blocks, group: int) -> Tensor:
    """Take a group out, in any order: its Schur complement goes to the groups that it meets.

    Returns which blocks of the group were positive definite, ``(B,)``; the others mean nothing.
    """
    factor, good = _factored(work.pop((group, group)))
    half: dict[int, Tensor] = {}
    for i, j in [place for place in work if group in place]:
        part = work.pop((i, j))
        crossing = part if i == group else part.mH
        if factor.dim() == 2:
            half[i + j - group] = crossing / factor[:, :, None]
        else:
            half[i + j - group] = torch.linalg.solve_triangular(factor, crossing, upper=False)
    _eliminate(work, half)
    return good


def _eliminate(work: Blocks, half: Mapping[int, Tensor]) -> None:
    """Subtract ``half_iᴴ half_k`` from the blocks of what is behind a group."""
    for i, row in half.items():
        for k, column in half.items():
            if k <= i:
                fill = row.mH @ column
                work[i, k] = work[i, k] - fill if (i, k) in work else -fill


def are_proven_above(
    matrix: Mapping[tuple[int, int], Tensor], sizes: tuple[int, ...], floor: float
) -> Tensor:
    """Which Hermitian matrices of a batch have no eigenvalue below ``floor ≥ 0``, proved: ``(B,)``.

    ``A − δI = L Lᴴ + R`` with ``‖R‖ ≤ δ − floor`` for any L at all; L has no blocks but those of
    the pattern, so R has none either.
    """
    groups = len(sizes)
    trace = sum(float(diagonal_of(matrix[g, g]).abs().sum(-1).max()) for g in range(groups))
    shift = 2.0 * floor * STEP_UP + 64.0 * UNIT_ROUNDOFF * trace
    proved = torch.zeros(matrix[0, 0].shape[0], dtype=torch.bool, device=matrix[0, 0].device)
    for _ in range(3):
        shifted: Blocks = dict(matrix)
        for g in range(groups):
            block = matrix[g, g].clone()
            (block if block.dim() == 2 else block.diagonal(dim1=-2, dim2=-1)).sub_(shift)
            shifted[g, g] = block
        factor = cholesky(shifted, sizes)
        slack = _distance_from_product(shifted, factor, shift)
        needed = slack * (1.0 + 64.0 * UNIT_ROUNDOFF) + floor * STEP_UP
        proved |= factor.good & torch.isfinite(needed) & (needed <= shift)
        pending = factor.good & ~proved
        if not bool(pending.any()):
            break
        shift = 2.0 * float(needed[pending].max())
    return proved


def _distance_from_product(matrix: Blocks, factor: BlockFactor, shift: float) -> Tensor:
    """Bound of ``‖A − L Lᴴ‖`` in spite of rounding, where a shift was taken off A's diagonal.

    Block by block: what is computed, and ``γ_n (‖A_ik‖ + Σ_j ‖L_ij‖ ‖L_kj‖)`` in Frobenius norms,
    n the length of the sums.
    """
    lower, sizes = factor.lower, factor.sizes
    norm = {place: _frobenius_up(block) for place, block in lower.items()}
    squares: list[Tensor] = []
    for i in range(len(sizes)):
        for k in range(i + 1):
            common = [j for j in range(k + 1) if (i, j) in lower and (k, j) in lower]
            if not common and (i, k) not in matrix:
                continue
            residual = matrix[i, k] if (i, k) in matrix else torch.zeros_like(lower[i, k])
            size = _frobenius_up(residual)
            if i == k:
                size = size + shift
            inner = 4
            for j in common:
                residual = residual - _times_adjoint(lower[i, j], lower[k, j])
                size = size + norm[i, j] * norm[k, j]
                inner += 2 + (1 if lower[k, j].dim() == 2 else sizes[j])
            rounding = gamma_of_product(inner, is_complex=True) * (1.0 + 64.0 * UNIT_ROUNDOFF)
            off = _frobenius_up(residual) + rounding * size
            squares.append(off.square() * (1.0 if i == k else 2.0))
    return torch.stack(squares).sum(0).sqrt() * (1.0 + 4.0 * len(squares) * UNIT_ROUNDOFF)


def _times_adjoint(left: Tensor, right: Tensor) -> Tensor:
    return times(left, right) if right.dim() == 2 else left @ right.mH


def _frobenius_up(block: Tensor) -> Tensor:
    """Bounds of the Frobenius norms of a batch, ``(B,)``."""
    return frobenius_up(block[:, None] if block.dim() == 2 else block)
