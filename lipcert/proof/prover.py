"""Claims that the checker's own code has accepted, and what they prove so far."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lipcert.bounds.context import Progress, silent
from lipcert.checker.claims import Claim
from lipcert.checker.exact import Integers, Rows
from lipcert.checker.matrix import Key, Matrices
from lipcert.checker.network import Affine, Network, Stage, growth
from lipcert.checker.positive import (
    FACTOR_PLACES,
    PLACES,
    Refuted,
    Scaled,
    prove_contraction,
    rounded_factor,
)
from lipcert.checker.proof import Checker

Floats = NDArray[np.float64]

SLACKS = (1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4)
"""How far above what floating point finds a constant is claimed, until it is proved."""
MOST_FACTOR = 512
"""Side up to which the factor of a matrix is written down: 8 bytes for each of its entries.

Without it the checker tries a floating-point factor of its own, which costs nothing but means that
whether the proof goes through depends on the linear algebra library there; with it, on nothing."""


@dataclass(frozen=True)
class Remembered(Matrices):
    """The checker's matrices; what differs in constants and shares alone is pulled back once."""

    pulled: dict[object, dict[Key, Rows]] = field(default_factory=dict)

    def pull(
        self, claim: Claim, value: str, rows: Rows, weights: Mapping[str, Any]
    ) -> dict[Key, Rows]:
        """What the checker pulls back."""
        columns = frozenset((column.signal, column.remainder) for column in claim.columns)
        pair = claim.pair if value == claim.target else None
        key = (value, pair, len(rows.mantissa), columns, frozenset(weights))
        if key not in self.pulled:
            self.pulled[key] = super().pull(claim, value, rows, weights)
        return self.pulled[key]


@dataclass
class Prover:
    """Makes claims about a network's values, in the order in which the values are made.

    Parameters
    ----------
    checker : holds what is proved so far.
    claims : accepted ones.
    """

    network: Network
    progress: Progress = silent
    claims: list[Claim] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.checker = Checker(self.network)
        self.checker.known[self.network.input] = 1.0
        self.matrices = Remembered(self.network, self.checker.known)

    @property
    def known(self) -> dict[str, float]:
        """Bounds of ``‖Δvalue‖/‖Δx‖`` proved so far."""
        return self.checker.known

    def pass_on(self, name: str) -> None:
        """Bound a value by what it is made of, with no claim about it."""
        size = growth(self.network.makers[name], self.known)
        self.known[name] = min(size, self.known.get(name, math.inf))

    def rows(
        self, claim: Claim, value: str, rows: Rows, weighed: tuple[str, ...]
    ) -> dict[Key, Floats]:
        """What the checker pulls back, as floating-point matrices."""
        pulled = self.matrices.pull(claim, value, rows, dict.fromkeys(weighed))
        return {key: as_floats(part) for key, part in pulled.items()}

    def settle(self, at: Callable[[float], Claim | None], *, only_below: float) -> Claim | None:
        """The first of ``at(slack)`` that is proved, entered; None where none is.

        Parameters
        ----------
        at : the claim with so much slack.
        only_below : claims of a constant that is not smaller are left out.
        """
        for slack in SLACKS:
            claim = at(slack)
            if claim is None or not claim.constant < only_below:
                return None
            try:
                proved = self.proved(claim)
            except Refuted:
                continue
            self.enter(proved)
            return proved
        return None

    def enter(self, claim: Claim) -> None:
        """Take in a claim that is proved."""
        self.claims.append(claim)
        self.checker.learn(claim)

    def forget(self) -> None:
        """Let go of the rows that were pulled back."""
        self.matrices.pulled.clear()

    def proved(self, claim: Claim) -> Claim:
        """The claim with its factor where that is to be written.  Raises Refuted."""
        if claim.torus is not None:
            self.checker.check(claim)
            return claim
        scaled, squares = self.matrices.of(claim)
        if len(squares) <= MOST_FACTOR:
            factor = factor_of(scaled, squares)
            if factor is None:
                raise Refuted(f"{claim.what}: the matrix is not positive definite")
            prove_contraction(scaled, squares, factor, claim.what)
            return replace(claim, factor=factor)
        prove_contraction(scaled, squares, None, claim.what)
        return claim


def factor_of(scaled: Scaled, squares: list[int]) -> Integers | None:
    """A Cholesky factor of the matrix, less what rounding may have left out; None without one."""
    K = np.ldexp(scaled.K.astype(np.float64), -PLACES)
    n = len(squares)
    size = float(np.linalg.norm(K))
    slack = 4.0 * scaled.off * (size + scaled.off) + (n**1.5 + 64.0) * 2.0**-FACTOR_PLACES
    P = np.diag([float(Fraction(square, 4**PLACES)) for square in squares]) - K @ K.T
    P[np.diag_indices(n)] -= slack
    try:
        return rounded_factor(np.linalg.cholesky(P))
    except np.linalg.LinAlgError:
        return None


def as_floats(rows: Rows) -> Floats:
    """Rows as a floating-point matrix."""
    flat = rows.mantissa.reshape(len(rows.mantissa), -1)
    found: Floats = np.ldexp(flat.astype(np.float64), rows.exponent)
    return found


def needed(network: Network, claims: list[Claim], value: str) -> list[Claim]:
    """The claims that the constant of a value rests on, and those about pairs of outputs.

    Of several claims of one value the last is the smallest.
    """
    latest = {claim.target: claim for claim in claims if claim.pair is None}
    pairs = [claim for claim in claims if claim.pair is not None]
    wanted = {value}
    for claim in pairs:
        wanted |= _rests_on(network, claim)
    for name in reversed(list(network.makers)):
        if name not in wanted:
            continue
        maker = network.makers[name]
        if name in latest:
            wanted |= _rests_on(network, latest[name])
        elif isinstance(maker, Stage):
            wanted.add(maker.source)
        else:
            wanted |= {source for source, _ in maker.summands}
    return [claim for name, claim in latest.items() if name in wanted] + pairs


def _rests_on(network: Network, claim: Claim) -> set[str]:
    """Values whose constants a claim's evidence uses."""
    if claim.torus is not None:
        maker = network.makers[claim.target]
        assert isinstance(maker, Affine)
        return {source for source, _ in maker.summands}
    found = set()
    for column in claim.columns:
        read = network.makers.get(column.signal) if column.remainder else None
        found.add(read.source if isinstance(read, Stage) else column.signal)
    return found
