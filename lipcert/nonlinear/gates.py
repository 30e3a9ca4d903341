"""Activations with rates and gains of their own, as graphs that write them out have them.

All parameters are exact rationals; slope intervals are rounded outward from exact ends.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction

import torch
from torch.nn import functional

from lipcert.nonlinear.activations import (
    GELU_EXCESS,
    MISH_SLOPES,
    SILU_EXCESS,
    TANH_GELU_EXCESS,
    Activation,
)

RATE_MARGIN = 1e-5
"""A relative change of 1e-6 in the rates of a tanh Gelu moves its slope by less than this.

With w = ax + bx³ the slope of x(1 + tanh w) is 1 + tanh w + xw'/cosh²w and |xw'| ≤ 3|w|, so the
change is at most 1e-6·(4|w| + 6w²)/cosh²w < 5e-6.
"""


def scaled_gelu(gain: Fraction, offset: Fraction, rate: Fraction) -> Activation:
    """``gain · x · (offset + erf(rate · x))``: Gelu in whatever way it was written out.

    With u = rate·x the slope is ``gain (offset + erf u + 2u/√π e^{−u²})``, whose last two terms
    range over ±(1 + 2e), e the excess of Gelu.
    """
    swing = 1 + 2 * Fraction(GELU_EXCESS)
    g, p, r = float(gain), float(offset), float(rate)
    return Activation(
        "Gelu",
        lambda x: g * x * (p + torch.erf(r * x)),
        *enclosing((gain * (offset - swing), gain * (offset + swing))),
    )


def scaled_silu(gain: Fraction, rate: Fraction) -> Activation:
    """``gain · x · sigmoid(rate · x)``: the interval does not depend on the rate."""
    excess = Fraction(SILU_EXCESS)
    g, r = float(gain), float(rate)
    return Activation(
        "Silu",
        lambda x: g * x * torch.sigmoid(r * x),
        *enclosing((-gain * excess, gain * (1 + excess))),
    )


def scaled_tanh_gelu(gain: Fraction, linear: Fraction, cubic: Fraction) -> Activation:
    """``gain · x · (1 + tanh(linear·x + cubic·x³))``, the rates those of Gelu within 1e-6."""
    excess = Fraction(TANH_GELU_EXCESS) + Fraction(RATE_MARGIN)
    g, a, b = float(gain), float(linear), float(cubic)
    return Activation(
        "TanhGelu",
        lambda x: g * x * (1.0 + torch.tanh(a * x + b * x**3)),
        *enclosing((-2 * gain * excess, 2 * gain * (1 + excess))),
    )


def scaled_hard_swish(
    gain: Fraction, rate: Fraction, start: Fraction, low: Fraction, high: Fraction
) -> Activation:
    """``gain · x · clip(rate·x + start, low, high)``.

    Between the corners the slope is ``gain (2·rate·x + start)``, from ``gain (2·low − start)`` to
    ``gain (2·high − start)``; outside it is ``gain · low`` or ``gain · high``.
    """
    ends = (gain * low, gain * high, gain * (2 * low - start), gain * (2 * high - start))
    g, r, s, below, above = (float(number) for number in (gain, rate, start, low, high))
    return Activation(
        "HardSwish", lambda x: g * x * (r * x + s).clamp(below, above), *enclosing(ends)
    )


def scaled_mish(gain: Fraction) -> Activation:
    """``gain · x · tanh(softplus(x))``."""
    g = float(gain)
    ends = enclosing(gain * Fraction(end) for end in MISH_SLOPES)
    return Activation("Mish", lambda x: g * functional.mish(x), *ends)


def scaled_softsign(gain: Fraction, rate: Fraction) -> Activation:
    """``gain · x / (1 + rate·|x|)``, rate > 0: the slope is ``gain / (1 + rate·|x|)²``."""
    g, r = float(gain), float(rate)
    return Activation(
        "Softsign", lambda x: g * x / (1.0 + r * x.abs()), *enclosing((gain, Fraction(0)))
    )


def enclosing(ends: Iterable[Fraction]) -> tuple[float, float]:
    """The smallest and largest of exact numbers, rounded outward."""
    ordered = sorted(ends)
    low, high = float(ordered[0]), float(ordered[-1])
    if Fraction(low) > ordered[0]:
        low = math.nextafter(low, -math.inf)
    if Fraction(high) < ordered[-1]:
        high = math.nextafter(high, math.inf)
    return low, high
