"""The proof of feasibility: decided exactly at its edge, and what it must refuse."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from chains import F64, Form, chain_problem, random_block, random_weights, smallest_eigenvalue
from generators.exact import is_semidefinite
from torch import Tensor

from lipcert.conic.feasibility import (
    distance_to_true,
    is_feasible,
    proven_multipliers,
)
from lipcert.conic.hkm import solve
from lipcert.conic.problem import Block, Problem
from lipcert.conic.rows import PieceRows
from lipcert.conic.solvers import SOLVERS
from lipcert.errors import SolverError

FORMS = {
    "neurons": Form(),
    "layers": Form(slopes=(-0.13, 1.13), group=None),
    "signed": Form(slopes=(0.1, 1.0)),
    "groups": Form(slopes=(-1.0, 1.0), group=2, permuted=True),
    "two blocks": Form(slopes=(0.1, 1.0), cuts=(1,)),
    "four blocks": Form(slopes=(0.0, 0.25), cuts=(0, 1, 2), permuted=True),
}
MATRIX = list[list[Fraction]]


def optimum(problem: Problem, tolerance: float = 1e-7) -> Tensor:
    """The best multipliers of the solver, in the problem's own scales."""
    scaled = problem.scaled(problem.start)
    return scaled.unit * solve(scaled, tolerance=tolerance).y


def times(y: Tensor, factor: float) -> Tensor:
    """The same multipliers with another ρ."""
    changed = y.clone()
    changed[0] *= factor
    return changed


def exact_slack(block: Block, y: Tensor, off: Tensor | None = None) -> MATRIX:
    """``P(y)`` in rational arithmetic, of the rows as stored or ``off`` away from them."""
    A = [[Fraction(v) for v in row] for row in block.rows.dense().tolist()]
    if off is not None:
        E = [[Fraction(v) for v in row] for row in off.tolist()]
        A = [[a + e for a, e in zip(r, s, strict=True)] for r, s in zip(A, E, strict=True)]
    n, D = block.inputs, block.side
    P = [[Fraction(0)] * D for _ in range(D)]

    def add(row: list[Fraction], weight: Fraction) -> None:
        held = [i for i, v in enumerate(row) if v]
        for i in held:
            for j in held:
                P[i][j] += weight * row[i] * row[j]

    values = [Fraction(v) for v in y.tolist()]
    for i, (weight, index) in enumerate(
        zip(block.head_weight.tolist(), block.head_index.tolist(), strict=True)
    ):
        P[i][i] += Fraction(weight) * values[index]
    partner = range(block.activations) if block.partner is None else block.partner.tolist()
    for k, j in enumerate(partner):
        row = [-Fraction(float(block.centre[k])) * a for a in A[j]]
        row[n + k] += 1
        add(row, Fraction(float(block.activation_weight[k])) * values[block.activation_index[k]])
    for j in range(block.rows.count):
        add(A[j], -Fraction(float(block.row_weight[j])) * values[block.row_index[j]])
    for output in block.output.tolist():
        add([Fraction(v) for v in output], Fraction(-1))
    return P


def edge(accepts: Callable[[float], bool], low: float, high: float) -> float:
    """The smallest factor that is accepted, to a few roundings, between one that is and one not."""
    assert accepts(high) and not accepts(low)
    for _ in range(60):
        middle = (low + high) / 2.0
        if accepts(middle):
            high = middle
        else:
            low = middle
    return high


# --- chains ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
@pytest.mark.parametrize("seed", range(3))
def test_the_optimum_is_accepted_and_a_millionth_below_refused(form: Form, seed: int) -> None:
    problem = chain_problem(random_weights([4, 6, 8, 4, 3], seed), form)
    y = optimum(problem)
    assert is_feasible(problem, y)
    assert smallest_eigenvalue(problem, y) > 0.0
    assert not is_feasible(problem, times(y, 1.0 - 1e-6))
    scaled = problem.scaled(problem.start)
    proved, share = proven_multipliers(scaled, y / scaled.unit)
    assert share == 0.0 and torch.equal(proved, y / scaled.unit)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_what_is_accepted_is_feasible_in_rationals(form: Form) -> None:
    """At the edge of acceptance, where an error bound that is too small would show."""
    problem = chain_problem(random_weights([2, 3, 4, 4, 2], 4), form)
    y = optimum(problem)

    def accepts(factor: float) -> bool:
        return is_feasible(problem, times(y, factor))

    factor = edge(accepts, 1.0 - 1e-5, 1.0)
    y = times(y, factor)
    assert all(is_semidefinite(exact_slack(block, y)) for block in problem.blocks)
    # hardly above the true edge, too
    below = times(y, 1.0 - 1e-8)
    assert not all(is_semidefinite(exact_slack(block, below)) for block in problem.blocks)


@pytest.mark.parametrize("seed", range(20))
def test_unstructured_blocks_at_their_edge(seed: int) -> None:
    """Shared rows, overlapping pieces, terms that cancel: heads raised until P is accepted."""
    block = random_block(seed)
    heads = torch.arange(block.inputs) + 9
    coordinates = torch.arange(block.activations) + 9 + block.inputs
    block = replace(  # multipliers of their own on the diagonal, whatever the rest is
        block,
        head_index=heads,
        activation_index=coordinates,
        centre=block.centre * 1e-3,
        head_weight=block.head_weight + 0.1,
        activation_weight=block.activation_weight + 0.1,
    )
    generator = torch.Generator().manual_seed(seed)
    y = torch.rand(9 + block.side, dtype=F64, generator=generator)
    problem = Problem((block,), torch.ones_like(y))

    def raised(factor: float) -> Tensor:
        changed = y.clone()
        changed[9:] *= factor
        return changed

    factor = edge(lambda f: is_feasible(problem, raised(f)), 0.0, 1e12)
    assert is_semidefinite(exact_slack(block, raised(factor)))
    assert not is_semidefinite(exact_slack(block, raised(factor * (1.0 - 1e-6))))


def test_negative_and_infinite_multipliers_are_refused() -> None:
    """A negative multiplier would turn its constraint around."""
    problem = chain_problem(random_weights([3, 4, 2], 0), Form(slopes=(0.1, 1.0)))
    y = problem.start
    assert is_feasible(problem, y)
    for value in (-1e-300, -1.0, math.nan, math.inf):
        changed = y.clone()
        changed[2] = value
        assert not is_feasible(problem, changed)
    changed = y.clone()
    changed[1:] = 0.0  # no constraint at all: nothing is known of the neurons
    assert not is_feasible(problem, changed)


def test_a_negative_multiplier_that_the_matrix_allows_is_refused() -> None:
    """``2x`` behind slopes in [1, 3]: with t < 0 the matrix alone would prove a constant of 1."""
    block = Block(
        inputs=1,
        rows=PieceRows(
            1, 2, chain_problem([torch.ones(1, 1, dtype=F64)] * 2).blocks[0].rows.pieces
        ),
        centre=torch.tensor([2.0], dtype=F64),
        partner=None,
        head_weight=torch.ones(1, dtype=F64),
        head_index=torch.tensor([0]),
        activation_weight=torch.ones(1, dtype=F64),
        activation_index=torch.tensor([1]),
        row_weight=torch.ones(1, dtype=F64),
        row_index=torch.tensor([1]),
        output=torch.tensor([[1.0, 0.0]], dtype=F64),
    )
    problem = Problem((block,), torch.tensor([2.0, 1.0], dtype=F64), signed=True)
    y = torch.tensor([2.0, -1e-3], dtype=F64)
    assert float(torch.linalg.eigvalsh(block.slack(y))[0]) < 0.0
    assert not is_feasible(problem, y)
    assert not is_feasible(problem, torch.tensor([1.0 - 1e-9, 0.0], dtype=F64))


@pytest.mark.parametrize("power", [-200, -40, 40, 200])
def test_scales_of_weights_do_not_matter(power: int) -> None:
    """By powers of two: the multipliers of the scaled model are those of the model, scaled."""
    weights = random_weights([4, 6, 8, 3], 3)
    problem = chain_problem(weights)
    y = optimum(problem)
    scaled = chain_problem([*weights[:-1], weights[-1] * 2.0**power])
    assert is_feasible(scaled, y * 4.0**power)
    assert not is_feasible(scaled, times(y * 4.0**power, 1.0 - 1e-6))


def test_terms_that_cancel_are_not_scaled_up() -> None:
    """Where an input direction is used up to the last, P has a zero and rounding does not grow."""
    weight = torch.diag(torch.tensor([3.0, 1.0, 0.5], dtype=F64))
    problem = chain_problem([weight, torch.eye(3, dtype=F64)], Form(slopes=(-1.0, 1.0)))
    y = optimum(problem, tolerance=1e-10)
    assert is_feasible(problem, y)
    balanced = problem.balanced(y).problem
    (block,) = balanced.blocks
    assert float(block.slack(balanced.start).diagonal().min()) < 1e-6
    assert distance_to_true(block, balanced.start) < 1e-13


# --- other solvers --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizes", "seed"), [([10, 20, 20, 3], 0), ([10, 15, 15, 15, 4], 3), ([6, 14, 14, 12, 4], 0)]
)
def test_a_generic_solver_below_the_optimum_is_refused(sizes: list[int], seed: int) -> None:
    """SCS at a tolerance of 1e-5: its answer is below what no feasible multipliers reach."""
    problem = chain_problem(random_weights(sizes, seed))
    scaled = problem.scaled(problem.start)
    outcome = solve(scaled, tolerance=1e-8)
    raw = SOLVERS["scs"](scaled, math.inf, lambda *told: None).y
    assert float(raw[0]) < outcome.lower * (1.0 - 1e-5)
    assert not is_feasible(scaled.problem, raw)
    y, share = proven_multipliers(scaled, raw)
    assert share > 0.0 and is_feasible(scaled.problem, y)
    assert float(y[0]) >= outcome.lower


def test_a_generic_solver_inside_is_accepted() -> None:
    problem = chain_problem(random_weights([8, 10, 10, 10, 10, 5], 0))
    scaled = problem.scaled(problem.start)
    raw = SOLVERS["clarabel"](scaled, math.inf, lambda *told: None).y
    inside = times(raw, 1.0 + 1e-5)
    assert is_feasible(scaled.problem, inside)
    assert smallest_eigenvalue(scaled.problem, inside) > 0.0


# --- errors of coefficients ------------------------------------------------------------------------


def with_errors(problem: Problem, error: float, output_error: float = 0.0) -> Problem:
    """The same problem whose pieces are known up to an error only."""
    blocks = []
    for block in problem.blocks:
        pieces = tuple(replace(piece, error=error) for piece in block.rows.pieces)
        rows = replace(block.rows, pieces=pieces)
        blocks.append(replace(block, rows=rows, output_error=output_error))
    return replace(problem, blocks=tuple(blocks))


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_errors_of_coefficients_end_the_proof(form: Form) -> None:
    problem = chain_problem(random_weights([4, 6, 8, 4, 3], 2), form)
    scaled = problem.scaled(problem.start)
    y = times(scaled.unit * solve(scaled, tolerance=1e-4).y, 1.001)
    for kind in (lambda e: with_errors(problem, e), lambda e: with_errors(problem, 0.0, e)):
        answers = [is_feasible(kind(10.0**power), y) for power in range(-16, 2)]
        assert answers[0] and not answers[-1]
        assert answers == sorted(answers, reverse=True)


@pytest.mark.parametrize("centre", [0.5, 0.0, -0.3])
def test_errors_of_coefficients_are_covered_in_rationals(centre: float) -> None:
    """The worst perturbation found of every piece and of the output: P stays semidefinite."""
    form = Form(slopes=(centre - 0.6, centre + 0.6))
    problem = chain_problem(random_weights([2, 3, 3, 2], 6), form)
    y = optimum(problem)
    rng = np.random.default_rng(0)
    for error in (1e-3, 1e-6):
        perturbed = with_errors(problem, error)

        mixed = [(1.0 - share) * y + share * problem.start for share in np.geomspace(1e-9, 1, 40)]
        accepted = next((m for m in mixed if is_feasible(perturbed, m)), None)
        if accepted is None:
            assert error > 1e-4
            continue
        (block,) = perturbed.blocks
        for _ in range(12):
            off = torch.zeros(block.rows.count, block.side, dtype=F64)
            for piece in block.rows.pieces:
                matrix = rng.standard_normal(piece.matrix.shape)
                matrix *= 0.999 * error / np.linalg.norm(matrix, 2)
                off[piece.rows, piece.columns] = torch.from_numpy(matrix)
            assert is_semidefinite(exact_slack(block, accepted, off))


def test_the_distance_covers_computed_matrices() -> None:
    """``P`` in floating point against rationals, entry by entry."""
    for seed in range(20):
        block = random_block(seed)
        generator = torch.Generator().manual_seed(seed)
        y = torch.rand(9, dtype=F64, generator=generator) * 10.0 ** torch.randint(-4, 5, (9,))
        P, exact = block.slack(y), exact_slack(block, y)
        limit = Fraction(distance_to_true(block, y))
        off = [
            sum(abs(Fraction(v) - e) for v, e in zip(row, true, strict=True))
            for row, true in zip(P.tolist(), exact, strict=True)
        ]
        assert max(off) <= limit
        assert limit <= Fraction(1e-11) * max(1, Fraction(float(P.abs().sum(1).max())))


# --- retreat --------------------------------------------------------------------------------------


def test_retreat_mixes_in_no_more_than_is_needed() -> None:
    problem = chain_problem(random_weights([4, 9, 7, 3], 8))
    scaled = problem.scaled(problem.start)
    best = solve(scaled, tolerance=1e-9).y
    for short, most in ((1e-8, 1e-6), (1e-5, 1e-3), (1e-2, 1.0)):
        y, share = proven_multipliers(scaled, best * (1.0 - short))
        assert is_feasible(scaled.problem, y) and 0.0 < share <= most
        assert float(y[0]) >= float(best[0]) * (1.0 - 1e-8)


def test_the_cheaper_way_back_is_taken() -> None:
    """Past a start of which ρ is far too large, towards an iterate."""
    problem = chain_problem(random_weights([4, 9, 7, 3], 9))
    scaled = problem.scaled(problem.start)
    outcome = solve(scaled, tolerance=1e-8)
    start = times(scaled.problem.start, 1e6)
    far = replace(scaled, problem=replace(scaled.problem, start=start))
    y = outcome.y * (1.0 - 1e-4)
    dear, _ = proven_multipliers(far, y)
    cheap, _ = proven_multipliers(far, y, outcome.halfway.y)
    assert is_feasible(far.problem, cheap)
    assert float(cheap[0]) < 1.01 * float(outcome.y[0]) < float(dear[0])


def test_a_start_that_cannot_be_proved_is_an_error() -> None:
    problem = with_errors(chain_problem(random_weights([4, 9, 7, 3], 9)), 1e3)
    scaled = problem.scaled(problem.start)
    with pytest.raises(SolverError, match="no multipliers can be proved"):
        proven_multipliers(scaled, scaled.problem.start)
