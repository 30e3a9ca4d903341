"""Weights of neurons, as the checker reads them, and the least constant that they prove."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from scipy.linalg import cholesky, solve_triangular

from lipcert.bounds.multipliers import StageMultipliers
from lipcert.checker.claims import Claim, Column
from lipcert.checker.exact import Integers
from lipcert.checker.network import Network
from lipcert.proof.prover import Floats, Prover

WEIGHT_BITS = 32
"""Bits of a weight in the file: rounding them changes nothing above ``2^-31``."""
LEAST_MARGIN = 1e-10
"""What the smallest eigenvalue is kept above, for a matrix of a thousand rows."""
MIXTURES = (0.0, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
"""Shares of multipliers well inside that are tried, the smallest constant counts."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of pre-activations and of a target, all from (input | remainders), dense.

    Parameters
    ----------
    stages : names of the nonlinearities, in order.
    sizes : of each one's pre-activation; its remainder has as many coordinates.
    shared : whether one multiplier serves all elements of a stage.
    H : ``(neurons, inputs + neurons)``.
    goal : ``(outputs, inputs + neurons)``.
    inputs : number of input coordinates, reduced where rows are fewer.
    """

    stages: tuple[str, ...]
    sizes: tuple[int, ...]
    shared: tuple[bool, ...]
    H: Floats
    goal: Floats
    inputs: int

    @property
    def spans(self) -> list[slice]:
        """Rows of each stage."""
        stops = np.cumsum(self.sizes)
        return [slice(int(b) - n, int(b)) for b, n in zip(stops, self.sizes, strict=True)]


@dataclass(frozen=True, eq=False)
class Multipliers:
    """t/ρ of every neuron: at the end of the solver, and well inside."""

    best: Floats
    inside: Floats


def given(rows: Rows, found: Mapping[str, StageMultipliers] | None) -> Multipliers | None:
    """Multipliers that lipcert has solved for already, where every nonlinearity here has some."""
    if found is None or any(rows.shared):
        return None
    parts = [found.get(name) for name in rows.stages]
    sizes = zip(parts, rows.sizes, strict=True)
    if any(part is None or len(part.best) != size for part, size in sizes):
        return None
    own = [part for part in parts if part is not None]
    best, inside = (
        np.concatenate([getattr(part, of) for part in own]) for of in ("best", "inside")
    )
    usable = all(np.isfinite(table).all() and (table > 0.0).all() for table in (best, inside))
    return Multipliers(best, inside) if usable else None


def entry_of(network: Network) -> tuple[Column, ...]:
    """The input alone, with all of the budget."""
    return (Column(network.input, False, Fraction(1)),)


def weighed_claim(
    prover: Prover,
    target: str,
    rows: Rows,
    found: Multipliers,
    pair: tuple[int, int] | None = None,
) -> Claim | None:
    """The smallest constant that mixtures of multipliers prove, entered where it is new."""
    known = prover.known.get(target, math.inf)
    if pair is not None:
        known = min(known * math.sqrt(2.0), float(prover.checker.pairs.get(pair, math.inf)))

    def at(slack: float) -> Claim | None:
        margin = slack / 1e-9 * LEAST_MARGIN * max(1.0, len(rows.H) / 1000.0) ** 1.5
        options = []
        for share in MIXTURES:
            weights = _rounded((1.0 - share) * found.best + share * found.inside)
            size = constant_of(rows, np.ldexp(weights[0].astype(float), weights[1]), margin)
            if size is not None:
                options.append((size, share, weights))
        if not options:
            return None
        size, _, (mantissa, exponent) = min(options, key=lambda option: option[:2])
        stages = tuple(
            (name, mantissa[span], exponent[span])
            for name, span in zip(rows.stages, rows.spans, strict=True)
        )
        constant = Fraction(size * (1.0 + slack))
        return Claim(target, constant, pair, columns=entry_of(prover.network), stages=stages)

    return prover.settle(at, only_below=known)


def _rounded(ratios: Floats) -> tuple[Integers, Integers]:
    """``g = ratio^(-1/2)`` as mantissas below ``2^32`` and exponents."""
    fraction, exponent = np.frexp(1.0 / np.sqrt(np.clip(ratios, 1e-300, 1e300)))
    mantissa = np.floor(np.ldexp(fraction, WEIGHT_BITS)).astype(np.int64)
    return mantissa, exponent.astype(np.int64) - WEIGHT_BITS


def constant_of(rows: Rows, g: Floats, margin: float) -> float | None:
    """The least constant that weights g prove with a margin in the matrix scaled by them; or None.

    With K the scaled rows of the neurons, L those of the target and ``A = (1 − margin) I − K Kᵀ``:
    ``c² = λmax(L Lᵀ + L Kᵀ A⁻¹ K Lᵀ)``.
    """
    w = np.concatenate([np.ones(rows.inputs), g])
    K = rows.H * w / g[:, None]
    L = rows.goal * w
    if not (np.isfinite(K).all() and np.isfinite(L).all()):
        return None
    A = -K @ K.T
    A[np.diag_indices(len(A))] += 1.0 - margin
    try:
        factor = cholesky(A, lower=True, check_finite=False)
    except np.linalg.LinAlgError:
        return None
    crossed = solve_triangular(factor, K @ L.T, lower=True, check_finite=False)
    square = float(np.linalg.eigvalsh(L @ L.T + crossed.T @ crossed)[-1])
    return math.sqrt(square) * (1.0 + margin) if 0.0 < square < math.inf else None
