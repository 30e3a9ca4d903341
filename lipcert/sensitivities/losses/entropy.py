"""Cross-entropies of logits: softmax, and binary for each output."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from torch import Tensor
from torch.nn import functional as F

from lipcert.rounding import div_up, down, mul_up, sqrt_up, up
from lipcert.sensitivities.losses.conventions import (
    OUTPUT_REDUCTIONS,
    Temperature,
    root_of,
    temperature_named,
)
from lipcert.sensitivities.losses.labels import class_indices, signs
from lipcert.sensitivities.losses.loss import LOSSES, Loss, check_number
from lipcert.sensitivities.losses.pairwise import widest_pair_bound


@LOSSES.register("cross-entropy")
@dataclass(frozen=True, kw_only=True)
class CrossEntropy(Loss):
    """Softmax cross-entropy with targets ``t = (1−a)·e_y + a/K``, as PyTorch smooths them.

    With s the factor on z and g the gain of the convention, the gradient is ``g(p − t)``,
    ``p = softmax(sz)``.  A convex function of p is largest at a vertex e_j, and
    ``‖e_j − t‖² = 1 − 2t_j + ‖t‖²`` there at j ≠ y: ``2 − 2a + a²(1 − 1/K)`` (for a = 0: 2).

    Parameters
    ----------
    temperature : ``multiplies`` CE(τz), ``divides`` CE(z/τ), ``multiplies-normalised`` CE(τz)/τ.
    tau : τ.
    smoothing : a.
    """

    temperature: str = ""
    tau: float = 1.0
    smoothing: float = 0.0

    name = "cross-entropy"
    labels = "class indices (N,) or one-hot (N, K)"
    fewest_outputs = 2

    def __post_init__(self) -> None:
        check_number(self.place, "tau", self.tau, least=0.0, excluded=True)
        check_number(self.place, "smoothing", self.smoothing, least=0.0, below=1.0)
        _ = self._convention

    @property
    def _convention(self) -> Temperature:
        return temperature_named(self.temperature, self.tau, self.place)

    @property
    def formula(self) -> str:
        smoothed = f", targets (1−a)·one-hot + a/K with a = {self.smoothing:g}"
        return (
            f"softmax cross-entropy of logits, {self._convention.formula.format('CE')} with "
            f"τ = {self.tau:g}{smoothed if self.smoothing else ''}"
        )

    def _constant(self, outputs: int, output_bound: float) -> float:
        """With q = 1 − p_y and S = Σ_{j≠y} p_j²: ``‖p − t‖² = q² − 2aq + S + a²(1 − 1/K)``.

        All logits of a ball of radius R differ by √2·R at most, so with ``E = √2·sR``: q lies in
        [1 − M, m] and each p_j below ``M = 1/(1+(K−1)e^{−E})``, ``m = 1/(1+e^{−E}/(K−1))``, and
        ``S ≤ q·min(q, M)``.  The bound is convex in q on either side of M: the largest of its
        values at 1 − M, M and m.  Without smoothing it is ``m² + mM``, and for K = 2 it is exact.
        """
        a, others = Fraction(self.smoothing), outputs - 1
        spread = mul_up(sqrt_up(2.0), self._convention.slope_up(self.tau), output_bound)
        decay = _exp_down(-spread)
        m = min(1.0, div_up(1.0, down(1.0 + down(decay / others))))
        M = min(1.0, div_up(1.0, down(1.0 + down(decay * others))))
        least = 1 - Fraction(M)
        places = [least, max(least, min(Fraction(M), Fraction(m))), Fraction(m)]
        square = max(q * q - 2 * a * q + q * min(q, Fraction(M)) for q in places)
        square += a * a * Fraction(others, outputs)
        return mul_up(self._convention.gain_up(self.tau), _root_up(square))

    def _values(self, z: Tensor, labels: Tensor) -> Tensor:
        indices = class_indices(labels, z, self.place)
        inside = self._convention.inside(z, self.tau)
        values = F.cross_entropy(
            inside, indices, reduction="none", label_smoothing=float(self.smoothing)
        )
        return self._convention.outside(values, self.tau)

    def head_lipschitz(self, W: Tensor) -> float:
        """``g·max_{j≠y} ‖w_j − (1−a)w_y − a·w̄‖``, w̄ the mean row: the supremum over all h.

        The gradient is ``g·Wᵀ(p − t)``, convex in Wᵀp, hence largest at an extreme point w_j of
        the rows' hull, where it is that norm; and p tends to such a point along some ray of h.
        """
        pair = widest_pair_bound(W, smoothing=float(self.smoothing), place=self.place)
        return mul_up(self._convention.gain_up(self.tau), pair)


@LOSSES.register("binary-cross-entropy")
@dataclass(frozen=True, kw_only=True)
class BinaryCrossEntropy(Loss):
    """``−log σ(yz)`` of each output, y = ±1, summed or averaged over outputs.

    Slopes are ``−y·σ(−yz)``, below 1.  Where ‖z‖ ≤ R they are below σ(|z_k|), and as σ(√v)² is
    concave in v the norm is at most ``√K·σ(R/√K)``, attained.

    Parameters
    ----------
    temperature : ``multiplies`` BCE(τz), ``divides`` BCE(z/τ), ``multiplies-normalised`` BCE(τz)/τ.
    tau : τ.
    reduction : over outputs, ``sum`` or ``mean``.
    """

    temperature: str = ""
    tau: float = 1.0
    reduction: str = "sum"

    name = "binary-cross-entropy"
    labels = "±1 or 0/1 for each output, or class indices (one-vs-all)"

    def __post_init__(self) -> None:
        check_number(self.place, "tau", self.tau, least=0.0, excluded=True)
        _ = self._convention, OUTPUT_REDUCTIONS[self.reduction]

    @property
    def _convention(self) -> Temperature:
        return temperature_named(self.temperature, self.tau, self.place)

    @property
    def formula(self) -> str:
        return (
            f"binary cross-entropy of logits, {self._convention.formula.format('BCE')} with "
            f"τ = {self.tau:g}, {self.reduction} over outputs"
        )

    def _constant(self, outputs: int, output_bound: float) -> float:
        each = mul_up(
            self._convention.slope_up(self.tau), div_up(output_bound, _root_down(outputs))
        )
        slope = min(1.0, div_up(1.0, down(1.0 + _exp_down(-each))))
        reduction = OUTPUT_REDUCTIONS[self.reduction]
        return mul_up(self._convention.gain_up(self.tau), reduction.constant_up(outputs, slope))

    def _values(self, z: Tensor, labels: Tensor) -> Tensor:
        y = signs(labels, z, self.place)
        terms = -F.logsigmoid(y * self._convention.inside(z, self.tau))
        return self._convention.outside(OUTPUT_REDUCTIONS[self.reduction].reduce(terms), self.tau)


def _root_down(count: int) -> float:
    return down(down(root_of(count))) if count > 1 else 1.0


def _root_up(square: Fraction) -> float:
    """The least float64 found whose square is not below ``square``."""
    root = down(math.sqrt(float(square)))
    while Fraction(root) ** 2 < square:
        root = up(root)
    return root


def _exp_down(x: float) -> float:
    """Lower bound of e^x for x ≤ 0; the C library's is within two units in the last place."""
    value = math.exp(x)
    return value * (1.0 - 2.0**-50) if value > 1e-300 else 0.0
