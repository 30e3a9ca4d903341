"""One hidden layer, ``y = C φ(W x) + S x``: the steepest of all patterns of slopes.

Differences of outputs are ``(C D W + S)(x − x′)`` with a diagonal D whose entries lie in the slope
intervals [α_i, β_i].  The norm of an affine function of D is convex, so its maximum over the box is
taken at a corner: the largest norm over all 2^n corners is a bound of any elementwise φ, and the
constant itself where an input takes those slopes.

``M_D = C D W + S`` enters through ``M_D M_Dᵀ = C D K D Cᵀ + C D X + (C D X)ᵀ + S Sᵀ`` alone, with
``K = W Wᵀ`` and ``X = W Sᵀ``, so the number of inputs does not count.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lipcert.bounds.rows import Rows
from lipcert.bounds.signed import ldexp_up
from lipcert.rounding import add_up, gamma, mul_up, sqrt_up
from lipcert.spectral import NormSettings
from lipcert.spectral.eigenvalues import EIGENVALUE_BOUNDS
from lipcert.spectral.proof import proven_upper
from lipcert.spectral.tensors import frobenius_up, power_of_two_scale

MOST_NEURONS = 36
"""Neurons up to which the patterns of one output are gone through, in two halves."""
MOST_WORK = 5e9
"""Operations spent on all patterns of one layer."""
CHUNK = 1 << 21
"""Elements of a batch of matrices."""
STARTS = 30
"""Starts of the search for a first steep pattern."""


@dataclass(frozen=True)
class HiddenLayer:
    """``C φ(W x) + S x`` with slopes of φ in [alpha, beta], each matrix with its error.

    Parameters
    ----------
    outer, inner, skip : C ``(m, n)``, W ``(n, inputs)``, S ``(m, inputs)``.
    alpha, beta : ends of each neuron's slope interval, ``(n,)``.
    """

    outer: Rows
    inner: Rows
    skip: Rows
    alpha: Tensor
    beta: Tensor

    @property
    def steepest(self) -> Tensor:
        """The largest magnitude of each neuron's slope."""
        return torch.maximum(self.alpha.abs(), self.beta.abs())

    def without_idle(self) -> HiddenLayer:
        """Without the neurons whose row or column is zero: they contribute to the error alone."""
        kept = self.outer.matrix.any(0) & self.inner.matrix.any(1)
        return HiddenLayer(
            Rows(self.outer.matrix[:, kept], self.outer.error),
            Rows(self.inner.matrix[kept], self.inner.error),
            self.skip,
            self.alpha[kept],
            self.beta[kept],
        )

    def difference(self, i: int, j: int) -> HiddenLayer:
        """``y_i − y_j`` as the only output."""
        return replace(self, outer=_difference(self.outer, i, j), skip=_difference(self.skip, i, j))

    def jacobian(self, pattern: Tensor) -> Tensor:
        """``C D W + S`` for slopes ``pattern``, up to rounding."""
        return (self.outer.matrix * pattern) @ self.inner.matrix + self.skip.matrix


def _difference(rows: Rows, i: int, j: int) -> Rows:
    row = (rows.matrix[i] - rows.matrix[j])[None]
    rounding = mul_up(2.0**-52, size_up(row))
    return Rows(row, add_up(mul_up(rows.error, 1.4142135623730952), rounding))


def size_up(matrix: Tensor) -> float:
    """A bound of the Frobenius norm, without over- or underflow of the squares."""
    scale = power_of_two_scale(matrix)
    return mul_up(float(frobenius_up((matrix / scale)[None])), scale)


@dataclass(frozen=True)
class Steepest:
    """A bound of the norms of all patterns, and the slopes of a pattern that comes close to it."""

    value: float
    pattern: Tensor


def steepest_pattern(layer: HiddenLayer, settings: NormSettings) -> Steepest | None:
    """A bound of ``‖C D W + S‖`` over all patterns D; None where there are too many of them."""
    error = _stored_error(layer)
    layer = layer.without_idle()
    parts = _QuadraticParts.of(layer)
    if not math.isfinite(parts.error):
        return None
    if parts.side == 1:
        found = _of_one_output(parts, settings)
    elif parts.work <= MOST_WORK and settings.leaves_time_for(parts.work):
        found = _of_several_outputs(parts, settings)
    else:
        return None
    if found is None:
        return None
    square, pattern = found
    value = ldexp_up(sqrt_up(add_up(max(square, 0.0), parts.error)), parts.exponent)
    return Steepest(add_up(value, error), pattern)


def _stored_error(layer: HiddenLayer) -> float:
    """What the errors of the matrices add to the norm of any pattern."""
    steep = float(layer.steepest.max()) if layer.steepest.numel() else 0.0
    outer, inner = layer.outer, layer.inner
    crossed = add_up(
        mul_up(size_up(outer.matrix), inner.error),
        mul_up(outer.error, size_up(inner.matrix)),
        mul_up(outer.error, inner.error),
    )
    return add_up(mul_up(steep, crossed), layer.skip.error)


@dataclass(frozen=True)
class _QuadraticParts:
    """What the squares ``M_D M_Dᵀ`` (or ``M_Dᵀ M_D``, if smaller) are made of, in units of 4^exponent.

    Parameters
    ----------
    outer : C ``(m, n)``.
    gram : K ``(n, n)``.
    cross : X ``(n, m)``.
    base : ``S Sᵀ`` ``(m, m)``.
    error : a bound of what rounding does to any such square, however its terms are summed.
    """

    outer: Tensor
    gram: Tensor
    cross: Tensor
    base: Tensor
    alpha: Tensor
    beta: Tensor
    error: float
    exponent: int

    @classmethod
    def of(cls, layer: HiddenLayer) -> _QuadraticParts:
        """Scaled by powers of two, seen from the outputs or from the inputs.

        With ``T = max|D| ‖C‖_F ‖W‖_F + ‖S‖_F`` the terms of a square add up to at most T² in
        magnitude, each of them a product that meets fewer than ``inputs + 4 n + 64`` roundings.
        """
        outer, inner, skip = layer.outer.matrix, layer.inner.matrix, layer.skip.matrix
        if inner.shape[1] < outer.shape[0]:
            outer, inner, skip = inner.T, outer.T, skip.T
        scales = power_of_two_scale(outer), power_of_two_scale(inner)
        own = _exponent(scales[0]) + _exponent(scales[1])
        exponent = max(own, _exponent(power_of_two_scale(skip))) if bool(skip.any()) else own
        outer = outer / scales[0] * math.ldexp(1.0, max(own - exponent, -1074))
        inner, skip = inner / scales[1], skip / math.ldexp(1.0, max(min(exponent, 1000), -1000))
        steep = float(layer.steepest.max()) if layer.steepest.numel() else 0.0
        total = add_up(mul_up(steep, size_up(outer), size_up(inner)), size_up(skip))
        count = outer.shape[1]
        lost = mul_up(1e-290, float((inner.shape[1] + count + 64) ** 3), 1.0 + steep, 1.0 + steep)
        error = add_up(mul_up(gamma(inner.shape[1] + 4 * count + 64), total, total, 1.0001), lost)
        return cls(
            outer, inner @ inner.T, inner @ skip.T, skip @ skip.T,
            layer.alpha, layer.beta, error, exponent,
        )  # fmt: skip

    @property
    def side(self) -> int:
        """The side of a square."""
        return len(self.outer)

    @property
    def work(self) -> float:
        """Operations that go through all patterns, the eigenvalue proof of each included."""
        m, n = float(self.side), float(len(self.alpha))
        return 2.0**n * (2.0 * m * n * n + 4.0 * m * m * n + 10.0 * m**3 + 1000.0)

    def slopes(self, bits: Tensor) -> Tensor:
        """Patterns from rows of bits."""
        return torch.where(bits, self.beta, self.alpha)


def _exponent(scale: float) -> int:
    return math.frexp(scale)[1] - 1


# --- several outputs -----------------------------------------------------------------------------


def _of_several_outputs(
    parts: _QuadraticParts, settings: NormSettings
) -> tuple[float, Tensor]:
    """All patterns: those no candidate of a single proof covers get an eigenvalue bound."""
    best, candidate = 0.0, 0.0
    pattern = parts.beta
    for bits in _patterns(len(parts.alpha), CHUNK // max(1, parts.side * len(parts.alpha))):
        slopes = parts.slopes(bits)
        weighted = parts.outer * slopes[:, None, :]
        cross = weighted @ parts.cross
        squares = weighted @ parts.gram @ weighted.mT + cross + cross.mT + parts.base
        squares = (squares + squares.mT) / 2.0
        if candidate > 0.0:
            bounds, proved = proven_upper(squares, candidate)
            best = max(best, float(bounds[proved].max()) if bool(proved.any()) else 0.0)
            squares, slopes = squares[~proved], slopes[~proved]
        if len(squares):
            best = max(best, EIGENVALUE_BOUNDS[settings.spectral](squares))
            values = torch.linalg.eigvalsh(squares)[:, -1]
            pattern = slopes[int(values.argmax())]
            candidate = float(values.max()) * (1.0 + 1e-10)
    return best, pattern


def _patterns(neurons: int, rows: int) -> Iterator[Tensor]:
    """All rows of bits, some at a time, those with most bits set first."""
    places = torch.arange(neurons)
    for stop in range(1 << neurons, 0, -max(1, rows)):
        numbers = torch.arange(max(0, stop - max(1, rows)), stop)
        yield ((numbers[:, None] >> places) & 1).bool()


# --- one output ----------------------------------------------------------------------------------


def _of_one_output(parts: _QuadraticParts, settings: NormSettings) -> tuple[float, Tensor] | None:
    """The largest ``dᵀ Q d + 2 q·d + s``: patterns of two halves, few pairs of which are left.

    With the first half fixed, the rest adds at most its own largest value and, neuron by neuron,
    the larger of two products; a pattern that does not reach the steepest one known is dropped.
    """
    n = len(parts.alpha)
    if n > MOST_NEURONS:
        return None
    gram = parts.outer.T * parts.gram * parts.outer
    linear = (parts.outer.T * parts.cross)[:, 0]
    order = (gram.diagonal() * torch.maximum(parts.alpha**2, parts.beta**2)).argsort(descending=True)
    gram, linear = gram[order][:, order], linear[order]
    ends = parts.alpha[order], parts.beta[order]
    first, best = _ascent(gram, linear, ends)
    half = n // 2
    if not settings.leaves_time_for(40.0 * 2.0 ** (n - half) * (n + 1)):
        return None
    left, right = (_half(gram, linear, ends, part) for part in (slice(0, half), slice(half, n)))
    left_kept = left.reaching(best, right)
    right_kept = right.reaching(best, left)
    work = 2.0 * len(left_kept) * len(right_kept) * (n - half)
    if work > MOST_WORK or not settings.leaves_time_for(work):
        return None
    for rows in left_kept.split(max(1, CHUNK // max(1, len(right_kept)))):
        if not len(right_kept):
            break
        values = left.joint[rows] @ right.slopes[right_kept].T
        values += left.value[rows][:, None] + right.value[right_kept]
        if float(values.max()) > best:
            i, j = divmod(int(values.argmax()), values.shape[1])
            best = float(values[i, j])
            first = torch.cat((left.slopes[rows[i]], right.slopes[right_kept[j]]))
    pattern = torch.empty_like(first)
    pattern[order] = first
    return best + float(parts.base[0, 0]), pattern


@dataclass(frozen=True)
class _Half:
    """Patterns of half of the neurons: slopes, values on their own, products with the others."""

    slopes: Tensor
    value: Tensor
    joint: Tensor
    others: tuple[Tensor, Tensor]

    def reaching(self, best: float, other: _Half) -> Tensor:
        """The patterns with which some pattern of the other half may reach ``best``."""
        low, high = self.others
        gain = torch.maximum(self.joint * low, self.joint * high).sum(1)
        return (self.value + gain + other.value.max() >= best).nonzero()[:, 0]


def _half(gram: Tensor, linear: Tensor, ends: tuple[Tensor, Tensor], part: slice) -> _Half:
    (bits,) = _patterns(part.stop - part.start, 1 << MOST_NEURONS)
    outside = torch.ones(len(linear), dtype=torch.bool)
    outside[part] = False
    low, high = ends
    slopes = torch.where(bits, high[part], low[part])
    value = ((slopes @ gram[part, part]) * slopes).sum(1) + 2.0 * (slopes @ linear[part])
    joint = 2.0 * (slopes @ gram[part][:, outside])
    return _Half(slopes, value, joint, (low[outside], high[outside]))


def _ascent(
    gram: Tensor, linear: Tensor, ends: tuple[Tensor, Tensor]
) -> tuple[Tensor, float]:
    """A steep pattern, by changing one slope at a time from several starts."""
    low, high = ends
    generator = torch.Generator().manual_seed(0)
    best, best_value = high, -math.inf
    for _ in range(STARTS):
        bits = torch.rand(len(low), generator=generator) > 0.5
        slopes = torch.where(bits, high, low)
        for _ in range(4 * len(low)):
            step = low + high - slopes - slopes
            gain = step * (2.0 * (gram @ slopes) + 2.0 * linear + step * gram.diagonal())
            if not len(gain) or float(gain.max()) <= 1e-13 * float(gain.abs().max()):
                break
            k = int(gain.argmax())
            slopes[k] = high[k] if slopes[k] == low[k] else low[k]
        value = float(slopes @ gram @ slopes + 2.0 * (linear @ slopes))
        if value > best_value:
            best, best_value = slopes, value
    return best, best_value
