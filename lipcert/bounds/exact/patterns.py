"""One hidden layer, ``y = C φ(W x) + S x``: the steepest of all patterns of slopes.

Differences of outputs are ``(C D W + S)(x − x′)`` with a diagonal D whose entries lie in the slope
intervals [α_i, β_i].  The norm of an affine function of D is convex, so over that box it is largest
at a corner: the largest norm over all 2ⁿ corners is a bound for any elementwise φ, and the constant
itself where an input takes those slopes.

``M = C D W + S`` enters through ``M Mᵀ = C D K D Cᵀ + C D X + (C D X)ᵀ + S Sᵀ`` alone, where
``K = W Wᵀ`` and ``X = W Sᵀ``, so the number of inputs does not count; where there are fewer inputs
than outputs, ``Mᵀ M`` takes its place.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from lipcert.bounds.exact.absolute import ldexp_up
from lipcert.bounds.exact.halves import Quadratic, corner_bits, largest_corner
from lipcert.bounds.exact.hidden import HiddenLayer, size_up
from lipcert.rounding import add_up, gamma, mul_up, sqrt_up
from lipcert.spectral import NormSettings
from lipcert.spectral.eigenvalues import EIGENVALUE_BOUNDS
from lipcert.spectral.proof import proven_upper
from lipcert.spectral.tensors import power_of_two_scale

MOST_WORK = 4e10
"""Operations spent on all patterns of a layer of several outputs."""
CHUNK = 1 << 20
"""Elements of a batch of matrices."""


@dataclass(frozen=True)
class Steepest:
    """A bound of the norms of all patterns, and the slopes of one that comes close to it."""

    value: float
    slopes: Tensor


def steepest_pattern(layer: HiddenLayer, settings: NormSettings) -> Steepest | None:
    """A bound of ``‖C D W + S‖`` over all patterns D; None where there are too many of them."""
    busy = layer.busy
    squares = _Squares.of(layer.only(busy))
    if not math.isfinite(squares.error):
        return None
    find = _of_one_output if len(squares.outer) == 1 else _of_several_outputs
    found = find(squares, settings)
    if found is None:
        return None
    largest, corner = found
    root = sqrt_up(add_up(max(largest, 0.0), squares.error))
    slopes = layer.beta.clone()
    slopes[busy] = corner
    return Steepest(add_up(ldexp_up(root, squares.exponent), layer.stored_error), slopes)


@dataclass(frozen=True)
class _Squares:
    """What ``M Mᵀ`` is made of, in units of 4^exponent.

    Parameters
    ----------
    outer, gram, cross, base : C ``(m, n)``, K ``(n, n)``, X ``(n, m)``, ``S Sᵀ`` ``(m, m)``.
    alpha, beta : ends of the slope intervals, ``(n,)``.
    error : a bound of what rounding does to a square, in whatever order its terms are summed.
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
    def of(cls, layer: HiddenLayer) -> _Squares:
        """The squares of a layer, its matrices taken as they are.

        With ``T = max|D| ‖C‖ ‖W‖ + ‖S‖`` in Frobenius norms, the magnitudes of the terms of a
        square make a matrix of norm at most T², and fewer than ``inputs + 4n + 64`` roundings
        meet each of them.
        """
        outer, inner, skip = layer.outer.matrix, layer.inner.matrix, layer.skip.matrix
        if inner.shape[1] < len(outer):
            outer, inner, skip = inner.T, outer.T, skip.T
        ends = [_exponent(matrix) for matrix in (outer, inner, skip)]
        exponent = max(ends[0] + ends[1], ends[2]) if bool(skip.any()) else ends[0] + ends[1]
        outer, inner = _shifted(outer, exponent - ends[1]), _shifted(inner, ends[1])
        skip = _shifted(skip, exponent)
        total = add_up(mul_up(layer.steepest, size_up(outer), size_up(inner)), size_up(skip))
        sizes = inner.shape[1] + 4 * outer.shape[1] + 64
        underflow = mul_up(1e-290, float(sizes) ** 4, 1.0 + layer.steepest, 1.0 + layer.steepest)
        error = add_up(mul_up(gamma(sizes), total, total, 1.0 + 1e-9), underflow)
        products = inner @ inner.T, inner @ skip.T, skip @ skip.T
        return cls(outer, *products, layer.alpha, layer.beta, error, exponent)


def _exponent(matrix: Tensor) -> int:
    return math.frexp(power_of_two_scale(matrix))[1] - 1


def _shifted(matrix: Tensor, exponent: int) -> Tensor:
    """``matrix / 2^exponent`` without overflow on the way."""
    half = exponent // 2
    return matrix / 2.0**half / 2.0 ** (exponent - half)


def _of_one_output(squares: _Squares, settings: NormSettings) -> tuple[float, Tensor] | None:
    """A vector's square ``dᵀ Q d + 2 q·d + s`` with ``Q = (c cᵀ)∘K``."""
    gram = squares.outer.T * squares.gram * squares.outer
    linear = (squares.outer.T * squares.cross)[:, 0]
    found = largest_corner(Quadratic(gram, linear, squares.alpha, squares.beta), settings)
    return None if found is None else (found[0] + float(squares.base[0, 0]), found[1])


def _of_several_outputs(squares: _Squares, settings: NormSettings) -> tuple[float, Tensor] | None:
    """All patterns: those that one candidate covers, and an eigenvalue bound for the others."""
    m, n = (float(size) for size in squares.outer.shape)
    work = 2.0**n * (2.0 * m * n * n + 4.0 * m * m * n + 10.0 * m**3 + 1000.0)
    if work > MOST_WORK or not settings.leaves_time_for(work):
        return None
    best, candidate, steepest = 0.0, 0.0, squares.beta
    for slopes in _corners(squares):
        weighted = squares.outer * slopes[:, None, :]
        crossed = weighted @ squares.cross
        grams = weighted @ squares.gram @ weighted.mT + crossed + crossed.mT + squares.base
        grams = (grams + grams.mT) / 2.0
        if candidate > 0.0:
            bounds, proved = proven_upper(grams, candidate)
            best = max(best, float(bounds[proved].max()) if bool(proved.any()) else 0.0)
            grams, slopes = grams[~proved], slopes[~proved]
        if len(grams):
            best = max(best, EIGENVALUE_BOUNDS[settings.spectral](grams))
            largest = torch.linalg.eigvalsh(grams)[:, -1]
            candidate = float(largest.max()) * (1.0 + 1e-10)
            steepest = slopes[int(largest.argmax())]
    return best, steepest


def _corners(squares: _Squares) -> Iterator[Tensor]:
    """All rows of slopes, a batch at a time; the steep ones of most activations come first."""
    m, n = squares.outer.shape
    rows = max(1, CHUNK // (m * max(m, n, 1)))
    for stop in range(1 << n, 0, -rows):
        yield torch.where(corner_bits(n, max(0, stop - rows), stop), squares.beta, squares.alpha)
