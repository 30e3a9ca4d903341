"""Cholesky factor of a sum of matrices, each on the multipliers of one block.

Block b shares multipliers only with its neighbours, so eliminating those that end with it leaves a
Schur complement on the ones shared with b + 1: the cost is linear in the number of blocks.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class _Step:
    eliminated: Tensor
    kept: Tensor
    factor: Tensor
    below: Tensor


class CliqueFactor:
    """``H = Σ_b H_b`` factored; :attr:`succeeded` tells whether it was positive definite.

    Parameters
    ----------
    multipliers : for each block, the sorted indices of its multipliers among all.
    blocks : for each block, the symmetric matrix H_b on them.
    """

    def __init__(self, multipliers: list[Tensor], blocks: list[Tensor]) -> None:
        self.succeeded = True
        self.steps: list[_Step] = []
        carried: Tensor | None = None
        shared = multipliers[0][:0]
        for b, (own, block) in enumerate(zip(multipliers, blocks, strict=True)):
            H = block
            if carried is not None and shared.numel():
                places = torch.searchsorted(own, shared)
                H = block.clone()
                H[places[:, None], places] += carried
            later = multipliers[b + 1] if b + 1 < len(multipliers) else own[:0]
            stays = torch.isin(own, later)
            if bool(stays.any()):
                out, kept = (~stays).nonzero()[:, 0], stays.nonzero()[:, 0]
                factor = self._cholesky(H[out[:, None], out])
                below = torch.linalg.solve_triangular(factor, H[out[:, None], kept], upper=False)
                carried = H[kept[:, None], kept] - below.T @ below
            else:
                out, kept = torch.arange(len(own), device=own.device), own[:0]
                factor = self._cholesky(H)
                below = H[:, :0]
                carried = None
            shared = own[kept] if kept.numel() else own[:0]
            self.steps.append(_Step(own[out], shared, factor, below))

    def _cholesky(self, H: Tensor) -> Tensor:
        """The factor of H, its diagonal raised by a little when rounding makes it indefinite."""
        diagonal = H.diagonal()
        scale = diagonal.clamp(min=1e-300).rsqrt()
        unit = H * scale[:, None] * scale
        for raised in (0.0, 1e-14, 1e-12, 1e-10, 1e-8):
            factor, info = torch.linalg.cholesky_ex(
                unit + raised * torch.eye(len(H), dtype=H.dtype, device=H.device)
                if raised
                else unit
            )
            if int(info) == 0 and bool(torch.isfinite(factor.diagonal()).all()):
                unscaled: Tensor = factor / scale[:, None]
                return unscaled
        self.succeeded = False
        return torch.eye(len(H), dtype=H.dtype, device=H.device)

    def solve(self, right: Tensor) -> Tensor:
        """``H⁻¹ right`` for ``(m, r)`` right-hand sides."""
        x = right.clone()
        for step in self.steps:
            part = torch.linalg.solve_triangular(step.factor, x[step.eliminated], upper=False)
            x[step.eliminated] = part
            if step.kept.numel():
                x[step.kept] -= step.below.T @ part
        for step in reversed(self.steps):
            part = x[step.eliminated]
            if step.kept.numel():
                part = part - step.below @ x[step.kept]
            x[step.eliminated] = torch.linalg.solve_triangular(step.factor.T, part, upper=True)
        return x
