"""Linear maps between tensors: pushed forward on samples, pulled back on rows of matrices."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .exact import (
    BITS,
    CheckError,
    Integers,
    Rows,
    Weight,
    add,
    aligned,
    mul,
    power,
    product,
    root,
    shortened,
)
from .exact import times as elementwise

Shape = tuple[int, ...]
Indices = NDArray[np.int64]

CHUNK = 1 << 24
"""Elements of one intermediate product."""
MOST_ROWS = 1 << 27
"""Elements of the rows of one claim."""


@dataclass(frozen=True, eq=False)
class Gather:
    """``y_o = x[index_o]``, zero where the index is −1."""

    index: Indices
    in_size: int

    @property
    def out_size(self) -> int:
        """Number of elements of y."""
        return self.index.size

    @cached_property
    def gain(self) -> float:
        """A bound of the norm: the root of how often an element is read."""
        used = self.index[self.index >= 0]
        return float(root(float(np.bincount(used, minlength=1).max())))

    def push(self, x: Rows) -> Rows:
        """The map on each row."""
        flat = x.mantissa.reshape(len(x.mantissa), -1)
        taken = np.where(self.index >= 0, flat[:, np.maximum(self.index, 0)], 0)
        return Rows(taken, x.exponent, mul(x.radius, self.gain))

    def pull(self, rows: Rows) -> Rows:
        """Each row times the map's matrix."""
        order, starts = self.runs
        flat = rows.mantissa.reshape(len(rows.mantissa), -1)
        total = np.zeros((len(flat), self.in_size), dtype=np.int64)
        if not len(order):
            return Rows(total, 0, mul(rows.radius, self.gain))
        most = int(np.diff(starts, append=len(order)).max())
        flat, exponent, units = shortened(flat, rows.exponent, 62 - most.bit_length())
        total[:, self.index[order[starts]]] = np.add.reduceat(flat[:, order], starts, 1)
        cut = mul(units * most, root(float(len(starts))), power(exponent)) if units else 0.0
        return Rows(total, exponent, add(mul(rows.radius, self.gain), cut))

    @cached_property
    def runs(self) -> tuple[Indices, Indices]:
        """Places of y in the order of what they read, and where each element of x begins."""
        used = np.flatnonzero(self.index >= 0)
        order = used[np.argsort(self.index[used], kind="stable")]
        read = self.index[order]
        return order, np.flatnonzero(np.diff(read, prepend=-1))


@dataclass(frozen=True, eq=False)
class Scale:
    """``y = s ∘ x``; the weight is of the tensor's size, flat."""

    weight: Weight

    @property
    def out_size(self) -> int:
        """Number of elements of y."""
        return self.weight.mantissa.size

    @cached_property
    def gain(self) -> float:
        """A bound of the largest factor."""
        most = float(np.abs(self.weight.mantissa.astype(np.float64)).max(initial=0.0))
        return float(
            add(mul(most, 1.0 + 2.0**-50, power(self.weight.exponent)), self.weight.radius)
        )

    def push(self, x: Rows) -> Rows:
        """The map on each row; its matrix is symmetric."""
        flat = x.mantissa.reshape(len(x.mantissa), -1)
        values, shift, units = elementwise(flat, self.weight.mantissa.reshape(1, -1))
        exponent = x.exponent + self.weight.exponent + shift
        cut = mul(units, root(float(flat.shape[1])), power(exponent))
        off = mul(x.lengths, self.weight.radius)
        return Rows(values, exponent, add(mul(x.radius, self.gain), off, cut))

    pull = push


@dataclass(frozen=True, eq=False)
class Dense:
    """``y = W x`` along the last axis, for each of ``lead`` leading positions."""

    weight: Weight
    lead: int = 1

    @property
    def out_size(self) -> int:
        """Number of elements of y."""
        return self.lead * len(self.weight.mantissa)

    @cached_property
    def gain(self) -> float:
        """A bound of the norm: of Frobenius, or ``√(‖W‖₁‖W‖_∞)``."""
        return min(self.weight.length, _schur(self.weight, (1,), (0,)))

    def push(self, x: Rows) -> Rows:
        """The map on each row."""
        return self._times(x, self.weight.mantissa.T)

    def pull(self, rows: Rows) -> Rows:
        """Each row times the map's matrix."""
        return self._times(rows, self.weight.mantissa)

    def _times(self, rows: Rows, matrix: Integers) -> Rows:
        count = len(rows.mantissa)
        flat = rows.mantissa.reshape(count * self.lead, matrix.shape[0])
        values, shift, units = product(flat, matrix)
        return _after(rows, values.reshape(count, -1), self.weight, shift, units, self.gain)


def _schur(weight: Weight, row: tuple[int, ...], column: tuple[int, ...]) -> float:
    """``√(‖A‖₁‖A‖_∞)`` by the largest absolute sums over ``row`` axes and ``column`` axes."""
    size = np.abs(weight.mantissa.astype(np.float64))
    slack = mul(1.0 + (size.size + 4) * 2.0**-51, power(weight.exponent))
    sums = [mul(float(size.sum(axes).max(initial=0.0)), slack) for axes in (row, column)]
    terms = root(float(max(np.prod([size.shape[a] for a in axes]) for axes in (row, column))))
    return float(add(root(mul(*sums)), mul(weight.radius, terms)))


def _after(
    rows: Rows,
    values: Integers,
    weight: Weight,
    shift: int,
    units: int,
    gain: float,
    terms: int = 1,
) -> Rows:
    """Rows times a weight, with all that was left out: of the rows, the weight and the product."""
    exponent = rows.exponent + weight.exponent + shift
    off = mul(rows.lengths, weight.radius, root(float(terms)))
    cut = mul(units * terms, root(float(values.shape[1])), power(exponent))
    return Rows(values, exponent, add(mul(rows.radius, gain), off, cut))


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
        taps = tuple(range(2, self.weight.mantissa.ndim))
        out = self.weight.mantissa.shape[0] // self.groups
        grouped = self.weight.mantissa.reshape(self.groups, out, *self.weight.mantissa.shape[1:])
        own = Weight(grouped, self.weight.exponent, self.weight.radius)
        after = tuple(t + 1 for t in taps)
        frobenius = float(mul(self.weight.length, root(float(self.taps.shape[1]))))
        return min(frobenius, _schur(own, (2, *after), (1, *after)))

    @cached_property
    def taps(self) -> Indices:
        """``(outputs, taps)``: the input position that each tap reads, −1 in the padding."""
        axes = []
        for n, m, k, s, p, d in zip(
            self.spatial,
            self.out_spatial,
            self.weight.mantissa.shape[2:],
            self.stride,
            self.pads,
            self.dilation,
            strict=True,
        ):
            reads = np.arange(m)[:, None] * s + np.arange(k)[None, :] * d - p
            axes.append(np.where((reads >= 0) & (reads < n), reads, -1))
        place = np.zeros((1, 1), dtype=np.int64)
        for n, reads in zip(self.spatial, axes, strict=True):
            both = place[:, None, :, None] * n + reads[None, :, None, :]
            inside = (place[:, None, :, None] >= 0) & (reads[None, :, None, :] >= 0)
            place = np.where(inside, both, -1)
            place = place.reshape(place.shape[0] * place.shape[1], -1)
        return place

    def push(self, x: Rows) -> Rows:
        """The map on each row."""
        out, taps, inner, count = self._sizes(x)
        flat = x.mantissa.reshape(count, self.groups, inner, -1)
        kernel = self.weight.mantissa.reshape(self.groups, out, inner * taps)

        def one(chunk: Integers) -> tuple[Integers, int, int]:
            read = np.where(self.taps >= 0, chunk[..., np.maximum(self.taps, 0)], 0)
            patches = read.transpose(0, 1, 2, 4, 3).reshape(
                len(chunk), self.groups, -1, len(self.taps)
            )
            return product(kernel[None], patches)

        values, shift, units = _chunked(flat, one, self.groups * inner * self.taps.size)
        return _after(x, values.reshape(count, -1), self.weight, shift, units, self.gain, taps)

    def pull(self, rows: Rows) -> Rows:
        """Each row times the map's matrix."""
        out, taps, inner, count = self._sizes(rows)
        flat = rows.mantissa.reshape(count, self.groups, out, -1)
        kernel = self.weight.mantissa.reshape(self.groups, out, inner * taps).swapaxes(1, 2)
        bits = BITS - max(0, taps.bit_length() - 6)

        def one(chunk: Integers) -> tuple[Integers, int, int]:
            values, shift, units = product(kernel[None], chunk, bits=bits)
            parts = values.reshape(len(chunk), self.groups, inner, taps, -1)
            total = np.zeros((*parts.shape[:3], math.prod(self.spatial)), dtype=np.int64)
            for t, reads in enumerate(self.taps.T):
                inside = np.flatnonzero(reads >= 0)
                total[..., reads[inside]] += parts[:, :, :, t, inside]
            return total, shift, units

        values, shift, units = _chunked(flat, one, self.groups * inner * self.taps.size)
        return _after(rows, values.reshape(count, -1), self.weight, shift, units, self.gain, taps)

    def _sizes(self, rows: Rows) -> tuple[int, int, int, int]:
        shape = self.weight.mantissa.shape
        return shape[0] // self.groups, self.taps.shape[1], shape[1], len(rows.mantissa)


def _chunked(
    flat: Integers, one: Callable[[Integers], tuple[Integers, int, int]], each: int
) -> tuple[Integers, int, int]:
    """A product over parts of the rows, brought to one power of two."""
    step = max(1, CHUNK // max(1, each))
    parts = [one(flat[start : start + step]) for start in range(0, len(flat), step)]
    shift, units = max(part[1] for part in parts), max(part[2] for part in parts)
    moved = [values >> (shift - own) for values, own, _ in parts]
    return np.concatenate(moved), shift, units + any(own < shift for _, own, _ in parts)


Map = Gather | Scale | Dense | Convolution


def total(parts: list[Rows]) -> Rows:
    """The sum of families of rows."""
    found = parts[0]
    for part in parts[1:]:
        found = aligned(found, part)
    return found


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
    fraction, exponent = math.frexp(factor)
    number = np.array([[int(math.ldexp(fraction, 53))]], dtype=np.int64)
    zeros = (int(number[0, 0]) & -int(number[0, 0])).bit_length() - 1 if factor else 0
    flat = rows.mantissa.reshape(len(rows.mantissa), -1)
    values, shift, units = elementwise(flat, number >> max(zeros, 0))
    power_of_two = rows.exponent + exponent - 53 + max(zeros, 0) + shift
    cut = mul(units, root(float(flat.shape[1])), power(power_of_two)) if units else 0.0
    return Rows(values, power_of_two, add(mul(rows.radius, abs(factor)), cut))
