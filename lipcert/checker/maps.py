"""Linear maps between tensors: pushed forward on samples, pulled back on rows of matrices."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from .exact import (
    BITS,
    CheckError,
    Floats,
    Integers,
    Product,
    Rows,
    Weight,
    add,
    by_digits,
    by_squares,
    largest,
    lengths,
    mul,
    power,
    root,
    shifted,
    weight,
)

T = TypeVar("T")
Indices = NDArray[np.int64]
Apply = Callable[[Floats, Floats], Floats]

CHUNK = 1 << 20
"""Elements of one intermediate product."""
MOST_SIDE = 2048
"""Smaller side up to which the norm of a matrix is found by squaring."""
MOST_ROWS = 1 << 27
"""Elements of the rows of one claim."""


ONE = Weight(np.ones((1, 1), dtype=np.int64), 0, 0.0)


class Size(NamedTuple):
    """Elements of x and of y; how many products make one element of ``A x`` and of ``Aᵀ y`` at
    most; elements of what one x takes on the way."""

    x: int
    y: int
    terms: tuple[int, int]
    held: int


@dataclass(frozen=True, eq=False)
class Linear:
    """``y = A x``: every element of A is zero or one of a weight's numbers; no row and no column of
    A holds one of these twice, unless they are exact."""

    weight: Weight

    @property
    def size(self) -> Size:
        """Of the map."""
        raise NotImplementedError

    @property
    def kernels(self) -> Integers:
        """The weight as matrices ``(B, m, n)``: A has at most ``√copies`` times their norm."""
        raise NotImplementedError

    @property
    def copies(self) -> int:
        """How many rows of kernels read one element of x at most."""
        return 1

    def forward(self, own: Floats, rows: Floats) -> Floats:
        """``A x`` of rows ``x (N, elements)``, the numbers ``own`` in the weight's place."""
        raise NotImplementedError

    def backward(self, own: Floats, rows: Floats) -> Floats:
        """``Aᵀ y`` of rows ``y (N, elements)``."""
        raise NotImplementedError

    @cached_property
    def sums(self) -> list[tuple[float, float]]:
        """Bounds of the l1 and l2 norms of the rows, and of the columns, of the matrix of integers
        in the weight."""
        own, size, found = np.abs(self.weight.mantissa.astype(np.float64)), self.size, []
        ways = ((self.forward, size.x), (self.backward, size.y))
        for (apply, width), terms in zip(ways, size.terms, strict=True):
            slack, ones = 1.0 + (terms + 8) * 2.0**-51, np.ones((1, width))
            l1, square = (float(apply(part, ones).max(initial=0.0)) for part in (own, own * own))
            found.append((float(mul(l1, slack)), float(mul(math.sqrt(square), slack))))
        return found

    @cached_property
    def gain(self) -> float:
        """A bound of the norms of A and |A|: ``√copies`` times the length, or ``√(‖A‖₁‖A‖_∞)``."""
        (rows, _), (columns, _) = self.sums
        own, copied = self.weight, root(float(self.copies))
        frobenius = float(mul(copied, lengths(own.mantissa.reshape(-1), 0)))
        most = mul(min(frobenius, float(root(mul(rows, columns)))), power(own.exponent))
        return float(add(most, mul(copied, own.radius)))

    @cached_property
    def norm(self) -> float:
        """A closer bound of the norm of A, by float64."""
        own, parts = self.weight, self.kernels
        if min(parts.shape[1:]) > MOST_SIDE:
            return self.gain
        matrices = np.ldexp(parts.astype(np.float64), own.exponent)
        if parts.shape[1] > parts.shape[2]:
            matrices = matrices.swapaxes(1, 2)
        off = add(mul(2.0**-52, own.length), own.radius, 2.0**-400)
        return min(self.gain, float(mul(add(by_squares(matrices), off), root(float(self.copies)))))

    def push(self, x: Rows) -> Rows:
        """The map on each row."""
        return self._exactly(x, self.forward, 0, self.size.y)

    def pull(self, rows: Rows) -> Rows:
        """Each row times the map's matrix."""
        return self._exactly(rows, self.backward, 1, self.size.x)

    def _exactly(self, x: Rows, apply: Apply, way: int, width: int) -> Rows:
        """A product in integers, with all that was left out: of x, of the weight, of itself."""
        own, terms, (l1, l2) = self.weight, self.size.terms[way], self.sums[way]
        longest = float(lengths(x.mantissa, 0).max(initial=0.0))
        most = math.ceil(min(l1 * largest(x.mantissa), l2 * longest))

        def product(part: Integers) -> Product:
            shape = len(part), width
            return by_digits(apply, (own.mantissa, part), shape, terms=terms, most=most)

        parts = self.in_parts(product, x.mantissa)
        shift, units = parts[0][1], max(lost for *_, lost in parts)
        exponent = x.exponent + own.exponent + shift
        off = mul(x.lengths, own.radius, root(float(self.copies)))
        cut = mul(float(units), root(float(width)), power(exponent))
        values = np.concatenate([part for part, *_ in parts])
        return Rows(values, exponent, add(mul(x.radius, self.gain), off, cut))

    def in_parts(self, apply: Callable[[NDArray[Any]], T], rows: NDArray[Any]) -> list[T]:
        """``apply`` to so many rows at a time that little memory is taken."""
        step = max(1, CHUNK // max(1, self.size.held))
        return [apply(rows[start : start + step]) for start in range(0, len(rows), step)]


@dataclass(frozen=True, eq=False)
class Gather(Linear):
    """``y_o = x[index_o]``, zero where the index is −1; the weight is the number one."""

    weight: Weight = field(default=ONE, init=False)
    index: Indices
    in_size: int

    @property
    def size(self) -> Size:
        """Of the map."""
        return Size(self.in_size, self.index.size, (1, self.copies), self.index.size)

    @property
    def kernels(self) -> Integers:
        """The number one."""
        return self.weight.mantissa[None]

    @cached_property
    def copies(self) -> int:
        """How often an element is read at most."""
        return max(1, int(np.bincount(self.index[self.index >= 0], minlength=1).max()))

    def push(self, x: Rows) -> Rows:
        """The map on each row, of which nothing is left out."""
        return Rows(self.taken(x.mantissa), x.exponent, mul(x.radius, self.gain))

    def taken(self, x: NDArray[Any]) -> NDArray[Any]:
        """``(n, out)`` from ``(n, in)``."""
        return np.take(np.pad(x, ((0, 0), (0, 1))), self.index, 1)  # −1 is the zero behind

    def forward(self, own: Floats, rows: Floats) -> Floats:
        """What is read."""
        return np.asarray(self.taken(rows) * own.item())

    def backward(self, own: Floats, rows: Floats) -> Floats:
        """Sums of all that read an element."""
        order, starts = self.runs
        found = np.zeros((len(rows), self.in_size))
        if len(order):
            found[:, self.index[order[starts]]] = np.add.reduceat(rows[:, order], starts, 1)
        return found * own.item()

    @cached_property
    def runs(self) -> tuple[Indices, Indices]:
        """Places of y in the order of what they read, and where each element of x begins."""
        used = np.flatnonzero(self.index >= 0)
        order = used[np.argsort(self.index[used], kind="stable")]
        return order, np.flatnonzero(np.diff(self.index[order], prepend=-1))


@dataclass(frozen=True, eq=False)
class Scale(Linear):
    """``y = s ∘ x``; the weight is flat."""

    @property
    def size(self) -> Size:
        """Of the map."""
        return Size(self.weight.mantissa.size, self.weight.mantissa.size, (1, 1), 1)

    @property
    def kernels(self) -> Integers:
        """The numbers one by one."""
        return self.weight.mantissa.reshape(-1, 1, 1)

    def forward(self, own: Floats, rows: Floats) -> Floats:
        """``s ∘ x``: the matrix is symmetric."""
        return np.asarray(rows * own)

    backward = forward


@dataclass(frozen=True, eq=False)
class Dense(Linear):
    """``y = W x`` along the last axis, for each of ``lead`` leading positions."""

    lead: int = 1

    @property
    def size(self) -> Size:
        """Of the map."""
        m, n = self.weight.mantissa.shape
        return Size(self.lead * n, self.lead * m, (n, m), self.lead * (m + n))

    @property
    def kernels(self) -> Integers:
        """The matrix W."""
        return self.weight.mantissa[None]

    def forward(self, own: Floats, rows: Floats) -> Floats:
        """``W x``."""
        return np.asarray(rows.reshape(-1, own.shape[1]) @ own.T).reshape(len(rows), -1)

    def backward(self, own: Floats, rows: Floats) -> Floats:
        """``Wᵀ y``."""
        return self.forward(own.T, rows)


def total(parts: list[Rows]) -> Rows:
    """The sum of families of rows; one row stands for as many as the others have."""
    if len(parts) == 1:
        return parts[0]
    live = [part for part in parts if part.mantissa.any()] or parts
    reach = max(largest(part.mantissa).bit_length() + part.exponent for part in live)
    room = BITS - max(0, len(live).bit_length() - 6)
    exponent = max(min(part.exponent for part in live), reach - room)
    shape = np.broadcast_shapes(*(part.mantissa.shape for part in parts))
    found: Integers = np.zeros(shape, dtype=np.int64)
    radius = add(*(part.radius for part in parts))
    for part in live:
        found += shifted(part.mantissa, part.exponent - exponent)
        if part.exponent < exponent:
            radius = add(radius, mul(root(float(shape[1])), power(exponent)))
    return Rows(found, exponent, radius)


def check_rows(count: int, size: int) -> None:
    """Raises CheckError for more rows than fit."""
    if count * size > MOST_ROWS:
        raise CheckError("the rows of a claim are too many")


def identity(size: int) -> Rows:
    """The rows of the identity matrix.  Raises CheckError where they are too many."""
    check_rows(size, size)
    return Rows(np.eye(size, dtype=np.int64), 0, np.zeros(size))


def scaled(rows: Rows, factor: float) -> Rows:
    """Rows times one exact number."""
    return Dense(weight(np.array([[factor]])), rows.mantissa.shape[1]).push(rows)
