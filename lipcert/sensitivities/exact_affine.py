"""The largest norm of ``W x + b`` on a ball, by the dual of a trust-region problem."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lipcert.operators import Dense
from lipcert.rounding import add_up, gamma, mul_up, sqrt_up, sub_down, up
from lipcert.sensitivities.tridiagonal import Tridiagonal, solved

Array = NDArray[np.float64]

MOST_SIDE = 256
"""Smaller side up to which the bound is found."""
MOST_ELEMENTS = 1 << 20
SMALL, LARGE = 1e-30, 1e30
"""Between these no square that matters under- or overflows."""
LEAST_EXCESS = 1e-11
"""The smallest t that is tried in λ = σ²(1 + t)."""
CLOSE = 1e-5
"""Relative distance of ‖u‖ to the radius at which the search ends: its square is what is lost."""
MOST_STEPS = 60


@dataclass(frozen=True, eq=False)
class AffineBall:
    """``‖W x + b‖`` on balls around the origin, for one matrix.

    For λ > σ₁², M = λI − WᵀW and c = Wᵀb: ``‖Wx + b‖² ≤ λ‖x‖² + ‖b‖² + cᵀM⁻¹c``, with equality
    at the best λ, where ``‖M⁻¹c‖ = ‖x‖``.  Whatever u approximates ``M⁻¹c``, with ρ = ‖c − Mu‖:
    ``cᵀM⁻¹c ≤ cᵀu + ‖u‖ρ + ρ²/(λ − σ₁²)``, so nothing is asked of the solver.

    Parameters
    ----------
    dense : the operator; it acts on each of its leading positions.
    sigma : a proven bound of its spectral norm.
    weight : its matrix ``(out, in)``.
    frobenius : a bound of the matrix's Frobenius norm.
    form : ``WᵀW``, or ``WWᵀ`` where W has fewer rows than columns.
    """

    dense: Dense
    sigma: float
    weight: Array
    frobenius: float
    form: Tridiagonal

    @staticmethod
    def of(dense: Dense, sigma: float) -> AffineBall | None:
        """None where the matrix is too large, zero or not finite."""
        if min(dense.weight.shape) > MOST_SIDE or dense.weight.numel() > MOST_ELEMENTS:
            return None
        if not SMALL < sigma < LARGE:
            return None
        weight = dense.weight.numpy()
        gram = weight @ weight.T if _is_wide(weight) else weight.T @ weight
        frobenius = float(np.linalg.norm(weight)) * (1.0 + 4.0 * gamma(weight.size + 4))
        return AffineBall(dense, sigma, weight, frobenius, Tridiagonal.of(gram))

    def bound(self, radius: float, shift: Tensor, *, below: float = math.inf) -> float:
        """Bound of ``‖W x + b‖`` for ``‖x‖ ≤ radius`` and b of the output's shape.

        Infinite where the numbers are out of range, and where it cannot be less than ``below``.
        """
        rows = shift.expand(self.dense.out_shape).reshape(-1, self.dense.out_shape[-1]).numpy()
        size = float(np.linalg.norm(rows))
        if not SMALL < size < LARGE or not SMALL < radius < LARGE:
            return math.inf
        if math.hypot(self.sigma * radius, size) * (1.0 - 1e-12) > below:
            return math.inf  # no bound here is less: λ is above σ²
        lam, y = self._best_multiplier(radius, rows)
        u = self.form.outward(y).T  # (positions, side)
        return self._proved(radius, rows, u @ self.weight if _is_wide(self.weight) else u, lam)

    def _best_multiplier(self, radius: float, rows: Array) -> tuple[float, Array]:
        """The λ that nearly minimises the bound, and M⁻¹c in the coordinates of ``form``.

        ``1/‖u(λ)‖`` is a power mean of the distances to the squared singular values, so concave:
        Newton's steps for ``1/‖u‖ = 1/radius`` climb to the solution from its left, where the
        first one from its right leads (Moré & Sorensen 1983).  For a wide W, ``u = Wᵀ(λ − WWᵀ)⁻¹b``
        and ``‖u‖² = yᵀTy``.
        """
        form, wide = self.form, _is_wide(self.weight)
        z = form.inward((rows if wide else rows @ self.weight).T)
        least = up(self.sigma**2 * (1.0 + LEAST_EXCESS))
        squared = float((z * (form.times(z) if wide else z)).sum())
        lam = max(least, self.sigma**2 + math.sqrt(max(squared, 0.0)) / radius)
        y = z
        for _ in range(MOST_STEPS):
            factor = form.factored(lam)
            y = solved(factor, z)
            image = form.times(y) if wide else y
            squared = float((y * image).sum())
            length = math.sqrt(max(squared, 0.0))
            slope = float((image * solved(factor, y)).sum())
            if abs(length - radius) <= CLOSE * radius or not slope > 0.0:
                break
            following = max(least, lam + squared / slope * (length - radius) / radius)
            if not following < LARGE * LARGE or following == lam:
                break
            lam = following
        return lam, y

    def _proved(self, radius: float, rows: Array, u: Array, lam: float) -> float:
        weight = self.weight
        sigma2 = mul_up(self.sigma, self.sigma)
        c = rows @ weight
        residual = c - (lam * u - (u @ weight.T) @ weight)
        slack = 1.0 + 4.0 * gamma(rows.size + u.size + 4)
        b, length, rho = (float(np.linalg.norm(part)) * slack for part in (rows, u, residual))
        each = gamma(2 * sum(weight.shape) + 16)
        off = mul_up(self.frobenius, b)
        rest = add_up(mul_up(self.frobenius, self.frobenius, length), mul_up(lam, length))
        rho = add_up(rho, mul_up(4.0, each, add_up(off, rest)))
        inner = float((c * u).sum())
        rounding = mul_up(gamma(u.size + weight.shape[0] + 8), off, length, 4.0)
        gap = sub_down(lam, sigma2)
        if not gap > 0.0:
            return math.inf
        quadratic = add_up(max(inner, 0.0), rounding, mul_up(length, rho), up(rho * rho / gap))
        total = add_up(mul_up(lam, radius, radius), mul_up(b, b), quadratic)
        return sqrt_up(total) if math.isfinite(total) else math.inf


def _is_wide(weight: Array) -> bool:
    rows, columns = weight.shape
    return bool(rows < columns)
