"""Where the iteration begins, and how an iterate changes with the scale."""

from __future__ import annotations

import pytest
import torch
from chains import F64, Form, chain_problem, random_weights
from torch import Tensor

from lipcert.conic.hkm import solve
from lipcert.conic.iterates import Frame, _variances, cold_start
from lipcert.conic.problem import Block, Problem
from lipcert.conic.rows import Piece, PieceRows
from lipcert.conic.schur import LocalIndex, constraint_values, quadratic_forms

FORMS = {
    "neurons": Form(),
    "layers": Form(slopes=(-0.13, 1.13), group=None),
    "signed": Form(slopes=(0.1, 1.0)),
    "groups": Form(slopes=(-1.0, 1.0), group=2, permuted=True),
    "two blocks": Form(slopes=(0.1, 1.0), cuts=(1,)),
    "four blocks": Form(slopes=(0.0, 0.25), cuts=(0, 1, 2), permuted=True),
}


def constraints(problem: Problem, X: list[Tensor]) -> Tensor:
    """``Σ_b tr(M_k X_b)`` for every multiplier."""
    total = torch.zeros_like(problem.start)
    for block, primal in zip(problem.blocks, X, strict=True):
        local = LocalIndex(block)
        values = constraint_values(block, local, quadratic_forms(block, primal))
        total.index_add_(0, local.multipliers, values)
    return total


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_variances_fulfil_the_constraints_but_for_the_centres(form: Form) -> None:
    """Exactly where there is no centre; elsewhere ``tr(M_k X)`` is ``2 Σ ω c² v`` too large."""
    problem = chain_problem(random_weights([4, 6, 8, 4, 3], 1), form)
    scaled = problem.scaled(problem.start).problem
    variances = _variances(scaled)
    assert all(bool((x > 0.0).all()) for x in variances)
    found = constraints(scaled, [torch.diag(x) for x in variances])
    wanted = torch.zeros_like(found)
    wanted[0] = 1.0
    for block, x in zip(scaled.blocks, variances, strict=True):
        v = block.partners(block.rows.dense().square() @ x)
        extra = 2.0 * block.activation_weight * block.centre.square() * v
        wanted.index_add_(0, block.activation_index, extra)
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-14)


def widest(outputs: int, inputs: int) -> Problem:
    """Maxima of many inputs each, one multiplier for all reads of an output, then their sum."""
    total = outputs * inputs
    group = torch.arange(outputs) + 1
    block = Block(
        inputs=total,
        rows=PieceRows(total, total + outputs, (Piece(0, 0, torch.eye(total, dtype=F64)),)),
        centre=torch.zeros(outputs, dtype=F64),
        partner=torch.arange(outputs),
        head_weight=torch.ones(total, dtype=F64),
        head_index=torch.zeros(total, dtype=torch.long),
        activation_weight=torch.ones(outputs, dtype=F64),
        activation_index=group,
        row_weight=torch.ones(total, dtype=F64),
        row_index=group.repeat_interleave(inputs),
        output=torch.cat((torch.zeros(1, total), torch.ones(1, outputs)), 1).double(),
    )
    start = torch.full((1 + outputs,), 1.5 * outputs, dtype=F64)
    start[0] *= 1.5
    return Problem((block,), start)


@pytest.mark.parametrize("inputs", [2, 24, 200])
def test_groups_of_many_inputs_are_no_obstacle(inputs: int) -> None:
    """The truth is ``√outputs``; from the identity, multipliers ran away by many orders."""
    problem = widest(3, inputs)
    scaled = problem.scaled(problem.start)
    outcome = solve(scaled, tolerance=1e-8)
    assert outcome.ending == "optimal" and outcome.iterations <= 12
    assert float(outcome.y[0] * scaled.unit[0]) == pytest.approx(3.0, rel=1e-7)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_the_start_is_definite_and_of_about_the_right_trace(form: Form) -> None:
    problem = chain_problem(random_weights([4, 6, 8, 4, 3], 2), form)
    scaled = problem.scaled(problem.start)
    start = cold_start(scaled)
    assert torch.equal(start.y, scaled.problem.start)
    assert all(int(torch.linalg.cholesky_ex(X)[1]) == 0 for X in start.X)
    assert 0.99 <= float(constraints(scaled.problem, start.X)[0]) <= 20.0
    assert start.x.numel() == (len(start.y) - 1 if scaled.problem.signed else 0)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_moving_to_another_frame_and_back(form: Form) -> None:
    """Feasibility, and what the constraints say of X, are the same in every frame."""
    problem = chain_problem(random_weights([4, 6, 8, 4, 3], 3), form)
    scaled = problem.scaled(problem.start)
    halfway = solve(scaled, tolerance=1e-6).halfway
    frame, moved = Frame.of(scaled).moved_to(halfway)
    assert bool((moved.y > 0.7).all()) and bool((moved.y < 1.42).all())
    back = frame.given(moved)
    torch.testing.assert_close(back.y, halfway.y, rtol=0.0, atol=0.0)
    torch.testing.assert_close(back.X, halfway.X, rtol=0.0, atol=0.0)
    torch.testing.assert_close(back.x, halfway.x, rtol=0.0, atol=0.0)
    unit = frame.scaled.unit
    there, here = constraints(frame.scaled.problem, moved.X), constraints(scaled.problem, halfway.X)
    torch.testing.assert_close(there, here * unit / unit[0], rtol=1e-9, atol=1e-12)
    for block, changed, scale in zip(
        scaled.problem.blocks, frame.scaled.problem.blocks, frame.scales, strict=True
    ):
        S = block.slack(halfway.y) * scale[:, None] * scale
        torch.testing.assert_close(changed.slack(moved.y), S, rtol=0.0, atol=1e-13)
