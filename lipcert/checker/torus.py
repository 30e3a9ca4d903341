"""Convolutions on a torus: their norm bounds that of the zero-padded ones."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from fractions import Fraction
from functools import cache

import numpy as np

from .convolution import Convolution
from .exact import CheckError, Integers, Weight, add, mul, power, product, root
from .positive import PLACES, Refuted, Scaled, prove_contraction, scaled_rows

TWIDDLE = 50
"""Cosines and sines count in units of ``2^-50``, and are off by less than one."""
CHUNK = 1 << 22
HALF_PI = Fraction(3_14159_26535_89793_23846_26433_83279_50288_41971, 2 * 10**40)
"""π/2 to 40 decimal places."""


def prove_torus(map_: Convolution, coarse: tuple[int, ...], constant: Fraction, what: str) -> None:
    """The norm on the torus is at most ``constant``.  Raises Refuted.

    ``coarse`` counts the outputs around each axis; inputs are ``stride`` times as many.
    """
    if len(coarse) != len(map_.spatial) or min(coarse, default=0) < 1 or constant <= 0:
        raise Refuted(f"{what}: no torus of that shape, or not positive")
    _check_size(map_, coarse)
    kernel = map_.weight.mantissa
    scale = constant.denominator.bit_length() - constant.numerator.bit_length()
    square = math.floor(constant * constant * Fraction(4) ** (scale + PLACES))
    one = np.ones(1, dtype=np.int64)
    for part in np.split(kernel, map_.groups):
        own = Weight(part, map_.weight.exponent, map_.weight.radius)
        for real, imaginary, exponent, off in _blocks(own, map_, coarse):
            rows = np.concatenate([real, -imaginary], -1), np.concatenate([imaginary, real], -1)
            blocks = np.concatenate(rows, -2)
            if blocks.shape[-2] > blocks.shape[-1]:
                blocks = np.swapaxes(blocks, -1, -2)
            side = blocks.shape[-2]
            K, cut = scaled_rows(blocks, np.full(side, exponent + scale), one, 0 * one)
            scaled = Scaled(K, float(add(mul(off, power(scale)), cut)))
            prove_contraction(scaled, [square] * side, None, what)


def _check_size(map_: Convolution, coarse: tuple[int, ...]) -> None:
    """Refuse a torus on which a tap that reads the padding would wrap into the image."""
    kernel = map_.weight.mantissa.shape[2:]
    sides = zip(coarse, map_.spatial, map_.out_spatial, map_.stride, strict=True)
    for axis, (m, n, out, stride) in enumerate(sides):
        pad, reach = map_.pads[axis], map_.dilation[axis] * (kernel[axis] - 1)
        last = (out - 1) * stride - pad + reach
        around = m * stride
        if m < out or around < n + pad or around <= last:
            raise Refuted(f"a torus of {around} is too small for an image side of {n}")
        if m > 2 * max(out, n + pad + reach):
            raise CheckError(f"a torus of {around} is too large for an image side of {n}")


def _blocks(
    kernel: Weight, map_: Convolution, coarse: tuple[int, ...]
) -> Iterator[tuple[Integers, Integers, int, float]]:
    """Real and imaginary parts ``(frequencies, c_out, phases·c_in)``, their power of two, their
    error (Frobenius norm of each); half of the frequencies, since the kernel is real."""
    out, inner = kernel.mantissa.shape[:2]
    taps = list(itertools.product(*map(range, kernel.mantissa.shape[2:])))
    flat = np.moveaxis(kernel.mantissa.reshape(out, inner, len(taps)), 2, 0)
    phases: dict[tuple[int, ...], list[tuple[int, tuple[int, ...]]]] = {}
    for place, tap in enumerate(taps):
        parts = [divmod(t * d, s) for t, d, s in zip(tap, map_.dilation, map_.stride, strict=True)]
        moved, phase = zip(*parts, strict=True)
        phases.setdefault(phase, []).append((place, moved))
    every = itertools.product(*map(range, coarse))
    chosen = [w for w in every if w <= tuple(-v % m for v, m in zip(w, coarse, strict=True))]
    step = max(1, CHUNK // max(1, out * inner * len(phases)))
    error = mul(2.0, kernel.length, root(float(len(taps))), power(-TWIDDLE))
    spread = mul(kernel.radius, root(float(len(taps))))
    for start in range(0, len(chosen), step):
        frequencies = chosen[start : start + step]
        found = []
        for members in phases.values():
            turns = np.array([[_turn(w, m, coarse) for _, m in members] for w in frequencies])
            table = flat[[place for place, _ in members]].reshape(len(members), -1)
            found += [product(turns[..., which], table) for which in (0, 1)]
        common, lost = max(shift for _, shift, _ in found), max(units for _, _, units in found)
        even = [(part >> (common - own)).reshape(-1, out, inner) for part, own, _ in found]
        exponent = kernel.exponent - TWIDDLE + common
        real, imaginary = np.concatenate(even[::2], -1), np.concatenate(even[1::2], -1)
        cut = mul(2.0 * (lost + 1), root(float(math.prod(real.shape[1:]))), power(exponent))
        yield real, imaginary, exponent, float(mul(add(error, spread, cut), 1.5))


def _turn(frequency: tuple[int, ...], moved: tuple[int, ...], coarse: tuple[int, ...]) -> list[int]:
    """Cosine and sine of ``2π Σ w·m/M``."""
    angle = sum(Fraction(w * m, side) for w, m, side in zip(frequency, moved, coarse, strict=True))
    return list(_circle(angle % 1))


@cache
def _circle(turn: Fraction) -> tuple[int, int]:
    """Cosine and sine of a part of a full turn in units of ``2^-50``, each off by less than one."""
    quarter, rest = divmod(turn * 4, 1)
    x = rest * HALF_PI
    sums = [Fraction(0), Fraction(0)]
    term = Fraction(1)
    for k in range(40):
        sums[k % 2] += -term if k & 2 else term
        term = Fraction(math.floor(term * x / (k + 1) * 2**90), 2**90)
    c, s = (round(value * 2**TWIDDLE) for value in sums)
    return ((c, s), (-s, c), (-c, -s), (s, -c))[int(quarter)]
