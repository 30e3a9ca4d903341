"""Batches of Hermitian matrices that are sparse by blocks: factors, inverses, proofs.

A matrix is a dictionary ``{(i, j): (B, n_i, n_j)}`` of its blocks with ``i ≥ j``; what is missing
is zero.  Elimination goes in the order of the groups, so a chain (block tridiagonal) has no fill.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from lipcert.rounding import UNIT_ROUNDOFF
from lipcert.spectral.tensors import STEP_UP, gamma_of_product, square_sums_up

Blocks = dict[tuple[int, int], Tensor]


def filled(pattern: set[tuple[int, int]], groups: int) -> set[tuple[int, int]]:
    """The blocks of the Cholesky factor of a matrix with these blocks."""
    found = set(pattern) | {(g, g) for g in range(groups)}
    for j in range(groups):
        below = [i for i in range(j + 1, groups) if (i, j) in found]
        found |= {(i, k) for i in below for k in below if i >= k}
    return found


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
            parts[i] = self.inverse[i] @ parts[i]
        return torch.cat(parts, dim=1)

    def backward(self, right: Tensor) -> Tensor:
        """``L⁻ᴴ right`` for ``(B, D, n)``."""
        parts = list(torch.split(right, list(self.sizes), dim=1))
        for i in reversed(range(len(parts))):
            for k in range(i + 1, len(parts)):
                if (k, i) in self.lower:
                    parts[i] = parts[i] - self.lower[k, i].mH @ parts[k]
            parts[i] = self.inverse[i].mH @ parts[i]
        return torch.cat(parts, dim=1)

    def full_inverse(self) -> Tensor:
        """``(L Lᴴ)⁻¹``, of shape ``(B, D, D)``."""
        groups = len(self.sizes)
        starts = [sum(self.sizes[:g]) for g in range(groups + 1)]
        batch, side = self.good.shape[0], starts[-1]
        first = self.lower[0, 0]
        Y = first.new_zeros(batch, side, side)  # L⁻¹, lower triangular by blocks
        for i in range(groups):
            own = slice(starts[i], starts[i + 1])
            for j in range(i):
                if (i, j) in self.lower:
                    known = Y[:, starts[j] : starts[j + 1], : starts[j + 1]]
                    Y[:, own, : starts[j + 1]] -= self.lower[i, j] @ known
            if i:
                Y[:, own, : starts[i]] = self.inverse[i] @ Y[:, own, : starts[i]]
            Y[:, own, own] = self.inverse[i]
        for i in reversed(range(groups)):
            own = slice(starts[i], starts[i + 1])
            for k in range(i + 1, groups):
                if (k, i) in self.lower:
                    Y[:, own] -= self.lower[k, i].mH @ Y[:, starts[k] : starts[k + 1]]
            Y[:, own] = self.inverse[i].mH @ Y[:, own]
        return (Y + Y.mH).mul_(0.5)


def cholesky(matrix: Mapping[tuple[int, int], Tensor], sizes: tuple[int, ...]) -> BlockFactor:
    """Factors of a batch; ``good`` alone means something where one is not definite."""
    groups = len(sizes)
    work: Blocks = dict(matrix)
    good = torch.ones_like(matrix[0, 0][:, 0, 0].real, dtype=torch.bool)
    lower: Blocks = {}
    inverse: list[Tensor] = []
    for j in range(groups):
        factor, info = torch.linalg.cholesky_ex(work[j, j])
        fine = (info == 0) & torch.isfinite(factor.diagonal(dim1=-2, dim2=-1).real).all(-1)
        unit = torch.eye(sizes[j], dtype=factor.dtype, device=factor.device)
        if not bool(fine.all()):
            factor = torch.where(fine[:, None, None], factor, unit)
        good &= fine
        lower[j, j] = factor
        inverse.append(torch.linalg.solve_triangular(factor, unit.expand_as(factor), upper=False))
        below = [i for i in range(j + 1, groups) if (i, j) in work]
        for i in below:
            lower[i, j] = work[i, j] @ inverse[j].mH
        for place, i in enumerate(below):
            for k in below[: place + 1]:
                fill = lower[i, j] @ lower[k, j].mH
                work[i, k] = work[i, k] - fill if (i, k) in work else -fill
    return BlockFactor(lower, inverse, sizes, good)


def are_definite(matrix: Mapping[tuple[int, int], Tensor], sizes: tuple[int, ...]) -> Tensor:
    """Which matrices of a batch are positive definite, up to rounding: ``(B,)``."""
    groups = len(sizes)
    work: Blocks = dict(matrix)
    good = torch.ones_like(matrix[0, 0][:, 0, 0].real, dtype=torch.bool)
    for j in range(groups):
        factor, info = torch.linalg.cholesky_ex(work.pop((j, j)))
        fine = (info == 0) & torch.isfinite(factor.diagonal(dim1=-2, dim2=-1).real).all(-1)
        if not bool(fine.all()):
            unit = torch.eye(sizes[j], dtype=factor.dtype, device=factor.device)
            factor = torch.where(fine[:, None, None], factor, unit)
        good &= fine
        below = [i for i in range(j + 1, groups) if (i, j) in work]
        half = {
            i: torch.linalg.solve_triangular(factor, work.pop((i, j)).mH, upper=False)
            for i in below
        }
        for place, i in enumerate(below):
            for k in below[: place + 1]:
                fill = half[i].mH @ half[k]
                work[i, k] = work[i, k] - fill if (i, k) in work else -fill
    return good


def are_proven_above(
    matrix: Mapping[tuple[int, int], Tensor], sizes: tuple[int, ...], floor: float
) -> Tensor:
    """Which Hermitian matrices of a batch have no eigenvalue below ``floor ≥ 0``, proved: ``(B,)``.

    ``A − δI = L Lᴴ + R`` with ``‖R‖ ≤ δ − floor`` for any L at all; L has no blocks but those of
    the pattern, so R has none either, and both it and its rounding are bounded block by block.
    """
    groups, inner = len(sizes), sum(sizes)
    rounding = gamma_of_product(inner, is_complex=True) + 8.0 * UNIT_ROUNDOFF
    trace = sum(
        float(matrix[g, g].diagonal(dim1=-2, dim2=-1).abs().sum(-1).max()) for g in range(groups)
    )
    shift = 2.0 * (floor * STEP_UP + 2.0 * rounding * trace)
    proved = torch.zeros(matrix[0, 0].shape[0], dtype=torch.bool, device=matrix[0, 0].device)
    for _ in range(3):
        shifted: Blocks = dict(matrix)
        for g in range(groups):
            diagonal = matrix[g, g].clone()
            diagonal.diagonal(dim1=-2, dim2=-1).sub_(shift)
            shifted[g, g] = diagonal
        factor = cholesky(shifted, sizes)
        size = shift + _frobenius_up(shifted) + _square_sums(factor.lower)
        slack = _frobenius_up(_residual(shifted, factor.lower, groups)) + rounding * size
        needed = slack * (1.0 + 64.0 * UNIT_ROUNDOFF) + floor * STEP_UP
        proved |= factor.good & torch.isfinite(needed) & (needed <= shift)
        pending = factor.good & ~proved
        if not bool(pending.any()):
            break
        shift = 2.0 * float(needed[pending].max())
    return proved


def _residual(matrix: Blocks, lower: Blocks, groups: int) -> Blocks:
    """``A − L Lᴴ`` on and below the diagonal."""
    found: Blocks = {}
    for i in range(groups):
        for k in range(i + 1):
            products = [
                lower[i, j] @ lower[k, j].mH
                for j in range(k + 1)
                if (i, j) in lower and (k, j) in lower
            ]
            known = [matrix[i, k]] if (i, k) in matrix else []
            if products or known:
                total = known[0] if known else torch.zeros_like(products[0])
                for product in products:
                    total = total - product
                found[i, k] = total
    return found


def _square_sums(matrix: Blocks) -> Tensor:
    """Bounds of the squared Frobenius norms of matrices given by these blocks alone, ``(B,)``."""
    sums = [square_sums_up(block) for block in matrix.values()]
    return torch.stack(sums).sum(0) * (1.0 + 4.0 * len(sums) * UNIT_ROUNDOFF)


def _frobenius_up(matrix: Blocks) -> Tensor:
    """Bounds of the Frobenius norms of Hermitian matrices given by their lower halves."""
    sums = [(1.0 if i == k else 2.0) * square_sums_up(block) for (i, k), block in matrix.items()]
    total = torch.stack(sums).sum(0) * (1.0 + 4.0 * len(sums) * UNIT_ROUNDOFF)
    return total.sqrt() * STEP_UP
