"""Positive semidefinite matrices, proved in integers from a factor that need not be trusted."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .exact import Integers, add, lengths, mul, power, product, shifted, times

PLACES = 52
"""Entries of scaled matrices, at most about 2, count in units of ``2^-52``."""
FACTOR_PLACES = 50
SUM_BITS = 60


class Refuted(Exception):
    """An inequality that a proof rests on does not hold with the evidence that it gives."""


@dataclass(frozen=True, eq=False)
class Scaled:
    """``K`` in units of ``2^-52``, ``(..., n, m)``, each true matrix within ``off`` of it (l2)."""

    K: Integers
    off: float


def prove_contraction(
    scaled: Scaled, squares: list[int], factor: Integers | None, what: str
) -> None:
    """``diag(squares)·2^-104 − K Kᵀ ⪰ 0`` for every true K.  Raises Refuted.

    With any integer matrix R, ``P − R Rᵀ = D`` exactly; where D is diagonally dominant by more
    than what rounding left out, P is positive semidefinite.  ``factor`` is R in units of
    ``2^-50``; without one a floating-point Cholesky factor is tried.

    Parameters
    ----------
    squares : for each of the n rows.
    """
    K = scaled.K
    turned = np.swapaxes(K, -1, -2)
    gram, shift, units = product(K, turned, symmetric=True, bits=SUM_BITS, room=max(squares))
    exponent = shift - 2 * PLACES
    n = gram.shape[-1]
    place = np.arange(n)
    P = -gram
    P[..., place, place] += np.array([square >> shift for square in squares], dtype=np.int64)
    size = float(lengths(K.reshape(*K.shape[:-2], -1), -PLACES).max(initial=0.0))
    wide = add(mul(2.0, size, scaled.off), mul(scaled.off, scaled.off))
    if factor is None:
        slack = 2.0 * float(wide) + math.ldexp(n * (units + 8.0), exponent)
        factor = _guess(P, exponent, slack + n**1.5 * 2.0**-FACTOR_PLACES, what)
    if factor.shape != P.shape:
        raise Refuted(f"{what}: the factor is not of side {n}")
    own, own_shift, own_units = product(
        factor, np.swapaxes(factor, -1, -2), symmetric=True, bits=SUM_BITS, room=max(squares)
    )
    own_exponent = own_shift - 2 * FACTOR_PLACES
    common = max(exponent, own_exponent)
    D = shifted(P, exponent - common) - shifted(own, own_exponent - common)
    diagonal = D[..., place, place].astype(np.float64)
    sums = np.abs(D.astype(np.float64)).sum(-1) - np.abs(diagonal)
    sums = mul(np.maximum(sums, 0.0), 1.0 + 2.0**-40) + np.abs(diagonal) * 2.0**-40
    lost = add(mul(n, float(units + own_units + 3)), mul(wide, power(-common)))
    least = float((diagonal - sums).min(initial=math.inf))
    if not least >= float(add(lost, mul(abs(least), 2.0**-50))):
        raise Refuted(
            f"{what}: the difference of the matrix and its factor is not diagonally dominant "
            f"(by {math.ldexp(least - lost, common):.3g})"
        )


def _guess(P: Integers, exponent: int, slack: float, what: str) -> Integers:
    """A Cholesky factor of ``P − slack·I`` in floating point, rounded.

    Raises Refuted where there is none.
    """
    near = np.ldexp(P.astype(np.float64), exponent)
    place = np.arange(P.shape[-1])
    near[..., place, place] -= slack
    try:
        return rounded_factor(np.linalg.cholesky(near))
    except np.linalg.LinAlgError as error:
        raise Refuted(f"{what}: the matrix is not positive definite by {slack:.2g}") from error


def rounded_factor(factor: NDArray[Any]) -> Integers:
    """A factor in units of ``2^-50``."""
    whole: Integers = np.rint(np.ldexp(factor, FACTOR_PLACES)).astype(np.int64)
    return whole


def scaled_rows(
    mantissa: Integers, exponents: Integers, factors: Integers, own: Integers
) -> tuple[Integers, float]:
    """``mantissa[.., i, j]·2^exponents[i]·factors[j]·2^own[j]`` in units of ``2^-52``.

    Returns the integers and a bound of what rounding them left out (Frobenius norm).
    """
    values, shift, units = times(mantissa, factors)
    by = np.broadcast_to(exponents[:, None] + own + (shift + PLACES), values.shape)
    near = np.clip(by, -1000, 500)
    if not (np.ldexp(np.abs(values.astype(np.float64)), near) < 2.0 ** (PLACES + 3)).all():
        raise Refuted("an entry of a scaled matrix is larger than its row allows")
    left = np.where(by >= 0, values << np.clip(by, 0, 62), values >> np.clip(-by, 0, 63))
    worst = np.ldexp(float(units), near) + 1.0
    return left, float(mul(np.sqrt(np.square(worst).sum()), 1.0 + 2.0**-40, power(-PLACES)))
