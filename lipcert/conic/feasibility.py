"""The a-posteriori proof: multipliers are feasible in spite of all rounding.

``P(y)`` is formed in float64, the distance to the true matrix is bounded from the magnitudes at
hand, and a Cholesky factor with a bounded residual shows that no eigenvalue is below that
distance.  Nothing about the solver that found y is trusted.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lipcert.conic.problem import Block, Problem, ScaledProblem
from lipcert.errors import SolverError
from lipcert.rounding import add_up, gamma, mul_up
from lipcert.spectral.proof import is_proven_above
from lipcert.spectral.tensors import frobenius_up

RETREATS = (1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 0.5, 1.0)
"""Shares of multipliers well inside that are mixed in until the proof goes through."""


def is_feasible(problem: Problem, y: Tensor) -> bool:
    """Whether y is proven feasible: no multiplier negative, every block positive semidefinite."""
    if not bool(torch.isfinite(y).all()) or not bool((y >= 0.0).all()):
        return False
    scaled = problem.balanced(y.clamp(min=1e-290))
    y = y / scaled.unit
    return all(_is_block_feasible(block, y) for block in scaled.problem.blocks)


def proven_multipliers(
    scaled: ScaledProblem, y: Tensor, interior: Tensor | None = None
) -> tuple[Tensor, float]:
    """Feasible multipliers near y, and the share of others that was mixed in.

    Parameters
    ----------
    y : scaled multipliers, nearly feasible.
    interior : others well inside, towards which to retreat where the start costs more.

    Raises SolverError when even the start cannot be proved.
    """
    problem = scaled.problem
    inside = [inner for inner in (interior, problem.start) if inner is not None]
    return retreated(y, inside, lambda mixed: is_feasible(problem, mixed))


def retreated(
    y: Tensor, inside: list[Tensor], is_proven: Callable[[Tensor], bool]
) -> tuple[Tensor, float]:
    """Proven multipliers near y, and the share of others, farther inside, that was mixed in.

    Raises SolverError where none can be proved.
    """
    if is_proven(y):
        return y, 0.0
    ways = [(share, inner) for share in RETREATS for inner in inside]
    for share, inner in sorted(ways, key=lambda way: way[0] * float(way[1][0] - y[0])):
        mixed = (1.0 - share) * y + share * inner
        if is_proven(mixed):
            return mixed, share
    raise SolverError(
        "lipsdp", "no multipliers can be proved feasible in float64", "use --method averaged"
    )


def _is_block_feasible(block: Block, y: Tensor) -> bool:
    P = block.slack(y)
    return is_proven_above(P, distance_to_true(block, y))


def distance_to_true(block: Block, y: Tensor) -> float:
    """Bound of the spectral norm of the computed ``P(y)`` minus the true one."""
    return add_up(_rounding(block, y), _coefficient_error(block, y))


def _rounding(block: Block, y: Tensor) -> float:
    """``γ_n`` times the largest row sum of the matrix in which every term is made positive."""
    n = block.inputs
    c = block.centre.abs()
    weight = block.activation_weight * y[block.activation_index]
    below = block.row_weight * y[block.row_index]
    magnitude = block.rows.absolute()
    ones = torch.ones(block.side, 1, dtype=y.dtype, device=y.device)
    row_sums = magnitude.times(ones)[:, 0]
    remainder_sums = 1.0 + c * block.partners(row_sums)
    inner = block.onto_partners(weight * c * remainder_sums) + below * row_sums
    sums = magnitude.transposed_times(inner[:, None])[:, 0]
    sums[:n] += block.head_weight * y[block.head_index]
    sums[n:] += weight * remainder_sums
    C = block.output.abs()
    sums += C.T @ C.sum(1)
    terms = 2 * (block.rows.count + len(C)) + 16
    largest = float(sums.max()) if sums.numel() else 0.0
    return mul_up(largest, gamma(terms), 1.0 + 4.0 * gamma(block.side + terms))


def _coefficient_error(block: Block, y: Tensor) -> float:
    """What errors in the stored coefficients can change, in the spectral norm."""
    below = (block.row_weight * y[block.row_index]).sqrt()
    crossing = (block.activation_weight * y[block.activation_index]).sqrt() * block.centre.abs()
    above = block.onto_partners(crossing.square()).sqrt()
    unit = (block.activation_weight * y[block.activation_index]).sqrt()
    slack = 1.0 + 1e-14
    parts = [
        _square_error(block.rows.norm_of_scaled(below), block.rows.error_of_scaled(below)),
        _square_error(
            add_up(float(unit.max()) if unit.numel() else 0.0, block.rows.norm_of_scaled(above)),
            block.rows.error_of_scaled(above),
        ),
    ]
    if block.output_error > 0.0:
        size = float(frobenius_up(block.output[None]))
        parts.append(_square_error(size, block.output_error))
    return mul_up(add_up(*parts), slack)


def _square_error(size: float, error: float) -> float:
    """``‖(M + E)ᵀ(M + E) − MᵀM‖ ≤ 2‖M‖‖E‖ + ‖E‖²``."""
    return add_up(mul_up(2.0, size, error), mul_up(error, error)) if error > 0.0 else 0.0
