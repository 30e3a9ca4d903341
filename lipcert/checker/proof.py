"""The claims of a proof file, each checked against the model."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from .claims import Claim
from .convolution import Convolution
from .exact import CheckError, mul, root, up_ratio
from .maps import check_rows
from .matrix import Matrices
from .network import Affine, Network, growth
from .positive import Refuted, prove_contraction
from .torus import prove_torus

SMALL_SHARE = Fraction(1, 2**60)
WHOLE = 1 << 256
"""Shares count in parts of it, rounded upward."""


@dataclass
class Checker:
    """Bounds ``‖Δvalue‖/‖Δx‖`` of a network's values, as far as they are proved.

    Parameters
    ----------
    known : proved so far, rounded upward; ``pairs`` of differences of logits.
    """

    network: Network
    known: dict[str, float] = field(default_factory=dict)
    pairs: dict[tuple[int, int], float] = field(default_factory=dict)

    def run(self, claims: list[Claim]) -> None:
        """Propagate through all values; each claim must be about a value and holds from there.

        Raises Refuted for a claim that its evidence does not show.
        """
        network = self.network
        self.known[network.input] = 1.0
        waiting: dict[str, list[Claim]] = {}
        for claim in claims:
            if claim.target not in network.makers:
                raise Refuted(f"{claim.what}: the model computes no such value")
            waiting.setdefault(claim.target, []).append(claim)
        for name, maker in network.makers.items():
            self.known[name] = growth(maker, self.known)
            if math.isnan(self.known[name]):
                raise CheckError(f"no constant of {name!r} is known")
            for claim in waiting.get(name, []):
                self.check(claim)
                self.learn(claim)

    def learn(self, claim: Claim) -> None:
        """Take in a claim, shown already."""
        name, constant = claim.target, up_ratio(claim.constant)
        if claim.pair is None:
            self.known[name] = min(self.known.get(name, math.inf), constant)
        elif name == self.network.logits:
            self.pairs[claim.pair] = constant

    def check(self, claim: Claim) -> None:
        """Raises Refuted unless the evidence shows the claim."""
        if claim.constant <= 0:
            raise Refuted(f"{claim.what} is not positive")
        if claim.torus is not None:
            self._check_torus(claim, claim.torus)
            return
        if any(column.share < SMALL_SHARE for column in claim.columns):
            raise Refuted(f"{claim.what}: a share is not positive")
        if sum(math.ceil(column.share * WHOLE) for column in claim.columns) > WHOLE:
            raise Refuted(f"{claim.what}: the shares are more than the whole")
        scaled, squares = Matrices(self.network, self.known).of(claim)
        prove_contraction(scaled, squares, claim.factor, claim.what)

    def _check_torus(self, claim: Claim, torus: tuple[int, ...]) -> None:
        """A torus gives the norm of one convolution; what it reads is known."""
        if claim.pair or claim.columns or claim.stages:
            raise Refuted(f"{claim.what}: a torus shows the constant of a whole value only")
        match self.network.makers.get(claim.target):
            case Affine(summands=((source, (Convolution() as only,)),)):
                prove_torus(only, torus, claim.constant / Fraction(self.known[source]), claim.what)
            case _:
                raise Refuted(f"{claim.what}: it is not one convolution")

    def proved(self, value: str) -> Fraction:
        """The smallest constant proved of a value."""
        return Fraction(self.known[value])

    def pair_constants(self) -> np.ndarray:
        """``(K, K)`` bounds of the constants of differences of logits, ``(2, 1)`` of one logit,
        the same for both of its signs.

        √2 times the constant of all where no claim tells a smaller one.
        """
        network = self.network
        count = network.sizes[network.logits]
        whole = self.known[network.logits]
        if count == 1:
            return np.full((2, 1), whole)
        check_rows(count, count)
        table = np.full((count, count), mul(whole, root(2.0)))
        for (i, j), constant in self.pairs.items():
            table[i, j] = table[j, i] = min(table[i, j], constant)
        return table
