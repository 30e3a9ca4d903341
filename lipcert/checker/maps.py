"""Linear maps between tensors: pushed forward on samples, pulled back on rows of matrices."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from .exact import (
    BITS,
    CheckError,
    Integers,
    Rows,
    Weight,
    add,
    by_squares,
    largest,
    mul,
    power,
    product,
    root,
    shifted,
    times,
    weight,
)

Shape = tuple[int, ...]
Indices = NDArray[np.int64]
Product = tuple[Integers, int, int]
"""Integers, the power of two that they count, the units they are off: of ``exact.product``."""

CHUNK = 1 << 24
"""Elements of one intermediate product."""
MOST_SIDE = 2048
"""Smaller side up to which the norm of a matrix is found by squaring."""
MOST_ROWS = 1 << 27
"""Elements of the rows of one claim."""


@dataclass(frozen=True, eq=False)
class Gather:
    """``y_o = x[index_o]``, zero where the index is −1."""

    index: Indices
    in_size: int

    @cached_property
    def gain(self) -> float:
        """A bound of the norm: the root of how often an element is read."""
        used = self.index[self.index >= 0]
        return float(root(float(np.bincount(used, minlength=1).max())))

    def push(self, x: Rows) -> Rows:
        """The map on each row."""
        return Rows(self.taken(x.mantissa), x.exponent, mul(x.radius, self.gain))

    def pull(self, rows: Rows) -> Rows:
        """Each row times the map's matrix."""
        extra = max(0, largest(rows.mantissa).bit_length() + self.most.bit_length() - 62)
        exponent, radius = rows.exponent + extra, mul(rows.radius, self.gain)
        if extra:
            lost = mul(float(self.most), root(float(self.in_size)), power(exponent))
            radius = add(radius, lost)
        return Rows(self.summed(rows.mantissa >> extra), exponent, radius)

    def taken(self, x: NDArray[Any]) -> NDArray[Any]:
        """``(n, out)`` from ``(n, in)``."""
        return np.take(np.pad(x, ((0, 0), (0, 1))), self.index, 1)  # −1 is the zero behind

    def summed(self, y: NDArray[Any]) -> NDArray[Any]:
        """``(n, in)`` from ``(n, out)``, sums of up to ``most`` numbers."""
        order, starts = self.runs
        total = np.zeros((len(y), self.in_size), dtype=y.dtype)
        if len(order):
            total[:, self.index[order[starts]]] = np.add.reduceat(y[:, order], starts, 1)
        return total

    @cached_property
    def most(self) -> int:
        """How often an element is read at most."""
        order, starts = self.runs
        return int(np.diff(starts, append=len(order)).max(initial=0))

    @cached_property
    def runs(self) -> tuple[Indices, Indices]:
        """Places of y in the order of what they read, and where each element of x begins."""
        used = np.flatnonzero(self.index >= 0)
        order = used[np.argsort(self.index[used], kind="stable")]
        return order, np.flatnonzero(np.diff(self.index[order], prepend=-1))


@dataclass(frozen=True, eq=False)
class Scale:
    """``y = s ∘ x``; the weight is of the tensor's size, flat, or one number."""

    weight: Weight

    @cached_property
    def gain(self) -> float:
        """A bound of the largest factor."""
        most = mul(float(largest(self.weight.mantissa)), 1.0 + 2.0**-50)
        return float(add(mul(most, power(self.weight.exponent)), self.weight.radius))

    def push(self, x: Rows) -> Rows:
        """The map on each row; its matrix is symmetric."""
        return _after(x, times(x.mantissa, self.weight.mantissa.reshape(1, -1)), self)

    pull = push


@dataclass(frozen=True, eq=False)
class Dense:
    """``y = W x`` along the last axis, for each of ``lead`` leading positions."""

    weight: Weight
    lead: int = 1

    @cached_property
    def gain(self) -> float:
        """A bound of the norm: of Frobenius, or ``√(‖W‖₁‖W‖_∞)``."""
        return min(self.weight.length, _schur(self.weight, (1,), (0,)))

    @cached_property
    def norm(self) -> float:
        """A closer bound of the norm, by float64."""
        return min(self.gain, _spectral(self.weight, self.weight.mantissa[None], 1.0))

    def push(self, x: Rows) -> Rows:
        """The map on each row."""
        return self._times(x, self.weight.mantissa.T)

    def pull(self, rows: Rows) -> Rows:
        """Each row times the map's matrix."""
        return self._times(rows, self.weight.mantissa)

    def _times(self, rows: Rows, matrix: Integers) -> Rows:
        flat = rows.mantissa.reshape(len(rows.mantissa) * self.lead, len(matrix))
        return _after(rows, product(flat, matrix), self)


@dataclass(frozen=True, eq=False)
class Convolution:
    """A convolution of any number of axes, zero padded.

    Parameters
    ----------
    weight : ``(c_out, c_in / groups, *kernel)``.
    spatial : sides of the input; ``pads`` before each axis; ``out_spatial`` sides of the output.
    """

    weight: Weight
    spatial: Shape
    out_spatial: Shape
    stride: Shape
    pads: Shape
    dilation: Shape
    groups: int

    @property
    def out_size(self) -> int:
        """Number of elements of y."""
        return len(self.weight.mantissa) * math.prod(self.out_spatial)

    @property
    def in_channels(self) -> int:
        """Channels of x."""
        return int(self.weight.mantissa.shape[1]) * self.groups

    @cached_property
    def gain(self) -> float:
        """A bound of the norm: ``√taps`` times the length, or ``√(‖A‖₁‖A‖_∞)``."""
        shape = self.weight.mantissa.shape
        taps = tuple(range(3, len(shape) + 1))
        grouped = self.weight.mantissa.reshape(self.groups, -1, *shape[1:])
        own = Weight(grouped, self.weight.exponent, self.weight.radius)
        frobenius = float(mul(self.weight.length, root(float(math.prod(shape[2:])))))
        return min(frobenius, _schur(own, (2, *taps), (1, *taps)))

    @cached_property
    def norm(self) -> float:
        """A closer bound, by float64: of the map of a patch, times how many patches share an
        element."""
        kernels = self.weight.mantissa.reshape(
            self.groups, len(self.weight.mantissa) // self.groups, -1
        )
        sides = zip(self.weight.mantissa.shape[2:], self.stride, strict=True)
        shared = root(float(math.prod(-(-k // s) for k, s in sides)))
        return min(self.gain, _spectral(self.weight, kernels, shared))

    @cached_property
    def taps(self) -> Indices:
        """``(outputs, taps)``: the input position that each tap reads, −1 in the padding."""
        kernel = self.weight.mantissa.shape[2:]
        reach = [d * (k - 1) + 1 for d, k in zip(self.dilation, kernel, strict=True)]
        stops = [(m - 1) * s + 1 for m, s in zip(self.out_spatial, self.stride, strict=True)]
        ends = zip(stops, reach, self.pads, self.spatial, strict=True)
        around = [(pad, max(0, stop - 1 + r - pad - n)) for stop, r, pad, n in ends]
        places = np.arange(math.prod(self.spatial)).reshape(self.spatial)
        windows = sliding_window_view(np.pad(places, around, constant_values=-1), reach)
        starts = tuple(slice(0, stop, s) for stop, s in zip(stops, self.stride, strict=True))
        read = windows[starts + tuple(slice(None, None, d) for d in self.dilation)]
        return read.reshape(math.prod(self.out_spatial), -1)

    @cached_property
    def reads(self) -> Gather:
        """What a channel's elements ``(taps, outputs)`` read of it."""
        return Gather(self.taps.T.reshape(-1), math.prod(self.spatial))

    def push(self, x: Rows) -> Rows:
        """The map on each row."""

        def one(kernel: Integers, chunk: Integers) -> Product:
            read = self.reads.taken(chunk.reshape(-1, math.prod(self.spatial)))
            patches = read.reshape(len(chunk), self.groups, -1, len(self.taps))
            return product(kernel, patches)

        return self._chunked(x, one)

    def pull(self, rows: Rows) -> Rows:
        """Each row times the map's matrix."""
        bits = min(BITS, 62 - self.reads.most.bit_length())

        def one(kernel: Integers, chunk: Integers) -> Product:
            parts = chunk.reshape(len(chunk), self.groups, -1, len(self.taps))
            values, shift, units = product(kernel.swapaxes(1, 2), parts, bits=bits)
            return self.reads.summed(values.reshape(-1, self.taps.size)), shift, units

        return self._chunked(rows, one)

    def _chunked(self, rows: Rows, one: Callable[[Integers, Integers], Product]) -> Rows:
        """A product for parts of the rows, brought to one power of two."""
        taps, shape = self.taps.shape[1], self.weight.mantissa.shape
        kernel = self.weight.mantissa.reshape(self.groups, shape[0] // self.groups, -1)
        step = max(1, CHUNK // max(1, self.in_channels * self.taps.size))
        count = len(rows.mantissa)
        starts = range(0, count, step)
        parts = [one(kernel, rows.mantissa[start : start + step]) for start in starts]
        shift = max(part[1] for part in parts)
        moved = [values.reshape(-1) >> (shift - own) for values, own, _ in parts]
        units = max(units + (own < shift) for _, own, units in parts)
        whole = np.concatenate(moved).reshape(count, -1)
        return _after(rows, (whole, shift, units), self, taps)


Map = Gather | Scale | Dense | Convolution


def _after(rows: Rows, found: Product, one: Scale | Dense | Convolution, terms: int = 1) -> Rows:
    """Rows times a map, with all that was left out: of the rows, of its weight, of the product.

    Each element is a sum of up to ``terms`` numbers that are off by units.
    """
    values, shift, units = found
    flat = values.reshape(len(rows.mantissa), -1)
    exponent = rows.exponent + one.weight.exponent + shift
    off = mul(rows.lengths, one.weight.radius, root(float(terms)))
    cut = mul(float(units * terms), root(float(flat.shape[1])), power(exponent))
    return Rows(flat, exponent, add(mul(rows.radius, one.gain), off, cut))


def _schur(weight: Weight, row: tuple[int, ...], column: tuple[int, ...]) -> float:
    """``√(‖A‖₁‖A‖_∞)`` by the largest absolute sums over ``row`` axes and ``column`` axes."""
    size = np.abs(weight.mantissa.astype(np.float64))
    slack = mul(1.0 + (size.size + 4) * 2.0**-51, power(weight.exponent))
    sums = [mul(float(size.sum(axes).max(initial=0.0)), slack) for axes in (row, column)]
    terms = root(float(max(np.prod([size.shape[a] for a in axes]) for axes in (row, column))))
    return float(add(root(mul(*sums)), mul(weight.radius, terms)))


def _spectral(own: Weight, parts: Integers, factor: float) -> float:
    """``factor`` times the largest spectral norm of a weight's elements as ``(B, m, n)``."""
    if min(parts.shape[1:]) > MOST_SIDE:
        return math.inf
    matrices = np.ldexp(parts.astype(np.float64), own.exponent)
    if parts.shape[1] > parts.shape[2]:
        matrices = matrices.swapaxes(1, 2)
    off = add(mul(2.0**-52, own.length), own.radius, 2.0**-400)
    return float(mul(add(by_squares(matrices), off), factor))


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
    return Scale(weight(np.array(factor))).push(rows)
