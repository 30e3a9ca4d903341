"""The inequality as data: rows in pieces, sums of constraints, scaling."""

from __future__ import annotations

import pytest
import torch
from chains import (
    F64,
    Form,
    chain_problem,
    constraint_matrices,
    random_block,
    random_weights,
    smallest_eigenvalue,
)

from lipcert.conic.problem import Problem, power_of_two

FORMS = [
    Form(),
    Form(slopes=(-0.13, 1.13), group=None),
    Form(slopes=(-1.0, 1.0), group=2, permuted=True),
    Form(slopes=(0.1, 1.0), cuts=(1,)),
    Form(slopes=(0.0, 0.25), cuts=(0, 1, 2), permuted=True),
]


@pytest.mark.parametrize("seed", range(30))
def test_rows_in_pieces_multiply_like_the_matrix(seed: int) -> None:
    rows = random_block(seed).rows
    A = rows.dense()
    generator = torch.Generator().manual_seed(seed)
    Y = torch.randn(rows.side, 7, dtype=F64, generator=generator)
    V = torch.randn(rows.count, 7, dtype=F64, generator=generator)
    U = torch.randn(rows.count, rows.side, dtype=F64, generator=generator)
    weights = V[:, 0]
    torch.testing.assert_close(rows.times(Y), A @ Y)
    torch.testing.assert_close(rows.times_from_right(Y.T), Y.T @ A.T)
    torch.testing.assert_close(rows.transposed_times(V), A.T @ V)
    torch.testing.assert_close(rows.diagonal_of(U), (A * U).sum(1))
    torch.testing.assert_close(rows.weighted_gram(weights), A.T @ (weights[:, None] * A))
    scale = power_of_two(Y[:, 0].abs())
    assert torch.equal(rows.scaled_columns(scale).dense(), A * scale)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("seed", range(3))
def test_start_of_a_chain_is_strictly_feasible(form: Form, seed: int) -> None:
    problem = chain_problem(random_weights([4, 6, 4, 8, 3], seed), form)
    assert smallest_eigenvalue(problem, problem.start) > 0.0


@pytest.mark.parametrize("form", FORMS)
def test_scaling_changes_coordinates_without_rounding(form: Form) -> None:
    problem = chain_problem(random_weights([4, 6, 4, 8, 3], 7), form)
    scaled = problem.scaled(problem.start)
    y = problem.start * (1.0 + torch.arange(len(problem.start)) % 3)
    assert bool(((scaled.problem.start > 0.7) & (scaled.problem.start < 1.42)).all())
    pairs = zip(problem.blocks, scaled.problem.blocks, scaled.scales, strict=True)
    for block, changed, scale in pairs:
        M = constraint_matrices(block, len(y)) * scale[:, None] * scale
        N = constraint_matrices(changed, len(y)) / scaled.unit[:, None, None]
        torch.testing.assert_close(N, M, rtol=1e-14, atol=0.0)
        P = changed.slack(y / scaled.unit)
        torch.testing.assert_close(P, block.slack(y) * scale[:, None] * scale, rtol=0.0, atol=1e-13)
        start = changed.slack(scaled.problem.start).diagonal()
        assert bool(((start > 0.49) & (start < 2.01)).all())


def test_storing_rows_in_another_order_changes_nothing() -> None:
    weights = random_weights([3, 5, 4, 2], 1)
    plain = chain_problem(weights, Form(slopes=(0.1, 1.0), cuts=(1,)))
    permuted = chain_problem(weights, Form(slopes=(0.1, 1.0), cuts=(1,), permuted=True))
    for one, other in zip(plain.blocks, permuted.blocks, strict=True):
        count = len(plain.start)
        assert torch.equal(constraint_matrices(one, count), constraint_matrices(other, count))


def test_blocks_of_a_split_chain_add_up_to_the_chain() -> None:
    """``P = T₁ᵀ P₁ T₁ + T₂ᵀ P₂ T₂`` whatever the couplings are."""
    weights = random_weights([3, 5, 4, 2], 2)
    whole = chain_problem(weights)
    split = chain_problem(weights, Form(cuts=(1,)))
    y = split.start
    first, second = split.blocks
    P = torch.zeros(12, 12, dtype=F64)
    P[:8, :8] += first.slack(y)
    T = torch.zeros(8, 12, dtype=F64)
    T[:4, 3:8] = weights[1]
    T[4:, 8:] = torch.eye(4, dtype=F64)
    P += T.T @ second.slack(y) @ T
    torch.testing.assert_close(P, whole.blocks[0].slack(y[: len(whole.start)]))


def test_another_output_keeps_everything_else() -> None:
    problem = chain_problem(random_weights([3, 5, 4, 2], 3), Form(cuts=(1,)))
    output = problem.blocks[-1].output[:1] * 2.0
    changed = problem.with_output(output, 0.5)
    assert changed.blocks[0] is problem.blocks[0]
    assert changed.blocks[-1].output_error == 0.5
    y = problem.start
    P = changed.blocks[-1].slack(y) + output.T @ output
    torch.testing.assert_close(P, problem.blocks[-1].linear_part(y))


def test_a_problem_moves_between_devices_whole() -> None:
    problem = chain_problem(random_weights([3, 5, 4, 2], 3), Form(permuted=True))
    moved = problem.to(torch.device("cpu"))
    assert isinstance(moved, Problem)
    assert torch.equal(moved.blocks[0].slack(moved.start), problem.blocks[0].slack(problem.start))
    away = problem.to(torch.device("meta"))
    block = away.blocks[0]
    assert block.centre.is_meta and block.partner is not None and block.partner.is_meta
    assert block.rows.pieces[0].matrix.is_meta and away.start.is_meta
