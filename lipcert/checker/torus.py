"""Convolutions on a torus: their norm bounds that of the zero-padded ones."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from fractions import Fraction
from functools import cache

import numpy as np

from .exact import CheckError, Integers, Weight, add, largest, mul, power, product, root
from .maps import Convolution
from .positive import PLACES, Refuted, Scaled, prove_contraction

TWIDDLE = 50
"""Cosines and sines count in units of ``2^-50``, and are off by less than one."""
CHUNK = 1 << 22


def check_size(map_: Convolution, coarse: tuple[int, ...]) -> None:
    """Refuse a torus on which a tap that reads the padding would wrap into the image.

    ``coarse`` counts the outputs around each axis; inputs are ``stride`` times as many.
    """
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


def prove_torus(map_: Convolution, coarse: tuple[int, ...], constant: Fraction, what: str) -> None:
    """The norm on the torus is at most ``constant``.  Raises Refuted."""
    if len(coarse) != len(map_.spatial) or min(coarse, default=0) < 1:
        raise Refuted(f"{what}: no torus of that shape")
    check_size(map_, coarse)
    if constant <= 0:
        raise Refuted(f"{what} is not positive")
    groups = map_.groups
    out = len(map_.weight.mantissa) // groups
    for group in range(groups):
        kernel = map_.weight.mantissa[group * out : (group + 1) * out]
        own = Weight(kernel, map_.weight.exponent, map_.weight.radius)
        for real, imaginary, exponent, off in _blocks(own, map_, coarse):
            rows = np.concatenate([real, -imaginary], -1), np.concatenate([imaginary, real], -1)
            _prove(np.concatenate(rows, -2), exponent, off, constant, what)


def _prove(blocks: Integers, exponent: int, off: float, constant: Fraction, what: str) -> None:
    """``‖block‖ ≤ constant`` for each, scaled by a power of two."""
    if blocks.shape[-2] > blocks.shape[-1]:
        blocks = np.swapaxes(blocks, -1, -2)
    scale = -_exponent(constant)
    by = exponent + scale + PLACES
    most = largest(blocks)
    if (most << by if by >= 0 else most >> -by) >= 1 << (PLACES + 3):
        raise Refuted(f"{what}: an entry is larger than the constant")
    K = blocks << by if by >= 0 else blocks >> min(-by, 63)
    cut = mul(root(float(math.prod(K.shape[-2:]))), power(-PLACES))
    square = constant * constant * Fraction(4) ** (scale + PLACES)
    squares = [math.floor(square)] * K.shape[-2]
    prove_contraction(Scaled(K, float(add(mul(off, power(scale)), cut))), squares, None, what)


def _exponent(value: Fraction) -> int:
    """``⌊log2 value⌋`` but for one."""
    return value.numerator.bit_length() - value.denominator.bit_length()


def _blocks(
    kernel: Weight, map_: Convolution, coarse: tuple[int, ...]
) -> Iterator[tuple[Integers, Integers, int, float]]:
    """Real and imaginary parts ``(frequencies, c_out, phases·c_in)``, their power of two, their
    error (Frobenius norm of each); half of the frequencies, since the kernel is real."""
    out, inner = kernel.mantissa.shape[:2]
    taps = list(itertools.product(*(range(side) for side in kernel.mantissa.shape[2:])))
    flat = kernel.mantissa.reshape(out, inner, len(taps))
    phases: dict[tuple[int, ...], list[tuple[int, tuple[int, ...]]]] = {}
    for place, tap in enumerate(taps):
        reads = [t * d for t, d in zip(tap, map_.dilation, strict=True)]
        phase = tuple(r % s for r, s in zip(reads, map_.stride, strict=True))
        moved = tuple(r // s for r, s in zip(reads, map_.stride, strict=True))
        phases.setdefault(phase, []).append((place, moved))
    chosen = [w for w in itertools.product(*(range(m) for m in coarse)) if _is_first(w, coarse)]
    step = max(1, CHUNK // max(1, out * inner * len(phases)))
    error = mul(2.0, kernel.length, root(float(len(taps))), power(-TWIDDLE))
    spread = mul(kernel.radius, root(float(len(taps))))
    for start in range(0, len(chosen), step):
        frequencies = chosen[start : start + step]
        parts: list[tuple[Integers, Integers]] = []
        shifts, lost = [], 0
        for members in phases.values():
            turns = np.array([[_turn(w, m, coarse) for _, m in members] for w in frequencies])
            table = np.moveaxis(flat[:, :, [place for place, _ in members]], 2, 0)
            table = table.reshape(len(members), -1)
            for which in (0, 1):
                values, shift, units = product(turns[..., which], table)
                parts.append((values.reshape(-1, out, inner), np.array(shift)))
                shifts.append(shift)
                lost = max(lost, units)
        common = max(shifts)
        aligned = [part >> (common - int(shift)) for part, shift in parts]
        exponent = kernel.exponent - TWIDDLE + common
        real, imaginary = np.concatenate(aligned[::2], -1), np.concatenate(aligned[1::2], -1)
        cut = mul(2.0 * (lost + 1), root(float(math.prod(real.shape[1:]))), power(exponent))
        yield real, imaginary, exponent, float(mul(add(error, spread, cut), 1.5))


def _is_first(frequency: tuple[int, ...], coarse: tuple[int, ...]) -> bool:
    """Whether it comes no later than its conjugate."""
    return frequency <= tuple(-w % m for w, m in zip(frequency, coarse, strict=True))


def _turn(frequency: tuple[int, ...], moved: tuple[int, ...], coarse: tuple[int, ...]) -> list[int]:
    """Cosine and sine of ``2π Σ w·m/M``."""
    angle = sum(Fraction(w * m, side) for w, m, side in zip(frequency, moved, coarse, strict=True))
    return list(_circle(angle % 1))


@cache
def _circle(turn: Fraction) -> tuple[int, int]:
    """Cosine and sine of a part of a full turn in units of ``2^-50``, each off by less than one."""
    quarter, rest = divmod(turn * 4, 1)
    x = rest * _half_pi()
    cosine = sine = Fraction(0)
    term = Fraction(1)
    for k in range(40):
        if k % 2 == 0:
            cosine += term if k % 4 == 0 else -term
        else:
            sine += term if k % 4 == 1 else -term
        term = Fraction(math.floor(term * x / (k + 1) * 2**90), 2**90)
    c, s = round(cosine * 2**TWIDDLE), round(sine * 2**TWIDDLE)
    return ((c, s), (-s, c), (-c, -s), (s, -c))[int(quarter)]


@cache
def _half_pi() -> Fraction:
    """π/2 to 2^-90, by Machin's formula."""

    def arctangent(n: int) -> Fraction:
        terms = (Fraction((-1) ** k, (2 * k + 1) * n ** (2 * k + 1)) for k in range(40))
        return sum(terms, Fraction(0))

    return Fraction(round((16 * arctangent(5) - 4 * arctangent(239)) / 2 * 2**90), 2**90)
