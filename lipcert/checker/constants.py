"""Arithmetic on a model's constants: exact, or with what is left out bounded."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from .exact import CheckError, Rows, Weight, add, mul, norm, root, up_ratio, weight
from .maps import Dense
from .network import MOST_SIZE

Shape = tuple[int, ...]


def reshaped(own: Weight, shape: Shape) -> Weight:
    """A weight in another shape."""
    return Weight(own.mantissa.reshape(shape), own.exponent, own.radius)


def spread(own: Weight, shape: Shape) -> Weight:
    """A weight broadcast to a shape."""
    copies = math.prod(shape) // max(1, own.mantissa.size)
    wide = np.broadcast_to(own.mantissa, shape)
    return Weight(wide, own.exponent, float(mul(own.radius, root(float(copies)))))


def loosened(own: Weight, off: NDArray[np.float64]) -> Weight:
    """A weight whose elements may be off by so much each."""
    if not off.any():
        return own
    return Weight(own.mantissa, own.exponent, float(add(own.radius, norm(off))))


def rationals(values: list[Fraction], shape: Shape) -> Weight:
    """A tensor of rationals."""
    near = [float(value) for value in values]
    off = [up_ratio(abs(v - Fraction(n))) for v, n in zip(values, near, strict=True)]
    return loosened(weight(np.array(near).reshape(shape)), np.array(off))


def multiplied(own: Weight, factor: Weight | float) -> Weight:
    """A weight times one number."""
    if factor == 1.0:
        return own
    by = factor if isinstance(factor, Weight) else weight(np.array(float(factor)))
    column, shape = reshaped(own, (own.mantissa.size, 1)), own.mantissa.shape
    return reshaped(matrix_product(column, reshaped(by, (1, 1))), shape)


def inverse(own: Weight) -> Weight:
    """One over each element."""
    unit, radius = Fraction(2) ** own.exponent, Fraction(own.radius)
    exact = [mantissa * unit for mantissa in own.mantissa.reshape(-1).tolist()]
    if any(abs(value) <= radius for value in exact):
        raise CheckError("a constant is divided by zero")
    found = rationals([1 / value for value in exact], own.mantissa.shape)
    reach = [up_ratio(1 / (abs(value) - radius) - 1 / abs(value)) for value in exact]
    return loosened(found, np.array(reach))


def matrix_product(first: Weight, second: Weight) -> Weight:
    """A product of matrices or vectors."""
    own, other = first.mantissa.shape, second.mantissa.shape
    if not (0 < len(own) <= 2 and 0 < len(other) <= 2 and own[-1] == other[0]):
        raise CheckError("a product of more than two matrices is not covered")
    shape, lead = (*own[:-1], *other[1:]), math.prod(own[:-1])
    if math.prod(shape) > MOST_SIZE:
        raise CheckError("a product of constants is too large")
    columns = second.mantissa.reshape(own[-1], -1).T
    by = Dense(Weight(columns, second.exponent, second.radius), lead)
    rows = Rows(first.mantissa.reshape(1, -1), first.exponent, np.array([first.radius]))
    found = by.push(rows)
    return Weight(found.mantissa.reshape(shape), found.exponent, float(found.radius[0]))
