"""The same matrix inequalities through cvxpy and a generic conic solver, as a reference.

Such a solver ends within a tolerance of the constraints, on either side of them: the numbers are
estimates, near the optimum and often below it, until a proof has been made from the multipliers.
"""

from __future__ import annotations

import importlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lipcert.conic.problem import Block, Problem
from lipcert.errors import SolverError
from lipcert.registry import Registry

if TYPE_CHECKING:
    import scipy.sparse as sp

MOST_ENTRIES = 50_000_000
"""Coefficients of one block above which no problem is posed: some 100 bytes each on the way."""

LARGEST_SIDE_CLARABEL = 250
"""Side s of a block above which the s⁴/8 numbers of Clarabel's dense blocks take over 4 GB.

At a side of 300 it was seen to take more than 24 GB.
"""

Options = Callable[[Problem, float, float], dict[str, Any]]
"""From a problem, a tolerance and seconds to a solver's options; SolverError if it is too large."""

REFERENCE_SOLVERS: Registry[Options] = Registry("reference solver")


@dataclass(frozen=True, eq=False)
class Reference:
    """What a generic solver answered.  It is no bound.

    Parameters
    ----------
    y : multipliers in the coordinates of the problem, those below 0 raised to 0; float64.
    status : "optimal", "optimal_inaccurate" or "user_limit", the latter two being short of eps.
    seconds_total : from the problem to the answer, in wall time.
    seconds_solver : the part of it spent inside the solver.
    iterations : those of the solver; they mean different work in different solvers.
    """

    y: Tensor
    status: str
    seconds_total: float
    seconds_solver: float
    iterations: int


@REFERENCE_SOLVERS.register("scs")
def scs_options(problem: Problem, eps: float, time_limit: float) -> dict[str, Any]:
    """Operator splitting (O'Donoghue et al. 2016); eps is absolute and relative."""
    limit = {"time_limit_secs": time_limit} if math.isfinite(time_limit) else {}
    return {"eps_abs": eps, "eps_rel": eps, "max_iters": 1_000_000, **limit}


@REFERENCE_SOLVERS.register("clarabel")
def clarabel_options(problem: Problem, eps: float, time_limit: float) -> dict[str, Any]:
    """Interior point (Goulart & Chen 2024), with the faster one of its factorisations."""
    side = max(block.side for block in problem.blocks)
    if side > LARGEST_SIDE_CLARABEL:
        raise _failure("clarabel", f"a matrix of side {side} takes more memory than it should")
    gaps = dict.fromkeys(("tol_gap_abs", "tol_gap_rel", "tol_feas"), eps)
    return {"direct_solve_method": "faer", "time_limit": time_limit, **gaps}


def reference_solution(
    problem: Problem, *, solver: str = "scs", eps: float = 1e-5, time_limit: float = math.inf
) -> Reference:
    """Estimate the multipliers of least y_0 with a generic solver; **the answer is no bound**.

    The problem is posed in the coordinates scaled by its start, with ``y ≥ 0`` for every
    multiplier, whether or not the matrices imply it.

    Parameters
    ----------
    solver : a name in :data:`REFERENCE_SOLVERS`.
    eps : tolerance, as the solver understands it, in scaled coordinates.
    time_limit : seconds after which the solver is to end with what it has.
    """
    options = REFERENCE_SOLVERS[solver](problem, eps, time_limit)
    cvxpy = _cvxpy_with(solver)
    began = time.perf_counter()
    scaled = problem.scaled(problem.start)
    y, model = _posed(cvxpy, scaled.problem)
    data, chain, inverse = model.get_problem_data(solver.upper(), solver_opts=options)
    started = time.perf_counter()
    try:
        raw = chain.solve_via_data(model, data, solver_opts=options)
    except Exception as error:  # each solver raises errors of its own
        raise _failure(solver, f"the solver failed: {error}") from error
    seconds_solver = time.perf_counter() - started
    if _was_interrupted(raw):
        raise KeyboardInterrupt
    answer = chain.invert(raw, inverse)
    value = answer.primal_vars.get(y.id) if answer.primal_vars else None
    if value is None or not np.isfinite(value).all():
        raise _failure(solver, f"the solver ended with status {answer.status!r} and no solution")
    found = torch.from_numpy(np.array(value, dtype=np.float64)).clamp(min=0.0)
    return Reference(
        y=scaled.unit * found.to(scaled.unit.device),
        status=str(answer.status),
        seconds_total=time.perf_counter() - began,
        seconds_solver=seconds_solver,
        iterations=int(answer.attr["num_iters"]),
    )


def _failure(solver: str, finding: str) -> SolverError:
    return SolverError(
        f"reference solver {solver}".rstrip(),
        finding,
        "use --solver hkm",
    )


def _was_interrupted(raw: Any) -> bool:
    """Whether SCS, which catches the signal itself, ended for Control-C."""
    return isinstance(raw, dict) and raw["info"]["status_val"] == -5


def _cvxpy_with(solver: str) -> Any:
    """The package cvxpy; two seconds to import, hence late."""
    try:
        cvxpy: Any = importlib.import_module("cvxpy")
        installed = solver.upper() in cvxpy.installed_solvers()
    except ImportError:
        installed = False
    if not installed:
        raise SolverError(
            f"reference solver {solver}",
            "the package is not installed",
            f"run pip install cvxpy {solver}",
        )
    return cvxpy


def _posed(cvxpy: Any, problem: Problem) -> tuple[Any, Any]:
    """The variable and the model, one sparse map from y to the entries of each block."""
    count = problem.start.numel()
    y = cvxpy.Variable(count, nonneg=True)
    constraints = []
    for block in problem.blocks:
        cost = (block.output.T @ block.output).cpu().numpy().ravel()
        P = cvxpy.reshape(linear_map(block, count) @ y - cost, (block.side, block.side), order="C")
        constraints.append(P >> 0)  # means the symmetric part of P
    return y, cvxpy.Problem(cvxpy.Minimize(y[0]), constraints)


def linear_map(block: Block, multipliers: int) -> sp.csc_array:
    """The map from y to ``P(y) + CᵀC``, of shape ``(D², multipliers)``.

    Its values are matrices, flattened by rows, of which the symmetric part is meant:
    ``ω (e − c a)(e − c a)ᵀ − ν a aᵀ = ω e eᵀ − 2 ω c e aᵀ + (ω c² − ν) a aᵀ``, where the last
    coefficient is often 0, and of a aᵀ half the entries do.
    """
    import scipy.sparse as sp

    n, side, stored = block.inputs, block.side, block.rows.count
    A = sp.csr_array(block.rows.dense().cpu().numpy())
    centre, above, below = (
        values.cpu().numpy() for values in (block.centre, block.activation_weight, block.row_weight)
    )
    head_index, above_index, below_index = (
        index.cpu().numpy() for index in (block.head_index, block.activation_index, block.row_index)
    )
    partner = np.arange(block.activations) if block.partner is None else block.partner.cpu().numpy()

    weights = np.concatenate((block.head_weight.cpu().numpy(), above))
    squares = np.arange(side) * (side + 1)
    parts = [(weights, squares, np.concatenate((head_index, above_index)))]

    crossing = sp.coo_array(A[partner])
    k, column = (places.astype(np.int64) for places in crossing.coords)
    values = -2.0 * (above * centre)[k] * crossing.data
    parts.append((values, (n + k) * side + column, above_index[k]))

    rows = np.concatenate((partner, np.arange(stored)))
    indices = np.concatenate((above_index, below_index))
    kept = sp.csr_array(
        (np.concatenate((above * centre**2, -below)), (rows, indices)), shape=(stored, multipliers)
    )
    kept.eliminate_zeros()
    coefficients = sp.coo_array(kept)
    j, index = coefficients.coords
    values, places, f = _triangles(A[j])
    parts.append((values * coefficients.data[f], places, index[f]))

    data, where, columns = (np.concatenate(part) for part in zip(*parts, strict=True))
    return sp.csc_array((data, (where, columns)), shape=(side * side, multipliers))


def _triangles(rows: sp.csr_array) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """For the rows f, entries of lower triangular matrices with symmetric parts ``f fᵀ``.

    Returns their values, their places in a matrix flattened by rows, and the numbers of their f.
    """
    rows.sort_indices()
    entries = np.diff(rows.indptr).astype(np.int64)
    total = int((entries * (entries + 1) // 2).sum())
    if total > MOST_ENTRIES:
        raise _failure("", f"the inequality has {total} coefficients, more than {MOST_ENTRIES}")
    # every stored element of a row meets those up to itself in the same row
    row = np.repeat(np.arange(len(entries)), entries)
    partners = np.arange(rows.nnz) - rows.indptr[row] + 1
    left = np.repeat(np.arange(rows.nnz), partners)
    right = np.arange(total) - np.repeat(np.cumsum(partners) - partners, partners)
    right += rows.indptr[row[left]]
    values = rows.data[left] * rows.data[right] * np.where(left == right, 1.0, 2.0)
    places = rows.indices[left].astype(np.int64) * rows.shape[1] + rows.indices[right]
    return values, places, row[left]
