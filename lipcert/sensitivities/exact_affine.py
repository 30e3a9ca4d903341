"""The largest norm of ``W x + b`` on a ball, by the dual of a trust-region problem."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lipcert.operators import Dense
from lipcert.rounding import add_up, gamma, mul_up, sqrt_up, sub_down, up

MOST_SIDE = 256
"""Smaller side up to which the singular values are computed."""
MOST_ELEMENTS = 1 << 20
GRID = 33
"""Multipliers tried at once."""
SMALL, LARGE = 1e-30, 1e30
"""Between these no square that matters under- or overflows."""


@dataclass(frozen=True, eq=False)
class AffineBall:
    """``‖W x + b‖`` on balls around the origin, for one matrix.

    For λ > σ₁², M = λI − WᵀW and c = Wᵀb: ``‖Wx + b‖² ≤ λ‖x‖² + ‖b‖² + cᵀM⁻¹c``, with equality
    at the best λ.  Whatever u approximates ``M⁻¹c``, with ρ = ‖c − Mu‖:
    ``cᵀM⁻¹c ≤ cᵀu + ‖u‖ρ + ρ²/(λ − σ₁²)``, so nothing is asked of the singular values.

    Parameters
    ----------
    dense : the operator; it acts on each of its leading positions.
    sigma : a proven bound of its spectral norm.
    """

    dense: Dense
    sigma: float
    left: Tensor
    values: Tensor
    right: Tensor

    @staticmethod
    def of(dense: Dense, sigma: float) -> AffineBall | None:
        """None where the matrix is too large, zero or not finite."""
        weight = dense.weight
        if min(weight.shape) > MOST_SIDE or weight.numel() > MOST_ELEMENTS:
            return None
        if not SMALL < sigma < LARGE:
            return None
        left, values, right = torch.linalg.svd(weight, full_matrices=False)
        return AffineBall(dense, sigma, left, values, right)

    def bound(self, radius: float, shift: Tensor) -> float:
        """Bound of ``‖W x + b‖`` for ``‖x‖ ≤ radius`` and b of the output's shape.

        Infinite where the numbers are out of range.
        """
        rows = shift.expand(self.dense.out_shape).reshape(-1, self.dense.out_shape[-1])
        size = float(torch.linalg.vector_norm(rows))
        if not SMALL < size < LARGE or not SMALL < radius < LARGE:
            return math.inf
        coefficients = rows @ self.left  # (positions, singular values)
        excess = self._best_excess(radius, coefficients.square().sum(0))
        return self._proved(radius, rows, coefficients, excess)

    def _best_excess(self, radius: float, squares: Tensor) -> float:
        """The t that nearly minimises the bound for λ = σ²(1 + t)."""
        s2 = self.values.square().numpy()
        square_of_sigma, weights = self.sigma**2, squares.numpy()

        low, high = math.log(1e-11), math.log(1e9)
        for _ in range(5):  # the bound is convex in λ, so its least value is between neighbours
            logs = np.linspace(low, high, GRID)
            lam = square_of_sigma * (1.0 + np.exp(logs))
            gaps = np.maximum(lam[:, None] - s2, 1e-300)
            place = int(np.argmin(lam * radius**2 + (weights * s2 / gaps).sum(1)))
            low, high = float(logs[max(0, place - 1)]), float(logs[min(GRID - 1, place + 1)])
        return math.exp((low + high) / 2.0)

    def _proved(self, radius: float, rows: Tensor, coefficients: Tensor, excess: float) -> float:
        weight = self.dense.weight
        sigma2 = mul_up(self.sigma, self.sigma)
        lam = up(sigma2 * (1.0 + excess))
        u = (coefficients * (self.values / (lam - self.values.square()).clamp(min=1e-300))) @ (
            self.right
        )
        c = rows @ weight
        residual = c - (lam * u - (u @ weight.T) @ weight)
        slack = 1.0 + 4.0 * gamma(rows.numel() + u.numel() + 4)
        norms = [float(torch.linalg.vector_norm(t)) * slack for t in (rows, u, weight, residual)]
        b, length, frobenius, rho = norms
        each = gamma(2 * sum(weight.shape) + 16)
        off = mul_up(frobenius, b)
        rest = add_up(mul_up(frobenius, frobenius, length), mul_up(lam, length))
        rho = add_up(rho, mul_up(4.0, each, add_up(off, rest)))
        inner = float((c * u).sum())
        rounding = mul_up(gamma(u.numel() + weight.shape[0] + 8), off, length, 4.0)
        gap = sub_down(lam, sigma2)
        if not gap > 0.0:
            return math.inf
        quadratic = add_up(max(inner, 0.0), rounding, mul_up(length, rho), up(rho * rho / gap))
        total = add_up(mul_up(lam, radius, radius), mul_up(b, b), quadratic)
        return sqrt_up(total) if math.isfinite(total) else math.inf
