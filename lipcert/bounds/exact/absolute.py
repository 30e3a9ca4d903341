"""Products of the absolute values of a chain's weights.

For slopes ``|D_k| ≤ ℓ_k`` and any matrices, entry by entry,

    |A_L D_{L−1} A_{L−1} … D_1 A_1| ≤ |A_L| ℓ_{L−1} |A_{L−1}| … ℓ_1 |A_1| = P,

so ``|f(x) − f(y)| ≤ P |x − y|`` and ``‖P‖`` is a bound of every chain.  With signs S_k = ±1 of
inputs, neurons and outputs such that ``A_k = S_k |A_k| S_{k−1}``, the Jacobian whose slopes are all
ℓ is ``S_L P S_0``, of norm ‖P‖: where some input takes these slopes, the bound is the constant.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from lipcert.bounds.rows import Rows
from lipcert.operators import Dense
from lipcert.rounding import SMALLEST_NORMAL, add_up, div_up, gamma, mul_up, sqrt_up
from lipcert.spectral import NormSettings, spectral_norm_bound
from lipcert.spectral.tensors import frobenius_up, power_of_two_scale


@dataclass(frozen=True)
class AbsoluteProduct:
    """``|A_k| ℓ … ℓ_1 |A_1|`` as ``2^exponent · matrix``, the matrices known up to an error each.

    The true product is, entry by entry, at most ``(1 + γ_roundings) · matrix`` plus something
    whose spectral norm is at most ``error``.
    """

    matrix: Tensor
    error: float
    exponent: int = 0
    roundings: int = 0

    @classmethod
    def of(cls, rows: Rows) -> AbsoluteProduct:
        """The product of one matrix."""
        return cls(rows.matrix.abs(), rows.error)._rescaled()

    def times(self, slopes: Tensor, rows: Rows) -> AbsoluteProduct:
        """``|rows| · slopes · this``."""
        scale = power_of_two_scale(rows.matrix)
        outer, own = rows.matrix.abs() / scale, div_up(rows.error, scale)
        steep = float(slopes.max()) if slopes.numel() else 0.0
        matrix = outer @ (slopes[:, None] * self.matrix)
        count = self.roundings + outer.shape[1] + 2
        inner = add_up(self.size, self.error)
        # what is lost by underflow: two products, and the division of an entry by the scale
        lost = SMALLEST_NORMAL * 4.0 * (1.0 + steep) * (1.0 + float(self.matrix.numel()))
        lost = mul_up(lost, float(outer.shape[1] * max(matrix.numel(), 1)), max(1.0, self.size))
        error = add_up(mul_up(_schur(outer), steep, self.error), mul_up(own, steep, inner), lost)
        exponent = self.exponent + math.frexp(scale)[1] - 1
        return AbsoluteProduct(matrix, error, exponent, count)._rescaled()

    def _rescaled(self) -> AbsoluteProduct:
        scale = power_of_two_scale(self.matrix)
        lost = SMALLEST_NORMAL * max(1, self.matrix.numel())
        exponent = self.exponent + math.frexp(scale)[1] - 1
        error = add_up(div_up(self.error, scale), lost)
        return AbsoluteProduct(self.matrix / scale, error, exponent, self.roundings)

    @property
    def slack(self) -> float:
        """A factor that covers the roundings of every entry."""
        return 1.0 + 2.0 * gamma(self.roundings + 4)

    @property
    def size(self) -> float:
        """A bound of the norm of the product without its error."""
        return mul_up(float(frobenius_up(self.matrix[None])), self.slack)

    def row_bounds(self) -> list[float]:
        """Bounds of the norms of the rows of the true product."""
        norms = frobenius_up(self.matrix[:, None, :]).tolist()
        return [
            ldexp_up(add_up(mul_up(norm, self.slack), self.error), self.exponent) for norm in norms
        ]

    def norm_bound(self, settings: NormSettings) -> float:
        """A bound of the norm of the true product."""
        norm = spectral_norm_bound(Dense(self.matrix), settings).value
        return ldexp_up(add_up(mul_up(norm, self.slack), self.error), self.exponent)


def _schur(matrix: Tensor) -> float:
    """A bound of the spectral norm of a nonnegative matrix: the root of its largest sums."""
    if not matrix.numel():
        return 0.0
    slack = 1.0 + 4.0 * gamma(sum(matrix.shape))
    largest = (float(matrix.sum(axis).max()) for axis in (0, 1))
    columns, rows = (mul_up(total, slack) for total in largest)
    return mul_up(sqrt_up(columns), sqrt_up(rows))


def ldexp_up(value: float, exponent: int) -> float:
    """An upper bound of ``value · 2^exponent`` for ``value ≥ 0``."""
    if value == 0.0 or not math.isfinite(value):
        return value
    try:
        product = math.ldexp(value, exponent)
    except OverflowError:
        return math.inf
    return product if product >= SMALLEST_NORMAL else math.nextafter(product, math.inf)
