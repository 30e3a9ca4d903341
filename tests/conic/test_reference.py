"""Generic solvers on the same inequalities: what they are given, and what they answer."""

from __future__ import annotations

import ast
import importlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from chains import (
    F64,
    Form,
    chain_problem,
    constraint_matrices,
    norm,
    random_block,
    random_weights,
    smallest_eigenvalue,
)

from lipcert.conic import reference
from lipcert.conic.reference import REFERENCE_SOLVERS, linear_map, reference_solution
from lipcert.errors import InputError, SolverError

SOLVERS = list(REFERENCE_SOLVERS)


@pytest.mark.parametrize("seed", range(40))
def test_map_from_multipliers_to_entries(seed: int) -> None:
    block = random_block(seed)
    stacked = linear_map(block, 9).toarray().T.reshape(9, block.side, block.side)
    symmetric = (stacked + stacked.transpose(0, 2, 1)) / 2.0
    torch.testing.assert_close(torch.from_numpy(symmetric), constraint_matrices(block, 9))


def test_map_stores_nothing_that_cancels() -> None:
    """With slopes from 0 the squares of the rows cancel: only crossings and the diagonal stay."""
    problem = chain_problem(random_weights([5, 8, 8, 3], 0))
    scaled = problem.scaled(problem.start).problem
    stored = linear_map(scaled.blocks[0], len(scaled.start)).nnz
    assert stored == 5 + 16 + 5 * 8 + 8 * 8


@pytest.mark.parametrize("solver", SOLVERS)
def test_one_neuron_by_hand(solver: str) -> None:
    """``c φ(a x)`` with slopes in [0, 1] has constant ``|a c|``."""
    weights = [torch.tensor([[3.0]], dtype=F64), torch.tensor([[-2.0]], dtype=F64)]
    found = reference_solution(chain_problem(weights), solver=solver, eps=1e-8)
    assert math.sqrt(float(found.y[0])) == pytest.approx(6.0, rel=1e-5)
    assert found.y[1].item() == pytest.approx(4.0 * 2.0, rel=1e-2)  # 2 r² u = ‖C‖², r = 1/2
    assert found.status == "optimal" and found.iterations > 0
    assert 0.0 < found.seconds_solver <= found.seconds_total
    assert found.y.dtype == torch.float64 and found.y.shape == (2,)


@pytest.mark.parametrize(
    "form",
    [
        Form(slopes=(0.1, 1.0)),
        Form(slopes=(-1.0, 1.0), group=2, permuted=True),
        Form(cuts=(0, 1)),
        Form(group=None),
    ],
)
def test_solvers_agree(form: Form) -> None:
    problem = chain_problem(random_weights([3, 6, 4, 2], 11), form)
    close = reference_solution(problem, solver="clarabel", eps=1e-9)
    rough = reference_solution(problem, solver="scs", eps=1e-7)
    assert float(rough.y[0]) == pytest.approx(float(close.y[0]), rel=1e-4)
    for found in (close, rough):
        assert bool((found.y >= 0.0).all())
        y = found.y / problem.start
        raised = problem.start * (y + 1e-3)
        assert smallest_eigenvalue(problem, raised) > 0.0


def test_answers_are_in_the_coordinates_of_the_problem() -> None:
    """Scales of weights far apart come back out: the constant is homogeneous."""
    weights = random_weights([3, 5, 4, 2], 4)
    plain = reference_solution(chain_problem(weights), solver="clarabel", eps=1e-9)
    scales = (2.0**-30, 2.0**40, 2.0**-20)
    changed = [w * s for w, s in zip(weights, scales, strict=True)]
    found = reference_solution(chain_problem(changed), solver="clarabel", eps=1e-9)
    product = math.prod(scales) ** 2
    assert float(found.y[0]) == pytest.approx(float(plain.y[0]) * product, rel=1e-6)


def test_multipliers_are_kept_nonnegative_where_the_matrix_does_not() -> None:
    """Slopes of one sign: the inequality alone would let multipliers below zero."""
    problem = chain_problem(random_weights([4, 7, 5, 3], 2), Form(slopes=(0.5, 1.0)))
    assert problem.signed
    for solver in SOLVERS:
        found = reference_solution(problem, solver=solver, eps=1e-6)
        assert bool((found.y >= 0.0).all())


def test_the_answer_is_no_bound() -> None:
    """A tolerance is on either side: somewhere the answer is below the optimum."""
    below = 0
    for seed in range(6):
        problem = chain_problem(random_weights([4, 8, 8, 3], seed))
        optimum = reference_solution(problem, solver="clarabel", eps=1e-10).y
        rough = reference_solution(problem, solver="scs", eps=1e-3).y
        below += float(rough[0]) < float(optimum[0]) * (1.0 - 1e-6)
    assert below > 0


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_time_limit_ends_the_solver(solver: str) -> None:
    problem = chain_problem(random_weights([10, 25, 25, 3], 0))
    try:
        found = reference_solution(problem, solver=solver, eps=1e-12, time_limit=0.05)
    except SolverError as error:
        assert solver in str(error)
        return
    assert found.status in ("user_limit", "optimal_inaccurate")
    assert found.seconds_solver < 10.0


def test_unknown_solvers_are_refused_with_the_known_ones() -> None:
    problem = chain_problem(random_weights([2, 2, 2], 0))
    with pytest.raises(InputError, match=r"'mosek'.*clarabel, scs"):
        reference_solution(problem, solver="mosek")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    original = importlib.import_module

    def absent(name: str, package: str | None = None) -> Any:
        if name == "cvxpy":
            raise ImportError(name)
        return original(name, package)

    monkeypatch.setattr(importlib, "import_module", absent)
    problem = chain_problem(random_weights([2, 2, 2], 0))
    with pytest.raises(SolverError, match="pip install cvxpy scs"):
        reference_solution(problem, solver="scs")


def test_problems_too_large_for_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    wide = chain_problem(random_weights([3, 300, 2], 0))
    with pytest.raises(SolverError, match=r"side 303.*--solver hkm"):
        reference_solution(wide, solver="clarabel")
    monkeypatch.setattr(reference, "MOST_ENTRIES", 100)
    dense = chain_problem(random_weights([9, 9, 2], 0), Form(slopes=(0.1, 1.0)))
    with pytest.raises(SolverError, match="405 coefficients, more than 100"):
        reference_solution(dense, solver="scs")


def test_a_solver_that_fails_or_finds_nothing_says_so() -> None:
    problem = chain_problem(random_weights([3, 4, 2], 0))
    broken = problem.with_output(torch.full_like(problem.blocks[0].output, float("nan")))
    for solver in SOLVERS:
        with pytest.raises(SolverError, match=solver):
            reference_solution(broken, solver=solver)


def test_an_interruption_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """SCS catches Control-C and ends with a status of its own."""
    import scs

    def interrupted(*args: Any, **options: Any) -> dict[str, Any]:
        info = {"status_val": -5, "solve_time": 0.0, "setup_time": 0.0, "iter": 3}
        return {"x": np.zeros(3), "y": np.zeros(3), "s": np.zeros(3), "info": info}

    monkeypatch.setattr(scs, "solve", interrupted)
    problem = chain_problem(random_weights([3, 4, 2], 0))
    with pytest.raises(KeyboardInterrupt):
        reference_solution(problem, solver="scs")


def test_importing_the_module_leaves_cvxpy_alone() -> None:
    """Two seconds that only those pay who ask for a reference."""
    tree = ast.parse(Path(reference.__file__).read_text(encoding="utf-8"))
    names = {
        getattr(node, "module", None) or alias.name
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert "torch" in names
    assert not {name.split(".")[0] for name in names} & {"cvxpy", "scs", "clarabel", "scipy"}


def test_solution_of_one_layer_is_the_product_when_all_are_on() -> None:
    """Nonnegative weights: the bound is the norm of the product, which is reached."""
    weights = [w.abs() for w in random_weights([3, 5, 2], 5)]
    found = reference_solution(chain_problem(weights), solver="clarabel", eps=1e-9)
    assert math.sqrt(float(found.y[0])) == pytest.approx(norm(weights[1] @ weights[0]), rel=1e-6)
