"""What a proof claims of one value, and the numbers in it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from .exact import CheckError, Integers


@dataclass(frozen=True, eq=False)
class Column:
    """One signal of bounded size: ``‖Δu‖ ≤ known``; its share of the budget, at most 1 in all."""

    signal: str
    remainder: bool
    share: Fraction


@dataclass(frozen=True, eq=False)
class Claim:
    """‖Δ(target)‖ ≤ constant·‖Δx‖, or ≤ constant·‖Δ(source)‖ with all else held fixed.

    Parameters
    ----------
    target : a value of the network; ``pair`` picks the difference of two of its elements.
    source : where the change begins, the input where it is None.
    constant : claimed.
    torus : sides of the torus that shows it, for a value that is a convolution of one other.
    columns : the signals that rows are pulled back to.
    stages : nonlinearities whose remainders are weighed neuron by neuron: (stage, mantissas,
        exponents) with weights ``mantissa·2^exponent``.
    factor : of the matrix, where the file holds one.
    """

    target: str
    constant: Fraction
    pair: tuple[int, int] | None = None
    torus: tuple[int, ...] | None = None
    columns: tuple[Column, ...] = ()
    stages: tuple[tuple[str, Integers, Integers], ...] = ()
    factor: Integers | None = None
    source: str | None = None

    @property
    def what(self) -> str:
        """The claim in words."""
        pair = "" if self.pair is None else f" (outputs {self.pair[0]} and {self.pair[1]})"
        start = "" if self.source is None else f" from {self.source!r}"
        return f"the constant {float(self.constant):.9g} of {self.target!r}{pair}{start}"


def dyadic_down(value: Fraction, bits: int = 53) -> tuple[int, int]:
    """The largest ``m·2^e ≤ value`` with m of so many bits."""
    place = value.numerator.bit_length() - value.denominator.bit_length() - bits
    return math.floor(value / Fraction(2) ** place), place


def dyadic_up(value: float) -> tuple[int, int]:
    """``m·2^e`` equal to a float, or next above it in 53 bits."""
    if not 0.0 < value < math.inf:
        raise CheckError("a bound is beyond the range of float64")
    fraction, exponent = math.frexp(value)
    return int(math.ldexp(fraction, 53)), exponent - 53
