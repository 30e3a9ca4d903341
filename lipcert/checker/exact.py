"""Exact arithmetic on integer matrices, with what is left out of them bounded.

Integers are split into digits so small that every sum of products of two digits is an integer of
at most 2^53, which float64 holds exactly in whatever order a library adds: fast floating-point
products of digits are exact integer products.  Bounds of what is left out ("radii") are float64,
every operation on them rounded upward.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

Product = tuple[Integers, int, int]
"""Integers, the power of two that they count, and how many units their errors stay below."""

BITS = 56
"""Size of the integers kept: sums of 64 of them stay below 2^62."""
SQUARES = 8
"""How often matrices are squared for their norms: n rows make them too large by n^(1/512)."""


class CheckError(Exception):
    """The check cannot be carried out; nothing is refuted by that."""


def up(value: Any) -> Any:
    """The next float64 above."""
    return np.nextafter(value, np.inf)


def add(first: Any, *rest: Any) -> Any:
    """A sum of non-negative numbers or arrays, each addition rounded upward."""
    for value in rest:
        first = up(first + value)
    return first


def mul(first: Any, *rest: Any) -> Any:
    """A product of non-negative numbers or arrays, each multiplication rounded upward."""
    for value in rest:
        first = up(first * value)
    return first


def root(value: Any) -> Any:
    """A square root rounded upward."""
    return up(np.sqrt(value))


def length(values: Floats) -> Any:
    """l2 norms over the last axis, rounded upward; squares that underflow are less than 2^-480."""
    slack = 1.0 + (values.shape[-1] + 8) * 2.0**-51
    with np.errstate(over="ignore", under="ignore"):
        return add(mul(np.sqrt(np.square(values).sum(-1)), slack), 2.0**-480 * values.any(-1))


def norm(values: Floats) -> float:
    """A bound of the l2 norm of all numbers."""
    return float(length(values.reshape(-1)))


def by_squares(B: Floats, times: int = SQUARES) -> float:
    """A bound of the largest spectral norm of matrices ``(B, m, n)``, upward.

    ``‖B‖ = ‖BBᵀ‖^{1/2}`` again and again, and the Frobenius norm at last (Gram iteration, Delattre
    et al. 2023).  Products are off by at most ``γ_n‖B‖_F²``, in whatever order they add.
    """
    size = float(length(B.reshape(len(B), -1)).max())
    if not times or not 2.0**-400 < size < 2.0**400:
        return size
    exponent = math.frexp(size)[1]
    B = np.ldexp(B, -exponent)
    off = (B.shape[2] + 8) * 2.0**-52 + 2.0**-400
    return float(mul(root(add(by_squares(B @ B.swapaxes(1, 2), times - 1), off)), 2.0**exponent))


def up_ratio(value: Fraction) -> float:
    """A rational as float64, rounded upward."""
    near = float(value)
    return near if Fraction(near) >= value else math.nextafter(near, math.inf)


def power(exponent: int) -> float:
    """``2^exponent``, rounded upward where float64 does not reach."""
    if exponent > 1023:
        return math.inf
    return math.ldexp(1.0, max(exponent, -1074))


def lengths(mantissa: Integers, exponent: int) -> Any:
    """Bounds of the l2 norms of ``mantissa·2^exponent`` over the last axis."""
    with np.errstate(over="ignore"):
        return mul(length(mantissa.astype(np.float64)), power(exponent))


@dataclass(frozen=True, eq=False)
class Rows:
    """Vectors, one along the first axis each: row i is within ``radius[i]`` of
    ``mantissa[i]·2^exponent`` in l2."""

    mantissa: Integers
    exponent: int
    radius: Floats

    @property
    def lengths(self) -> Floats:
        """Bounds of the rows' l2 norms, their radii left out."""
        return np.asarray(lengths(self.mantissa, self.exponent))


@dataclass(frozen=True, eq=False)
class Weight:
    """A tensor within ``radius`` of ``mantissa·2^exponent`` in l2."""

    mantissa: Integers
    exponent: int
    radius: float

    @property
    def length(self) -> float:
        """A bound of its l2 norm."""
        return float(add(lengths(self.mantissa.reshape(-1), self.exponent), self.radius))


def weight(values: NDArray[Any], bits: int = BITS) -> Weight:
    """Floating-point numbers as integers: exact where they span fewer than ``bits`` bits."""
    if not np.isfinite(values).all():  # before they are converted, which signals what is not
        raise CheckError("a weight is not finite")
    values = np.asarray(values, dtype=np.float64)
    least = int(np.frexp(values)[1].max(where=values != 0.0, initial=-1074)) - bits
    kept = np.floor(np.ldexp(values, -least))
    lost = np.count_nonzero(np.ldexp(kept, least) != values)
    mantissa, exponent = trim(kept.astype(np.int64), least)
    return Weight(mantissa, exponent, float(mul(root(float(lost)), power(least))) if lost else 0.0)


def trim(mantissa: Integers, exponent: int) -> tuple[Integers, int]:
    """The same numbers without their common trailing zeros."""
    ones = int(np.bitwise_or.reduce(mantissa, axis=None)) if mantissa.size else 0
    if ones == 0:
        return mantissa, 0
    zeros = (ones & -ones).bit_length() - 1
    return mantissa >> zeros, exponent + zeros


def largest(mantissa: Integers) -> int:
    """The largest absolute value."""
    return max(int(mantissa.max(initial=0)), -int(mantissa.min(initial=0)))


def shifted(mantissa: Integers, by: int) -> Integers:
    """``mantissa·2^by``, rounded down."""
    return mantissa << by if by >= 0 else mantissa >> min(-by, 63)


def digits(mantissa: Integers, width: int) -> list[Floats]:
    """Balanced digits, the lowest first: ``mantissa = Σ digits[k]·2^(width·k)``."""
    found, rest = [], mantissa
    while True:
        above = (rest + (1 << (width - 1))) >> width
        found.append((rest - (above << width)).astype(np.float64))
        rest = above
        if not rest.any():
            return found


def by_digits(
    multiply: Callable[[Floats, Floats], Floats],
    factors: tuple[Integers, Integers],
    shape: tuple[int, ...],
    *,
    terms: int,
    most: int,
    bits: int = BITS,
    symmetric: bool = False,
) -> Product:
    """``multiply(a, b)`` of integers in about ``bits`` bits, from products of their digits.

    Digits of w bits are at most ``2^(w-1)``: sums of ``terms·2^(2w-2) ≤ 2^53`` are exact.  Each
    pair of digits may lose one unit to the shift; low ones that cannot make one are left out.  Sums
    may wrap at 2^64 on the way, which the total, being small, does not show.

    Parameters
    ----------
    multiply : linear in both; each element ``shape`` of it a sum of up to ``terms`` products.
    most : the largest size of an element, about.
    symmetric : b is the transpose of a.
    """
    shift = max(0, most.bit_length() - bits)
    width = (53 - max(terms - 1, 0).bit_length()) // 2 + 1
    left = digits(factors[0], width)
    right = [np.swapaxes(d, -1, -2) for d in left] if symmetric else digits(factors[1], width)
    total: Integers = np.zeros(shape, dtype=np.int64)
    units = 0
    for i, one in enumerate(left):
        for j, other in enumerate(right[: i + 1] if symmetric else right):
            twice = symmetric and i != j
            by = width * (i + j) - shift
            units += (1 + twice) * (by < 0)
            if terms << (2 * width - 2) < 1 << max(0, -by):
                continue
            part = shifted(multiply(one, other).astype(np.int64), by)
            total += part
            if twice:
                total += np.swapaxes(part, -1, -2)
    return total, shift, units


def product(
    a: Integers, b: Integers, *, symmetric: bool = False, bits: int = BITS, room: int = 1
) -> Product:
    """``a @ b`` over the last two axes, in at most ``bits`` bits.

    ``symmetric`` where b is the transpose of a; ``room`` is a number that the integers leave room
    for.
    """
    rows, columns = (lengths(m, 0) for m in (a, np.swapaxes(b, -1, -2)))
    most = math.ceil(mul(float(rows.max(initial=0.0)), float(columns.max(initial=0.0))))
    shape = (*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1])
    given = {"terms": a.shape[-1], "most": max(room, most), "bits": bits}
    return by_digits(np.matmul, (a, b), shape, symmetric=symmetric, **given)


def times(a: Integers, b: Integers) -> Product:
    """The elementwise product, as :func:`product` gives it."""
    shape = np.broadcast_shapes(a.shape, b.shape)
    return by_digits(np.multiply, (a, b), shape, terms=1, most=largest(a) * largest(b))
