"""What a proof claims of one value, and the numbers in it."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from .exact import Integers


@dataclass(frozen=True, eq=False)
class Column:
    """One signal of bounded size: ``‖Δu‖ ≤ known``; its share of the budget, at most 1 in all."""

    signal: str
    remainder: bool
    share: Fraction


@dataclass(frozen=True, eq=False)
class Claim:
    """‖Δ(target)‖ ≤ constant·‖Δx‖.

    Parameters
    ----------
    target : a value of the network; ``pair`` picks the difference of two of its elements.
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

    @property
    def what(self) -> str:
        """The claim in words."""
        pair = "" if self.pair is None else f" (outputs {self.pair[0]} and {self.pair[1]})"
        return f"the constant {float(self.constant):.9g} of {self.target!r}{pair}"
