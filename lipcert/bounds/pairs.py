"""Constants of all differences of two outputs, from one solution and warm starts.

For multipliers with ``P_0 = P(y) + CᵀC ≻ 0`` and ``G = C P_0⁻¹ Cᵀ``, homogeneity gives
``L_ij² ≤ ρ (e_i − e_j)ᵀ G (e_i − e_j)``: one matrix for all pairs.  Then each pair is a problem
with the same constraints and another output, so the primal matrix of the first stays feasible for
it and few iterations are left.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from lipcert.bounds.context import BoundContext
from lipcert.conic.feasibility import distance_to_true, proven_multipliers
from lipcert.conic.hkm import Outcome, solve
from lipcert.conic.iterates import Frame, Iterate
from lipcert.conic.problem import ScaledProblem
from lipcert.errors import SolverError
from lipcert.rounding import add_up, mul_up, sqrt_up
from lipcert.spectral.proof import is_proven_above
from lipcert.spectral.tensors import frobenius_up

MOST_REFINED = 64
"""Outputs up to which every pair is solved for."""
TOLERANCE = 1e-3
"""Relative gap, in ρ, at which a pair is done."""
HEADROOM = 1.25
"""Factor on multipliers that are just feasible for a pair, so that the start is well inside."""


def pairwise_table(
    scaled: ScaledProblem, halfway: Iterate | None, y: Tensor, context: BoundContext
) -> np.ndarray:
    """Proven ``(K, K)`` constants; y are proven scaled multipliers of the whole output."""
    table = _from_one_solution(scaled, y)
    count = len(table)
    pairs = [(i, j) for i in range(count) for j in range(i)]
    if count > MOST_REFINED or halfway is None:
        return table
    frame, near = Frame.of(scaled).moved_to(halfway)
    units = float(frame.unit[0]), float(scaled.unit[0])
    try:
        for place, (i, j) in enumerate(pairs):
            if context.expired:
                break
            told = f"constants of pairs of outputs, {place + 1} of {len(pairs)}"
            context.progress(told, place / len(pairs))
            rho = _refined(frame.scaled, near, i, j, context)
            table[i, j] = table[j, i] = min(table[i, j], sqrt_up(mul_up(rho, *units)))
    except KeyboardInterrupt:
        context.interrupted = True
    return table


def _from_one_solution(scaled: ScaledProblem, y: Tensor) -> np.ndarray:
    rho = mul_up(float(y[0]), float(scaled.unit[0]))
    balanced = scaled.problem.balanced(y).problem
    block, y = balanced.blocks[-1], balanced.start
    C = block.output
    count = len(C)
    table = np.full((count, count), math.inf)
    np.fill_diagonal(table, 0.0)
    P0 = block.linear_part(y)
    inverse = _inverse_times(P0, C.T)
    if inverse is None:
        return table
    G = C @ inverse
    G = (G + G.T) / 2.0
    bordered = torch.zeros(len(P0) + count, len(P0) + count, dtype=P0.dtype, device=P0.device)
    bordered[: len(P0), : len(P0)] = P0
    bordered[len(P0) :, : len(P0)] = C
    bordered[: len(P0), len(P0) :] = C.T
    off = add_up(distance_to_true(block, y), block.output_error)
    for raised in (1e-10, 1e-8, 1e-6, 1e-4, 1e-2):
        K = G + raised * torch.eye(count, dtype=G.dtype, device=G.device)
        bordered[len(P0) :, len(P0) :] = K
        if is_proven_above(bordered, off):
            diagonal = K.diagonal()
            forms = diagonal[:, None] + diagonal - 2.0 * K
            rounding = 2.0**-51 * (diagonal[:, None].abs() + diagonal.abs() + 2.0 * K.abs())
            bounds = (forms.clamp(min=0.0) + rounding) * (1.0 + 1e-14)
            found = bounds.sqrt().cpu().numpy() * sqrt_up(rho) * (1.0 + 1e-14)
            found = np.nextafter(found, math.inf)  # what underflows stays above
            np.fill_diagonal(found, 0.0)
            return np.asarray(np.maximum(found, found.T))
    return table


def _inverse_times(P0: Tensor, right: Tensor) -> Tensor | None:
    factor, info = torch.linalg.cholesky_ex(P0)
    return None if int(info) else torch.cholesky_solve(right, factor)


def _refined(scaled: ScaledProblem, near: Iterate, i: int, j: int, context: BoundContext) -> float:
    """A proven ρ of ``y_i − y_j``, in units of the scaled problem; infinite where none is found."""
    ended = solved_pair(scaled, near, i, j, context.settings.deadline)
    if ended is None:
        return math.inf
    pair, found = ended
    if found.ending == "interrupted":
        context.interrupted = True
    try:
        y, _ = proven_multipliers(pair, found.y, found.halfway.y)
    except SolverError:
        return math.inf
    return float(y[0])


def solved_pair(
    scaled: ScaledProblem,
    near: Iterate,
    i: int,
    j: int,
    deadline: float,
    tolerance: float = TOLERANCE,
) -> tuple[ScaledProblem, Outcome] | None:
    """The problem of ``y_i − y_j``, and where the solver ended; None where it cannot start.

    Parameters
    ----------
    near : an iterate of the whole output's problem, well inside.
    tolerance : relative gap in ρ at which the solver ends.
    """
    block = scaled.problem.blocks[-1]
    row = block.output[i : i + 1] - block.output[j : j + 1]
    inverse = _inverse_times(block.linear_part(near.y), row.T)
    if inverse is None or not bool(row.any()):
        return None
    size = HEADROOM * float(row @ inverse)
    rounding = mul_up(2.0**-52, float(frobenius_up(row[None])))
    error = add_up(mul_up(2.0, block.output_error), rounding)
    start = size * near.y
    pair = scaled.with_scaled_output(row, error, start)
    warm = Iterate(start, near.X, near.x)
    try:
        return pair, solve(pair, start=warm, tolerance=tolerance, deadline=deadline)
    except ValueError:
        return None
