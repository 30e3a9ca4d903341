"""Differences of two outputs behind convolutional parts whose multipliers stay as they are.

Proven multipliers of a chain say of the signal z before its head that ``Σ d_i Δz_i² ≤ ρ ‖Δx‖²``,
d being the coupling, whatever follows.  So a constant of one output, or of a difference of two, of
``z ↦ head(d^{-1/2} z)``, a dense model of its own, holds for the chain with ``√ρ`` times as much.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from torch import Tensor

from lipcert.bounds.context import BoundContext
from lipcert.bounds.result import Constants
from lipcert.bounds.torus.chain import ChainProblem
from lipcert.bounds.torus.head import behind_channel_sums
from lipcert.conic.fourier_proof import pair_factors
from lipcert.errors import SolverError
from lipcert.operators import Diagonal, compose, simplify
from lipcert.signals import SignalForm, Terms

Tail = Callable[[SignalForm, BoundContext], Constants]
"""The method for what follows the convolutional parts."""
Pairs = Callable[[BoundContext], np.ndarray]
"""Finds proven ``(K, K)`` constants of differences of two outputs, in the time that is left."""

ROUNDING = 1.0 + 1e-14
"""For what the inverse of a root is rounded by."""


def behind_coupling(head: SignalForm, coupling: Tensor) -> SignalForm:
    """The head as a map of signals whose length ``√(Σ d_i z_i²)`` is their l2 norm.

    Parameters
    ----------
    coupling : d, of each element of the head's input, ``(n,)``, positive.
    """
    lengths = (coupling.rsqrt() * ROUNDING).reshape(head.input_shape)
    scaling = Diagonal(lengths, head.input_shape)

    def scaled(terms: Terms) -> Terms:
        return {**terms, 0: simplify(compose(terms[0], scaling))} if 0 in terms else terms

    stages = tuple(replace(stage, terms=scaled(stage.terms)) for stage in head.stages)
    return replace(head, stages=stages, output_terms=scaled(head.output_terms))


def pairs_of(
    head: SignalForm, problem: ChainProblem, y: Tensor, value: float, tail: Tail
) -> Pairs | None:
    """Pairs of outputs of a head: all from proven multipliers, then each by its own of the head.

    None where the multipliers prove nothing of pairs.
    """
    factors = pair_factors(problem.families[-1], y)
    if factors is None:
        return None
    table = _scaled_up(np.nextafter(np.sqrt(factors), math.inf), value)
    if problem.coupling is None or not head.stages:
        return lambda context: table
    sums = behind_channel_sums(head)
    alone = behind_coupling(head if sums is None else sums, y[problem.coupling])

    def pairs(context: BoundContext) -> np.ndarray:
        if context.expired:
            return table
        try:
            own = tail(alone, context).pairwise()
        except SolverError:
            return table
        smaller: np.ndarray = np.minimum(table, _scaled_up(own, value))
        return smaller

    return pairs


def behind(factor: float, pairs: Pairs | None) -> Pairs | None:
    """Pairs behind segments whose constants multiply to a factor."""
    if pairs is None or factor == 1.0:
        return pairs
    return lambda context: _scaled_up(pairs(context), factor)


def _scaled_up(table: np.ndarray, factor: float) -> np.ndarray:
    """Constants of pairs times a factor, rounded up; 0 between an output and itself."""
    found: np.ndarray = np.nextafter(table * factor, np.inf)
    np.fill_diagonal(found, 0.0)
    return found
