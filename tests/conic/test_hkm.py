"""The structured solver, against a generic one and against what must hold."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import pytest
import torch
from chains import (
    F64,
    Form,
    chain_problem,
    norm,
    random_weights,
    smallest_eigenvalue,
)
from torch import Tensor

from lipcert.conic.hkm import Iterate, Outcome, cold_start, solve
from lipcert.conic.problem import Problem, ScaledProblem
from lipcert.conic.reference import reference_solution

SLOPES = [(0.0, 1.0), (0.1, 1.0), (-0.13, 1.13), (0.0, 0.25)]
SIZES = [
    [2, 3, 2],
    [5, 30, 4],
    [3, 8, 6, 1],
    [12, 10, 14, 3],
    [4, 9, 7, 8, 5],
    [3, 6, 10, 5, 7, 2],
]
OTHER_FORMS = {
    "layers": Form(group=None),
    "groups": Form(slopes=(-1.0, 1.0), group=2),
    "permuted": Form(slopes=(0.1, 1.0), permuted=True),
    "two blocks": Form(cuts=(1,)),
    "two blocks, signed": Form(slopes=(0.1, 1.0), cuts=(1,)),
    "four blocks": Form(slopes=(-0.13, 1.13), cuts=(0, 1, 2), permuted=True),
    "layers in blocks": Form(slopes=(-0.13, 1.13), group=None, cuts=(2,)),
    "groups in blocks": Form(slopes=(-1.0, 1.0), group=2, cuts=(1, 2)),
}


def solved(problem: Problem, tolerance: float = 1e-8) -> tuple[Outcome, float, ScaledProblem]:
    """The outcome, the constant, and the scaled problem."""
    scaled = problem.scaled(problem.start)
    outcome = solve(scaled, tolerance=tolerance)
    return outcome, constant(scaled, outcome.y), scaled


def constant(scaled: ScaledProblem, y: Tensor) -> float:
    return math.sqrt(float(scaled.unit[0] * y[0]))


def reference(problem: Problem) -> float:
    return math.sqrt(float(reference_solution(problem, solver="clarabel", eps=1e-10).y[0]))


@pytest.mark.parametrize("slopes", SLOPES)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_same_optimum_as_a_generic_solver(sizes: list[int], slopes: tuple[float, float]) -> None:
    problem = chain_problem(random_weights(sizes, sum(sizes)), Form(slopes=slopes))
    outcome, found, scaled = solved(problem)
    assert outcome.ending == "optimal"
    assert found == pytest.approx(reference(problem), rel=1e-6)
    assert float(outcome.y[0]) * (1.0 - 2e-8) <= outcome.lower <= float(outcome.y[0])
    assert smallest_eigenvalue(scaled.problem, outcome.y) > 0.0
    assert bool((outcome.y > 0.0).all())


@pytest.mark.parametrize("form", OTHER_FORMS.values(), ids=OTHER_FORMS.keys())
@pytest.mark.parametrize("seed", range(2))
def test_same_optimum_in_every_form(form: Form, seed: int) -> None:
    problem = chain_problem(random_weights([4, 6, 8, 4, 3], seed), form)
    outcome, found, scaled = solved(problem)
    assert outcome.ending == "optimal"
    assert found == pytest.approx(reference(problem), rel=1e-6)
    assert smallest_eigenvalue(scaled.problem, outcome.y) > 0.0


@pytest.mark.parametrize("slopes", SLOPES)
def test_fewer_multipliers_and_more_blocks_are_never_tighter(slopes: tuple[float, float]) -> None:
    weights = random_weights([4, 9, 7, 8, 5], 21)
    _, neurons, _ = solved(chain_problem(weights, Form(slopes)))
    _, layers, _ = solved(chain_problem(weights, Form(slopes, group=None)))
    _, split, _ = solved(chain_problem(weights, Form(slopes, cuts=(1,))))
    _, more, _ = solved(chain_problem(weights, Form(slopes, cuts=(0, 1, 2))))
    product = math.prod(norm(w) * max(slopes) for w in weights) / max(slopes)
    slack = 1.0 + 1e-7
    assert neurons <= layers * slack
    assert neurons <= split * slack <= more * slack**2
    assert max(layers, more) <= product * slack
    assert neurons < 0.999 * layers


def test_bounds_are_above_the_norm_with_every_neuron_on() -> None:
    """And reach it when no weight is negative."""
    for seed in range(5):
        weights = random_weights([4, 7, 6, 3], seed)
        product = norm(weights[2] @ weights[1] @ weights[0])
        assert solved(chain_problem(weights))[1] >= product * (1.0 - 1e-12)
        weights = [w.abs() for w in weights]
        product = norm(weights[2] @ weights[1] @ weights[0])
        found = solved(chain_problem(weights))[1]
        assert product * (1.0 - 1e-12) <= found <= product * (1.0 + 1e-6)


def test_a_linear_model_in_two_blocks() -> None:
    """A block without activations: only its coupling and ρ."""
    weights = [w.abs() for w in random_weights([5, 3, 4], 0)]
    _, found, _ = solved(chain_problem(weights, Form(cuts=(0,))))
    assert norm(weights[1] @ weights[0]) * (1.0 - 1e-12) <= found
    assert found <= norm(weights[1]) * norm(weights[0])


# --- the iteration -------------------------------------------------------------------------------


def interrupted_after(scaled: ScaledProblem, count: int) -> Outcome:
    def report(iteration: int, rho: float, gap: float) -> None:
        if iteration >= count:
            raise KeyboardInterrupt

    return solve(scaled, tolerance=1e-8, report=report)


@pytest.mark.parametrize("form", OTHER_FORMS.values(), ids=OTHER_FORMS.keys())
def test_every_iterate_is_a_bound(form: Form) -> None:
    """Wherever it is interrupted, the best multipliers so far are feasible."""
    problem = chain_problem(random_weights([4, 6, 8, 4, 3], 5), form)
    full, best, scaled = solved(problem)
    last = math.inf
    for count in range(1, full.iterations):
        outcome = interrupted_after(scaled, count)
        assert outcome.ending == "interrupted" and outcome.iterations == count
        assert smallest_eigenvalue(scaled.problem, outcome.y) > 0.0
        assert bool((outcome.y > 0.0).all())
        found = constant(scaled, outcome.y)
        assert best <= found <= last
        assert outcome.lower <= full.y[0]
        last = found


def test_reports_tell_number_objective_and_gap() -> None:
    problem = chain_problem(random_weights([4, 6, 5, 3], 5))
    scaled = problem.scaled(problem.start)
    seen: list[tuple[int, float, float]] = []
    outcome = solve(scaled, tolerance=1e-7, report=lambda *told: seen.append(told))
    assert [told[0] for told in seen] == list(range(1, outcome.iterations + 1))
    objectives = [told[1] for told in seen]
    assert objectives == sorted(objectives, reverse=True)
    assert objectives[-1] == float(outcome.y[0])
    assert seen[-1][2] <= 1e-7
    assert all(1.0 - told[2] <= float(outcome.y[0]) / told[1] + 1e-9 for told in seen)


def test_a_deadline_in_the_past_returns_the_start() -> None:
    problem = chain_problem(random_weights([4, 6, 5, 3], 6))
    scaled = problem.scaled(problem.start)
    outcome = solve(scaled, deadline=time.monotonic() - 1.0)
    assert outcome.ending == "stopped" and outcome.iterations == 0
    assert torch.equal(outcome.y, scaled.problem.start)
    assert outcome.lower == -math.inf


def test_a_deadline_on_the_way_ends_near_it() -> None:
    problem = chain_problem(random_weights([20, 60, 60, 60, 5], 6))
    scaled = problem.scaled(problem.start)
    deadline = time.monotonic() + 0.3

    def slowly(iteration: int, rho: float, gap: float) -> None:
        time.sleep(0.1)

    outcome = solve(scaled, tolerance=1e-12, deadline=deadline, report=slowly)
    assert outcome.ending == "stopped"
    assert time.monotonic() < deadline + 1.0
    assert 0 < outcome.iterations == len(outcome.history) <= 4
    assert smallest_eigenvalue(scaled.problem, outcome.y) > 0.0


def test_tolerance_is_the_relative_gap() -> None:
    problem = chain_problem(random_weights([4, 9, 7, 3], 8))
    scaled = problem.scaled(problem.start)
    optimum = float(solve(scaled, tolerance=1e-9).y[0])
    iterations = 0
    for tolerance in (1e-2, 1e-4, 1e-6):
        outcome = solve(scaled, tolerance=tolerance)
        rho = float(outcome.y[0])
        assert outcome.ending == "optimal"
        assert optimum * (1.0 - 1e-9) <= rho <= optimum * (1.0 + 1.01 * tolerance)
        assert outcome.lower <= optimum * (1.0 + 1e-7)
        assert outcome.iterations >= iterations
        iterations = outcome.iterations
    assert outcome.history[-1] == (rho, pytest.approx((rho - outcome.lower) / rho))


def test_neither_problem_nor_start_is_changed() -> None:
    problem = chain_problem(random_weights([4, 6, 5, 3], 9), Form(slopes=(0.1, 1.0), cuts=(1,)))
    scaled = problem.scaled(problem.start)
    start = cold_start(scaled)
    kept = Iterate(start.y.clone(), [X.clone() for X in start.X], start.x.clone())
    first = solve(scaled, start=start)
    assert torch.equal(start.y, kept.y) and torch.equal(start.x, kept.x)
    assert all(torch.equal(X, Y) for X, Y in zip(start.X, kept.X, strict=True))
    second = solve(scaled, start=start)
    assert torch.equal(first.y, second.y) and first.iterations == second.iterations


def test_a_start_that_is_not_feasible_is_refused() -> None:
    problem = chain_problem(random_weights([4, 6, 5, 3], 9))
    scaled = problem.scaled(problem.start)
    start = cold_start(scaled)
    start = replace(start, y=start.y * 1e-3)
    with pytest.raises(ValueError, match="strictly feasible"):
        solve(scaled, start=start)


@pytest.mark.parametrize("form", [Form(), Form(slopes=(0.1, 1.0), cuts=(1,)), Form(group=None)])
def test_halfway_is_a_start_for_another_output(form: Form) -> None:
    """The primal matrices serve as they are, the multipliers scaled until they are feasible."""
    problem = chain_problem(random_weights([4, 9, 7, 5], 10), form)
    scaled = problem.scaled(problem.start)
    halfway = solve(scaled, tolerance=1e-8).halfway
    block = scaled.problem.blocks[-1]
    for i, j in ((0, 1), (3, 2)):
        row = block.output[i : i + 1] - block.output[j : j + 1]
        y = 2.5 * halfway.y  # |e_i − e_j|² = 2
        changed = scaled.problem.with_output(row)
        pair = replace(scaled, problem=replace(changed, start=y))
        warm = solve(pair, start=Iterate(y, halfway.X, halfway.x), tolerance=1e-8)
        cold = solve(pair, tolerance=1e-8)
        assert warm.ending == cold.ending == "optimal"
        assert float(warm.y[0]) == pytest.approx(float(cold.y[0]), rel=1e-7)
        assert warm.iterations <= cold.iterations
        assert smallest_eigenvalue(pair.problem, warm.y) > 0.0


def test_scales_far_apart_are_no_obstacle() -> None:
    """A deep narrow chain whose layers shrink or grow by orders of magnitude."""
    weights = random_weights([4] * 12 + [2], 12)
    plain = solved(chain_problem(weights), 1e-6)
    scales = [10.0 ** (8 * (-1) ** k + k - 9) for k in range(len(weights))]
    changed = [w * s for w, s in zip(weights, scales, strict=True)]
    outcome, found, _ = solved(chain_problem(changed), 1e-6)
    assert outcome.ending == plain[0].ending == "optimal"
    assert found / math.prod(scales) == pytest.approx(plain[1], rel=3e-6)


def test_deep_narrow_chains_reach_their_optimum() -> None:
    """Where y_0 falls by ten orders of magnitude: solved again from the answer, nothing is left."""
    problem = chain_problem(random_weights([6] * 31 + [3], 0))
    outcome, found, scaled = solved(problem, 1e-6)
    assert outcome.lower <= float(outcome.y[0])
    inside = 0.999 * outcome.y + 0.001 * scaled.problem.start
    _, again, _ = solved(replace(problem, start=inside * scaled.unit), 1e-6)
    assert found == pytest.approx(again, rel=3e-6)


def test_dead_neurons_leave_the_bound_from_below_valid() -> None:
    """Their multipliers may be as large as they like."""
    weights = random_weights([1, 3, 2], 132)
    weights[0][0] = 0.0
    problem = chain_problem(weights, Form(slopes=(-0.13, 1.13), cuts=(0,)))
    outcome, found, _ = solved(problem)
    assert found == pytest.approx(reference(problem), rel=1e-6)
    assert outcome.lower <= float(outcome.y[0]) * (1.0 + 1e-9)


# --- coupled multipliers -------------------------------------------------------------------------


def coupled_multipliers(weights: list[Tensor]) -> float:
    """LipSDP with multipliers for all pairs of neurons of one layer, which prove nothing."""
    cvxpy = pytest.importorskip("cvxpy")
    first, last = (w.numpy() for w in weights)
    N, n = first.shape
    T = cvxpy.Variable((N, N), symmetric=True)
    coupling = cvxpy.Variable((N, N), nonneg=True)
    rho = cvxpy.Variable()
    terms = 0
    for i in range(N):
        for j in range(i, N):
            e = torch.zeros(N, 1, dtype=F64).numpy()
            e[i] = 1.0
            if j > i:
                e[j] = -1.0
            terms = terms + coupling[i, j] * (e @ e.T)
    P = cvxpy.bmat(
        [
            [rho * torch.eye(n, dtype=F64).numpy(), -(first.T @ T)],
            [-(T @ first), 2.0 * T - last.T @ last],
        ]
    )
    model = cvxpy.Problem(cvxpy.Minimize(rho), [terms == T, P >> 0])
    model.solve(solver="CLARABEL")
    assert model.status == "optimal"
    return math.sqrt(max(float(rho.value), 0.0))


def test_coupled_multipliers_are_no_bound_and_those_of_neurons_are() -> None:
    """``relu(x) − relu(x − 2)`` rises with slope 1 from 0 to 2."""
    weights = [torch.ones(2, 1, dtype=F64), torch.tensor([[1.0, -1.0]], dtype=F64)]
    problem = chain_problem(weights)
    _, found, _ = solved(problem)
    assert found >= 1.0
    assert found == pytest.approx(1.0, abs=1e-6)
    assert reference(problem) == pytest.approx(1.0, abs=1e-6)
    assert coupled_multipliers(weights) < 1e-2
