"""LipSDP on the checker's own rows: one weight for each neuron of every nonlinearity.

In coordinates (x | remainders R_j) with ``Δv_k = H_k0 Δx + Σ_j H_kj ΔR_j`` and ``|ΔR_j| ≤ |Δv_j|``,
multipliers t with ``diag(ρ, t) − Σ_k H_kᵀ t_k H_k − H_yᵀ H_y ⪰ 0`` prove ``‖Δy‖² ≤ ρ‖Δx‖²``
(Fazlyab et al. 2019).  The checker's weights are ``g = (t/ρ)^(-1/2)``, its inequality the Schur
complement of this one.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from fractions import Fraction

import numpy as np
import torch

from lipcert.bounds.multipliers import StageMultipliers
from lipcert.bounds.plan import EFFICIENCY, ITERATIONS, product_rate
from lipcert.checker.claims import Claim
from lipcert.checker.maps import identity
from lipcert.checker.matrix import Key
from lipcert.checker.network import Affine, Network, Stage
from lipcert.conic.hkm import Outcome, solve
from lipcert.conic.problem import Block, Problem, ScaledProblem
from lipcert.conic.rows import Piece, PieceRows
from lipcert.proof.layers import largest_singular_value
from lipcert.proof.prover import Floats, Prover
from lipcert.proof.weights import Multipliers, Rows, entry_of, given, weighed_claim

MOST_SIDE = 4096
"""Largest side of the matrix."""
MOST_ELEMENTS = 1 << 25
"""Most elements in its rows."""
FREE_WORK = 2e10
"""Floating-point operations that are never too many."""
MOST_RANK = 1500
"""Side up to which the rank of the rows on the input is found."""
RANK_TOLERANCE = 1e-13
"""Singular values of the rows on the input, relative to the largest, below which none counts."""
TOLERANCE = 1e-7
"""Relative gap in ρ at which the solver ends."""


def fits(network: Network, target: str) -> bool:
    """Whether one inequality for all that ``target`` is made of fits into the format and memory."""
    names = _stages_before(network, target)
    if not names:
        return False
    neurons = 0
    for name in names:
        maker = network.makers[name]
        assert isinstance(maker, Stage)
        if network.sizes[maker.source] != network.sizes[name]:
            return False  # one weight for each element of either side is what the format has
        neurons += network.sizes[name]
    rows = neurons + network.sizes[target]
    columns = network.sizes[network.input] + neurons
    return rows <= MOST_SIDE and rows * columns <= MOST_ELEMENTS


def solvable(network: Network, target: str, seconds: float) -> bool:
    """Whether an inequality that fits can be solved in so many seconds."""
    neurons = sum(network.sizes[name] for name in _stages_before(network, target))
    entry = min(network.sizes[network.input], _readers(network, target))
    side = float(neurons + entry)
    work = ITERATIONS * (9.0 * side**3 + 14.0 * side * neurons * (entry + neurons / 2.0))
    return work <= FREE_WORK or work <= seconds * EFFICIENCY * product_rate(torch.device("cpu"))


def _readers(network: Network, target: str) -> int:
    """Elements of the values that are made of the input directly, about the rank of all rows."""
    used = network.before(target)
    return sum(
        network.sizes[name]
        for name in used
        if isinstance(maker := network.makers.get(name), Affine)
        and any(source == network.input for source, _ in maker.summands)
    )


def _stages_before(network: Network, target: str) -> list[str]:
    """Nonlinearities that a value is made of, in order."""
    used = network.before(target)
    makers = network.makers.items()
    return [name for name, maker in makers if name in used and isinstance(maker, Stage)]


def rows_of(prover: Prover, target: str) -> Rows:
    """The rows, in floating point, of what the checker will pull back."""
    network = prover.network
    names = tuple(_stages_before(network, target))
    makers = [network.makers[name] for name in names]
    sizes = tuple(network.sizes[name] for name in names)
    claim = Claim(target, Fraction(1), columns=entry_of(network))
    entry = network.sizes[network.input]
    starts = {name: entry + sum(sizes[:place]) for place, name in enumerate(names)}
    width = entry + sum(sizes)

    def dense(value: str) -> Floats:
        size = network.sizes[value]
        found = np.zeros((size, width))
        pulled: dict[Key, Floats] = prover.rows(claim, value, identity(size), names)
        for (name, remainder), part in pulled.items():
            start = starts[name] if remainder else 0
            found[:, start : start + part.shape[1]] = part
        return found

    stages = [maker for maker in makers if isinstance(maker, Stage)]
    H = np.concatenate([dense(maker.source) for maker in stages])
    goal = dense(target)
    factor = _fewer(np.concatenate([H[:, :entry], goal[:, :entry]]))
    H = np.concatenate([factor[: len(H)], H[:, entry:]], 1)
    goal = np.concatenate([factor[len(H) :], goal[:, entry:]], 1)
    shared = tuple(maker.slopes is None for maker in stages)
    return Rows(names, sizes, shared, H, goal, factor.shape[1])


def _fewer(rows: Floats) -> Floats:
    """Rows with about the same Gram matrix and as many columns as their rank.

    All rows read the input through the first layers, whose rank is often less than its size.
    """
    if not np.isfinite(rows).all() or min(rows.shape) > MOST_RANK:
        return rows
    left, sizes, _ = np.linalg.svd(rows, full_matrices=False)
    rank = max(1, int((sizes > RANK_TOLERANCE * sizes[0]).sum()))
    found: Floats = left[:, :rank] * sizes[:rank]
    return found


def problem_of(rows: Rows) -> ScaledProblem:
    """The inequality for the solver, with strictly feasible multipliers to start from."""
    kind = torch.float64
    neurons, side = len(rows.H), rows.H.shape[1]
    index, used, starts = [], 1, _start(rows)
    for size, shared in zip(rows.sizes, rows.shared, strict=True):
        own = torch.full((size,), used) if shared else torch.arange(used, used + size)
        index.append(own)
        used += 1 if shared else size
    multipliers = torch.cat(index)
    start = torch.zeros(used, dtype=kind)
    start[0] = starts[0]
    start[multipliers] = torch.cat(
        [torch.full((size,), t, dtype=kind) for size, t in zip(rows.sizes, starts[1:], strict=True)]
    )
    block = Block(
        inputs=rows.inputs,
        rows=PieceRows(neurons, side, tuple(_pieces(rows))),
        centre=torch.zeros(neurons, dtype=kind),
        partner=None,
        head_weight=torch.ones(rows.inputs, dtype=kind),
        head_index=torch.zeros(rows.inputs, dtype=torch.int64),
        activation_weight=torch.ones(neurons, dtype=kind),
        activation_index=multipliers,
        row_weight=torch.ones(neurons, dtype=kind),
        row_index=multipliers,
        output=torch.from_numpy(rows.goal),
    )
    problem = Problem((block,), start)
    return problem.scaled(start)


def _pieces(rows: Rows) -> list[Piece]:
    """The parts of H that are not zero."""
    n = rows.inputs
    columns = [slice(0, n), *(slice(n + s.start, n + s.stop) for s in rows.spans)]
    pieces = []
    for span in rows.spans:
        for column in columns:
            part = rows.H[span, column]
            if part.any():
                matrix = torch.from_numpy(np.ascontiguousarray(part))
                pieces.append(Piece(span.start, column.start, matrix))
    return pieces


def _start(rows: Rows) -> list[float]:
    """ρ and a multiplier for each stage: each what the later ones ask for, twice.

    ``‖v_k‖ ≤ Σ_j a_kj ‖u_j‖`` gives ``‖v_k‖² ≤ (Σ_j a_kj) Σ_j a_kj ‖u_j‖²``.
    """
    n, spans = rows.inputs, rows.spans
    columns = [slice(0, n), *(slice(n + s.start, n + s.stop) for s in spans)]
    gains = [[largest_singular_value(rows.H[span, c]) for c in columns] for span in spans]
    gains.append([largest_singular_value(rows.goal[:, c]) for c in columns])
    t = [0.0] * len(columns) + [1.0]
    for j in reversed(range(len(columns))):
        asked = [t[k + 1] * sum(gains[k]) * gains[k][j] for k in range(j, len(gains))]
        t[j] = 2.0 * sum(asked) or t[j + 1]
    return t[:-1]


def solved(scaled: ScaledProblem, prover: Prover, deadline: float) -> tuple[Outcome, Multipliers]:
    """The solver's multipliers; nothing about them is trusted."""

    def tell(iteration: int, rho: float, gap: float) -> None:
        prover.progress(f"multipliers of the proof, iteration {iteration}", 1.0 - min(gap, 1.0))

    found = solve(scaled, tolerance=TOLERANCE, deadline=deadline, report=tell)
    return found, Multipliers(ratios(scaled, found.y), ratios(scaled, found.halfway.y))


def ratios(scaled: ScaledProblem, y: torch.Tensor, unit: torch.Tensor | None = None) -> Floats:
    """t/ρ of every neuron, from scaled multipliers; ``unit`` of scales in scales."""
    own = scaled.unit * y if unit is None else unit * scaled.unit * y
    index = scaled.problem.blocks[0].activation_index
    found: Floats = (own[index] / own[0]).numpy()
    return found


def inequality_claim(
    prover: Prover, target: str, seconds: float, ready: Mapping[str, StageMultipliers] | None = None
) -> Claim | None:
    """A claim of a value by one inequality from the input on; None where none is proved.

    Parameters
    ----------
    seconds : after which the solver stops with what it has; 0 to start from ``ready`` alone.
    ready : multipliers found before, by the name of the nonlinearity.
    """
    rows = rows_of(prover, target)
    if not np.isfinite(rows.H).all() or not rows.goal.any():
        return None
    multipliers = given(rows, ready)
    claim = None if multipliers is None else weighed_claim(prover, target, rows, multipliers)
    if claim is None and seconds > 0.0:
        try:
            _, multipliers = solved(problem_of(rows), prover, time.monotonic() + seconds)
        except ValueError:  # no strictly feasible start in float64
            return None
        claim = weighed_claim(prover, target, rows, multipliers)
    return claim
