"""Outward rounding: float64 arithmetic whose results are never on the wrong side of the truth.

IEEE-754 addition, multiplication, division and square root round to nearest, so the exact result
lies within one neighbour of the computed one: stepping to that neighbour gives a bound.  Sums of
many terms computed by BLAS are covered by ``gamma`` (Higham 2002, Lemma 3.1), valid for any order
of summation, with or without fused multiply-add.
"""

from __future__ import annotations

import math
from functools import lru_cache
from math import inf, nextafter

UNIT_ROUNDOFF = 2.0**-53
SMALLEST_NORMAL = 2.0**-1022
"""Bounds the error of one underflowing operation, gradual or flushed to zero."""


def up(x: float) -> float:
    """The float64 neighbour above ``x``."""
    return math.nextafter(x, math.inf)


def down(x: float) -> float:
    """The float64 neighbour below ``x``."""
    return math.nextafter(x, -math.inf)


def add_up(*terms: float) -> float:
    """Upper bound of the sum of ``terms``."""
    total = 0.0
    for term in terms:
        exact = total == 0.0 or term == 0.0
        total = total + term if exact else nextafter(total + term, inf)
    return total


def sub_down(a: float, b: float) -> float:
    """Lower bound of ``a - b``."""
    return down(a - b) if b != 0.0 else a


def mul_up(*factors: float) -> float:
    """Upper bound of the product of non-negative ``factors``; zero annihilates infinity."""
    if 0.0 in factors:
        return math.nan if any(math.isnan(factor) for factor in factors) else 0.0
    product = 1.0
    for factor in factors:
        exact = product == 1.0 or factor == 1.0
        product = product * factor if exact else nextafter(product * factor, inf)
    return product


def div_up(a: float, b: float) -> float:
    """Upper bound of ``a / b`` for ``a >= 0``, ``b > 0``."""
    return up(a / b) if a != 0.0 else 0.0


def div_down(a: float, b: float) -> float:
    """Lower bound of ``a / b`` for ``a >= 0``, ``b > 0``, not below zero."""
    return max(0.0, down(a / b))


def sqrt_up(x: float) -> float:
    """Upper bound of the square root of ``x >= 0``; not a number stays so."""
    return 0.0 if x <= 0.0 else up(math.sqrt(x))


def root_up(x: float, doublings: int) -> float:
    """Upper bound of ``x ** (1 / 2**doublings)`` for ``x >= 0``, by repeated square roots."""
    for _ in range(doublings):
        x = sqrt_up(x)
    return x


def hypot_up(*terms: float) -> float:
    """Upper bound of the l2 norm of ``terms``, without overflow of the squares."""
    largest = max((abs(term) for term in terms), default=0.0)
    if largest == 0.0 or math.isinf(largest):
        return largest
    if sum(1 for term in terms if term) == 1:
        return largest
    total = 0.0
    for term in terms:
        ratio = div_up(abs(term), largest)
        total = add_up(total, mul_up(ratio, ratio))
    return mul_up(largest, sqrt_up(total))


@lru_cache(maxsize=1024)
def gamma(n: int) -> float:
    """Upper bound of nu/(1 - nu): the relative error of n roundings (Higham 2002, Lemma 3.1)."""
    if n == 0:
        return 0.0
    nu = up(n * UNIT_ROUNDOFF)
    if nu >= 0.5:
        return math.inf
    return up(nu / down(1.0 - nu))


def power_of_two_below(x: float) -> float:
    """The largest power of two not above ``x > 0``: scaling by it is exact."""
    return math.ldexp(1.0, max(-1021, math.frexp(x)[1] - 1))
