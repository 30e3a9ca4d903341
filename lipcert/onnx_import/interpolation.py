"""Resizing along one axis as an exact matrix of rational weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

HALF = Fraction(1, 2)

Row = dict[int, Fraction]
"""Weights of one output element by input position."""


@dataclass(frozen=True)
class Axis:
    """One axis to resize: its sizes, and the exact factor between them."""

    old: int
    new: int
    scale: Fraction


def half_pixel(i: int, axis: Axis) -> Fraction:
    """Pixel centres are at halves."""
    return (i + HALF) / axis.scale - HALF


def half_pixel_symmetric(i: int, axis: Axis) -> Fraction:
    """Pixel centres are at halves, the image centre kept in place."""
    adjustment = axis.new / (axis.scale * axis.old)
    offset = Fraction(axis.old, 2) * (1 - adjustment)
    return offset + half_pixel(i, axis)


def pytorch_half_pixel(i: int, axis: Axis) -> Fraction:
    """As half_pixel, but zero for an output of one element."""
    return half_pixel(i, axis) if axis.new > 1 else Fraction(0)


def align_corners(i: int, axis: Axis) -> Fraction:
    """The first and last elements stay the first and last."""
    return Fraction(i * (axis.old - 1), axis.new - 1) if axis.new > 1 else Fraction(0)


def asymmetric(i: int, axis: Axis) -> Fraction:
    """Pixels are at whole numbers."""
    return i / axis.scale


def tf_half_pixel_for_nn(i: int, axis: Axis) -> Fraction:
    """Pixel centres are at halves of the output only (opset 11)."""
    return (i + HALF) / axis.scale


COORDINATES: dict[str, Callable[[int, Axis], Fraction]] = {
    "half_pixel": half_pixel,
    "half_pixel_symmetric": half_pixel_symmetric,
    "pytorch_half_pixel": pytorch_half_pixel,
    "align_corners": align_corners,
    "asymmetric": asymmetric,
    "tf_half_pixel_for_nn": tf_half_pixel_for_nn,
}

ROUNDINGS: dict[str, Callable[[Fraction], int]] = {
    "floor": math.floor,
    "ceil": math.ceil,
    "round_prefer_floor": lambda x: math.ceil(x - HALF),
    "round_prefer_ceil": lambda x: math.floor(x + HALF),
}


def nearest(x: Fraction, axis: Axis, rounding: Callable[[Fraction], int]) -> int:
    """The input position that stands at ``x``."""
    return min(max(rounding(x), 0), axis.old - 1)


def linear_row(x: Fraction, axis: Axis) -> Row:
    """The two neighbours of ``x``, weighted by distance; the border repeats outside."""
    left = math.floor(x)
    share = x - left
    return _row([(left, 1 - share), (left + 1, share)], axis)


def cubic_row(x: Fraction, axis: Axis, a: Fraction, *, exclude_outside: bool) -> Row:
    """The four neighbours of ``x`` by Keys' kernel with parameter ``a``."""
    left = math.floor(x)
    taps = [(left + k, _cubic(abs(x - left - k), a)) for k in (-1, 0, 1, 2)]
    if exclude_outside:
        taps = [(k, weight) for k, weight in taps if 0 <= k < axis.old]
        whole = sum((weight for _, weight in taps), Fraction(0))
        taps = [(k, weight / whole) for k, weight in taps]
    return _row(taps, axis)


def _cubic(s: Fraction, a: Fraction) -> Fraction:
    if s <= 1:
        return (a + 2) * s**3 - (a + 3) * s**2 + 1
    return a * s**3 - 5 * a * s**2 + 8 * a * s - 4 * a if s < 2 else Fraction(0)


def _row(taps: list[tuple[int, Fraction]], axis: Axis) -> Row:
    row: Row = {}
    for position, weight in taps:
        inside = min(max(position, 0), axis.old - 1)
        row[inside] = row.get(inside, Fraction(0)) + weight
    return row
