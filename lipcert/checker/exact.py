"""Exact arithmetic on integer matrices, with what is left out of them bounded.

Integers are split into digits of 20 bits.  A product of two digit matrices with inner dimension
up to 2^15 is a matrix of integers below 2^53, which float64 holds exactly in whatever order a
library adds: fast floating-point products of digits are exact integer products.  Bounds of what is
left out ("radii") are float64, every operation on them rounded upward.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

DIGIT = 20
INNER = 1 << 15
"""Largest inner dimension of one product of digits: 2^15 · (2^19)^2 = 2^53."""
BITS = 56
"""Size of the integers kept: sums of 64 of them stay below 2^62."""


class CheckError(Exception):
    """The check cannot be carried out; nothing is refuted by that."""


def up(value: Any) -> Any:
    """The next float64 above."""
    return np.nextafter(value, np.inf)


def add(*values: Any) -> Any:
    """A sum rounded upward, of non-negative numbers or arrays."""
    total: Any = 0.0
    for value in values:
        total = up(total + value)
    return total


def mul(*values: Any) -> Any:
    """A product rounded upward, of non-negative numbers or arrays."""
    total: Any = 1.0
    for value in values:
        total = up(total * value)
    return total


def root(value: Any) -> Any:
    """A square root rounded upward."""
    return up(np.sqrt(value))


def norm(values: Floats) -> float:
    """A bound of the l2 norm of non-negative numbers."""
    flat = np.maximum(values, 1e-150)  # squares that do not underflow
    slack = 1.0 + (flat.size + 8) * 2.0**-51
    with np.errstate(over="ignore"):
        return float(mul(np.sqrt(np.square(flat).sum()), slack))


def power(exponent: int) -> float:
    """``2^exponent``, rounded upward where float64 does not reach."""
    if exponent > 1023:
        return math.inf
    return math.ldexp(1.0, max(exponent, -1074))


def lengths(mantissa: Integers, exponent: int, axes: int = 1) -> Floats:
    """Bounds of the l2 norms over all but the first ``axes`` axes."""
    flat = mantissa.reshape(*mantissa.shape[:axes], -1).astype(np.float64)
    slack = 1.0 + (flat.shape[-1] + 8) * 2.0**-51
    with np.errstate(over="ignore", invalid="ignore"):
        sizes: Floats = mul(np.sqrt(np.square(flat).sum(-1)), slack, power(exponent))
    return np.where(np.isnan(sizes), np.inf, sizes)


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
        return lengths(self.mantissa, self.exponent)

    def reshaped(self, *shape: int) -> Rows:
        """The same rows in another shape."""
        return Rows(self.mantissa.reshape(len(self.mantissa), *shape), self.exponent, self.radius)


@dataclass(frozen=True, eq=False)
class Weight:
    """A tensor within ``radius`` of ``mantissa·2^exponent`` in l2."""

    mantissa: Integers
    exponent: int
    radius: float

    @property
    def length(self) -> float:
        """A bound of its l2 norm."""
        return float(add(lengths(self.mantissa[None], self.exponent)[0], self.radius))


def weight(values: NDArray[Any], bits: int = BITS) -> Weight:
    """Floating-point numbers as integers: exact where they span fewer than ``bits`` bits."""
    values = np.asarray(values, dtype=np.float64)
    if not np.isfinite(values).all():
        raise CheckError("a weight is not finite")
    fraction, exponents = np.frexp(values)
    whole = np.ldexp(fraction, 53).astype(np.int64)
    if not whole.any():
        return Weight(whole, 0, 0.0)
    places = exponents.astype(np.int64) - 53
    least = int(places[whole != 0].max()) + 53 - bits
    shift = places - least
    kept = np.where(shift >= 0, whole << np.clip(shift, 0, 10), whole >> np.clip(-shift, 0, 63))
    cut = np.clip(-shift, 0, 63)
    lost = (shift < 0) & ((whole >> cut) << cut != whole)
    radius = mul(root(float(np.count_nonzero(lost))), power(least))
    trimmed, least = trim(kept, least)
    return Weight(trimmed, least, float(radius) if lost.any() else 0.0)


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


def shortened(mantissa: Integers, exponent: int, bits: int) -> tuple[Integers, int, int]:
    """At most ``bits`` bits; the error is less than the number of units returned."""
    extra = largest(mantissa).bit_length() - bits
    if extra <= 0:
        return mantissa, exponent, 0
    return mantissa >> extra, exponent + extra, 1


def digits(mantissa: Integers) -> list[Floats]:
    """Balanced digits, the lowest first: ``mantissa = Σ digits[k]·2^(20k)``."""
    found = []
    rest = mantissa
    half, mask = 1 << (DIGIT - 1), (1 << DIGIT) - 1
    while True:
        low = ((rest + half) & mask) - half
        found.append(low.astype(np.float64))
        rest = (rest - low) >> DIGIT
        if not rest.any():
            return found


def combined(orders: dict[int, Integers], most: int, bits: int = BITS) -> tuple[Integers, int, int]:
    """``Σ orders[k]·2^(20k)`` with absolute values up to ``most`` in at most ``bits`` bits.

    Returns integers, the power of two that they count, and how many units the error stays below.
    """
    shift = max(0, most.bit_length() - bits)
    total: Integers = np.zeros((), dtype=np.int64)
    units = 0
    for k, part in orders.items():
        by = DIGIT * k - shift
        if by >= 0:
            total = total + (part << by)
        else:
            total = total + (part >> min(-by, 63))
            units += 1
    return total, shift, units


def product(
    a: Integers, b: Integers, *, symmetric: bool = False, bits: int = BITS, room: int = 1
) -> tuple[Integers, int, int]:
    """``a @ b`` over the last two axes, as :func:`combined` gives it.

    ``symmetric`` where b is the transpose of a; ``room`` is a number that the integers leave room
    for.  Pairs of low digits that cannot change the result
    by one unit are counted and not computed.
    """
    inner = a.shape[-1]
    if inner > INNER:
        half = inner // 2
        first, second = (
            product(*both, symmetric=symmetric, bits=bits - 1, room=room)
            for both in (
                (a[..., :half], b[..., :half, :]),
                (a[..., half:], b[..., half:, :]),
            )
        )
        shift = max(first[1], second[1])
        added = (first[0] >> (shift - first[1])) + (second[0] >> (shift - second[1]))
        return added, shift, first[2] + second[2] + 2
    most = max(room, _most(a, b, symmetric=symmetric))
    left = digits(a)
    right = [np.swapaxes(one, -1, -2) for one in left] if symmetric else digits(b)
    shift = max(0, most.bit_length() - bits)
    orders: dict[int, Integers] = {}
    skipped = 0
    for i, one in enumerate(left):
        for j, other in enumerate(right):
            if symmetric and j > i:
                continue
            k = i + j
            if (inner << (2 * DIGIT - 2 + DIGIT * k)) < (1 << shift):
                skipped += 1 if i == j or not symmetric else 2
                continue
            part = (one @ other).astype(np.int64)
            if symmetric and i != j:
                part = part + np.swapaxes(part, -1, -2)
            orders[k] = orders[k] + part if k in orders else part
    if not orders:
        shape = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        return np.zeros((*shape, a.shape[-2], b.shape[-1]), dtype=np.int64), shift, skipped
    total, shift, units = combined(orders, most, bits)
    return total, shift, units + skipped


def _most(a: Integers, b: Integers, *, symmetric: bool) -> int:
    """A bound of the absolute values in ``a @ b``, by the lengths of rows and columns."""
    first = float(lengths(a, 0, a.ndim - 1).max(initial=0.0))
    other = (
        first
        if symmetric
        else float(lengths(np.swapaxes(b, -1, -2), 0, b.ndim - 1).max(initial=0.0))
    )
    most: int = math.ceil(mul(first, other))
    return max(1, most)


def times(a: Integers, b: Integers) -> tuple[Integers, int, int]:
    """The elementwise product, as :func:`combined` gives it."""
    orders: dict[int, Integers] = {}
    for i, one in enumerate(digits(a)):
        for j, other in enumerate(digits(b)):
            part = (one * other).astype(np.int64)
            orders[i + j] = orders[i + j] + part if i + j in orders else part
    return combined(orders, max(1, largest(a) * largest(b)))


def aligned(first: Rows, second: Rows) -> Rows:
    """The sum of two families of rows."""
    if not first.mantissa.any() or not second.mantissa.any():
        kept = second if not first.mantissa.any() else first
        return Rows(kept.mantissa, kept.exponent, add(first.radius, second.radius))
    reach = max(
        largest(first.mantissa).bit_length() + first.exponent,
        largest(second.mantissa).bit_length() + second.exponent,
    )
    exponent = max(min(first.exponent, second.exponent), reach - BITS)
    parts, units = [], 0
    for rows in (first, second):
        by = rows.exponent - exponent
        parts.append(rows.mantissa << by if by >= 0 else rows.mantissa >> min(-by, 63))
        units += by < 0
    size = math.prod(first.mantissa.shape[1:])
    cut = mul(units, root(float(size)), power(exponent)) if units else 0.0
    return Rows(parts[0] + parts[1], exponent, add(first.radius, second.radius, cut))
