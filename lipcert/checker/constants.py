"""Arithmetic on a model's constants: exact, or with what is left out bounded."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .exact import CheckError, Weight, add, mul, norm, power, product, root, times, weight
from .network import MOST_SIZE


def spread(own: Weight, shape: tuple[int, ...]) -> Weight:
    """A weight broadcast to a shape."""
    copies = math.prod(shape) // max(1, own.mantissa.size)
    wide = np.broadcast_to(own.mantissa, shape)
    return Weight(wide, own.exponent, float(mul(own.radius, root(float(copies)))))


def loosened(own: Weight, off: NDArray[np.float64]) -> Weight:
    """A weight whose elements may be off by so much each."""
    return Weight(own.mantissa, own.exponent, float(add(own.radius, norm(off))))


def fraction(value: Fraction, shape: tuple[int, ...]) -> Weight:
    """A tensor filled with one rational."""
    near = float(value)
    off = abs(value - Fraction(near))
    radius = 0.0 if off == 0 else mul(float(off), 1.0 + 2.0**-50, root(float(math.prod(shape))))
    own = weight(np.full(shape, near))
    return Weight(own.mantissa, own.exponent, float(add(own.radius, radius)))


def multiplied(own: Weight, factor: Weight | float) -> Weight:
    """A weight times one number."""
    if isinstance(factor, int | float):
        if factor == 1.0:
            return own
        factor = weight(np.array(float(factor)))
    values, shift, units = times(own.mantissa, factor.mantissa.reshape((1,) * own.mantissa.ndim))
    exponent = own.exponent + factor.exponent + shift
    cut = mul(units, root(float(values.size)), power(exponent)) if units else 0.0
    off = add(mul(own.length, factor.radius), mul(own.radius, factor.length))
    return Weight(values, exponent, float(add(off, cut)))


def inverse(own: Weight) -> Weight:
    """One over each element."""
    found = []
    off = 0.0
    for mantissa in own.mantissa.reshape(-1).tolist():
        exact = Fraction(mantissa) * Fraction(2) ** own.exponent
        if abs(exact) <= Fraction(own.radius):
            raise CheckError("a constant is divided by zero")
        near = float(1 / exact)
        reach = 1 / (abs(exact) - Fraction(own.radius)) - 1 / abs(exact)
        missed = float(reach + abs(1 / exact - Fraction(near)))
        off = float(add(off, mul(missed, 1.0 + 2.0**-50)))
        found.append(near)
    result = weight(np.array(found).reshape(own.mantissa.shape))
    return Weight(result.mantissa, result.exponent, float(add(result.radius, off)))


def matrix_product(first: Weight, second: Weight) -> Weight:
    """A product of matrices or vectors."""
    if max(first.mantissa.ndim, second.mantissa.ndim) > 2 or not first.mantissa.ndim:
        raise CheckError("a product of more than two matrices is not covered")
    a, b = np.atleast_2d(first.mantissa), second.mantissa
    column = b[:, None] if b.ndim == 1 else b
    if len(a) * column.shape[-1] > MOST_SIZE:
        raise CheckError("a product of constants is too large")
    values, shift, units = product(a, column)
    exponent = first.exponent + second.exponent + shift
    cut: Any = mul(units, root(float(values.size)), power(exponent)) if units else 0.0
    off = add(mul(first.length, second.radius), mul(first.radius, second.length))
    shape = (*first.mantissa.shape[:-1], *b.shape[1:])
    return Weight(values.reshape(shape), exponent, float(add(off, cut)))
