"""Constants of a model file, and arithmetic on them that keeps account of rounding.

A weight is the exact number the file holds.  One that the graph computes (a weight divided by its
norm, a batch-normalisation scale) is a midpoint and a radius that holds the exact result.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lipcert.graph import Node, Origin
from lipcert.operators import Norms
from lipcert.rounding import SMALLEST_NORMAL, UNIT_ROUNDOFF, gamma, up

Array = NDArray[np.float64]
AnyArray = NDArray[np.generic]
_UP = 1.0 + 8.0 * UNIT_ROUNDOFF
ULPS = 8.0
"""Units in the last place within which numpy computes an elementary function."""


class NotFiniteError(ValueError):
    """A constant that is infinite, undefined or of unbounded error where a number is needed."""


@dataclass(frozen=True, eq=False)
class Constant:
    """An array the model holds or computes without its input.

    Parameters
    ----------
    value : float64 midpoints, or integers or booleans exactly.
    radius : elementwise bound of the distance to the true value; None when exact.
    sources : names of the initialisers it was made of.
    origins : how it depends on them, element by element, as far as that is known.
    """

    value: AnyArray
    radius: Array | None = None
    sources: tuple[str, ...] = ()
    origins: tuple[Origin, ...] = ()

    @property
    def is_float(self) -> bool:
        """Whether it holds real numbers (as against integers, booleans or text)."""
        return self.value.dtype == np.float64

    @property
    def middle(self) -> Array:
        """The midpoints as float64."""
        return np.asarray(self.value, dtype=np.float64)

    @property
    def spread(self) -> Array:
        """The radius, zero where exact."""
        return np.zeros_like(self.middle) if self.radius is None else self.radius

    @property
    def is_finite(self) -> bool:
        """Whether every element is a number known within a bounded error."""
        finite = bool(np.isfinite(self.middle).all())
        return finite and (self.radius is None or bool(np.isfinite(self.radius).all()))

    def reshaped(self, rearrange: Callable[[AnyArray], AnyArray]) -> Constant:
        """The constant with its elements rearranged."""
        radius = None if self.radius is None else np.asarray(rearrange(self.radius), np.float64)
        origins = tuple(origin.moved(rearrange) for origin in self.origins)
        return Constant(rearrange(self.value), radius, self.sources, origins)

    @property
    def is_traced(self) -> bool:
        """Whether its dependence on every initialiser it was made of is known."""
        return {origin.name for origin in self.origins} >= set(self.sources)

    @property
    def negated(self) -> Constant:
        """``−c``: exact."""
        return Constant(-self.middle, self.radius, self.sources, self.origins)

    def depending(self, *factors: tuple[Constant, Array]) -> Constant:
        """This computed constant as a map of others, each with a bound of the derivative.

        Where any of them depends on an initialiser in a way that is not known, so does this.
        """
        if not all(operand.is_traced for operand, _ in factors):
            return replace(self, origins=())
        origins = tuple(
            origin.times(slope, self.value.shape)
            for operand, slope in factors
            for origin in operand.origins
        )
        return replace(self, origins=origins)

    def tensor(self) -> Tensor:
        """The midpoints as a float64 tensor of its own.  Raises NotFiniteError."""
        if not self.is_finite:
            names = f" (made of {', '.join(self.sources[:4])})" if self.sources else ""
            raise NotFiniteError(f"uses a constant that is infinite or not a number{names}")
        return torch.from_numpy(np.array(self.middle, dtype=np.float64, order="C"))

    def matrix_error(self) -> Norms:
        """Norms of the radius as an ``(out, in, …)`` weight, trailing axes summed over taps."""
        if self.radius is None:
            return Norms(0.0, 0.0, 0.0)
        flat = self.radius.reshape(*self.radius.shape[:2], -1).sum(2)
        slack = 1.0 + 4.0 * gamma(self.radius.size + 2)
        return Norms.schur(
            float(flat.sum(0).max(initial=0.0)) * slack, float(flat.sum(1).max(initial=0.0)) * slack
        )

    def largest_error(self) -> Norms:
        """Norms of the radius as a diagonal."""
        most = 0.0 if self.radius is None else float(self.radius.max(initial=0.0))
        return Norms(most, most, most)

    def total_error(self) -> float:
        """Bound of the l2 norm of the radius."""
        if self.radius is None or not self.radius.size:
            return 0.0
        most = float(self.radius.max())
        if most == 0.0:
            return 0.0
        ratios = self.radius / most  # at most one, so nothing overflows
        slack = 1.0 + 4.0 * gamma(ratios.size + 2)
        return up(most * float(np.sqrt(np.square(ratios).sum())) * slack)


NONE = Constant(np.zeros(()))
"""Stands for coefficients that no initialiser went into."""


def traced(node: Node, coefficients: Constant, bias: Constant) -> Node:
    """A node with word of the initialisers that its coefficients and its bias are made of.

    Where their dependence on one is not known in full, none of it is said to be.
    """
    return replace(
        node,
        parameters=(*coefficients.sources, *bias.sources),
        origins=coefficients.origins if coefficients.is_traced else (),
        shifts=bias.origins if bias.is_traced else (),
    )


def _ball(value: Array, radius: Array, *operands: Constant, unrounded: bool = False) -> Constant:
    """A computed constant: one more rounding of the value, and of the radius itself.

    ``unrounded`` says that exact operands give exactly this value.
    """
    names = tuple(dict.fromkeys(name for operand in operands for name in operand.sources))
    if unrounded and all(operand.radius is None for operand in operands):
        return Constant(np.asarray(value), None, names)
    rounded = (radius + UNIT_ROUNDOFF * np.abs(value)) * _UP + SMALLEST_NORMAL
    return Constant(value, rounded, names)


def _sum_is_exact(a: Array, b: Array, total: Array) -> bool:
    """Whether no rounding happened in ``total = a + b`` (Knuth's TwoSum gives the error)."""
    with np.errstate(all="ignore"):
        back = total - a
        error = (a - (total - back)) + (b - back)
    return bool(np.isfinite(total).all()) and not bool(np.any(error))


def _product_is_exact(a: Array, b: Array, product: Array) -> bool:
    """Whether ``product = a · b`` is exact because both factors are float32 numbers."""
    with np.errstate(all="ignore"):
        short = all(bool((x == x.astype(np.float32)).all()) for x in (a, b))
    return short and bool(np.isfinite(product).all())


def add(a: Constant, b: Constant) -> Constant:
    """``a + b``."""
    value = np.asarray(a.middle + b.middle)
    unrounded = _sum_is_exact(a.middle, b.middle, value)
    summed = _ball(value, a.spread + b.spread, a, b, unrounded=unrounded)
    return summed.depending((a, np.ones(())), (b, np.ones(())))


def subtract(a: Constant, b: Constant) -> Constant:
    """``a − b``."""
    return add(a, b.negated)


def multiply(a: Constant, b: Constant) -> Constant:
    """``a · b``."""
    radius = np.abs(a.middle) * b.spread + a.spread * (np.abs(b.middle) + b.spread)
    value = np.asarray(a.middle * b.middle)
    unrounded = _product_is_exact(a.middle, b.middle, value)
    product = _ball(value, radius * _UP, a, b, unrounded=unrounded)
    return product.depending((a, _largest(b)), (b, _largest(a)))


def _largest(a: Constant) -> Array:
    """Elementwise bound of the magnitude."""
    return np.asarray((np.abs(a.middle) + a.spread) * _UP)


def divide(a: Constant, b: Constant) -> Constant:
    """``a / b``; infinite where b may be zero."""
    with np.errstate(divide="ignore", invalid="ignore"):
        quotient = a.middle / b.middle
        clear = (np.abs(b.middle) - b.spread) * (1.0 - 8.0 * UNIT_ROUNDOFF)
        # ratios first: a product of small numbers could vanish before its division
        radius = (a.spread / clear + np.abs(quotient) * _UP * (b.spread / clear)) * _UP
        product = quotient * b.middle
    unrounded = _product_is_exact(quotient, b.middle, product) and bool((product == a.middle).all())
    found = _ball(quotient, np.where(clear > 0.0, radius, np.inf), a, b, unrounded=unrounded)
    if not found.is_finite:
        return found
    with np.errstate(over="ignore"):
        rate = np.asarray(1.0 / clear * _UP)
        return found.depending((a, rate), (b, np.asarray(_largest(found) * rate * _UP)))


def square_root(a: Constant) -> Constant:
    """``√a``; not a number where a may be negative."""
    with np.errstate(divide="ignore", invalid="ignore"):
        root = np.sqrt(a.middle)
        radius = np.where(a.spread > 0.0, np.minimum(a.spread / root, np.sqrt(a.spread)), 0.0)
        radius = np.where(a.middle - a.spread < 0.0, np.nan, radius)
        square = root * root
    unrounded = _product_is_exact(root, root, square) and bool((square == a.middle).all())
    radius = np.where(root > 0.0, radius * _UP, np.sqrt(a.spread) * _UP)
    return _ball(root, radius, a, unrounded=unrounded)


def matrix_product(a: Constant, b: Constant) -> Constant:
    """``a @ b``, with ``|fl(ab) − ab| ≤ γ_n |a||b|``."""
    left, right = np.abs(a.middle), np.abs(b.middle)
    inner = gamma(a.middle.shape[-1] + 2)
    radius = left @ b.spread + a.spread @ (right + b.spread) + inner * (left @ right)
    return _ball(a.middle @ b.middle, np.asarray(radius) * (1.0 + 4.0 * inner), a, b)


def total(a: Constant, axes: tuple[int, ...] | None, *, keepdims: bool) -> Constant:
    """Sum over ``axes`` (all of them for None)."""
    inner = gamma(a.value.size + 2)
    radius = a.spread.sum(axis=axes, keepdims=keepdims)
    radius = radius + inner * np.abs(a.middle).sum(axis=axes, keepdims=keepdims)
    summed = a.middle.sum(axis=axes, keepdims=keepdims)
    return _ball(np.asarray(summed), np.asarray(radius * (1.0 + 4.0 * inner)), a)


def smooth(a: Constant, function: Callable[[Array], Array], steepest: Array | float) -> Constant:
    """An elementwise function whose slope on each ball is at most ``steepest``, up to ULPS."""
    value = function(a.middle)
    computed = ULPS * 2.0 * UNIT_ROUNDOFF * np.abs(value)
    moved = np.zeros_like(value)
    np.multiply(a.spread, steepest, out=moved, where=a.spread > 0.0)
    return _ball(value, moved * _UP + computed, a)


def exact(value: float) -> Constant:
    """A number as a constant."""
    return Constant(np.asarray(value, dtype=np.float64))
